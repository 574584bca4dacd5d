"""Drives, each whole; the gate says which of them the host uses."""

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


def test_drives_of_the_vendor(root):
    assert offered(root) == {
        "db": False,
        "dd": False,
        "de": False,
        "df": False,
        "e0": True,
        "01": False,
    }


def test_unknown_driver(root):
    """What it does with the drive is not known; records stay."""
    card = root / "sys/bus/pci/devices/0000:db:00.0"
    (card / "driver").unlink()
    (card / "driver").symlink_to("../../../bus/pci/drivers/uio_pci_generic")
    assert offered(root)["db"] is True
