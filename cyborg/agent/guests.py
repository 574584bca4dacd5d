"""Looks which guests have the devices of this host, and which should.

Guests are read from ``/proc``: the uuid of a server is in its process's
command line, and what it has of VFIO among its open files. libvirt is not
asked, and need not run.
"""

from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import enum
import itertools
import json
import os
from typing import Any

from oslo_log import log as logging

from cyborg.accelerator import namespaces
from cyborg.accelerator import pci
from cyborg.accelerator import privileged
from cyborg.accelerator import processes
from cyborg.accelerator import sysfs
from cyborg.agent import in_use
from cyborg.common import constants

LOG = logging.getLogger(__name__)

_MDEVS = "sys/bus/mdev/devices"
# What guests have of VFIO; what is made for tests, they have not.
_HELD = (constants.AttachHandleType.PCI, constants.AttachHandleType.MDEV)


class Kind(enum.StrEnum):
    """What is wrong between a guest and a device."""

    # The guest runs without what is bound to it.
    LOST = constants.CONDITION_GUEST_LOST
    # Another guest has it.
    FOREIGN = constants.CONDITION_GUEST_FOREIGN
    # Two have it.
    DOUBLE = constants.CONDITION_GUEST_DOUBLE
    # It is free, and a guest has it.
    HELD = constants.CONDITION_GUEST_HELD


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    :ivar device: uuid, None where only the place is known
    :ivar cpid_info: of the device, None where the uuid is known
    """

    kind: str
    text: str
    device: str | None = None
    cpid_info: str | None = None

    def as_dict(self) -> dict[str, str | None]:
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class Place:
    """Something that a guest can have.

    :ivar nodes: files under ``/dev/vfio``; who has one open, has it
    """

    name: str
    nodes: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Seen:
    """The guests that run.

    :ivar uuids: of the servers, by process; None of a guest of nobody's
    :ivar holders: processes by node
    """

    uuids: Mapping[int, str | None]
    holders: Mapping[str, Sequence[int]]

    def of(self, place: Place) -> dict[int, str | None]:
        """Return the guests that have a place."""
        numbers = {
            number
            for node in place.nodes
            for number in self.holders.get(node, ())
        }
        return {
            number: self.uuids[number]
            for number in sorted(numbers)
            if number in self.uuids
        }


def read(root: sysfs.Path) -> Seen | None:
    """Return the guests that run; None if that cannot be told."""
    if not namespaces.Namespaces(root).has_host_pids:
        return None
    try:
        found = privileged.vfio_holders(root)
    except Exception as error:
        LOG.warning("Who has functions open cannot be told: %s", error)
        return None
    uuids = {}
    top = sysfs.resolve(root, "proc")
    for number in sysfs.names_optional(top):
        if not number.isdigit():
            continue
        name = sysfs.read_optional(top, number, "comm") or ""
        if processes.Process(int(number), name).is_hypervisor:
            uuids[int(number)] = _uuid(os.path.join(top, number, "cmdline"))
    return Seen(
        uuids,
        {
            node: [number for number, _name in entries]
            for node, entries in found.items()
        },
    )


def _uuid(path: str) -> str | None:
    """Return what follows ``-uuid`` in a command line."""
    try:
        with open(path, "rb") as file:
            words = file.read().decode(errors="replace").split("\0")
    except OSError:
        return None
    for option, value in itertools.pairwise(words):
        if option == "-uuid":
            return value.lower()
    return None


def place(root: sysfs.Path, address: str, mdev: str | None = None) -> Place:
    """Return what a guest has that has a function, or an mdev."""
    directory = (
        sysfs.resolve(root, pci.DEVICES, address)
        if mdev is None
        else sysfs.resolve(root, _MDEVS, mdev)
    )
    nodes = []
    group = sysfs.link_name(directory, "iommu_group")
    if group:
        nodes.append(f"/dev/vfio/{group}")
    nodes += [
        f"/dev/vfio/devices/{name}"
        for name in sysfs.names_optional(directory, "vfio-dev")
    ]
    return Place(
        address if mdev is None else f"{mdev} on {address}", tuple(nodes)
    )


def look(
    root: sysfs.Path,
    handles: Iterable[in_use.Handle],
    devices: Iterable[dict[str, Any]],
) -> list[Finding] | None:
    """Return what is wrong now; None if that cannot be told.

    :param handles: those that are in use
    :param devices: those of this host, plain, as they are reported
    """
    seen = read(root)
    if seen is None:
        return None
    findings = set()
    used = set()
    for handle in handles:
        if handle.address is None or handle.attach_type not in _HELD:
            continue
        used.add(handle.address)
        uuid = handle.uuid if handle.is_mdev else None
        there = place(root, handle.address, uuid)
        for kind, text in _of_used(handle, there, seen):
            findings.add(Finding(kind, text, device=handle.device))
    for cpid_info, address in _functions(devices):
        if address in used:
            continue
        there = place(root, address)
        for number, server in seen.of(there).items():
            text = f"{there.name} is free, and {_guest(number, server)} has it"
            findings.add(Finding(Kind.HELD, text, cpid_info=cpid_info))
    return sorted(findings, key=lambda each: (each.kind, each.text))


def _of_used(
    handle: in_use.Handle, there: Place, seen: Seen
) -> Iterable[tuple[Kind, str]]:
    having = seen.of(there)
    owner = handle.instance
    if len(having) > 1:
        guests = " and ".join(_guest(*each) for each in having.items())
        yield Kind.DOUBLE, f"{there.name} is had by {guests}"
        return
    for number, server in having.items():
        if handle.arq is None:
            yield (
                Kind.HELD,
                f"{there.name} is given back, and {_guest(number, server)} "
                "has it",
            )
        elif server is not None and owner is not None and server != owner:
            yield (
                Kind.FOREIGN,
                f"{there.name} is bound to server {owner}, and "
                f"{_guest(number, server)} has it",
            )
    # A server that does not run has nothing, and misses nothing.
    if handle.is_bound and not having and owner in seen.uuids.values():
        yield (
            Kind.LOST,
            f"{there.name} is bound to server {owner}, which runs without it",
        )


def _guest(number: int, server: str | None) -> str:
    if server is None:
        return f"a guest without uuid (process {number})"
    return f"server {server} (process {number})"


def _functions(
    devices: Iterable[dict[str, Any]],
) -> Iterable[tuple[str, str]]:
    """Yield place of the device and address of what guests are given whole."""
    for device in devices:
        for deployable in device["deployable_list"]:
            for handle in deployable["attach_handle_list"] or []:
                if handle["attach_type"] != constants.AttachHandleType.PCI:
                    continue
                info = json.loads(handle["attach_info"])
                if "asked_type" not in info:
                    yield (
                        device["controlpath_id"]["cpid_info"],
                        pci.format_address(info),
                    )
