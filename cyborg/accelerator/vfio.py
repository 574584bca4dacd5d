"""Functions that are ready for guests, and the processes that have them."""

import os

from cyborg.accelerator import sysfs

# Those of VFIO, and persistent memory of mode devdax.
_NODES = ("/dev/vfio/", "/dev/dax")
# The container's, which every user of VFIO has open.
_CONTAINER = "/dev/vfio/vfio"


def is_driver(name: str | None) -> bool:
    """Return whether a function with this driver is ready for guests.

    Some makers have drivers of their own, such as ``mlx5_vfio_pci``.
    """
    return name is not None and name.replace("_", "-").endswith("vfio-pci")


def holders(root: sysfs.Path) -> dict[str, list[tuple[int, str]]]:
    """Return number and name of processes by the node that they have open.

    ``{"/dev/vfio/23": [(4711, "qemu-kvm")]}``. Needs CAP_SYS_PTRACE for the
    processes of other users.
    """
    found: dict[str, list[tuple[int, str]]] = {}
    top = sysfs.resolve(root, "proc")
    for number in sysfs.names_optional(top):
        if not number.isdigit():
            continue
        directory = os.path.join(top, number, "fd")
        for descriptor in sysfs.names_optional(directory):
            target = sysfs.link_target(directory, descriptor) or ""
            if target.startswith(_NODES) and target != _CONTAINER:
                name = sysfs.read_optional(top, number, "comm")
                entry = (int(number), name or "unknown")
                if entry not in found.setdefault(target, []):
                    found[target].append(entry)
    return found
