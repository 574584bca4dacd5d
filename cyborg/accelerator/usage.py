"""Says what the host itself does with a PCI function.

A function with a reason here must not be given to a guest: it is the host's
disk, its way to the network, or something it cannot run without.
"""

from collections.abc import Iterator

from cyborg.accelerator import disks
from cyborg.accelerator import namespaces
from cyborg.accelerator import networks
from cyborg.accelerator import pci
from cyborg.accelerator import processes
from cyborg.accelerator import sysfs
from cyborg.accelerator import vfio

# Base class, or base class and sub-class: 0604 is a PCI bridge.
_HOST_CLASSES = {
    "05": "is a memory controller",
    "06": "is a bridge",
    "08": "is a part of the board",
    "0c03": "is a USB controller",
    "0c05": "is the board's SMBus",
}
# Their disks are not always to be seen as block devices of the function.
_HOST_DRIVERS = (
    "aacraid",
    "ahci",
    "hpsa",
    "megaraid_sas",
    "mpt3sas",
    "mpi3mr",
    "smartpqi",
)
# A program of the host has what is bound to these.
_USER_SPACE_DRIVERS = ("igb_uio", "uio_pci_generic")


class Host:
    """What a machine does with its functions, as of one time.

    :param root: directory taken for ``/``
    """

    def __init__(self, root: sysfs.Path) -> None:
        spaces = namespaces.Namespaces(root)
        self.disks = disks.Disks(root, spaces)
        self.networks = networks.Networks(root)
        self.processes = processes.Processes(root, spaces)

    def reasons(self, function: pci.Function) -> list[str]:
        """Return why a function must stay with the host; [] if it may go."""
        return [
            *_board(function),
            *self.disks.uses(function.path),
            *self.networks.uses(function.path),
            *self.processes.spdk(function.address),
        ]


def _board(function: pci.Function) -> Iterator[str]:
    for prefix, reason in _HOST_CLASSES.items():
        if function.class_code.startswith(prefix):
            yield reason
    # Documentation/ABI: 1 for the device the firmware shows its screen on.
    if (
        function.class_code.startswith("03")
        # What is ready for guests shows no console.
        and not vfio.is_driver(function.driver)
        and sysfs.read_int(function.path, "boot_vga") == 1
    ):
        yield "shows the host's console"
    if function.driver in _HOST_DRIVERS:
        yield f"is bound to the host's storage driver {function.driver}"
    if function.driver in _USER_SPACE_DRIVERS:
        yield f"is bound to {function.driver}, so a program of the host has it"
