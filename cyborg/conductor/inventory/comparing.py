"""Compares what a host reports with what is stored of it.

:func:`compare` is pure: rows and driver objects in, a :class:`Changes` out.
"""

from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Sequence
import dataclasses
import json
from typing import Any

from oslo_log import log as logging

from cyborg.common import constants
from cyborg.common import states
from cyborg.conductor.inventory import checking
from cyborg.conductor.inventory import freezing
from cyborg.db import inventory as inventory_db
from cyborg.objects import base
from cyborg.objects import report

LOG = logging.getLogger(__name__)

# What is stored of the reasons to withhold a deployable, so that a column of
# 64 KiB holds it in any script.
_WITHHELD_MOST = 32
_WITHHELD_RULE = 64
_WITHHELD_TEXT = 255

_ADDRESS = ("domain", "bus", "device", "function")


@dataclasses.dataclass
class NewDeployable:
    """A deployable to insert, of a stored device or of a new one."""

    values: dict[str, Any]
    attributes: list[tuple[str, str]]
    handles: list[report.DriverAttachHandle]
    device_id: int | None = None
    control_path_id: int | None = None


@dataclasses.dataclass
class NewDevice:
    values: dict[str, Any]
    reported: report.DriverDevice
    deployables: list[NewDeployable]


@dataclasses.dataclass
class Changes:
    """What a report changes; ids are row ids."""

    devices: list[NewDevice] = dataclasses.field(default_factory=list)
    deployables: list[NewDeployable] = dataclasses.field(default_factory=list)
    # deployable id, control path row id, handle
    handles: list[tuple[int, int, report.DriverAttachHandle]] = (
        dataclasses.field(default_factory=list)
    )
    attributes: list[tuple[int, str, str]] = dataclasses.field(
        default_factory=list
    )
    device_values: dict[int, dict[str, Any]] = dataclasses.field(
        default_factory=dict
    )
    deployable_values: dict[int, dict[str, Any]] = dataclasses.field(
        default_factory=dict
    )
    handle_values: dict[int, dict[str, Any]] = dataclasses.field(
        default_factory=dict
    )
    dropped_attributes: list[int] = dataclasses.field(default_factory=list)
    missing: dict[str, list[int]] = dataclasses.field(
        default_factory=lambda: {"device": [], "deployable": [], "handle": []}
    )
    back: dict[str, list[int]] = dataclasses.field(
        default_factory=lambda: {"device": [], "deployable": [], "handle": []}
    )
    # place: id of the handle that comes here from another deployable
    moved: dict[str, int] = dataclasses.field(default_factory=dict)
    # What is reported of each device that is stored; changes nothing.
    reported: dict[int, report.DriverDevice] = dataclasses.field(
        default_factory=dict
    )
    # device id: what its record does not say, as somebody has it
    seen: dict[int, freezing.Seen] = dataclasses.field(default_factory=dict)
    # cpid_info: why the device was left as it is
    problems: dict[str, str] = dataclasses.field(default_factory=dict)
    # ids of deployables in use that keep their class until they are free
    held: list[int] = dataclasses.field(default_factory=list)

    def __bool__(self) -> bool:
        return any(
            (
                self.devices,
                self.deployables,
                self.handles,
                self.attributes,
                self.device_values,
                self.deployable_values,
                self.handle_values,
                self.dropped_attributes,
                any(self.missing.values()),
                any(self.back.values()),
            )
        )


def place_of(attach_info: str) -> str:
    """Return what tells a handle from the others of its host.

    A function is one thing, whatever a driver or an operator says of it
    besides: ``physical_network`` comes and goes. What is made of a function
    on demand is not: there the type belongs to it.
    """
    try:
        info = json.loads(attach_info)
        if "asked_type" not in info:
            return json.dumps([info[name] for name in _ADDRESS])
    except (KeyError, TypeError, ValueError):
        # Something that is not at a PCI address.
        pass
    return attach_info


def places(devices: Sequence[Any]) -> set[str]:
    """Return the places of all handles in a report."""
    return {
        place_of(handle.attach_info)
        for device in devices
        if isinstance(device, report.DriverDevice)
        for deployable in device.deployable_list
        for handle in deployable.attach_handle_list or []
    }


def compare(
    stored: inventory_db.Stored,
    devices: Sequence[report.DriverDevice | base.Unreadable],
    drivers: Sequence[dict[str, Any]] | None,
) -> Changes:
    """Return what has to change for the rows to say what was reported.

    A device of which not even the place can be read may be any: then nothing
    goes missing.

    :param drivers: what each driver said of itself; None = the report is of
        an agent that does not tell, and is complete
    """
    changes = Changes()
    index = _Index(stored)
    driver_of = {
        cpid: driver["name"]
        for driver in drivers or []
        for cpid in driver.get("cpids", [])
    }
    seen: set[str] = set()
    all_known = True
    for device in devices:
        if isinstance(device, base.Unreadable):
            why = f"cannot be read: {device.reason}"
            changes.problems[device.cpid_info or "?"] = why
            all_known = all_known and device.cpid_info is not None
            seen.add(device.cpid_info or "?")
            continue
        cpid = device.controlpath_id.cpid_info
        if cpid in seen:
            changes.problems[cpid] = "reported twice; the first one counts"
            continue
        seen.add(cpid)
        if device.stub:
            continue
        problem = checking.problem_of(device)
        if problem:
            changes.problems[cpid] = problem
            continue
        row = index.device_by_cpid.get(cpid)
        if row is None:
            changes.devices.append(_new_device(device, driver_of.get(cpid)))
        else:
            _compare_device(changes, index, row, device, driver_of.get(cpid))
    absent = [
        row for cpid, row in index.device_by_cpid.items() if cpid not in seen
    ]
    for row in absent + index.strays:
        if all_known and _is_absent(row, drivers):
            _mark_missing(changes, index, row)
    _move_handles(changes, index)
    _note_seen(changes, stored)
    return changes


def _note_seen(changes: Changes, stored: inventory_db.Stored) -> None:
    """Have what is seen of devices that are held stored beside them."""
    for row in stored.devices:
        seen = changes.seen.get(row.id)
        if seen is None:
            # Nothing is said of it: what was seen last stays.
            continue
        if row.seen == seen.to_json():
            del changes.seen[row.id]
        else:
            values = changes.device_values.setdefault(row.id, {})
            values["seen"] = seen.to_json()


class _Index:
    """The stored rows, by what they belong to.

    :ivar strays: devices that no report can be about
    :ivar handle_at: the handle of each place, wherever it is
    :ivar used: ids of deployables that are held
    :ivar held: ids of their devices
    :ivar matched: ids of handles that are reported where they are
    :ivar spare: of those the free ones, by place: the handle's id, and what
        a handle that comes to its deployable is stored with
    """

    def __init__(self, stored: inventory_db.Stored) -> None:
        self.deployables = _group(stored.deployables, "device_id")
        self.attributes = _group(stored.attributes, "deployable_id")
        self.handles = _group(stored.handles, "deployable_id")
        self.used = {
            handle.deployable_id for handle in stored.handles if handle.in_use
        }
        self.held = {
            row.device_id for row in stored.deployables if row.id in self.used
        }
        devices = {row.id: row for row in stored.devices}
        self.control_path = {
            path.device_id: path for path in reversed(stored.control_paths)
        }
        paths = _one_each(
            stored.control_paths,
            lambda path: path.cpid_info,
            lambda path: (
                path.device_id in self.held,
                devices[path.device_id].missing_since is None,
            ),
        )
        self.device_by_cpid = {
            cpid: devices[path.device_id] for cpid, path in paths.items()
        }
        known = {row.id for row in self.device_by_cpid.values()}
        self.strays = [row for row in stored.devices if row.id not in known]
        self.place = {
            row.id: place_of(row.attach_info) for row in stored.handles
        }
        self.handle_at = self._at_places(stored.handles)
        self.matched: set[int] = set()
        self.spare: dict[
            str, tuple[int, tuple[int, int, report.DriverAttachHandle]]
        ] = {}

    def is_used(self, deployable: Any) -> bool:
        """Tell whether somebody has a handle of it."""
        return deployable.id in self.used

    def deployables_of(self, device: Any) -> dict[str, Any]:
        """Return a device's deployables by name."""
        return _one_each(
            self.deployables.get(device.id, []),
            lambda row: row.name,
            lambda row: (row.id in self.used, row.missing_since is None),
        )

    def driver_attributes(self, deployable: Any) -> list[Any]:
        """Return what a driver says of a deployable, changed or not."""
        return [
            row
            for row in self.attributes.get(deployable.id, [])
            if row.origin
            in (
                None,
                constants.AttributeOrigin.DRIVER,
                constants.AttributeOrigin.CHANGED,
            )
        ]

    def handles_of(self, deployable: Any) -> dict[str, Any]:
        """Return a deployable's handles by place."""
        return self._at_places(self.handles.get(deployable.id, []))

    def _at_places(self, handles: Sequence[Any]) -> dict[str, Any]:
        return _one_each(
            handles,
            lambda row: self.place[row.id],
            lambda row: (row.in_use, row.missing_since is None),
        )


def _one_each(
    rows: Sequence[Any],
    identity: Callable[[Any], str],
    rank: Callable[[Any], Any],
) -> dict[str, Any]:
    """Return the first row of the highest rank of each identity.

    Two reports at once have left earlier releases with two rows of one thing.
    """
    found: dict[str, Any] = {}
    for row in sorted(rows, key=rank, reverse=True):
        found.setdefault(identity(row), row)
    return found


def _group(rows: Sequence[Any], column: str) -> dict[int, list[Any]]:
    grouped: dict[int, list[Any]] = {}
    for row in rows:
        grouped.setdefault(getattr(row, column), []).append(row)
    return grouped


def _is_absent(device: Any, drivers: Sequence[dict[str, Any]] | None) -> bool:
    """Tell whether a report without this device says that it is gone."""
    if drivers is None:
        return True
    complete = {d["name"]: d["complete"] for d in drivers}
    if device.driver is None:
        return all(complete.values())
    # A driver that is no longer enabled says nothing; its devices go.
    return complete.get(device.driver, True)


def _mark_missing(changes: Changes, index: _Index, device: Any) -> None:
    if device.missing_since is None:
        changes.missing["device"].append(device.id)
    changes.missing["deployable"] += _unmarked(
        index.deployables.get(device.id, [])
    )


def _attributes(deployable: report.DriverDeployable) -> list[tuple[str, str]]:
    return [(a.key, a.value) for a in deployable.attribute_list or []]


def _new_deployable(deployable: report.DriverDeployable) -> NewDeployable:
    handles: dict[str, report.DriverAttachHandle] = {}
    for handle in deployable.attach_handle_list or []:
        handles.setdefault(place_of(handle.attach_info), handle)
    return NewDeployable(
        values={
            "name": deployable.name,
            "num_accelerators": deployable.num_accelerators,
            "driver_name": deployable.driver_name,
            "withheld": withheld_text(deployable),
        },
        attributes=_attributes(deployable),
        handles=list(handles.values()),
    )


def withheld_text(deployable: report.DriverDeployable) -> str | None:
    """Return why a deployable is withheld as it is stored."""
    reasons = [
        {
            "rule": (each.get("rule") or "")[:_WITHHELD_RULE],
            "text": (each.get("text") or "")[:_WITHHELD_TEXT],
        }
        for each in deployable.withheld[:_WITHHELD_MOST]
    ]
    return json.dumps(reasons) if reasons else None


def _device_values(
    device: report.DriverDevice, driver: str | None
) -> dict[str, Any]:
    values = {name: getattr(device, name) for name in checking.DEVICE_FIELDS}
    if driver is not None:
        values["driver"] = driver
    return values


def _new_device(device: report.DriverDevice, driver: str | None) -> NewDevice:
    return NewDevice(
        values={
            "driver": None,
            "device_state": _first_state(device),
            **_device_values(device, driver),
        },
        reported=device,
        deployables=[_new_deployable(d) for d in device.deployable_list],
    )


def _first_state(device: report.DriverDevice) -> str:
    """Return what a new device is: what its driver says, if that can be."""
    if device.device_state in list(states.UNFIT):
        return str(device.device_state)
    if device.device_state not in (None, *states.DERIVED):
        LOG.warning(
            "Device %s comes with the state %s, which this release does not "
            "know; it is stored as %s",
            device.controlpath_id.cpid_info,
            device.device_state,
            states.DeviceState.AVAILABLE,
        )
    return states.DeviceState.AVAILABLE.value


def _differing(row: Any, values: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in values.items()
        if getattr(row, name) != value
    }


def _compare_device(
    changes: Changes,
    index: _Index,
    row: Any,
    device: report.DriverDevice,
    driver: str | None,
) -> None:
    values = _differing(row, _device_values(device, driver))
    seen = changes.seen[row.id] = freezing.Seen()
    if row.id in index.held:
        if freezing.is_other_card(row, device):
            freezing.other_card(seen, row, device)
            return
        values = _kept(seen, row, values)
    changes.reported[row.id] = device
    if values:
        changes.device_values[row.id] = values
    if row.missing_since is not None:
        changes.back["device"].append(row.id)
    unmatched = index.deployables_of(row)
    matched = set()
    fresh = []
    for deployable in device.deployable_list:
        stored = unmatched.pop(deployable.name, None)
        if stored is None:
            fresh.append(deployable)
        else:
            matched.add(stored.id)
            _compare_deployable(changes, index, row, stored, deployable)
    for deployable in fresh:
        renamed = _renamed(index, unmatched, deployable)
        if renamed is not None:
            del unmatched[renamed.name]
            matched.add(renamed.id)
            _compare_deployable(changes, index, row, renamed, deployable)
        else:
            new = _new_deployable(deployable)
            new.device_id = row.id
            new.control_path_id = index.control_path[row.id].id
            changes.deployables.append(new)
    changes.missing["deployable"] += _unmarked(
        index.deployables.get(row.id, []), matched
    )


def _kept(
    seen: freezing.Seen, row: Any, values: dict[str, Any]
) -> dict[str, Any]:
    """Return what may be said otherwise of a device while it is held."""
    if freezing.takes_images(row.type):
        return values
    for name in checking.DEVICE_FIELDS:
        if name in values:
            now = values[name]
            seen.note(
                f"{name} is now {now!r}; bound is {getattr(row, name)!r}"
            )
    return {
        name: value
        for name, value in values.items()
        if name not in checking.DEVICE_FIELDS
    }


def _unmarked(rows: Sequence[Any], matched: Collection[int] = ()) -> list[int]:
    """Return ids of rows that go missing: those that were not matched."""
    return [
        row.id
        for row in rows
        if row.id not in matched and row.missing_since is None
    ]


def _renamed(
    index: _Index,
    unmatched: dict[str, Any],
    deployable: report.DriverDeployable,
) -> Any:
    """Return the stored deployable with the same handles, if there is one.

    Earlier agents named some deployables after another host name, or after
    the last of their functions. Some functions may have come or gone since:
    it is the one that has most of them.
    """
    places = {
        place_of(handle.attach_info)
        for handle in deployable.attach_handle_list or []
    }
    shared = {
        name: len(places & index.handles_of(stored).keys())
        for name, stored in unmatched.items()
    }
    best = max(shared, key=lambda name: shared[name], default=None)
    return unmatched[best] if best is not None and shared[best] else None


def _compare_deployable(
    changes: Changes,
    index: _Index,
    device: Any,
    row: Any,
    deployable: report.DriverDeployable,
) -> None:
    new = _new_deployable(deployable)
    values = _differing(row, new.values)
    if values:
        changes.deployable_values[row.id] = values
    if row.missing_since is not None:
        changes.back["deployable"].append(row.id)
    if row.id in index.used and not freezing.takes_images(device.type):
        freezing.attributes(
            changes.seen[device.id],
            row.name,
            [(a.key, a.value) for a in index.driver_attributes(row)],
            new.attributes,
        )
    else:
        _compare_attributes(changes, index, row, new.attributes)
    known = index.handles_of(row)
    matched = set()
    for handle in new.handles:
        place = place_of(handle.attach_info)
        here = (row.id, index.control_path[device.id].id, handle)
        stored = known.get(place)
        if stored is None:
            changes.handles.append(here)
            continue
        matched.add(stored.id)
        if not stored.in_use:
            index.spare[place] = (stored.id, here)
        values = _differing(
            stored,
            {
                "attach_type": handle.attach_type,
                "attach_info": handle.attach_info,
            },
        )
        if values and stored.in_use:
            freezing.handle(changes.seen[device.id], stored, handle)
        elif values:
            changes.handle_values[stored.id] = values
        if stored.missing_since is not None:
            changes.back["handle"].append(stored.id)
    index.matched |= matched
    changes.missing["handle"] += _unmarked(
        index.handles.get(row.id, []), matched
    )


def _move_handles(changes: Changes, index: _Index) -> None:
    """Let a function keep its handle where it is reported elsewhere now.

    It may be reported by another driver, or as part of another deployable. A
    second handle would give it to somebody else while a guest has it.
    """
    for place, (stored_id, here) in index.spare.items():
        other = index.handle_at[place]
        if other.in_use and other.id not in index.matched:
            # Stored twice by an earlier release: the one in use stays.
            changes.handles.append(here)
            changes.handle_values.pop(stored_id, None)
            changes.missing["handle"].append(stored_id)
            changes.back["handle"] = [
                id_ for id_ in changes.back["handle"] if id_ != stored_id
            ]
    fresh = [handle for *_rest, handle in changes.handles]
    fresh += [
        handle
        for new in (
            *changes.deployables,
            *(d for device in changes.devices for d in device.deployables),
        )
        for handle in new.handles
    ]
    for handle in fresh:
        place = place_of(handle.attach_info)
        stored = index.handle_at.get(place)
        if stored is not None and stored.id not in index.matched:
            changes.moved[place] = stored.id
    moved = set(changes.moved.values())
    changes.missing["handle"] = [
        id_ for id_ in changes.missing["handle"] if id_ not in moved
    ]


def _compare_attributes(
    changes: Changes, index: _Index, row: Any, reported: list[tuple[str, str]]
) -> None:
    """Make the driver's attributes a set equal to what it reports.

    What the API or a bind added is none of the driver's business, nor is
    the value that a user gave to one of the driver's.
    """
    stored = index.attributes.get(row.id, [])
    remaining = list(reported)
    if index.is_used(row):
        remaining = _with_class_of(changes, row, stored, remaining)
    for attribute in stored:
        if attribute.origin not in (None, constants.AttributeOrigin.DRIVER):
            continue
        pair = (attribute.key, attribute.value)
        if pair in remaining:
            remaining.remove(pair)
        else:
            changes.dropped_attributes.append(attribute.id)
    for attribute in stored:
        if attribute.origin == constants.AttributeOrigin.CHANGED:
            # It stands for one of those with its key: keys may repeat.
            same = [pair for pair in remaining if pair[0] == attribute.key]
            if same:
                remaining.remove(same[0])
    changes.attributes += [(row.id, key, value) for key, value in remaining]


def _with_class_of(
    changes: Changes,
    row: Any,
    stored: Sequence[Any],
    reported: list[tuple[str, str]],
) -> list[tuple[str, str]]:
    """Return what is reported, with the resource class that is stored.

    Somebody's allocation is of that class and would be left without an
    inventory; it changes when the deployable is free.
    """
    key = constants.ATTR_RESOURCE_CLASS
    classes = [attribute for attribute in stored if attribute.key == key]
    now = [pair for pair in reported if pair[0] == key]
    kept = [(key, attribute.value) for attribute in classes]
    if (
        not kept
        or kept == now
        or any(
            attribute.origin == constants.AttributeOrigin.CHANGED
            for attribute in classes
        )
    ):
        return reported
    changes.held.append(row.id)
    return [pair for pair in reported if pair[0] != key] + kept
