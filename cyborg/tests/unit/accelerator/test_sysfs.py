"""Kernel files below a root."""

import os

import pytest

from cyborg.accelerator import sysfs
from cyborg.common import exception
from cyborg.tests.fixtures import machine


@pytest.fixture
def root(tmp_path):
    return machine.unpack_text(
        """
        [sys/devices/pci0000:3b/0000:3b:00.0]
        vendor = 0x10de
        sriov_totalvfs = 16
        broken = many
        driver -> ../../../bus/pci/drivers/nvidia
        hwmon/hwmon3/temp1_input = 41000
        hwmon/hwmon12/temp1_input = 42000
        hwmon/other/temp1_input = 43000
        [sys/bus/pci/devices]
        0000:3b:00.0 -> ../../../devices/pci0000:3b/0000:3b:00.0
        []
        sys/bus/pci/drivers/nvidia/
        absolute -> /sys/bus/pci/devices/0000:3b:00.0
        outside -> ../../../../../../../../etc/hostname
        loop -> loop
        """,
        tmp_path / "root",
    )


def test_resolve_follows_links_inside_the_root(root):
    where = sysfs.resolve(root, "sys/bus/pci/devices", "0000:3b:00.0")
    assert where == str(root / "sys/devices/pci0000:3b/0000:3b:00.0")
    assert sysfs.resolve(root, "absolute/vendor") == f"{where}/vendor"
    assert sysfs.resolve(root, "sys/bus/../bus/./pci") == str(
        root / "sys/bus/pci"
    )


def test_resolve_does_not_leave_the_root(root):
    assert sysfs.resolve(root, "outside") == str(root / "etc/hostname")
    assert sysfs.resolve(root, "../../../etc/passwd") == str(
        root / "etc/passwd"
    )


def test_resolve_of_what_is_missing(root):
    assert sysfs.resolve(root, "sys/none/at/all") == str(
        root / "sys/none/at/all"
    )


def test_resolve_ends_in_a_loop(root):
    with pytest.raises(exception.DriverError, match="too many links"):
        sysfs.resolve(root, "loop")


def test_read(root):
    path = sysfs.resolve(root, "absolute")
    assert sysfs.read_text(path, "vendor") == "0x10de"
    assert sysfs.read_optional(path, "vendor") == "0x10de"
    assert sysfs.read_int(path, "sriov_totalvfs") == 16
    assert sysfs.read_int(path, "vendor") == 0x10DE
    assert sysfs.link_name(path, "driver") == "nvidia"


def test_read_what_is_missing(root):
    path = sysfs.resolve(root, "absolute")
    with pytest.raises(exception.DriverError, match=r"0000:3b:00\.0/device"):
        sysfs.read_text(path, "device")
    with pytest.raises(exception.DriverError, match="net cannot be read"):
        sysfs.names(path, "net")
    assert sysfs.read_optional(path, "device") is None
    assert sysfs.read_int(path, "device") is None
    assert sysfs.read_int(path, "broken") is None
    assert sysfs.names_optional(path, "net") == []
    assert sysfs.link_name(path, "vendor") is None
    assert not sysfs.is_directory(path, "net")


def test_optional_file_whose_read_fails(root):
    """As of a directory, the kernel may refuse a read in many ways."""
    path = sysfs.resolve(root, "absolute")
    assert sysfs.read_optional(path, "hwmon") is None


def test_glob_is_sorted(root):
    path = sysfs.resolve(root, "absolute")
    found = sysfs.glob(path, "hwmon/hwmon*/temp1_input")
    assert [os.path.relpath(name, path) for name in found] == [
        "hwmon/hwmon12/temp1_input",
        "hwmon/hwmon3/temp1_input",
    ]
    assert sysfs.glob(path, "hwmon/hwmon*/none") == []


def test_write_needs_a_file(root):
    path = sysfs.resolve(root, "absolute/vendor")
    sysfs.write_sysfs(path, "1")
    assert sysfs.read_text(path) == "1"
    with pytest.raises(FileNotFoundError):
        sysfs.write_sysfs(sysfs.resolve(root, "absolute/new"), "1")


def test_long_file(tmp_path):
    path = tmp_path / "mountinfo"
    path.write_text("x" * 10000 + "\n")
    assert sysfs.read_text(path) == "x" * 10000
