"""The history of devices, written in the transactions that make it.

``record`` costs one INSERT, however many events there are, and tells whoever
listens to notifications once the transaction has committed.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import json
from typing import Any

from oslo_utils import uuidutils

from cyborg.common import constants
from cyborg.conductor.telling import notifications
from cyborg.context import RequestContext
from cyborg.db import device_event as event_db

Kind = constants.DeviceEventKind

# What has a notification of its own.
_TOLD_OTHERWISE = (
    Kind.FOUND,
    Kind.LOST,
    Kind.BACK,
    Kind.REMOVED,
    Kind.BOUND,
    Kind.RELEASED,
)

# Who, where nobody asked for it.
OURSELVES = "cyborg"


@dataclasses.dataclass(frozen=True)
class Event:
    """Something that happens to a device.

    :ivar device_uuid: the device as it is known to users
    :ivar identity_id: the card that it is, of ``devices``; None = no agent
        has said yet, and the event is in no history
    :ivar detail: what belongs to it, of the kinds that JSON has
    :ivar deployable_id: says, if given, which device it is
    """

    kind: Kind
    device_uuid: str | None
    identity_id: int | None
    why: str | None = None
    detail: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    deployable_id: int | None = None


def of(
    device: Any, kind: Kind, why: str | None = None, **detail: Any
) -> Event:
    """Return an event of a device, a row of ``devices``."""
    return Event(kind, device.uuid, device.identity_id, why, detail)


def at(
    deployable_id: int, kind: Kind, why: str | None = None, **detail: Any
) -> Event:
    """Return an event of the device that a deployable is of."""
    return Event(kind, None, None, why, detail, deployable_id)


def agent(hostname: str) -> str:
    """Return who reports what happens on a host."""
    return f"agent of {hostname}"


def record(
    context: RequestContext, events: Sequence[Event], who: str | None = None
) -> None:
    """Add events to the history, in the caller's transaction.

    :param who: None = the user that ``context`` is of, or Cyborg itself
    """
    if not events:
        return
    actor = (who or context.user_id or OURSELVES)[:255]
    of_devices, of_deployables = [], []
    for event in events:
        row = _row(event, actor)
        if event.deployable_id is None:
            row["identity_id"] = event.identity_id
            row["device_uuid"] = event.device_uuid
            of_devices.append(row)
        else:
            row["deployable_id"] = event.deployable_id
            of_deployables.append(row)
    event_db.create(context, of_devices)
    event_db.create_at(context, of_deployables)
    news = [
        row["uuid"]
        for row in of_devices + of_deployables
        if row["kind"] not in _TOLD_OTHERWISE
    ]
    if news:
        notifications.device_events(context, news)


def _row(event: Event, who: str) -> dict[str, Any]:
    return {
        "uuid": uuidutils.generate_uuid(),
        "kind": event.kind.value,
        "who": who,
        "why": event.why,
        "detail": json.dumps(event.detail, sort_keys=True),
    }
