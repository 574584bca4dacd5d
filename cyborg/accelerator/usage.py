"""Says what the host itself does with a PCI function.

A function with a reason here must not be given to a guest: it is the host's
disk, its way to the network, or something it cannot run without.
"""

from collections.abc import Iterator
import os
import re

from cyborg.accelerator import sysfs

# First digits of the file ``class``: 0x060400 is a PCI bridge.
_HOST_CLASSES = {
    "0x05": "is a memory controller",
    "0x06": "is a bridge",
    "0x08": "is a part of the board",
    "0x0c03": "is a USB controller",
    "0x0c05": "is the board's SMBus",
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

_NVME_DISK = re.compile(r"nvme\d+n\d+")


def reasons(root: sysfs.Path, address: str) -> list[str]:
    """Return why a function must stay with the host; nothing if it may go.

    :param address: ``0000:5e:00.0``
    """
    function = sysfs.resolve(root, "sys/bus/pci/devices", address)
    return [
        *_board(function),
        *disk_reasons(root, address),
        *_network(root, function),
    ]


def _board(function: str) -> Iterator[str]:
    code = sysfs.read_optional(function, "class") or ""
    for prefix, reason in _HOST_CLASSES.items():
        if code.startswith(prefix):
            yield reason
    # Documentation/ABI: 1 for the device the firmware shows its screen on.
    if sysfs.read_int(function, "boot_vga") == 1:
        yield "shows the host's console"
    driver = sysfs.link_name(function, "driver")
    if driver in _HOST_DRIVERS:
        yield f"is bound to the host's storage driver {driver}"


def disk_reasons(root: sysfs.Path, address: str) -> list[str]:
    """Return how the host uses the disks of a function: not at all, if [].

    Looked at are the disks and their partitions: devices made of them (LVM,
    RAID, dm-crypt ...), mounts, swap space, and btrfs of several disks.
    """
    function = sysfs.resolve(root, "sys/bus/pci/devices", address)
    numbers, sources = _mounts(root)
    swaps = _swaps(root)
    members = _btrfs_members(root)
    found = []
    for name, path in _block_devices(root, function):
        found += [
            f"has the disk {name}, which {holder} is made of"
            for holder in sysfs.names_optional(path, "holders")
        ]
        number = sysfs.read_optional(path, "dev")
        where = numbers.get(number or "") or sources.get(f"/dev/{name}")
        if where:
            found.append(f"has the disk {name}, mounted on {where}")
        if f"/dev/{name}" in swaps:
            found.append(f"has the disk {name}, used as swap space")
        if name in members and not where:
            found.append(f"has the disk {name}, a part of a mounted btrfs")
    return found


def _block_devices(
    root: sysfs.Path, function: str
) -> Iterator[tuple[str, str]]:
    """Yield name and path of the disks and partitions of a function."""
    tops = [function, *_shared_disks(root, function)]
    for name in sysfs.names_optional(sysfs.resolve(root, "sys/class/block")):
        path = sysfs.resolve(root, "sys/class/block", name)
        if any(path == top or path.startswith(top + "/") for top in tops):
            yield name, path


def _shared_disks(root: sysfs.Path, function: str) -> Iterator[str]:
    """Yield the disks of NVMe drives that may have several controllers.

    Those hang below ``/sys/devices/virtual/nvme-subsystem``, not below a PCI
    function; the subsystem has a link to each controller, by name.
    """
    controllers = set(sysfs.names_optional(function, "nvme"))
    if not controllers:
        return
    directory = "sys/class/nvme-subsystem"
    for name in sysfs.names_optional(sysfs.resolve(root, directory)):
        subsystem = sysfs.resolve(root, directory, name)
        members = sysfs.names_optional(subsystem)
        if controllers.isdisjoint(members):
            continue
        for member in members:
            if _NVME_DISK.fullmatch(member):
                yield os.path.join(subsystem, member)


def _mounts(root: sysfs.Path) -> tuple[dict[str, str], dict[str, str]]:
    """Return where devices are mounted, by number and by path.

    The number is that of the file system, which for btrfs is no device's, and
    the path may be an alias such as ``/dev/root``; one of the two fits. See
    proc(5)::

        36 35 259:2 / /home rw,noatime shared:1 - ext4 /dev/nvme0n1p2 rw
    """
    numbers: dict[str, str] = {}
    sources: dict[str, str] = {}
    path = sysfs.resolve(root, "proc/self/mountinfo")
    for line in sysfs.read_lines(path):
        before, _dash, after = line.partition(" - ")
        fields, ending = before.split(), after.split()
        if len(fields) < 5 or len(ending) < 2:
            continue
        numbers.setdefault(fields[2], fields[4])
        sources.setdefault(ending[1], fields[4])
    return numbers, sources


def _btrfs_members(root: sysfs.Path) -> set[str]:
    """Return the disks and partitions of mounted btrfs file systems.

    Of several, mountinfo names one; ``/sys/fs/btrfs/<uuid>/devices`` has a
    link to each.
    """
    top = sysfs.resolve(root, "sys/fs/btrfs")
    return {os.path.basename(path) for path in sysfs.glob(top, "*/devices/*")}


def _swaps(root: sysfs.Path) -> set[str]:
    """Return the devices in ``/proc/swaps``, below its heading."""
    lines = sysfs.read_lines(sysfs.resolve(root, "proc/swaps"))
    return {line.split()[0] for line in lines[1:] if line.split()}


def _network(root: sysfs.Path, function: str) -> Iterator[str]:
    uplinks = _uplinks(root)
    for name in sysfs.names_optional(sysfs.resolve(root, "sys/class/net")):
        path = sysfs.resolve(root, "sys/class/net", name)
        if not path.startswith(function + "/"):
            continue
        if name in uplinks:
            yield f"has the network device {name}, the host's default route"
        master = sysfs.link_name(path, "master")
        if master:
            yield f"has the network device {name}, a port of {master}"


def _uplinks(root: sysfs.Path) -> set[str]:
    """Return the devices default routes lead to, and those below them.

    A bond, a bridge or a VLAN has a link ``lower_<device>`` to each device
    that carries its traffic.
    """
    todo = _default_routes(root)
    found: set[str] = set()
    while todo:
        name = todo.pop()
        if name in found:
            continue
        found.add(name)
        path = sysfs.resolve(root, "sys/class/net", name)
        todo.extend(
            entry.removeprefix("lower_")
            for entry in sysfs.names_optional(path)
            if entry.startswith("lower_")
        )
    return found


def _default_routes(root: sysfs.Path) -> list[str]:
    """Return the devices with a route to everywhere, and a carrier.

    ``/proc/net/route`` has the device first, then destination and, in the
    eighth column, mask; ``/proc/net/ipv6_route`` has the destination first,
    then its length, and the device last.
    """
    found = []
    text = sysfs.read_optional(sysfs.resolve(root, "proc/net/route")) or ""
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 7 and fields[1] == fields[7] == "00000000":
            found.append(fields[0])
    path = sysfs.resolve(root, "proc/net/ipv6_route")
    for line in (sysfs.read_optional(path) or "").splitlines():
        fields = line.split()
        if len(fields) > 9 and fields[0] == "0" * 32 and fields[1] == "00":
            found.append(fields[9])
    # The kernel's own entry that refuses what has no route.
    found = [name for name in found if name != "lo"]
    return [
        name
        for name in found
        if sysfs.read_optional(
            sysfs.resolve(root, "sys/class/net", name), "operstate"
        )
        != "down"
    ]
