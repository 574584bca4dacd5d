"""Intel FPGA cards: whole reports of both kernel drivers, programming."""

import json
import re
import shutil

from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
import pytest

from cyborg.accelerator import driver as driver_api
from cyborg.accelerator.drivers import intel_fpga
from cyborg.common import exception
from cyborg.tests.fixtures import driver as driver_fixture
from cyborg.tests.fixtures import machine
from cyborg.tests.unit.accelerator.drivers import fpga_tools

tool = fpga_tools.tool

REGION = "CUSTOM_FPGA_REGION_INTEL_69528DB6EB31577A8C3668F9FAA081F6"
FUNCTION = "CUSTOM_FPGA_FUNCTION_ID_INTEL_"
LOADED = f"{FUNCTION}D8424DC4A4A3C413F89E433683F9040B"


def make(root) -> intel_fpga.IntelFPGADriver:
    return intel_fpga.IntelFPGADriver(
        root=root,
        host="cn1",
        conf=driver_fixture.conf(),
        run=machine.Commands(),
    )


@pytest.fixture
def legacy(tmp_path) -> intel_fpga.IntelFPGADriver:
    return make(machine.unpack("fpga_server", tmp_path))


@pytest.fixture
def dfl(tmp_path) -> intel_fpga.IntelFPGADriver:
    return make(machine.unpack("dfl_server", tmp_path))


def bdf(bus: str, function: str, domain: str = "0000") -> str:
    return (
        f'{{"bus": "{bus}", "device": "00", "domain": "{domain}", '
        f'"function": "{function}"}}'
    )


def test_report(legacy):
    common = {
        "vendor": "0x8086",
        "model": "miss_model_info",
        "type": "FPGA",
        "std_board_info": '{"product_id": "0x09c4"}',
        "vendor_board_info": "miss_vb_info",
        "cpid_type": "PCI",
    }
    assert driver_fixture.plain(legacy.discover()) == [
        common
        | {
            "stub": False,
            "cpid_info": bdf("5e", "0"),
            "deployables": [
                {
                    "name": "cn1_0000:5e:00.0",
                    "num_accelerators": 1,
                    "driver_name": "intel",
                    "attributes": [
                        ("rc", "FPGA"),
                        ("trait0", "CUSTOM_FPGA_INTEL"),
                        ("trait1", "CUSTOM_FPGA_INTEL_PAC_ARRIA10"),
                        ("trait2", LOADED),
                        ("trait3", REGION),
                        ("trait4", "CUSTOM_PROGRAMMABLE"),
                    ],
                    "handles": [("PCI", bdf("5e", "0"))],
                }
            ],
        },
        common
        | {
            "stub": False,
            "cpid_info": bdf("be", "0"),
            "deployables": [
                {
                    "name": "cn1_0000:be:00.0",
                    "num_accelerators": 3,
                    "driver_name": "intel",
                    "attributes": [
                        ("rc", "FPGA"),
                        ("trait0", "CUSTOM_FPGA_INTEL"),
                        ("trait1", "CUSTOM_FPGA_INTEL_PAC_ARRIA10"),
                        ("trait2", REGION),
                        (
                            "trait3",
                            f"{FUNCTION}F7DF405CBD7ACF7222F144B0B93ACD18",
                        ),
                        (
                            "trait4",
                            f"{FUNCTION}331DB30C988541EAA72F5AE89D1B8B4C",
                        ),
                        ("trait5", "CUSTOM_PROGRAMMABLE"),
                    ],
                    "handles": [
                        ("PCI", bdf("be", "1")),
                        ("PCI", bdf("be", "2")),
                        ("PCI", bdf("be", "3")),
                    ],
                }
            ],
        },
        common
        | {
            "stub": True,
            "cpid_info": bdf("5e", "0", domain="0001"),
            "deployables": [],
        },
    ]


def test_kernel_driver_of_mainline(dfl):
    known, unnamed = dfl.discover()
    assert driver_fixture.traits(known) == [
        "CUSTOM_FPGA_INTEL",
        "CUSTOM_FPGA_INTEL_PAC_ARRIA10",
        REGION,
        LOADED,
        "CUSTOM_PROGRAMMABLE",
    ]
    (deployable,) = known.deployable_list
    assert [each.attach_info for each in deployable.attach_handle_list] == [
        bdf("3b", "1")
    ]
    assert driver_fixture.traits(unnamed) == [
        "CUSTOM_FPGA_INTEL",
        f"{FUNCTION}9AEFFE5F84570612C000C9660D824272",
        "CUSTOM_FPGA_REGION_INTEL_F3C9941350814AADBCED07EB84A6D0BB",
        "CUSTOM_PROGRAMMABLE",
    ]
    assert unnamed.std_board_info == '{"product_id": "0x0b30"}'


def test_two_discoveries_are_equal(legacy):
    first = driver_fixture.plain(legacy.discover())
    assert driver_fixture.plain(legacy.discover()) == first


@settings(deadline=None, max_examples=25)
@given(st.permutations(range(1, 8)), st.integers(0, 7))
def test_order_of_links_changes_nothing(tmp_path_factory, order, count):
    """Name, handles and traits do not follow the numbers of the links."""
    virtfns = [f"0000:5e:00.{number}" for number in order[:count]]
    text = machine.function(
        "0000:5e:00.0",
        "8086",
        "09c4",
        "120000",
        totalvfs=7,
        virtfns=virtfns,
        extra=["fpga/intel-fpga-dev.0/intel-fpga-fme.0/"],
    )
    for number, address in enumerate(sorted(virtfns)):
        port = f"fpga/intel-fpga-dev.{number}/intel-fpga-port.{number}"
        text += machine.function(
            address,
            "8086",
            "09c5",
            "120000",
            physfn="0000:5e:00.0",
            extra=[f"{port}/afu_id = {number % 3:032x}"],
        )
    root = machine.unpack_text(text, tmp_path_factory.mktemp("machine"))
    (device,) = make(root).discover()
    (deployable,) = device.deployable_list
    assert deployable.name == "cn1_0000:5e:00.0"
    assert deployable.num_accelerators == max(count, 1)
    functions = [
        json.loads(handle.attach_info)["function"]
        for handle in deployable.attach_handle_list
    ]
    expected = sorted(str(number) for number in order[:count])
    assert functions == (expected or ["0"])
    keys = [attribute.key for attribute in deployable.attribute_list]
    assert len(keys) == len(set(keys))
    assert driver_fixture.traits(device) == [
        "CUSTOM_FPGA_INTEL",
        "CUSTOM_FPGA_INTEL_PAC_ARRIA10",
        *(f"{FUNCTION}{number:032X}" for number in range(min(count, 3))),
        "CUSTOM_PROGRAMMABLE",
    ]
    for trait in driver_fixture.traits(device):
        assert re.fullmatch("CUSTOM_[A-Z0-9_]{1,248}", trait)


def test_guest_with_a_function_changes_nothing(dfl):
    before = driver_fixture.plain(dfl.discover())
    given = dfl.root / "sys/devices/pci0000:3b/0000:3b:00.1/fpga_region"
    given.rename(dfl.root / "given")
    assert driver_fixture.plain(dfl.discover()) == before


def test_programming_forgets_what_was_loaded(dfl, tool, image):
    dfl.discover()
    given = dfl.root / "sys/devices/pci0000:3b/0000:3b:00.1/fpga_region"
    given.rename(dfl.root / "given")
    dfl.program(cpid("3b"), image)
    assert LOADED not in driver_fixture.traits(dfl.discover()[0])


def test_is_programmable(legacy):
    assert driver_api.capabilities(legacy) == ["program", "stats"]


@pytest.fixture
def image(tmp_path) -> str:
    path = tmp_path / "image.gbs"
    path.write_bytes(b"bitstream")
    return str(path)


def cpid(bus: str, domain: str = "0000") -> dict:
    return {
        "cpid_type": "PCI",
        "cpid_info": json.loads(bdf(bus, "0", domain)),
    }


def test_program(legacy, tool, image):
    assert legacy.program(cpid("5e"), image) is True
    assert tool.calls == [
        (
            [
                "/usr/bin/fpgaconf",
                "--bus",
                "0x5e",
                "--device",
                "0x00",
                "--function",
                "0x0",
                image,
            ],
            600,
        )
    ]


def test_program_in_another_domain(legacy, tool, image):
    legacy.program(cpid("5e", domain="0001"), image)
    argv, _timeout = tool.calls[0]
    assert argv[1:3] == ["--segment", "0x0001"]


def test_program_again(legacy, tool, image):
    assert legacy.program(cpid("be"), image)
    assert legacy.program(cpid("be"), image)
    assert tool.calls[0] == tool.calls[1]


@pytest.mark.parametrize("error", [fpga_tools.REFUSED, fpga_tools.TIMEOUT])
def test_program_fails(legacy, tool, image, error):
    tool.answer = error
    with pytest.raises(exception.CommandFailed) as raised:
        legacy.program(cpid("5e"), image)
    assert raised.value.kwargs["stderr"] in str(raised.value)
    tool.answer = ""
    assert legacy.program(cpid("5e"), image)


def test_program_other_type(legacy, tool, image):
    with pytest.raises(exception.InvalidType):
        legacy.program({"cpid_type": "PMEM", "cpid_info": {}}, image)
    assert tool.calls == []


@pytest.mark.parametrize("bus", ["5f", "87", "00"])
def test_program_what_is_no_such_card(legacy, tool, image, bus):
    with pytest.raises(exception.PciDeviceNotFoundById):
        legacy.program(cpid(bus), image)
    assert tool.calls == []


@pytest.mark.parametrize("name", ["--help", "relative.gbs", "/no/such.gbs"])
def test_program_with_what_is_no_image(legacy, tool, name):
    with pytest.raises(exception.Invalid):
        legacy.program(cpid("5e"), name)
    assert tool.calls == []


def test_stats(dfl):
    stats = dfl.get_stats(cpid("3b"))["device"]
    assert stats["device_name"] == "0000:3b:00.0"
    assert stats["properties"]["temperature"] == "46"
    assert stats["properties"]["power"] == "21.5"
    assert [each["accelerator"]["acc_name"] for each in stats["deploy"]] == [
        "0000:3b:00.1"
    ]


@pytest.mark.parametrize(
    ("product", "restarted"),
    [("0b30", False), ("0b30", True), ("bcce", False)],
)
def test_card_given_whole_keeps_its_records(tmp_path, product, restarted):
    """Bound to vfio-pci it has nothing of its driver any more."""
    root = machine.unpack("dfl_server", tmp_path)
    card = root / "sys/devices/pci0000:af/0000:af:00.0"
    (card / "device").write_text(f"0x{product}\n")
    driver = make(root)
    before = driver.discover()[1]
    assert not before.stub
    shutil.rmtree(card / "fpga_region")
    if restarted:
        driver = make(root)
    _other, device = driver.discover()
    assert device.stub
    assert device.controlpath_id.cpid_info == before.controlpath_id.cpid_info
