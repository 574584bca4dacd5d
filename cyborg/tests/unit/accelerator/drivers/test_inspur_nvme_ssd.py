"""Drives: none that the host uses is offered."""

import pytest

from cyborg.accelerator.drivers import inspur_nvme_ssd
from cyborg.tests.fixtures import driver as driver_fixture
from cyborg.tests.fixtures import machine


@pytest.fixture
def root(tmp_path):
    return machine.unpack("storage_server", tmp_path)


def offered(root):
    driver = inspur_nvme_ssd.InspurNVMeSSDDriver(
        root=root,
        run=machine.Commands(),
        host="cn1",
        conf=driver_fixture.conf(),
    )
    return {
        device.controlpath_id.cpid_info[9:11]: device.stub
        for device in driver.discover()
    }


def test_only_free_drives_of_the_vendor(root):
    assert offered(root) == {
        "db": False,
        "df": False,
        "e0": True,
        "01": False,
    }


def test_drive_that_is_mounted(root):
    mounts = root / "proc/self/mountinfo"
    line = "37 1 259:0 / /data rw - xfs /dev/nvme0n1 rw\n"
    mounts.write_text(mounts.read_text() + line)
    assert "db" not in offered(root)


def test_swap(root):
    swaps = root / "proc/swaps"
    swaps.write_text(swaps.read_text() + "/dev/nvme0n1 partition 1 0 -2\n")
    assert "db" not in offered(root)


def test_holder(root):
    card = root / "sys/bus/pci/devices/0000:db:00.0"
    (card / "nvme/nvme0/nvme0n1/holders/md0").mkdir()
    assert "db" not in offered(root)


def test_unknown_driver(root):
    """What it does with the drive is not known; records stay."""
    card = root / "sys/bus/pci/devices/0000:db:00.0"
    (card / "driver").unlink()
    (card / "driver").symlink_to("../../../bus/pci/drivers/uio_pci_generic")
    assert offered(root)["db"] is True
