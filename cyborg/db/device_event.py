"""What happened to cards: written once, read in order, trimmed by age."""

from collections.abc import Collection
from collections.abc import Sequence
import datetime
from typing import Any

import sqlalchemy as sa

from cyborg.context import RequestContext
from cyborg.db import clock
from cyborg.db import engine
from cyborg.db import models
from cyborg.db import paging

EVENTS = models.DeviceEvent.__table__

_INSERT = sa.insert(EVENTS).values(at=clock.Now())
# Most rows of one statement: it has eight values for each.
_BATCH = 500


@engine.writer
def create(context: RequestContext, rows: Sequence[dict[str, Any]]) -> None:
    """Insert events, which happen now: one statement, if they are few."""
    if len(rows) == 1:
        context.connection.execute(_INSERT, rows[0])
        return
    # Drivers take several rows to the server together only where nothing but
    # parameters is inserted, and the time is none.
    for start in range(0, len(rows), _BATCH):
        batch = rows[start : start + _BATCH]
        context.connection.execute(
            sa.insert(EVENTS).values(
                [row | {"at": clock.Now()} for row in batch]
            )
        )


@engine.reader
def find(
    context: RequestContext,
    identity_ids: Collection[int],
    page: paging.Page = paging.ALL,
) -> Sequence[sa.Row[Any]]:
    """Return what happened to cards."""
    mine = EVENTS.c.identity_id.in_(identity_ids)
    return paging.fetch(
        context, sa.select(EVENTS).where(mine), page, EVENTS.c, visible=mine
    )


@engine.use_case
def trim(context: RequestContext, days: float, limit: int) -> int:
    """Delete events older than ``days``, the oldest; returns how many."""
    before = clock.read(context) - datetime.timedelta(days=days)
    ids = (
        context.connection.execute(
            sa.select(EVENTS.c.id)
            .where(EVENTS.c.at < before)
            .order_by(EVENTS.c.at)
            .limit(limit)
        )
        .scalars()
        .all()
    )
    if ids:
        context.connection.execute(
            sa.delete(EVENTS).where(EVENTS.c.id.in_(ids))
        )
    return len(ids)
