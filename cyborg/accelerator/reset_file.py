"""The kernel's files to reset PCI functions, and to bind them.

``/sys/bus/pci/devices/<address>/reset`` is there if the kernel knows a way,
``reset_method`` names them: ``flr bus`` (Documentation/ABI/testing/
sysfs-bus-pci).
"""

import os

from cyborg.accelerator import pci
from cyborg.accelerator import sysfs
from cyborg.accelerator import vfio
from cyborg.common import exception

_RESET = "reset"
_METHODS = "reset_method"
_PROBE = "sys/bus/pci/drivers_probe"


def methods(root: sysfs.Path, address: str) -> list[str]:
    """Return how the kernel can reset a function; [] if it cannot.

    Kernels before 5.15 say only whether: ``["reset"]``.
    """
    path = sysfs.resolve(root, pci.DEVICES, pci.normalise_address(address))
    if not os.path.exists(os.path.join(path, _RESET)):
        return []
    text = sysfs.read_optional(path, _METHODS)
    return [_RESET] if text is None else text.split()


def write(root: sysfs.Path, address: str) -> None:
    """Reset a function; blocks until the kernel has it back.

    :raises PciDeviceWrongAddressFormat: it is no address
    :raises DriverError: the kernel cannot, or did not
    """
    address = pci.normalise_address(address)
    path = sysfs.resolve(root, pci.DEVICES, address, _RESET)
    try:
        sysfs.write_sysfs(path, "1")
    except OSError as error:
        raise exception.DriverError(
            reason=f"{address} was not reset: {error.strerror}"
        ) from error


def reprobe(root: sysfs.Path, address: str) -> None:
    """Take a function from what made it ready for guests.

    Its own driver gets it. The caller knows that nobody has it.

    :raises PciDeviceWrongAddressFormat: it is no address
    :raises DriverError: the kernel refused
    """
    address = pci.normalise_address(address)
    path = sysfs.resolve(root, pci.DEVICES, address)
    bound = sysfs.link_name(path, "driver")
    try:
        if vfio.is_driver(bound):
            sysfs.write_sysfs(os.path.join(path, "driver", "unbind"), address)
        override = os.path.join(path, "driver_override")
        if os.path.exists(override):
            sysfs.write_sysfs(override, "\n")
        sysfs.write_sysfs(sysfs.resolve(root, _PROBE), address)
    except OSError as error:
        raise exception.DriverError(
            reason=f"{address} was not given back to its driver: "
            f"{error.strerror}"
        ) from error
