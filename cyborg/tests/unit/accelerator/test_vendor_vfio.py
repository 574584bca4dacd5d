"""vGPUs by NVIDIA's own VFIO framework."""

import errno

import pytest

from cyborg.accelerator import pci
from cyborg.accelerator import sysfs
from cyborg.accelerator import vendor_vfio
from cyborg.common import exception
from cyborg.tests.fixtures import machine

FREE = "0000:c1:00.5"


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setattr(sysfs, "write_sysfs", machine.FakeKernel())
    return machine.unpack("gpu_hopper", tmp_path)


def function(root, address=FREE):
    return pci.read_functions(root)[address]


@pytest.mark.parametrize(
    "text",
    [
        "ID    : vGPU Name\n1428  : NVIDIA H200X-141C\n",
        "1428 : NVIDIA H200X-141C",
        "1428 NVIDIA H200X-141C",
        "NVIDIA H200X-141C 1428",
        "NVIDIA H200X-141C : 1428\n\n",
    ],
)
def test_either_order(text):
    assert vendor_vfio.parse_types(text) == {1428: "NVIDIA H200X-141C"}


def test_no_types():
    assert vendor_vfio.parse_types("") == {}


def test_read(root):
    assert vendor_vfio.is_offered(function(root))
    assert not vendor_vfio.is_offered(function(root, "0000:c1:00.0"))
    assert vendor_vfio.current_type(function(root)) == 0
    assert vendor_vfio.creatable_types(function(root)) == {
        1428: "NVIDIA H200X-141C",
        1414: "NVIDIA H200X-1-18C",
    }


def test_set_and_clear(root):
    for _time in range(2):
        vendor_vfio.set_type(root, FREE, 1414)
    assert vendor_vfio.current_type(function(root)) == 1414
    for _time in range(2):
        vendor_vfio.clear_type(root, FREE, 1414)
    assert vendor_vfio.current_type(function(root)) == 0


def test_refused_without_a_word(root):
    with pytest.raises(exception.DriverError, match="no effect"):
        vendor_vfio.set_type(root, FREE, 9)


def test_refused_with_an_error(root, monkeypatch):
    def refuse(path, text):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(sysfs, "write_sysfs", refuse)
    with pytest.raises(exception.DriverError, match="refused"):
        vendor_vfio.set_type(root, FREE, 1414)


def test_other_vgpu_is_not_taken(root):
    """A guest may have it."""
    with pytest.raises(exception.DriverError, match="of type 1428, not 1414"):
        vendor_vfio.set_type(root, "0000:c1:00.6", 1414)
    vendor_vfio.clear_type(root, "0000:c1:00.6", 1414)
    assert vendor_vfio.current_type(function(root, "0000:c1:00.6")) == 1428


@pytest.mark.parametrize("name", ["nvidia", "nvidia-", "T4-1B", "nvidia-1x"])
def test_type_without_a_number(name):
    with pytest.raises(exception.InvalidVGPUType):
        vendor_vfio.type_number(name)


def test_type_number():
    assert vendor_vfio.type_number("nvidia-557") == 557
    assert vendor_vfio.type_number("557") == 557
