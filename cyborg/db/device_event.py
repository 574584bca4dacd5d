"""What happened to cards: written once, read in order, trimmed by age."""

from collections.abc import Collection
from collections.abc import Sequence
import datetime
import functools
from typing import Any

import sqlalchemy as sa

from cyborg.context import RequestContext
from cyborg.db import clock
from cyborg.db import engine
from cyborg.db import models
from cyborg.db import paging

EVENTS = models.DeviceEvent.__table__
IDENTITIES = models.DeviceIdentity.__table__
DEVICES = models.Device.__table__
DEPLOYABLES = models.Deployable.__table__

_INSERT = sa.insert(EVENTS).values(at=clock.Now())
# Most rows of one statement: it has eight values for each.
_BATCH = 500
# SQLite takes no longer unions than of 500.
_BATCH_AT = 100


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


@engine.writer
def create_at(context: RequestContext, rows: Sequence[dict[str, Any]]) -> None:
    """Insert events of the devices that deployables are of.

    As :func:`create`, with ``deployable_id`` for the device: what binds and
    releases know, without a statement to look it up.
    """
    for start in range(0, len(rows), _BATCH_AT):
        batch = rows[start : start + _BATCH_AT]
        context.connection.execute(
            _insert_at(len(batch)),
            {
                f"{name}_{number}": value
                for number, row in enumerate(batch)
                for name, value in row.items()
            },
        )


@functools.lru_cache(maxsize=_BATCH_AT)
def _insert_at(count: int) -> sa.Insert:
    def one(number: int) -> sa.Select[Any]:
        def given(name: str) -> Any:
            return sa.bindparam(f"{name}_{number}", type_=EVENTS.c[name].type)

        return (
            sa.select(
                given("uuid"),
                DEVICES.c.identity_id,
                DEVICES.c.uuid,
                given("kind"),
                given("who"),
                given("why"),
                given("detail"),
                clock.Now(),
            )
            .join_from(
                DEPLOYABLES, DEVICES, DEVICES.c.id == DEPLOYABLES.c.device_id
            )
            .where(
                DEPLOYABLES.c.id
                == sa.bindparam(f"deployable_id_{number}", type_=sa.Integer())
            )
        )

    rows = [one(number) for number in range(count)]
    return sa.insert(EVENTS).from_select(
        [
            *("uuid", "identity_id", "device_uuid"),
            *("kind", "who", "why", "detail", "at"),
        ],
        rows[0] if count == 1 else sa.union_all(*rows),
        include_defaults=False,
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


@engine.reader
def find_by_uuids(
    context: RequestContext, uuids: Collection[str]
) -> Sequence[sa.Row[Any]]:
    """Return events, with ``hostname``, in the order they were recorded."""
    return context.connection.execute(
        sa.select(EVENTS, IDENTITIES.c.hostname)
        .outerjoin_from(
            EVENTS, IDENTITIES, IDENTITIES.c.id == EVENTS.c.identity_id
        )
        .where(EVENTS.c.uuid.in_(uuids))
        .order_by(EVENTS.c.id)
    ).all()


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
