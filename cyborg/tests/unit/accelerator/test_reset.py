"""Functions are reset by the kernel, and only if nobody has them."""

import os
import pathlib

import pytest

from cyborg.accelerator import driver
from cyborg.accelerator import pci
from cyborg.accelerator import reset
from cyborg.accelerator import reset_file
from cyborg.accelerator import sysfs
from cyborg.common import exception
from cyborg.tests.fixtures import machine

ADDRESS = "0000:3b:00.0"
# The group that a recorded function is in.
GROUP = "iommu_group -> ../../../kernel/iommu_groups/23"
HOST_PIDS = "proc/self/ns/pid -> pid:[4026531836]\n"


def make(
    root: pathlib.Path, bound: str | None = "nvidia", *lines: str
) -> pathlib.Path:
    text = machine.function(
        ADDRESS, "10de", "1eb8", "030200", driver=bound, extra=[GROUP]
    )
    machine.unpack_text("\n".join([text, "[]", *lines]), root)
    return root


def path(root: pathlib.Path) -> pathlib.Path:
    return pathlib.Path(sysfs.resolve(root, pci.DEVICES, ADDRESS))


def able(root: pathlib.Path, methods: str | None = "flr bus") -> pathlib.Path:
    (path(root) / "reset").touch()
    if methods is not None:
        (path(root) / "reset_method").write_text(f"{methods}\n")
    (path(root) / "config").write_bytes(b"\xde\x10\xb8\x1e" + bytes(252))
    return root


@pytest.mark.parametrize(
    "methods, shown", [("flr bus", "flr, bus"), (None, "reset")]
)
def test_reset(tmp_path: pathlib.Path, methods: str, shown: str) -> None:
    root = able(make(tmp_path), methods)
    step = reset.step(root, ADDRESS)
    assert (step.name, step.hides) == ("pci-reset", True)
    assert step.destroys.endswith(f"({shown})")
    reset.reset(root, ADDRESS, step.timeout)
    assert (path(root) / "reset").read_text() == "1"


def test_the_kernel_knows_no_way(tmp_path: pathlib.Path) -> None:
    root = make(tmp_path)
    with pytest.raises(driver.CannotClean, match="no way to reset"):
        reset.step(root, ADDRESS)
    with pytest.raises(exception.DriverError, match="was not reset"):
        reset.reset(root, ADDRESS, 0)


@pytest.mark.parametrize("config", (None, b"\xff" * 256, b"\xde\x10"))
def test_a_card_that_does_not_answer_is_not_clean(
    tmp_path: pathlib.Path, config: bytes | None
) -> None:
    root = able(make(tmp_path))
    if config is None:
        (path(root) / "config").unlink()
    else:
        (path(root) / "config").write_bytes(config)
    with pytest.raises(exception.DriverError, match="does not answer"):
        reset.reset(root, ADDRESS, 0)


def test_a_virtual_function_has_no_vendor_there(
    tmp_path: pathlib.Path,
) -> None:
    root = able(make(tmp_path))
    (path(root) / "config").write_bytes(b"\xff" * 256)
    os.symlink("../0000:3b:00.0", path(root) / "physfn")
    reset.reset(root, ADDRESS, 0)


@pytest.mark.parametrize("address", ("../..", "0000:3b:00.0/../x", ""))
def test_only_functions(tmp_path: pathlib.Path, address: str) -> None:
    for write in (reset_file.write, reset_file.reprobe):
        with pytest.raises(exception.CyborgException):
            write(tmp_path, address)


def test_who_has_it(tmp_path: pathlib.Path) -> None:
    free = make(tmp_path / "free", "vfio-pci", HOST_PIDS)
    assert reset.holder(free, ADDRESS) is None
    held = make(
        tmp_path / "held",
        "vfio-pci",
        HOST_PIDS,
        "proc/4711/comm = qemu-kvm",
        "proc/4711/fd/9 -> /dev/vfio/23",
    )
    assert reset.holder(held, ADDRESS) == (
        "0000:3b:00.0 is open in process 4711, qemu-kvm"
    )
    # In a container of its own the agent sees nobody, and that says nothing.
    blind = make(
        tmp_path / "blind", "vfio-pci", "proc/self/ns/pid -> pid:[4026532999]"
    )
    assert "cannot be seen" in (reset.holder(blind, ADDRESS) or "")
    # The host's own driver: no guest has it.
    assert reset.holder(make(tmp_path / "own"), ADDRESS) is None
    with pytest.raises(exception.PciDeviceNotFoundById):
        reset.holder(free, "0000:99:00.0")


def test_it_is_given_back_to_its_driver(tmp_path: pathlib.Path) -> None:
    root = make(
        tmp_path,
        "vfio-pci",
        "sys/bus/pci/drivers/vfio-pci/unbind =",
        "sys/bus/pci/drivers_probe =",
    )
    (path(root) / "driver_override").write_text("vfio-pci\n")
    reset_file.reprobe(root, ADDRESS)
    assert (path(root) / "driver_override").read_text() == "\n"
    assert (root / "sys/bus/pci/drivers_probe").read_text() == ADDRESS
    unbound = root / "sys/bus/pci/drivers/vfio-pci/unbind"
    assert unbound.read_text() == ADDRESS
