"""Mediated devices: the types a card offers, and making and removing one.

Documentation/driver-api/vfio-mediated-device.rst of the kernel. Both
operations validate what they are given, since they may run as root on what
came over RPC.
"""

import dataclasses
import errno
import os
import re
import uuid as uuidlib

from cyborg.accelerator import pci
from cyborg.accelerator import sysfs
from cyborg.common import exception

TYPES = "mdev_supported_types"
_PARENTS = "sys/class/mdev_bus"
_MOST = re.compile(r"\bmax_instance=(\d+)")
_TYPE = re.compile(r"[A-Za-z0-9_.-]+")


@dataclasses.dataclass(frozen=True)
class Type:
    """One type of mdev that a function offers."""

    name: str  # name: GRID T4-1B; the type's id where a driver tells none
    available: int  # available_instances: how many more can be made
    devices: tuple[str, ...]  # devices/, uuids of those there are
    # description: "num_heads=4, ..., max_instance=6", of an empty card
    max_instance: int | None

    @property
    def existing(self) -> int:
        """How many there are."""
        return len(self.devices)

    @property
    def total(self) -> int:
        """How many there can be, which making one does not change."""
        return self.available + self.existing


def type_names(function: pci.Function) -> list[str] | None:
    """Return the ids of the types, None if the function makes no mdevs."""
    if not sysfs.is_directory(function.path, TYPES):
        return None
    return sysfs.names(function.path, TYPES)


def read_type(function: pci.Function, mdev_type: str) -> Type:
    """Return one type.

    :raises InvalidVGPUType: the function does not offer it
    :raises DriverError: its files cannot be read
    """
    if mdev_type not in (type_names(function) or ()):
        raise exception.InvalidVGPUType(name=mdev_type)
    path = os.path.join(function.path, TYPES, mdev_type)
    available = sysfs.read_text(path, "available_instances")
    most = _MOST.search(sysfs.read_optional(path, "description") or "")
    return Type(
        name=sysfs.read_optional(path, "name") or mdev_type,
        available=int(available),
        devices=tuple(sysfs.names_optional(path, "devices")),
        max_instance=int(most[1]) if most else None,
    )


def exists(root: sysfs.Path, address: str, mdev_type: str, uuid: str) -> bool:
    """Tell whether there is an mdev.

    :raises Invalid: an argument does not look like what it should be
    """
    path = _type_path(root, address, mdev_type)
    _check_uuid(uuid)
    return os.path.lexists(os.path.join(path, "devices", uuid))


def create(root: sysfs.Path, address: str, mdev_type: str, uuid: str) -> None:
    """Make an mdev; one that exists is success.

    :raises Invalid: an argument does not look like what it should be
    :raises DriverError: the kernel refuses
    """
    path = _type_path(root, address, mdev_type)
    _check_uuid(uuid)
    if os.path.lexists(os.path.join(path, "devices", uuid)):
        return
    try:
        sysfs.write_sysfs(os.path.join(path, "create"), uuid)
    except FileExistsError as error:
        # The kernel looks for the uuid among all mdevs of the machine.
        if not os.path.lexists(os.path.join(path, "devices", uuid)):
            raise exception.DriverError(
                reason=f"mdev {uuid} exists with another parent or type than "
                f"{address} {mdev_type}"
            ) from error
    except OSError as error:
        raise exception.DriverError(
            reason=f"mdev {uuid} of type {mdev_type} cannot be made on "
            f"{address}: {error}"
        ) from error


def remove(root: sysfs.Path, address: str, mdev_type: str, uuid: str) -> None:
    """Remove an mdev; one that is gone is success.

    :raises Invalid: an argument does not look like what it should be
    :raises DriverError: the kernel refuses, for example as it is in use
    """
    path = _type_path(root, address, mdev_type)
    _check_uuid(uuid)
    try:
        sysfs.write_sysfs(os.path.join(path, "devices", uuid, "remove"), "1")
    except OSError as error:
        # ENODEV: somebody else is removing it at this moment.
        if error.errno in (errno.ENOENT, errno.ENODEV):
            return
        raise exception.DriverError(
            reason=f"mdev {uuid} of type {mdev_type} cannot be removed from "
            f"{address}: {error}"
        ) from error


def _type_path(root: sysfs.Path, address: str, mdev_type: str) -> str:
    address = pci.normalise_address(address)
    # A type of dots alone would be another directory.
    if not _TYPE.fullmatch(mdev_type) or not mdev_type.strip("."):
        raise exception.Invalid(f"{mdev_type!r} is not the id of an mdev type")
    return sysfs.resolve(root, _PARENTS, address, TYPES, mdev_type)


def _check_uuid(uuid: str) -> None:
    try:
        canonical = str(uuidlib.UUID(uuid))
    except (ValueError, AttributeError, TypeError) as error:
        raise exception.InvalidUUID(uuid=uuid) from error
    if canonical != uuid:
        raise exception.InvalidUUID(uuid=uuid)
