"""Conditions of devices: why a card is not given out, and what is said of it.

They belong to the card: one that was away, however long, comes back with
them. What has the effect ``no-schedule`` is reserved in Placement.
"""

from collections.abc import Collection
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import datetime
from typing import Any

from oslo_log import log as logging

from cyborg.common import constants
from cyborg.conductor.life import events
from cyborg.context import RequestContext
from cyborg.db import device as device_db
from cyborg.db import device_condition as condition_db
from cyborg.db import device_identity as identity_db
from cyborg.db import engine
from cyborg.db import host as host_db
from cyborg.db import host_sync as sync_db

LOG = logging.getLogger(__name__)

Effect = constants.ConditionEffect
Source = constants.ConditionSource
Kind = events.Kind

MAINTAINING = constants.CONDITION_MAINTAINING


@dataclasses.dataclass(frozen=True)
class Condition:
    """What shall hold of a device.

    :ivar device: row of ``devices``
    :ivar key: what it is, for programs; of one key and source there is one
    :ivar until: when it ends by itself, UTC; None = it does not
    """

    device: Any
    key: str
    source: Source
    effect: Effect = Effect.NO_SCHEDULE
    reason: str | None = None
    until: datetime.datetime | None = None

    @property
    def values(self) -> dict[str, Any]:
        return {
            "effect": self.effect.value,
            "reason": self.reason,
            "until": self.until,
        }


def is_status(key: str, source: str) -> bool:
    """Tell whether it is the condition that ``devices.status`` shows."""
    return key == MAINTAINING and source == Source.OPERATOR


def status(fenced: bool, reason: str | None) -> dict[str, Any]:
    """Return what ``devices`` shows of that condition."""
    if not fenced:
        return {
            "status": constants.DeviceStatus.ENABLED.value,
            "status_reason": None,
        }
    return {
        "status": constants.DeviceStatus.MAINTAINING.value,
        "status_reason": (reason or "")[:255] or None,
    }


@engine.writer
def put(
    context: RequestContext,
    wanted: Sequence[Condition],
    who: str | None = None,
) -> bool:
    """Have conditions hold, in the caller's transaction.

    What holds already, and is no different, makes no event. The rows of the
    hosts are locked; Placement is marked as behind where it has to follow.

    :param who: see :func:`cyborg.conductor.life.events.record`
    :returns: whether anything changed: wake ``Work.PROVIDERS`` if so
    """
    if not wanted:
        return False
    identities = _lock(context, [item.device for item in wanted])
    known = {
        (row.identity_id, row.key, row.source): row
        for row in condition_db.of_identities(
            context, set(identities.values())
        )
    }
    fresh: dict[Any, dict[str, Any]] = {}
    changes: dict[int, dict[str, Any]] = {}
    changed = []
    fenced = set()
    for item in wanted:
        identity = identities[item.device.uuid]
        key = (identity, item.key, item.source.value)
        row = known.get(key)
        before = None if row is None else row.effect
        if row is None:
            fresh[key] = {
                "identity_id": identity,
                "key": item.key,
                "source": item.source.value,
            } | item.values
        elif _differs(row, item.values):
            changes[row.id] = item.values
        else:
            continue
        changed.append(item)
        if Effect.NO_SCHEDULE in (before, item.effect):
            fenced.add(item.device.hostname)
    condition_db.create(context, list(fresh.values()))
    condition_db.update(context, changes)
    _record(
        context,
        Kind.CONDITION_SET,
        [
            (
                item.device,
                identities[item.device.uuid],
                item.reason,
                {
                    "key": item.key,
                    "source": item.source.value,
                    "effect": item.effect.value,
                },
            )
            for item in changed
        ],
        who,
    )
    for item in changed:
        if is_status(item.key, item.source):
            device_db.update(
                context,
                item.device.id,
                status(True, item.reason),
            )
    for hostname in sorted(fenced):
        sync_db.mark(context, hostname, urgent=True)
    return bool(changed)


@engine.writer
def begin(
    context: RequestContext, devices: Mapping[str, tuple[int, str | None]]
) -> list[events.Event]:
    """Have devices that are stored only now begin as disabled.

    :param devices: by uuid, the card that each is, and why
    :returns: what the caller has to record with all else that happened
    """
    what = {
        "key": MAINTAINING,
        "effect": Effect.NO_SCHEDULE.value,
        "source": Source.OPERATOR.value,
    }
    condition_db.create(
        context,
        [
            what | {"identity_id": identity, "reason": reason, "until": None}
            for identity, reason in devices.values()
        ],
    )
    return [
        events.Event(Kind.CONDITION_SET, uuid, identity, reason, what)
        for uuid, (identity, reason) in devices.items()
    ]


@engine.writer
def clear(
    context: RequestContext,
    devices: Collection[Any],
    *,
    source: Source,
    keys: Collection[str] | None = None,
    why: str | None = None,
    who: str | None = None,
) -> bool:
    """Have conditions of a source hold no longer.

    :param devices: rows of ``devices``
    :param keys: which; None = all that the source has said
    :returns: as :func:`put`
    """
    if not devices:
        return False
    identities = _lock(context, devices)
    by_identity = {identities[device.uuid]: device for device in devices}
    gone = [
        row
        for row in condition_db.of_identities(context, by_identity)
        if row.source == source and (keys is None or row.key in keys)
    ]
    if not gone:
        return False
    _remove(context, gone, by_identity, why, who)
    return True


@engine.writer
def withdraw(
    context: RequestContext,
    wanted: Sequence[tuple[Any, str]],
    *,
    source: Source,
    why: str | None = None,
    who: str | None = None,
) -> bool:
    """Have these conditions of a source hold no longer.

    :param wanted: rows of ``devices``, each with a key
    :returns: as :func:`put`
    """
    if not wanted:
        return False
    devices = list({device.uuid: device for device, _key in wanted}.values())
    identities = _lock(context, devices)
    by_identity = {identities[device.uuid]: device for device in devices}
    keys = {(identities[device.uuid], key) for device, key in wanted}
    gone = [
        row
        for row in condition_db.of_identities(context, by_identity)
        if row.source == source and (row.identity_id, row.key) in keys
    ]
    if not gone:
        return False
    _remove(context, gone, by_identity, why, who)
    return True


def _remove(
    context: RequestContext,
    gone: Sequence[Any],
    by_identity: dict[int, Any],
    why: str | None,
    who: str | None,
) -> None:
    condition_db.delete(context, [row.id for row in gone])
    _record(
        context,
        Kind.CONDITION_CLEARED,
        [
            (
                by_identity[row.identity_id],
                row.identity_id,
                why,
                {
                    "key": row.key,
                    "source": row.source,
                    "effect": row.effect,
                    "since": row.since.isoformat(),
                },
            )
            for row in gone
        ],
        who,
    )
    for row in gone:
        if is_status(row.key, row.source):
            device_db.update(
                context,
                by_identity[row.identity_id].id,
                status(False, None),
            )
    for hostname in sorted(
        {
            by_identity[row.identity_id].hostname
            for row in gone
            if row.effect == Effect.NO_SCHEDULE
        }
    ):
        sync_db.mark(context, hostname)


def _lock(context: RequestContext, devices: Collection[Any]) -> dict[str, int]:
    """Lock the devices' hosts; returns the card that each device is."""
    for hostname in sorted({device.hostname for device in devices}):
        host_db.lock_or_create(context, hostname)
    return identity_db.of_devices(context, [device.id for device in devices])


def _differs(row: Any, values: dict[str, Any]) -> bool:
    return any(getattr(row, name) != value for name, value in values.items())


def _record(
    context: RequestContext,
    kind: Kind,
    items: Sequence[tuple[Any, int, str | None, dict[str, Any]]],
    who: str | None,
) -> None:
    events.record(
        context,
        [
            events.Event(kind, device.uuid, identity, why, detail)
            for device, identity, why, detail in items
        ],
        who,
    )


@engine.use_case
def end(context: RequestContext, limit: int) -> bool:
    """Clear conditions whose time is over; returns whether there were any."""
    found = condition_db.ended(context, limit)
    by_identity = {
        row.identity_id: row
        for row in device_db.of_identities(
            context, {row.identity_id for row in found}
        )
    }
    for hostname in sorted({row.hostname for row in by_identity.values()}):
        host_db.lock_or_create(context, hostname)
    # What was set anew meanwhile stays.
    found = condition_db.ended(context, limit)
    _remove(
        context,
        [row for row in found if row.identity_id in by_identity],
        by_identity,
        "its time is over",
        None,
    )
    # Nobody has a use for those of cards that are away.
    condition_db.delete(
        context, [r.id for r in found if r.identity_id not in by_identity]
    )
    return bool(found)
