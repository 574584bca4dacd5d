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
_BLKDISCARD = "blkdiscard"
_DAXIO = "daxio"

_CONTROLLER = re.compile(r"nvme[0-9]+")
_NAMESPACE = re.compile(r"nvme[0-9]+n[0-9]+")
_DAX = re.compile(r"/dev/dax[0-9]+\.[0-9]+")
_READS = {
    "id-ctrl": _CONTROLLER,
    "smart-log": _CONTROLLER,
    "id-ns": _NAMESPACE,
}


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


def reprobe(root: sysfs.Path, address: str) -> None:
    """Give a function back to its driver; see :func:`.reset_file.reprobe`."""
    if _is_machine(root):
        _reprobe(address)
    else:
        reset_file.reprobe(root, address)


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
    try:
        found: str = nvme_read("smart-log", name, timeout)
    except exception.CommandFailed as error:
        if error.kwargs.get("code") == errno.ENOENT:
            return None
        raise
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


@privsep.sysfs_pctxt.entrypoint
def _reset_function(address: str) -> None:
    reset_file.write("/", address)


@privsep.sysfs_pctxt.entrypoint
def _reprobe(address: str) -> None:
    reset_file.reprobe("/", address)


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


@privsep.sys_admin_pctxt.entrypoint
def nvme_read(what: str, name: str, timeout: float) -> str:
    """Return what an NVMe drive says of itself, as JSON.

    :param what: id-ctrl or smart-log of a controller, id-ns of a namespace
    :raises CommandFailed: the tool is missing, failed or took too long
    """
    if what not in _READS:
        raise exception.Invalid(f"{what!r} is not {', '.join(_READS)}")
    device = _device(name, _READS[what])
    return command.run(
        [_NVME, what, device, "--output-format=json"], timeout=timeout
    )


@privsep.sys_admin_pctxt.entrypoint
def nvme_sanitize(name: str, action: int, timeout: float) -> str:
    """Begin to erase a whole drive; returns at once.

    :param action: 2 erases its blocks, 4 its key
    :raises CommandFailed: the tool is missing, failed or took too long
    """
    if action not in (2, 4):
        raise exception.Invalid(f"{action!r} erases no drive")
    device = _device(name, _CONTROLLER)
    return command.run(
        [_NVME, "sanitize", device, f"--sanact={action}"], timeout=timeout
    )


@privsep.sys_admin_pctxt.entrypoint
def nvme_sanitize_log(name: str, timeout: float) -> str:
    """Return how far a drive is with that, as the tool prints it."""
    device = _device(name, _CONTROLLER)
    return command.run([_NVME, "sanitize-log", device], timeout=timeout)


@privsep.sys_admin_pctxt.entrypoint
def nvme_format(
    name: str,
    erase: int,
    lbaf: int,
    metadata: int,
    protection: int,
    location: int,
    timeout: float,
) -> str:
    """Erase a namespace by formatting it.

    :param erase: 1 erases its data, 2 its key
    :param lbaf: format, and then as in ``nvme format``: ms, pi, pil
    :raises CommandFailed: the tool is missing, failed or took too long
    """
    for value, least, most in (
        (erase, 1, 2),
        (lbaf, 0, 63),
        (metadata, 0, 1),
        (protection, 0, 3),
        (location, 0, 1),
    ):
        if not least <= int(value) <= most:
            raise exception.Invalid(f"{value!r} is no setting of a format")
    argv = [
        _NVME,
        "format",
        _device(name, _NAMESPACE),
        f"--ses={int(erase)}",
        f"--lbaf={int(lbaf)}",
        f"--ms={int(metadata)}",
        f"--pi={int(protection)}",
        f"--pil={int(location)}",
        f"--timeout={int(timeout * 1000)}",
    ]
    # The tool waits some seconds before it begins.
    return command.run(argv, timeout=timeout + 30)


@privsep.sys_admin_pctxt.entrypoint
def zero_out(name: str, timeout: float) -> str:
    """Overwrite a namespace with zeroes; not if it is mounted.

    :raises CommandFailed: the tool is missing, failed or took too long
    """
    device = _device(name, _NAMESPACE)
    return command.run([_BLKDISCARD, "--zeroout", device], timeout=timeout)


@privsep.sys_admin_pctxt.entrypoint
def daxio_zero(device: str, timeout: float) -> str:
    """Overwrite persistent memory with zeroes.

    :param device: /dev/dax0.0
    :raises CommandFailed: the tool is missing, failed or took too long
    """
    if not _DAX.fullmatch(device):
        raise exception.Invalid(f"{device!r} is no device of mode devdax")
    return command.run([_DAXIO, "-z", "-o", device], timeout=timeout)


def _device(name: str, pattern: re.Pattern[str]) -> str:
    if not pattern.fullmatch(name):
        raise exception.Invalid(f"{name!r} is no NVMe drive or namespace")
    return f"/dev/{name}"


def _is_machine(root: sysfs.Path) -> bool:
    return os.path.abspath(root) == "/"


def _image(path: str) -> str:
    """Return the path of an image, if a tool may be given it."""
    if not os.path.isabs(path) or not pathlib.Path(path).is_file():
        raise exception.Invalid(f"{path!r} is not the path of a file")
    return path
