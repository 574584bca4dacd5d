"""Xilinx cards: functions of a slot are one device; which image goes where."""

import io
import json
import struct

from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
import pytest

from cyborg.accelerator import driver as driver_api
from cyborg.accelerator.drivers import xilinx_fpga
from cyborg.common import exception
from cyborg.tests.fixtures import driver as driver_fixture
from cyborg.tests.fixtures import machine
from cyborg.tests.unit.accelerator.drivers import fpga_tools

tool = fpga_tools.tool

LSPCI = (
    "Slot:\t0000:d8:00.0\n"
    "Class:\tProcessing accelerators [1200]\n"
    "Vendor:\tXilinx Corporation [10ee]\n"
    "Device:\tAlveo U200 XDMA Platform [5000]\n"
)
IP_LAYOUT, MCS, ASK_FLASH = 8, 12, 24


def make(root) -> xilinx_fpga.XilinxFPGADriver:
    return xilinx_fpga.XilinxFPGADriver(
        root=root,
        host="cn1",
        conf=driver_fixture.conf(),
        run=machine.Commands({"lspci": LSPCI}),
    )


@pytest.fixture
def driver(tmp_path) -> xilinx_fpga.XilinxFPGADriver:
    return make(machine.unpack("fpga_server", tmp_path))


def bdf(bus: str, function: str) -> str:
    return (
        f'{{"bus": "{bus}", "device": "00", "domain": "0000", '
        f'"function": "{function}"}}'
    )


def cpid(bus: str) -> dict:
    return {"cpid_type": "PCI", "cpid_info": json.loads(bdf(bus, "0"))}


def test_report(driver):
    found = driver_fixture.plain(driver.discover())
    assert found[0] == {
        "vendor": "10ee",
        "model": "Xilinx Corporation Alveo U200 XDMA Platform",
        "type": "FPGA",
        "std_board_info": '{"product_id": "5000", "controller": '
        '"Processing accelerators"}',
        "vendor_board_info": '{"vendor_info": "fpga_vb_info"}',
        "stub": False,
        "cpid_type": "PCI",
        "cpid_info": bdf("d8", "0"),
        "deployables": [
            {
                "name": "cn1_0000:d8:00.0",
                "num_accelerators": 1,
                "driver_name": "XILINX",
                "attributes": [
                    ("rc", "FPGA"),
                    ("trait0", "CUSTOM_FPGA_XILINX"),
                    ("trait1", "CUSTOM_FPGA_PRODUCT_ID_5000"),
                    ("trait2", "CUSTOM_PROGRAMMABLE"),
                ],
                "handles": [
                    ("PCI", bdf("d8", "0")),
                    ("PCI", bdf("d8", "1")),
                ],
            }
        ],
    }
    assert [each["cpid_info"] for each in found] == [
        bdf("d8", "0"),
        bdf("d9", "0"),
        bdf("da", "0"),
    ]


def test_one_function_is_a_stub(driver):
    assert [device.stub for device in driver.discover()] == [
        False,
        False,
        True,
    ]


def test_driver_name_leads_to_the_driver(driver):
    """Programming finds its driver by the name in the deployable."""
    (deployable,) = driver.discover()[0].deployable_list
    assert deployable.driver_name.lower() == driver.VENDOR
    assert isinstance(driver, driver_api.Programmable)


def test_management_function_need_not_be_the_first(tmp_path):
    text = machine.function(
        "0000:d8:00.0", "10ee", "5001", "120000", driver="xocl"
    ) + machine.function(
        "0000:d8:00.1", "10ee", "5000", "120000", driver="xclmgmt"
    )
    driver = make(machine.unpack_text(text, tmp_path))
    functions = [
        driver.card(
            {"cpid_type": "PCI", "cpid_info": json.loads(bdf("d8", number))}
        )
        for number in "01"
    ]
    assert xilinx_fpga.management(functions).address == "0000:d8:00.1"


def axlf(*kinds: int) -> bytes:
    """Return the beginning of an image with sections of these kinds."""
    start = b"xclbin2\0" + bytes(440) + struct.pack("<II", len(kinds), 0)
    headers = [
        struct.pack("<I16s4xQQ", kind, b"section", 4096, 16) for kind in kinds
    ]
    return start + b"".join(headers)


@pytest.fixture
def images(tmp_path):
    def write(content: bytes) -> str:
        path = tmp_path / "image.xsabin"
        path.write_bytes(content)
        return str(path)

    return write


XBMGMT = "/opt/xilinx/xrt/bin/xbmgmt"


def options(argv: list[str]) -> set[str]:
    """Return the options without values; their order does not matter."""
    return {word for word in argv if word.startswith("--")}


def test_program_shell(driver, tool, images):
    image = images(axlf(MCS, ASK_FLASH))
    assert driver.program(cpid("d8"), image) is True
    ((argv, timeout),) = tool.calls
    assert argv[0] == XBMGMT
    assert timeout == 600
    assert argv[argv.index("--device") + 1] == "0000:d8:00.0"
    assert argv[argv.index("--image") + 1] == image
    assert options(argv) == {
        "--device",
        "--base",
        "--image",
        "--force",
        "--batch",
    }


def test_program_user_image(driver, tool, images):
    image = images(axlf(0, IP_LAYOUT))
    assert driver.program(cpid("d8"), image)
    ((argv, _timeout),) = tool.calls
    assert argv[argv.index("--user") + 1] == image
    assert "--base" not in argv


def test_program_card_without_management_driver(driver, tool, images):
    driver.program(cpid("d9"), images(axlf(IP_LAYOUT)))
    assert "0000:d9:00.0" in tool.calls[0][0]


def test_program_again(driver, tool, images):
    for _repetition in range(2):
        assert driver.program(cpid("d8"), images(axlf(IP_LAYOUT)))
    assert tool.calls[0] == tool.calls[1]


@pytest.mark.parametrize("error", [fpga_tools.REFUSED, fpga_tools.TIMEOUT])
def test_program_fails(driver, tool, images, error):
    tool.answer = error
    with pytest.raises(exception.CommandFailed):
        driver.program(cpid("d8"), images(b"no such format"))


def test_program_other_type(driver, tool, images):
    with pytest.raises(exception.InvalidType):
        driver.program({"cpid_type": "PMEM", "cpid_info": {}}, images(b""))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (axlf(0, 6, IP_LAYOUT), True),
        (axlf(0, 6, IP_LAYOUT, MCS), False),
        (axlf(ASK_FLASH, IP_LAYOUT), False),
        (axlf(), False),
        (axlf(IP_LAYOUT)[:460], True),
        (axlf(IP_LAYOUT)[:456], False),
        (b"xclbin2\0", False),
        (b":020000040000FA\n", False),
        (b"", False),
    ],
)
def test_is_user_image(content, expected):
    assert xilinx_fpga.is_user_image(io.BytesIO(content)) is expected


@given(st.binary(max_size=700))
def test_any_image_is_read(content):
    for prefix in (b"", b"xclbin2\0", axlf(IP_LAYOUT)[:456]):
        xilinx_fpga.is_user_image(io.BytesIO(prefix + content))


@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 31), st.integers(0, 7)),
        unique=True,
        max_size=8,
    )
)
def test_every_function_is_in_one_device(tmp_path_factory, places):
    text = machine.empty()
    for bus, slot, function in places:
        text += machine.function(
            f"0000:0{bus}:{slot:02x}.{function}", "10ee", "5000", "120000"
        )
    root = machine.unpack_text(text, tmp_path_factory.mktemp("machine"))
    found = make(root).discover()
    slots = {(bus, slot) for bus, slot, _function in places}
    assert len(found) == len(slots)
    handles = [
        handle.attach_info
        for device in found
        for deployable in device.deployable_list
        for handle in deployable.attach_handle_list
    ]
    assert len(handles) == len(set(handles))
