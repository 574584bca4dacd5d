"""What the agent does as root: privsep entry points, and nothing else.

Programs and paths are fixed here, and each function checks its arguments
itself: they arrive from a process that is not trusted with more. Imports of
configuration are avoided, so timeouts are always given.

A tree below another root belongs to who recorded it, so :func:`create_mdev`
and its like need no privilege there.
"""

import errno
import os
import pathlib
import re

from cyborg import privsep
from cyborg.accelerator import command
from cyborg.accelerator import mdev
from cyborg.accelerator import pci
from cyborg.accelerator import reset_file
from cyborg.accelerator import sysfs
from cyborg.accelerator import vendor_vfio
from cyborg.accelerator import vfio
from cyborg.common import exception

_FPGACONF = "/usr/bin/fpgaconf"
_XBMGMT = "/opt/xilinx/xrt/bin/xbmgmt"
_NDCTL = "ndctl"
_NVME = "nvme"


def create_mdev(
    root: sysfs.Path, address: str, mdev_type: str, uuid: str
) -> None:
    """Make an mdev; see :func:`.mdev.create`."""
    if _is_machine(root):
        _create_mdev(address, mdev_type, uuid)
    else:
        mdev.create(root, address, mdev_type, uuid)


def remove_mdev(
    root: sysfs.Path, address: str, mdev_type: str, uuid: str
) -> None:
    """Remove an mdev; see :func:`.mdev.remove`."""
    if _is_machine(root):
        _remove_mdev(address, mdev_type, uuid)
    else:
        mdev.remove(root, address, mdev_type, uuid)


def set_vgpu_type(root: sysfs.Path, address: str, number: int) -> None:
    """Make a virtual function a vGPU; see :func:`.vendor_vfio.set_type`."""
    if _is_machine(root):
        _set_vgpu_type(address, number)
    else:
        vendor_vfio.set_type(root, address, number)


def clear_vgpu_type(root: sysfs.Path, address: str, number: int) -> None:
    """Undo :func:`set_vgpu_type`; see :func:`.vendor_vfio.clear_type`."""
    if _is_machine(root):
        _clear_vgpu_type(address, number)
    else:
        vendor_vfio.clear_type(root, address, number)


def reset_function(root: sysfs.Path, address: str) -> None:
    """Have the kernel reset a function; see :func:`.reset_file.write`."""
    if _is_machine(root):
        _reset_function(address)
    else:
        reset_file.write(root, address)


def vfio_holders(root: sysfs.Path) -> dict[str, list[tuple[int, str]]]:
    """Return who has nodes of VFIO open; see :func:`.vfio.holders`."""
    if not _is_machine(root):
        return vfio.holders(root)
    # The channel turns tuples into lists.
    return {
        node: [(number, name) for number, name in entries]
        for node, entries in _vfio_holders().items()
    }


@privsep.proc_pctxt.entrypoint
def _vfio_holders() -> dict[str, list[tuple[int, str]]]:
    return vfio.holders("/")


def qat_heartbeat(root: sysfs.Path, address: str) -> str | None:
    """Return ``0`` or ``-1``, None where the driver does not tell."""
    if _is_machine(root):
        found: str | None = _qat_heartbeat(address)
        return found
    return _read_qat_heartbeat(root, address)


def nvme_smart_log(root: sysfs.Path, name: str, timeout: float) -> str | None:
    """Return a drive's SMART log, JSON; None where nobody can be asked.

    :param name: of the controller: ``nvme0``
    :raises CommandFailed: the tool failed or took too long
    """
    if not _is_machine(root):
        return None
    found: str | None = _nvme_smart_log(name, timeout)
    return found


@privsep.proc_pctxt.entrypoint
def _qat_heartbeat(address: str) -> str | None:
    return _read_qat_heartbeat("/", address)


def _read_qat_heartbeat(root: sysfs.Path, address: str) -> str | None:
    address = pci.normalise_address(address)
    for path in sysfs.glob(
        sysfs.resolve(root, "sys/kernel/debug"), f"qat_*_{address}"
    ):
        return sysfs.read_optional(path, "heartbeat/status")
    return None


@privsep.sys_admin_pctxt.entrypoint
def _nvme_smart_log(name: str, timeout: float) -> str | None:
    if re.fullmatch(r"nvme\d+", name) is None:
        raise exception.Invalid(f"{name!r} is not the name of a controller")
    argv = [_NVME, "smart-log", f"/dev/{name}", "--output-format=json"]
    try:
        return command.run(argv, timeout=timeout)
    except exception.CommandFailed as error:
        if error.kwargs.get("code") == errno.ENOENT:
            return None
        raise


@privsep.sysfs_pctxt.entrypoint
def _reset_function(address: str) -> None:
    reset_file.write("/", address)


@privsep.sysfs_pctxt.entrypoint
def _create_mdev(address: str, mdev_type: str, uuid: str) -> None:
    mdev.create("/", address, mdev_type, uuid)


@privsep.sysfs_pctxt.entrypoint
def _remove_mdev(address: str, mdev_type: str, uuid: str) -> None:
    mdev.remove("/", address, mdev_type, uuid)


@privsep.sysfs_pctxt.entrypoint
def _set_vgpu_type(address: str, number: int) -> None:
    vendor_vfio.set_type("/", address, number)


@privsep.sysfs_pctxt.entrypoint
def _clear_vgpu_type(address: str, number: int) -> None:
    vendor_vfio.clear_type("/", address, number)


@privsep.sys_admin_pctxt.entrypoint
def fpgaconf(address: str, image_path: str, timeout: float) -> str:
    """Load a bitstream into an Intel FPGA; return what the tool printed.

    :raises CommandFailed: the tool is missing, failed or took too long
    """
    domain, bus, device, function = pci.parse_address(address)
    argv = [_FPGACONF]
    if int(domain, 16):
        argv += ["--segment", f"0x{domain}"]
    argv += ["--bus", f"0x{bus}", "--device", f"0x{device}"]
    argv += ["--function", f"0x{function}", _image(image_path)]
    return command.run(argv, timeout=timeout)


@privsep.sys_admin_pctxt.entrypoint
def xbmgmt_program(
    address: str, image_path: str, user: bool, timeout: float
) -> str:
    """Load an image into a Xilinx card; return what the tool printed.

    :param address: the management function
    :param user: the image is an ``xclbin`` for the user region; else it is
        the shell, which is active after a cold reboot
    :raises CommandFailed: the tool is missing, failed or took too long
    """
    address = pci.normalise_address(address)
    image = _image(image_path)
    argv = [_XBMGMT, "--force", "--batch", "program", "--device", address]
    argv += ["--user", image] if user else ["--base", "--image", image]
    return command.run(argv, timeout=timeout)


@privsep.sys_admin_pctxt.entrypoint
def ndctl_list(timeout: float) -> str:
    """Return what ``ndctl list -X`` prints.

    :raises CommandFailed: the tool is missing, failed or took too long
    """
    return command.run([_NDCTL, "list", "-X"], timeout=timeout)


def _is_machine(root: sysfs.Path) -> bool:
    return os.path.abspath(root) == "/"


def _image(path: str) -> str:
    """Return the path of an image, if a tool may be given it."""
    if not os.path.isabs(path) or not pathlib.Path(path).is_file():
        raise exception.Invalid(f"{path!r} is not the path of a file")
    return path
