"""Says which card each reported device is, and finds those that were here.

A card is known by its place in the host, vendor, product and serial number;
what is not known of it is no difference. It keeps its identity, and with it
conditions and history, when its row goes and comes again.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import json
from typing import Any

from oslo_config import cfg
from oslo_utils import uuidutils

from cyborg.common import constants
from cyborg.conductor.inventory import comparing
from cyborg.conductor.inventory import freezing
from cyborg.conductor.life import conditions
from cyborg.conductor.life import events
from cyborg.context import RequestContext
from cyborg.db import device_condition as condition_db
from cyborg.db import device_identity as identity_db
from cyborg.db import inventory as inventory_db
from cyborg.objects import report

CONF = cfg.CONF

Kind = events.Kind
Status = constants.DeviceStatus

_APPROVAL = "seen first; an operator has to enable it"


@dataclasses.dataclass(frozen=True)
class Card:
    """What tells a card from others that are put in its place."""

    place: str
    vendor: str
    product: str | None
    serial: str | None

    @classmethod
    def of(cls, device: report.DriverDevice) -> "Card":
        return cls(
            place=device.controlpath_id.cpid_info,
            vendor=freezing.bare(device.vendor),
            product=freezing.product_of(device.std_board_info),
            serial=getattr(device, "serial", None) or None,
        )

    def may_be(self, row: Any) -> bool:
        """Tell whether this card, new in its place, was there before."""
        if not self.may_stay(row):
            return False
        return bool(self.serial and row.serial) or _agree(
            self.product, row.product
        )

    def may_stay(self, row: Any) -> bool:
        """Tell whether it may be the card that has been there all the time.

        What is loaded into a card can make another product of it.
        """
        return (
            row.place in ("", self.place)
            and self.vendor == freezing.bare(row.vendor)
            and _agree(self.serial, row.serial)
        )


def _agree(one: str | None, other: str | None) -> bool:
    return not (one and other) or one == other


@dataclasses.dataclass
class _Device:
    """A device that is reported.

    :ivar row: as stored; None = it is new
    :ivar new: as it will be stored; None = it is there
    :ivar identity: row of the card that it is; None = never seen before
    """

    card: Card
    uuid: str
    row: Any = None
    new: comparing.NewDevice | None = None
    identity: Any = None

    @property
    def is_of_earlier_release(self) -> bool:
        """Whether its row was made by somebody who knew no identities."""
        return self.row is not None and self.row.identity_id is None


def identify(
    context: RequestContext,
    hostname: str,
    stored: inventory_db.Stored,
    changes: comparing.Changes,
) -> list[events.Event]:
    """Say in ``changes`` which card each device is.

    Returns what happened to which. The number of statements does not depend
    on the number of devices.
    """
    known = identity_db.of_host(context, hostname)
    devices = _reported(stored, changes)
    fresh, returned = _match(devices, known, stored)
    identity_db.update(context, _learnt(devices))
    ids = identity_db.create(
        context,
        [
            dataclasses.asdict(device.card)
            | {"hostname": hostname, "device_uuid": device.uuid}
            for device in fresh
        ],
    )
    ids |= {device.uuid: device.identity.id for device in returned}
    fenced = _fenced(context, [ids[device.uuid] for device in returned])
    first = _first_conditions(fresh)
    fenced |= {ids[uuid]: reason for uuid, reason in first.items()}
    for device in fresh + returned:
        _store(changes, device, ids[device.uuid], fenced)
    happened = [
        _found(device, ids[device.uuid])
        for device in fresh + returned
        if not device.is_of_earlier_release
    ]
    happened += conditions.begin(
        context, {uuid: (ids[uuid], reason) for uuid, reason in first.items()}
    )
    happened += _came_and_went(stored, changes)
    return happened + _offers(stored, changes)


def _reported(
    stored: inventory_db.Stored, changes: comparing.Changes
) -> list[_Device]:
    devices = [
        _Device(Card.of(changes.reported[row.id]), row.uuid, row=row)
        for row in stored.devices
        if row.id in changes.reported
    ]
    devices += [
        _Device(Card.of(new.reported), uuidutils.generate_uuid(), new=new)
        for new in changes.devices
    ]
    return devices


def _match(
    devices: Sequence[_Device],
    known: Sequence[Any],
    stored: inventory_db.Stored,
) -> tuple[list[_Device], list[_Device]]:
    """Find the card that each device is.

    :returns: those never seen before, and those that are back in a place
        where another card, or none, was
    """
    by_id = {row.id: row for row in known}
    taken = {row.identity_id for row in stored.devices}
    uuids = {row.uuid for row in stored.devices}
    used = {row.deployable_id for row in stored.handles if row.in_use}
    held = {row.device_id for row in stored.deployables if row.id in used}
    fresh, returned = [], []
    for device in devices:
        row = by_id.get(device.row.identity_id) if device.row else None
        # While somebody has it, it is the card that was given to them.
        if row is not None and (
            device.card.may_stay(row) or device.row.id in held
        ):
            device.identity = row
            continue
        there = [
            row
            for row in known
            if row.id not in taken and device.card.may_be(row)
        ]
        if not there:
            fresh.append(device)
            continue
        # The one that is known best, or else the last that was there.
        device.identity = max(
            there, key=lambda row: (bool(row.serial), row.id)
        )
        taken.add(device.identity.id)
        former = device.identity.device_uuid
        if device.new is not None and former and former not in uuids:
            device.uuid = former
            uuids.add(former)
        returned.append(device)
    return fresh, returned


def _learnt(devices: Sequence[_Device]) -> dict[int, dict[str, Any]]:
    """Return what is known better now of cards that were seen before."""
    learnt = {}
    for device in devices:
        row = device.identity
        if row is None or not device.card.may_stay(row):
            continue
        values = {
            "place": device.card.place,
            "product": device.card.product or row.product,
            "serial": device.card.serial or row.serial,
            "device_uuid": device.uuid,
        }
        if any(getattr(row, name) != value for name, value in values.items()):
            learnt[row.id] = values
    return learnt


def _first_conditions(fresh: Sequence[_Device]) -> dict[str, str | None]:
    """Return which devices begin as disabled, by uuid, and why."""
    asks = CONF.conductor.new_device_status == Status.MAINTAINING
    first: dict[str, str | None] = {}
    for device in fresh:
        if not device.is_of_earlier_release:
            if asks:
                first[device.uuid] = _APPROVAL
        elif device.row.status == Status.MAINTAINING:
            first[device.uuid] = device.row.status_reason
    return first


def _fenced(
    context: RequestContext, identity_ids: Sequence[int]
) -> dict[int, str | None]:
    """Return which cards an operator has disabled, and why."""
    if not identity_ids:
        return {}
    return {
        row.identity_id: row.reason
        for row in condition_db.of_identities(context, identity_ids)
        if conditions.is_status(row.key, row.source)
    }


def _store(
    changes: comparing.Changes,
    device: _Device,
    identity: int,
    fenced: Mapping[int, str | None],
) -> None:
    values: dict[str, Any] = {"identity_id": identity}
    if not device.is_of_earlier_release:
        values |= conditions.status(identity in fenced, fenced.get(identity))
    if device.new is not None:
        device.new.values |= values | {"uuid": device.uuid}
    else:
        changes.device_values.setdefault(device.row.id, {}).update(values)


def _found(device: _Device, identity: int) -> events.Event:
    kind = Kind.FOUND if device.identity is None else Kind.BACK
    detail = dataclasses.asdict(device.card)
    if device.row is None:
        return events.Event(kind, device.uuid, identity, None, detail)
    return events.Event(
        kind,
        device.uuid,
        identity,
        "it is in the place of another card",
        detail,
    )


def _came_and_went(
    stored: inventory_db.Stored, changes: comparing.Changes
) -> list[events.Event]:
    rows = {row.id: row for row in stored.devices}
    return [
        events.of(rows[id_], kind)
        for kind, ids in (
            (Kind.LOST, changes.missing["device"]),
            (Kind.BACK, changes.back["device"]),
        )
        for id_ in ids
    ]


def _offers(
    stored: inventory_db.Stored, changes: comparing.Changes
) -> list[events.Event]:
    """Return which parts of devices are withheld now, or no longer.

    What is new and not withheld is offered, which needs no telling.
    """
    known = {
        row.id: (
            row.uuid,
            changes.device_values.get(row.id, {}).get(
                "identity_id", row.identity_id
            ),
        )
        for row in stored.devices
    }
    found = [
        _offer(*known[row.device_id], row.name, values["withheld"])
        for row in stored.deployables
        if "withheld" in (values := changes.deployable_values.get(row.id, {}))
    ]
    fresh = [
        (*known[new.device_id], new)
        for new in changes.deployables
        if new.device_id is not None
    ]
    fresh += [
        (device.values["uuid"], device.values["identity_id"], new)
        for device in changes.devices
        for new in device.deployables
    ]
    return found + [
        _offer(uuid, identity, new.values["name"], new.values["withheld"])
        for uuid, identity, new in fresh
        if new.values["withheld"] is not None
    ]


def _offer(
    uuid: str, identity: int, name: str, withheld: str | None
) -> events.Event:
    """:param withheld: as ``deployables`` have it"""
    detail: dict[str, Any] = {"deployable": name}
    if withheld is None:
        return events.Event(Kind.OFFERED, uuid, identity, None, detail)
    reasons = json.loads(withheld)
    detail["rules"] = [reason["rule"] for reason in reasons]
    why = "; ".join(reason["text"] for reason in reasons)
    return events.Event(Kind.WITHHELD, uuid, identity, why, detail)
