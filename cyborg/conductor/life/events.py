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
from cyborg.context import RequestContext
from cyborg.db import device_event as event_db

Kind = constants.DeviceEventKind

# Who, where nobody asked for it.
OURSELVES = "cyborg"


@dataclasses.dataclass(frozen=True)
class Event:
    """Something that happens to a device.

    :ivar device_uuid: the device as it is known to users
    :ivar identity_id: the card that it is, of ``devices``; None = no agent
        has said yet, and the event is in no history
    :ivar detail: what belongs to it, of the kinds that JSON has
    """

    kind: Kind
    device_uuid: str
    identity_id: int | None
    why: str | None = None
    detail: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def of(
    device: Any, kind: Kind, why: str | None = None, **detail: Any
) -> Event:
    """Return an event of a device, a row of ``devices``."""
    return Event(kind, device.uuid, device.identity_id, why, detail)


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
    actor = who or context.user_id or OURSELVES
    rows = [
        {
            "uuid": uuidutils.generate_uuid(),
            "identity_id": event.identity_id,
            "device_uuid": event.device_uuid,
            "kind": event.kind.value,
            "who": actor[:255],
            "why": event.why,
            "detail": json.dumps(event.detail, sort_keys=True),
        }
        for event in events
    ]
    event_db.create(context, rows)
