"""Sends notifications to other programs, and keeps nobody waiting for it.

They are off until ``[oslo_messaging_notifications] driver`` says where they
go. A thread of its own sends them in order; while the bus is away they wait in
memory.
"""

import atexit
import functools
import os
import queue
import threading
import time
from typing import Any

from oslo_config import cfg
from oslo_log import log as logging
import oslo_messaging as messaging
from oslo_messaging import opts as messaging_opts

from cyborg import context as cyborg_context
from cyborg.common import rpc

CONF = cfg.CONF
LOG = logging.getLogger(__name__)

GROUP = "oslo_messaging_notifications"

# Most notifications that wait to be sent.
_ROOM = 10000
# Seconds that the end of a process waits for the last to be sent.
_PATIENCE = 5.0

_lock = threading.Lock()
_sender: "_Sender | None" = None


@functools.cache
def _register_options() -> None:
    for group, options in messaging_opts.list_opts():
        if group == GROUP:
            CONF.register_opts(options, group=group)


def is_on() -> bool:
    """Tell whether anybody is to be notified."""
    _register_options()
    return any(driver != "noop" for driver in CONF[GROUP].driver)


def send(
    context: cyborg_context.RequestContext,
    event_type: str,
    payload: dict[str, Any],
) -> None:
    """Have a notification sent; returns at once and never fails."""
    global _sender
    try:
        with _lock:
            if _sender is None:
                _sender = _Sender()
            sender = _sender
        sender.put(context, event_type, payload)
    except Exception:
        LOG.exception("Notification %s was not sent", event_type)


def stop() -> None:
    """Send what waits, for a short time, and end."""
    global _sender
    with _lock:
        sender, _sender = _sender, None
    if sender is not None:
        sender.stop()


# Tools end without further ado.
atexit.register(stop)


def _forget() -> None:
    global _lock, _sender
    _lock = threading.Lock()
    _sender = None


# A thread does not live on in a child.
os.register_at_fork(after_in_child=_forget)


class _Sender:
    """The thread, and what waits for it."""

    def __init__(self) -> None:
        self._waiting: queue.Queue[tuple[Any, ...] | None] = queue.Queue(_ROOM)
        self._notifier = messaging.Notifier(
            messaging.get_notification_transport(CONF),
            publisher_id=f"cyborg-conductor:{CONF.host}",
            serializer=rpc.ContextSerializer(messaging.NoOpSerializer()),
        )
        self._thread = threading.Thread(
            target=self._run, name="notifications", daemon=True
        )
        self._thread.start()

    def put(
        self, context: Any, event_type: str, payload: dict[str, Any]
    ) -> None:
        try:
            self._waiting.put_nowait((context, event_type, payload))
        except queue.Full:
            LOG.error(
                "%d notifications wait already; %s of %s is lost",
                _ROOM,
                event_type,
                payload["cyborg_object.data"]["uuid"],
            )

    def stop(self) -> None:
        deadline = time.monotonic() + _PATIENCE
        try:
            self._waiting.put(None, timeout=_PATIENCE)
        except queue.Full:
            LOG.error("%d notifications are lost", self._waiting.qsize())
            return
        self._thread.join(max(0.0, deadline - time.monotonic()))

    def _run(self) -> None:
        while (item := self._waiting.get()) is not None:
            try:
                context, event_type, payload = item
                self._notifier.info(context, str(event_type), payload)
            except Exception:
                LOG.exception("Notification %s was not sent", item[1])
