"""The outbox: events that Nova has to be told of, at least once."""

from collections.abc import Collection
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from cyborg.common import clock
from cyborg.common import states
from cyborg.context import RequestContext
from cyborg.db import engine
from cyborg.db import models

OUTBOX = models.Notification.__table__
ARQS = models.ARQ.__table__

_IS_DUE = sa.or_(
    OUTBOX.c.next_attempt_at <= sa.bindparam("now"),
    OUTBOX.c.next_attempt_at > sa.bindparam("never"),
)
_INSTANCES_DUE = (
    sa.select(OUTBOX.c.instance_uuid)
    .where(
        _IS_DUE,
        ~sa.exists().where(
            ARQS.c.instance_uuid == OUTBOX.c.instance_uuid,
            ARQS.c.state == states.ARQState.BIND_STARTED.value,
        ),
    )
    .group_by(OUTBOX.c.instance_uuid)
    .order_by(sa.func.min(OUTBOX.c.id))
    .limit(sa.bindparam("limit"))
)
# The lock has to come from a statement on this one table: MariaDB locks every
# row it joins.
_LOCK_DUE = (
    sa.select(OUTBOX)
    .where(OUTBOX.c.instance_uuid.in_(sa.bindparam("instances")), _IS_DUE)
    .order_by(OUTBOX.c.id)
    .with_for_update(skip_locked=True)
)
_INSERT = sa.insert(OUTBOX)
_BY_IDS = OUTBOX.c.id.in_(sa.bindparam("ids"))
_LEASE = sa.update(OUTBOX).where(_BY_IDS)
_DELETE = sa.delete(OUTBOX).where(_BY_IDS)
_DELETE_FOR = sa.delete(OUTBOX).where(
    OUTBOX.c.arq_uuid.in_(sa.bindparam("arq_uuids"))
)


@engine.writer
def create(context: RequestContext, events: Sequence[dict[str, Any]]) -> None:
    """Add events to send: instance_uuid, arq_uuid and status each."""
    now = engine.after(0)
    context.connection.execute(
        _INSERT,
        [event | {"next_attempt_at": now, "attempts": 0} for event in events],
    )


@engine.writer
def delete_for(context: RequestContext, arq_uuids: Collection[str]) -> None:
    """Drop events of ARQs that are bound no more: nobody waits for them."""
    context.connection.execute(_DELETE_FOR, {"arq_uuids": list(arq_uuids)})


@engine.use_case
def claim(
    context: RequestContext, limit: int, lease: float
) -> Sequence[sa.Row[Any]]:
    """Return events that are due, and keep others off them for ``lease`` s.

    Events of an instance wait until none of its ARQs is being bound, so that
    Nova hears of all together.

    :param limit: most instances whose events are returned
    """
    times = {"now": clock.utcnow(), "never": engine.past_any_lease()}
    instances = (
        context.connection.execute(_INSTANCES_DUE, times | {"limit": limit})
        .scalars()
        .all()
    )
    if not instances:
        return []
    rows = context.connection.execute(
        _LOCK_DUE, times | {"instances": instances}
    ).all()
    if rows:
        context.connection.execute(
            _LEASE,
            {
                "ids": [row.id for row in rows],
                "next_attempt_at": engine.after(lease),
            },
        )
    return rows


@engine.use_case
def delete(context: RequestContext, ids: Collection[int]) -> None:
    """Take events out that were delivered, or will never be."""
    context.connection.execute(_DELETE, {"ids": list(ids)})


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
