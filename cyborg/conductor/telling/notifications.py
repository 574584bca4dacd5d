"""Notifies other programs of what became of devices and requests.

A notification goes out once the transaction that made it true has committed,
and costs nothing while they are off.
"""

from collections.abc import Iterable
import enum
import functools
from typing import Any

from oslo_log import log as logging

from cyborg.common import notifier
from cyborg.context import RequestContext
from cyborg.db import arq as arq_db
from cyborg.db import device_event as event_db
from cyborg.db import engine
from cyborg.objects import notification

LOG = logging.getLogger(__name__)


class Event(enum.StrEnum):
    """What happened; ``event_type`` of the notification."""

    ARQ_CREATED = "arq.created"
    ARQ_BOUND = "arq.bound"
    ARQ_BIND_FAILED = "arq.bind_failed"
    ARQ_UNBOUND = "arq.unbound"
    ARQ_DELETED = "arq.deleted"
    # Deleted by the repair tasks: nobody would have bound or deleted it.
    ARQ_ORPHAN_FREED = "arq.orphan_freed"
    DEVICE_CREATE = "device.create"
    DEVICE_UPDATE = "device.update"
    DEVICE_DELETE = "device.delete"
    DEVICE_ENABLE = "device.enable"
    DEVICE_DISABLE = "device.disable"
    # Its agent reports the host without it, and with it again.
    DEVICE_LOST = "device.lost"
    DEVICE_FOUND = "device.found"
    # Of its history, what none of those above tells.
    DEVICE_EVENT = "device.event"


def is_on() -> bool:
    """Tell whether it is worth while to look up what to say."""
    return notifier.is_on()


def arqs(
    context: RequestContext, event: Event, rows: Iterable[Any], **values: Any
) -> None:
    """Tell of ARQs.

    :param rows: the ARQs as they were
    :param values: what has changed in all of them
    """
    if is_on():
        for row in rows:
            _send(context, event, notification.ARQPayload, row, values)


def arq(
    context: RequestContext, event: Event, arq_id: int, **values: Any
) -> None:
    """Tell of an ARQ that this transaction has changed."""
    if is_on():
        arqs(context, event, arq_db.lock(context, [arq_id]), **values)


def devices(
    context: RequestContext, event: Event, rows: Iterable[Any], **values: Any
) -> None:
    """Tell of devices, as :func:`arqs` does of ARQs."""
    if is_on():
        for row in rows:
            _send(context, event, notification.DevicePayload, row, values)


def device_events(context: RequestContext, uuids: Iterable[str]) -> None:
    """Tell of events that this transaction has recorded."""
    if is_on():
        for row in event_db.find_by_uuids(context, list(uuids)):
            _send(
                context,
                Event.DEVICE_EVENT,
                notification.DeviceEventPayload,
                row,
                {},
            )


def _send(
    context: RequestContext,
    event: Event,
    kind: type[notification.Payload],
    row: Any,
    values: dict[str, Any],
) -> None:
    try:
        message = kind.of(row, **values).to_message()
    except Exception:
        # What others want to know must not stop what there is to do.
        LOG.exception("Notification %s cannot be made", event)
        return
    engine.after_commit(
        context, functools.partial(notifier.send, context, event, message)
    )
