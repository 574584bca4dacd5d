"""The outbox: events that Nova has to be told of, at least once."""

from collections.abc import Collection
from collections.abc import Sequence
from typing import Any

from oslo_utils import timeutils
import sqlalchemy as sa

from cyborg.common import states
from cyborg.context import RequestContext
from cyborg.db import engine
from cyborg.db import models

OUTBOX = models.Notification.__table__


@engine.writer
def create(context: RequestContext, events: Sequence[dict[str, Any]]) -> None:
    """Add events to send: instance_uuid, arq_uuid and status each."""
    now = engine.after(0)
    context.connection.execute(
        sa.insert(OUTBOX),
        [event | {"next_attempt_at": now, "attempts": 0} for event in events],
    )


@engine.writer
def delete_for(context: RequestContext, arq_uuids: Collection[str]) -> None:
    """Drop events of ARQs that are bound no more: nobody waits for them."""
    context.connection.execute(
        sa.delete(OUTBOX).where(OUTBOX.c.arq_uuid.in_(arq_uuids))
    )


@engine.use_case
def claim(
    context: RequestContext, limit: int, lease: float
) -> Sequence[sa.Row[Any]]:
    """Return events that are due, and keep others off them for ``lease`` s.

    Events of an instance wait until none of its ARQs is being bound, so that
    Nova hears of all together.

    :param limit: most instances whose events are returned
    """
    now = timeutils.utcnow()
    binding = sa.exists().where(
        models.ARQ.instance_uuid == OUTBOX.c.instance_uuid,
        models.ARQ.state == states.ARQState.BIND_STARTED.value,
    )
    # The lock has to come from a statement on this one table: MariaDB locks
    # every row it joins.
    instances = (
        context.connection.execute(
            sa.select(OUTBOX.c.instance_uuid)
            .where(OUTBOX.c.next_attempt_at <= now, ~binding)
            .group_by(OUTBOX.c.instance_uuid)
            .order_by(sa.func.min(OUTBOX.c.id))
            .limit(limit)
        )
        .scalars()
        .all()
    )
    if not instances:
        return []
    rows = context.connection.execute(
        sa.select(OUTBOX)
        .where(
            OUTBOX.c.instance_uuid.in_(instances),
            OUTBOX.c.next_attempt_at <= now,
        )
        .order_by(OUTBOX.c.id)
        .with_for_update(skip_locked=True)
    ).all()
    if rows:
        context.connection.execute(
            sa.update(OUTBOX)
            .where(OUTBOX.c.id.in_([row.id for row in rows]))
            .values(next_attempt_at=engine.after(lease))
        )
    return rows


@engine.use_case
def delete(context: RequestContext, ids: Collection[int]) -> None:
    """Take events out that were delivered, or will never be."""
    context.connection.execute(sa.delete(OUTBOX).where(OUTBOX.c.id.in_(ids)))


@engine.use_case
def postpone(
    context: RequestContext, ids: Collection[int], delay: float
) -> None:
    """Try events again ``delay`` seconds from now."""
    context.connection.execute(
        sa.update(OUTBOX)
        .where(OUTBOX.c.id.in_(ids))
        .values(
            attempts=OUTBOX.c.attempts + 1,
            next_attempt_at=engine.after(delay),
        )
    )
