"""Tells Nova what became of accelerator requests, at least once.

The events are rows written by the transaction that resolved the requests.
Any conductor sends what is due, many instances in one POST, and takes a row
out when Nova has accepted it, or never will.
"""

from collections.abc import Callable
from collections.abc import Sequence
import datetime
from typing import Any

from oslo_config import cfg
from oslo_log import log as logging

from cyborg.clients import nova
from cyborg.common import clock
from cyborg.common import exception
from cyborg.common import faults
from cyborg.context import RequestContext
from cyborg.db import outbox as outbox_db

CONF = cfg.CONF
LOG = logging.getLogger(__name__)

EVENT_NAME = "accelerator-request-bound"

# Most instances whose events one POST carries.
BATCH = 100
_LONGEST_PAUSE = 30
# Seconds after which a server that has no host may be one that is gone: Nova
# answers both alike.
_SUSPECT = 30.0

# Nova's answers to one event.
_ACCEPTED = 200
_NO_SUCH_SERVER = 404
_BAD_EVENT = 400
# The server has no host yet: what Nova answers to nearly every instant bind.
# It looks itself before it waits, so the repetition only makes sure.
_NO_HOST_YET = 422


def send_due(
    context: RequestContext, on_orphan: Callable[[Sequence[str]], None]
) -> bool:
    """Send the events that are due.

    :param on_orphan: called with instances that Nova does not know, or says
        have no host for longer than that takes: they may be gone
    :returns: whether there may be more
    """
    rows = outbox_db.claim(context, BATCH, CONF.conductor.job_lease)
    if not rows:
        return False
    faults.point("outbox-claimed")
    events = [
        {
            "name": EVENT_NAME,
            "server_uuid": row.instance_uuid,
            "tag": row.arq_uuid,
            "status": row.status,
        }
        for row in rows
    ]
    try:
        codes = nova.send_events(events)
    except (exception.NovaUnavailable, exception.ConfigInvalid) as error:
        LOG.error(
            "%d events wait to be sent: %s", len(rows), error.faultstring
        )
        codes = {}
    faults.point("outbox-sent")
    _record(context, rows, codes, on_orphan)
    faults.point("outbox-recorded")
    return len({row.instance_uuid for row in rows}) == BATCH


def _record(
    context: RequestContext,
    rows: Sequence[Any],
    codes: dict[int, int],
    on_orphan: Callable[[Sequence[str]], None],
) -> None:
    oldest = clock.utcnow() - datetime.timedelta(
        seconds=CONF.conductor.event_expiry
    )
    suspect = clock.utcnow() - datetime.timedelta(seconds=_SUSPECT)
    done: list[int] = []
    later: dict[int, list[int]] = {}
    orphans: set[str] = set()
    for index, row in enumerate(rows):
        code = codes.get(index)
        if code == _ACCEPTED:
            done.append(row.id)
            LOG.debug(
                "Told Nova: ARQ %s of instance %s %s",
                row.arq_uuid,
                row.instance_uuid,
                row.status,
            )
        elif code in (_NO_SUCH_SERVER, _BAD_EVENT):
            done.append(row.id)
            LOG.warning(
                "Nova does not take the event of ARQ %s of instance %s: %s",
                row.arq_uuid,
                row.instance_uuid,
                code,
            )
            if code == _NO_SUCH_SERVER:
                orphans.add(row.instance_uuid)
        elif row.created_at <= oldest:
            done.append(row.id)
            LOG.warning(
                "The event of ARQ %s of instance %s expired; Nova's last "
                "answer was %s",
                row.arq_uuid,
                row.instance_uuid,
                code,
            )
            if code == _NO_HOST_YET:
                orphans.add(row.instance_uuid)
        else:
            later.setdefault(row.attempts, []).append(row.id)
            if code == _NO_HOST_YET and row.created_at <= suspect:
                orphans.add(row.instance_uuid)
    if done:
        outbox_db.delete(context, done)
    for attempts, ids in later.items():
        outbox_db.postpone(context, ids, min(2**attempts, _LONGEST_PAUSE))
    if orphans:
        on_orphan(sorted(orphans))
