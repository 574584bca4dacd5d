"""Drives that SPDK owns: whole reports, and what it may answer."""

import contextlib
import json

from hypothesis import given
from hypothesis import strategies as st
import pytest

from cyborg.accelerator.drivers import spdk
from cyborg.common import exception
from cyborg.tests.fixtures import driver as driver_fixture
from cyborg.tests.unit.accelerator import test_spdk as client_test


def path(address: str = "0000:5e:00.0", **changes) -> dict:
    return {
        "pci_address": address,
        "trid": {"trtype": "PCIe", "traddr": address},
        "ctrlr_data": {
            "vendor_id": "0x144d",
            "model_number": "SAMSUNG MZWLL1T6HAJQ-00005",
            "firmware_revision": "GPNABB3Q",
        },
        "ns_data": {"id": 1},
    } | changes


def bdev(name: str = "Nvme0n1", *paths, **changes) -> dict:
    return {
        "name": name,
        "product_name": "NVMe disk",
        "block_size": 512,
        "num_blocks": 3125627568,
        "uuid": "b7f0dd8a-29a4-4b2a-9a6e-3f5c1a6f8b11",
        "claimed": False,
        "driver_specific": {"nvme": list(paths) or [path()]},
    } | changes


MALLOC = {
    "name": "Malloc0",
    "product_name": "Malloc disk",
    "block_size": 512,
    "num_blocks": 131072,
    "claimed": False,
    "driver_specific": {},
}


def discover(*bdevs, driver=spdk.NVMFSPDKDriver):
    conf = driver_fixture.conf(spdk={"report_bdevs": True})
    return driver(
        conf=conf, host="cn1", rpc=lambda method, params: list(bdevs)
    ).discover()


@pytest.mark.parametrize("driver", [spdk.NVMFSPDKDriver, spdk.VhostSPDKDriver])
def test_report(driver):
    assert driver_fixture.plain(discover(bdev(), MALLOC, driver=driver)) == [
        {
            "vendor": "144d",
            "model": "SAMSUNG MZWLL1T6HAJQ-00005",
            "type": "SSD",
            "std_board_info": '{"bdev": "Nvme0n1", "size": "1600321314816"}',
            "vendor_board_info": '{"vendor_info": "ssd_vb_info"}',
            "stub": False,
            "cpid_type": "PCI",
            "cpid_info": '{"bus": "5e", "device": "00", "domain": "0000", '
            '"function": "0"}',
            "deployables": [
                {
                    "name": "cn1_0000:5e:00.0",
                    "num_accelerators": 0,
                    "driver_name": "spdk",
                    "attributes": [
                        ("rc", "CUSTOM_SSD"),
                        ("trait0", "CUSTOM_SSD_SPDK"),
                    ],
                    "handles": [],
                }
            ],
        }
    ]


def test_nothing_by_default():
    def rpc(method, params):
        raise AssertionError("was asked")

    driver = spdk.NVMFSPDKDriver(conf=driver_fixture.conf(), rpc=rpc)
    assert driver.discover() == []


def test_older_releases_give_one_path():
    old = bdev(driver_specific={"nvme": path()})
    assert len(discover(old)) == 1


def test_claimed_is_left_out():
    assert discover(bdev(claimed=True)) == []


@pytest.mark.parametrize(
    "trid",
    [
        {"trtype": "TCP", "traddr": "192.0.2.1", "trsvcid": "4420"},
        {"trtype": "VFIOUSER", "traddr": "/var/run/vfio-user"},
        {},
    ],
)
def test_drive_without_pci_address_is_left_out(trid):
    assert discover(bdev("Nvme0n1", path(trid=trid))) == []


def test_namespaces_of_one_drive_are_one_device():
    found = discover(bdev("Nvme0n2"), bdev("Nvme0n1"))
    assert [json.loads(each.std_board_info)["bdev"] for each in found] == [
        "Nvme0n1"
    ]


def test_order_of_answer_changes_nothing():
    bdevs = [
        bdev(f"Nvme{bus}n1", path(f"{domain}:0{bus}:00.0"))
        for domain in ("10000", "0000")
        for bus in range(3)
    ]
    first = driver_fixture.plain(discover(*bdevs))
    again = driver_fixture.plain(discover(*reversed(bdevs)))
    assert first == again
    assert [each["deployables"][0]["name"] for each in first][-1] == (
        "cn1_10000:02:00.0"
    )


@pytest.mark.parametrize(
    "odd",
    [
        {"product_name": "no name"},
        bdev(block_size=None),
        bdev("Nvme0n1", path("5e:00.0")),
        "text",
    ],
)
def test_odd_answers(odd):
    with pytest.raises(exception.DriverError):
        discover(odd)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
KEYS = ["name", "claimed", "block_size", "num_blocks", "driver_specific"]
PATH_KEYS = ["trid", "ctrlr_data", "pci_address"]


@given(
    st.dictionaries(st.sampled_from(KEYS), JSON, max_size=2),
    st.dictionaries(st.sampled_from(PATH_KEYS), JSON, max_size=2),
)
def test_any_answer_is_understood_or_refused(changes, path_changes):
    answer = [bdev("Nvme0n1", path() | path_changes) | changes]
    with contextlib.suppress(exception.DriverError):
        for drive in spdk.parse_drives(answer):
            assert drive.address == "0000:5e:00.0"


def test_socket_is_below_root(socket_dir):
    socket = socket_dir / "var" / "tmp" / "vhost.sock"
    socket.parent.mkdir(parents=True)
    conf = driver_fixture.conf(spdk={"report_bdevs": True})
    driver = spdk.VhostSPDKDriver(conf=conf, root=socket_dir, host="cn1")
    answer = json.dumps({"result": [bdev()]}).encode()
    with client_test.serve(socket, answer) as asked:
        assert len(driver.discover()) == 1
    assert asked[0]["method"] == "bdev_get_bdevs"


def test_no_server(tmp_path):
    conf = driver_fixture.conf(spdk={"report_bdevs": True})
    driver = spdk.NVMFSPDKDriver(conf=conf, root=tmp_path)
    with pytest.raises(exception.DriverError):
        driver.discover()
