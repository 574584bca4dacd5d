"""What a host does with the disks of its PCI functions.

Each source is read once, when it is first asked of, for all disks; one
:class:`Disks` is what the host did at one time.

=============================  ============================================
``/proc/{1,self}/mountinfo``   mounts: of the host's first process, which
                               lies where the agent's container has one of
                               its own, and of the agent
``/sys/fs/<type>``             mounted file systems by device, in whatever
                               namespace: ext4, xfs, f2fs, btrfs, bcachefs
``holders``                    what is made of a disk: LVM, RAID, multipath
``/proc/swaps``                swap space
``/sys/kernel/config``         disks that nvmet and LIO export
``/run/udev/data``             signatures: what was written to a disk
=============================  ============================================
"""

from collections.abc import Iterator
import functools
import os
import re

from cyborg.accelerator import namespaces
from cyborg.accelerator import pci
from cyborg.accelerator import sysfs

# Name mounted file systems by their device: ``/sys/fs/xfs/nvme0n1p1``.
_FS_BY_DEVICE = ("ext4", "xfs", "f2fs")
# Links to the devices: ``/sys/fs/btrfs/<uuid>/devices/nvme0n1``.
_FS_BY_LINK = {"btrfs": "*/devices/*", "bcachefs": "*/dev-*/block"}
_EXPORTS = (
    ("nvmet", "nvmet/subsystems/*/namespaces/*/device_path"),
    ("LIO", "target/core/*/*/udev_path"),
)
_NVME_DISK = re.compile(r"nvme\d+n\d+")
_CONFIGFS = "sys/kernel/config"


class Disks:
    """The disks of a machine, and their use.

    :param root: directory taken for ``/``
    :param spaces: whether the agent sees the host's mounts
    """

    def __init__(
        self, root: sysfs.Path, spaces: namespaces.Namespaces
    ) -> None:
        self._root = root
        self._spaces = spaces

    # -- evidence

    def is_evident(self, function: str) -> bool:
        """Return whether it can be told what the host does with the disks.

        Either the host's mounts are to be seen, or what the kernel itself
        says of mounted file systems and of what disks are made into.

        :param function: path of the PCI function
        """
        disks = self.of(function)
        if not disks or self._spaces.sees_mounts:
            return True
        # Every one has it; a recorded machine may show those of some only.
        return self._has_fs and any(
            sysfs.is_directory(path, "holders") for _name, path in disks
        )

    @functools.cached_property
    def _has_fs(self) -> bool:
        return sysfs.is_directory(sysfs.resolve(self._root, "sys/fs"))

    # -- what there is

    def of(self, function: str) -> list[tuple[str, str]]:
        """Return name and path of the disks and partitions of a function."""
        own = self._by_function.get(function, [])
        return sorted({*own, *self._shared.get(function, [])})

    @functools.cached_property
    def _blocks(self) -> dict[str, str]:
        """Path by name of everything in ``/sys/class/block``."""
        directory = sysfs.resolve(self._root, "sys/class/block")
        return {
            name: sysfs.resolve(self._root, "sys/class/block", name)
            for name in sysfs.names_optional(directory)
        }

    @functools.cached_property
    def _by_function(self) -> dict[str, list[tuple[str, str]]]:
        found: dict[str, list[tuple[str, str]]] = {}
        for name, path in self._blocks.items():
            function = pci.function_above(path)
            if function is not None:
                found.setdefault(function, []).append((name, path))
        return found

    @functools.cached_property
    def _shared(self) -> dict[str, list[tuple[str, str]]]:
        """The disks of NVMe drives that may have several controllers.

        Those hang below ``/sys/devices/virtual/nvme-subsystem``, not below a
        PCI function; the subsystem has a link to each controller.
        """
        found: dict[str, list[tuple[str, str]]] = {}
        directory = "sys/class/nvme-subsystem"
        for name in sysfs.names_optional(sysfs.resolve(self._root, directory)):
            subsystem = sysfs.resolve(self._root, directory, name)
            members = sysfs.names_optional(subsystem)
            tops = [
                os.path.join(subsystem, member) + "/"
                for member in members
                if _NVME_DISK.fullmatch(member)
            ]
            disks = [
                (block, path)
                for block, path in self._blocks.items()
                if any(f"{path}/".startswith(top) for top in tops)
            ]
            for member in members:
                function = pci.function_above(
                    sysfs.resolve(self._root, directory, name, member)
                )
                if function is not None:
                    found.setdefault(function, []).extend(disks)
        return found

    # -- what is done with it

    def uses(self, function: str) -> Iterator[str]:
        """Yield how the host uses the disks of a function."""
        for name, path in self.of(function):
            yield from self._uses(name, path)

    def _uses(self, name: str, path: str) -> Iterator[str]:
        numbers, sources = self._mounts
        for holder in sysfs.names_optional(path, "holders"):
            yield f"has the disk {name}, which {holder} is made of"
        number = sysfs.read_optional(path, "dev")
        where = numbers.get(number or "") or sources.get(f"/dev/{name}")
        if where:
            yield f"has the disk {name}, mounted on {where}"
        if f"/dev/{name}" in self._swaps:
            yield f"has the disk {name}, used as swap space"
        file_system = self._file_systems.get(name)
        if file_system and not where:
            yield f"has the disk {name}, a part of a mounted {file_system}"
        if name in self._exported:
            yield f"has the disk {name}, exported by {self._exported[name]}"

    @functools.cached_property
    def _mounts(self) -> tuple[dict[str, str], dict[str, str]]:
        """Where devices are mounted, by number and by path.

        The number is that of the file system, which for btrfs is no
        device's, and the path may be an alias such as ``/dev/root``; one of
        the two fits. See proc(5)::

            36 35 259:2 / /home rw,noatime shared:1 - ext4 /dev/nvme0n1p2 rw
        """
        numbers: dict[str, str] = {}
        sources: dict[str, str] = {}
        for line in self._spaces.mountinfo:
            before, _dash, after = line.partition(" - ")
            fields, ending = before.split(), after.split()
            if len(fields) < 5 or len(ending) < 2:
                continue
            numbers.setdefault(fields[2], fields[4])
            sources.setdefault(ending[1], fields[4])
        return numbers, sources

    @functools.cached_property
    def _file_systems(self) -> dict[str, str]:
        """Type of the mounted file systems, by name of their devices."""
        found = {}
        for kind in _FS_BY_DEVICE:
            directory = sysfs.resolve(self._root, "sys/fs", kind)
            for name in sysfs.names_optional(directory):
                found[name] = kind
        for kind, pattern in _FS_BY_LINK.items():
            top = sysfs.resolve(self._root, "sys/fs", kind)
            for path in sysfs.glob(top, pattern):
                target = sysfs.link_name(path)
                found[target or os.path.basename(path)] = kind
        return found

    @functools.cached_property
    def _swaps(self) -> set[str]:
        """The devices in ``/proc/swaps``, below its heading."""
        lines = sysfs.read_lines(sysfs.resolve(self._root, "proc/swaps"))
        return {line.split()[0] for line in lines[1:] if line.split()}

    @functools.cached_property
    def _exported(self) -> dict[str, str]:
        """Which target exports a disk, by its name."""
        found = {}
        top = sysfs.resolve(self._root, _CONFIGFS)
        for target, pattern in _EXPORTS:
            for path in sysfs.glob(top, pattern):
                device = (sysfs.read_optional(path) or "").strip("\n")
                if device.startswith("/dev/"):
                    # May be a link of /dev/disk/by-id.
                    place = sysfs.resolve(self._root, device)
                    found[os.path.basename(place)] = target
        return found

    # -- what was written to it

    def signatures(self, function: str) -> Iterator[str]:
        """Yield what udev recognised on the disks of a function.

        ``/run/udev/data/b259:1`` has lines ``E:ID_FS_TYPE=LVM2_member``.
        Nothing is yielded where the database is out of reach.
        """
        for name, path in self.of(function):
            number = sysfs.read_optional(path, "dev")
            if not number:
                continue
            record = sysfs.resolve(self._root, f"run/udev/data/b{number}")
            for line in sysfs.read_lines(record):
                key, _equals, value = line.partition("=")
                if key == "E:ID_FS_TYPE" and value:
                    yield f"has the disk {name}, which carries {value}"
