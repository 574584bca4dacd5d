"""Mediated devices on a tree that answers as the kernel does."""

import errno

import pytest

from cyborg.accelerator import mdev
from cyborg.accelerator import pci
from cyborg.accelerator import sysfs
from cyborg.common import exception
from cyborg.tests.fixtures import machine

ADDRESS = "0000:af:00.0"
UUID = "1d4f0f0e-8d4c-4d53-9a93-1f6c4a6a1d11"
OTHER = "2d4f0f0e-8d4c-4d53-9a93-1f6c4a6a1d12"


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setattr(sysfs, "write_sysfs", machine.FakeKernel())
    return machine.unpack("gpu_server", tmp_path)


def read(root, mdev_type="nvidia-222", address=ADDRESS):
    return mdev.read_type(pci.read_functions(root)[address], mdev_type)


def test_types(root):
    functions = pci.read_functions(root)
    assert mdev.type_names(functions[ADDRESS]) == [
        "nvidia-222",
        "nvidia-223",
        "nvidia-230",
        "nvidia-234",
    ]
    assert mdev.type_names(functions["0000:3b:00.0"]) is None
    assert read(root) == mdev.Type("GRID T4-1B", 16, (), None)
    used = read(root, address="0000:b0:00.0")
    assert (used.available, used.existing, used.total) == (14, 2, 16)


@pytest.mark.parametrize("name", ["nvidia-1", "", "../../device"])
def test_type_that_is_not_offered(root, name):
    with pytest.raises(exception.InvalidVGPUType):
        read(root, name)


def test_create_changes_no_total(root):
    mdev.create(root, ADDRESS, "nvidia-222", UUID)
    assert read(root) == mdev.Type("GRID T4-1B", 15, (UUID,), None)
    # The card is of one type now.
    assert read(root, "nvidia-223").total == 0
    mdev.remove(root, ADDRESS, "nvidia-222", UUID)
    assert read(root) == mdev.Type("GRID T4-1B", 16, (), None)
    assert read(root, "nvidia-223").total == 8


def test_create_twice_and_remove_twice(root):
    for _time in range(2):
        mdev.create(root, ADDRESS, "nvidia-222", UUID)
    assert read(root).existing == 1
    for _time in range(2):
        mdev.remove(root, ADDRESS, "nvidia-222", UUID)
    assert read(root).existing == 0


def test_somebody_else_was_faster(root, monkeypatch):
    """Nova makes the same mdev between our look and our write."""
    kernel = machine.FakeKernel()

    def raced(path, text):
        kernel(path, text)
        raise FileExistsError(errno.EEXIST, "File exists")

    monkeypatch.setattr(sysfs, "write_sysfs", raced)
    mdev.create(root, ADDRESS, "nvidia-222", UUID)
    assert read(root).existing == 1


def test_uuid_of_another_type(root):
    mdev.create(root, ADDRESS, "nvidia-222", UUID)
    with pytest.raises(exception.DriverError, match="another parent or type"):
        mdev.create(root, ADDRESS, "nvidia-223", UUID)


def test_full_card(root):
    mdev.create(root, ADDRESS, "nvidia-234", UUID)
    with pytest.raises(exception.DriverError, match="cannot be made"):
        mdev.create(root, ADDRESS, "nvidia-234", OTHER)


def test_create_without_host_driver(root):
    with pytest.raises(exception.DriverError, match="No such file"):
        mdev.create(root, "0000:b1:00.0", "nvidia-222", UUID)


def test_remove_in_use(root, monkeypatch):
    def busy(path, text):
        raise OSError(errno.EBUSY, "Device or resource busy")

    monkeypatch.setattr(sysfs, "write_sysfs", busy)
    with pytest.raises(exception.DriverError, match="busy"):
        mdev.remove(root, ADDRESS, "nvidia-222", UUID)


@pytest.mark.parametrize("operation", [mdev.create, mdev.remove])
@pytest.mark.parametrize(
    ("address", "mdev_type", "uuid"),
    [
        ("0000:af:00.0/../..", "nvidia-222", UUID),
        ("", "nvidia-222", UUID),
        (ADDRESS, "../nvidia-222", UUID),
        (ADDRESS, "..", UUID),
        (ADDRESS, "", UUID),
        (ADDRESS, "a\nb", UUID),
        (ADDRESS, "nvidia-222", "../../x"),
        (ADDRESS, "nvidia-222", UUID.upper()),
        (ADDRESS, "nvidia-222", f"{UUID}\n"),
        (ADDRESS, "nvidia-222", "{" + UUID + "}"),
        (ADDRESS, "nvidia-222", None),
    ],
)
def test_arguments_are_checked(
    operation, address, mdev_type, uuid, root, monkeypatch
):
    kernel = machine.FakeKernel()
    monkeypatch.setattr(sysfs, "write_sysfs", kernel)
    with pytest.raises((exception.Invalid, exception.ConfigInvalid)):
        operation(root, address, mdev_type, uuid)
    assert kernel.writes == []
