"""Finds what no running transaction owns: for the repair tasks.

Each query is bounded and uses an index, whatever the size of the tables.
"""

from collections.abc import Collection
from collections.abc import Sequence
import datetime
from typing import Any

import sqlalchemy as sa

from cyborg.common import states
from cyborg.context import RequestContext
from cyborg.db import engine
from cyborg.db import models

ARQS = models.ARQ.__table__
BOUND = models.BoundInstance.__table__
HANDLES = models.AttachHandle.__table__
JOBS = models.Job.__table__


def _has_work(arq_id: Any) -> Any:
    return sa.exists().where(
        JOBS.c.arq_id == arq_id, JOBS.c.finished_at.is_(None)
    )


@engine.reader
def arqs_without_work(
    context: RequestContext,
    state: states.ARQState,
    before: datetime.datetime,
    limit: int,
) -> Sequence[sa.Row[Any]]:
    """Return ARQs that stand in a passing state though nobody works on them.

    :param before: untouched since then
    """
    return context.connection.execute(
        sa.select(ARQS)
        .where(
            ARQS.c.state == state.value,
            sa.func.coalesce(ARQS.c.updated_at, ARQS.c.created_at) <= before,
            ~_has_work(ARQS.c.id),
        )
        .order_by(ARQS.c.id)
        .limit(limit)
    ).all()


@engine.reader
def never_bound(
    context: RequestContext, before: datetime.datetime, limit: int
) -> Sequence[sa.Row[Any]]:
    """Return ARQs that were created before a time and never bound."""
    return context.connection.execute(
        sa.select(ARQS)
        .where(
            ARQS.c.state == states.ARQState.INITIAL.value,
            ARQS.c.created_at <= before,
        )
        .order_by(ARQS.c.id)
        .limit(limit)
    ).all()


@engine.reader
def instances_after(
    context: RequestContext, marker: str, limit: int
) -> Sequence[str]:
    """Return instances that have ARQs, in the order of their uuids."""
    return (
        context.connection.execute(
            sa.select(ARQS.c.instance_uuid)
            .where(ARQS.c.instance_uuid > marker)
            .group_by(ARQS.c.instance_uuid)
            .order_by(ARQS.c.instance_uuid)
            .limit(limit)
        )
        .scalars()
        .all()
    )


@engine.reader
def orphans(context: RequestContext, limit: int) -> Sequence[sa.Row[Any]]:
    """Return ARQs whose servers neither Nova nor Placement knows.

    Each with ``missing_since``.
    """
    return context.connection.execute(
        sa.select(ARQS, BOUND.c.missing_since)
        .join(BOUND, BOUND.c.instance_uuid == ARQS.c.instance_uuid)
        .where(BOUND.c.missing_since.is_not(None))
        .order_by(ARQS.c.id)
        .limit(limit)
    ).all()


@engine.reader
def last_after(
    context: RequestContext, table: sa.FromClause, marker: int, count: int
) -> int | None:
    """Return the id that is ``count`` rows after one; None = less are left."""
    return context.connection.execute(
        sa.select(table.c.id)
        .where(table.c.id > marker)
        .order_by(table.c.id)
        .offset(count - 1)
        .limit(1)
    ).scalar()


def _within(column: Any, ids: tuple[int, int | None]) -> Any:
    first, last = ids
    above = column > first
    return above if last is None else sa.and_(above, column <= last)


@engine.reader
def instances_without_arqs(
    context: RequestContext, limit: int, within: tuple[int, int | None]
) -> Sequence[str]:
    """Return entered instances that no ARQ names any more.

    :param within: see :func:`leaked_handles`
    """
    return (
        context.connection.execute(
            sa.select(BOUND.c.instance_uuid)
            .where(
                _within(BOUND.c.id, within),
                ~sa.exists().where(
                    ARQS.c.instance_uuid == BOUND.c.instance_uuid
                ),
            )
            .order_by(BOUND.c.id)
            .limit(limit)
        )
        .scalars()
        .all()
    )


@engine.reader
def leaked_handles(
    context: RequestContext,
    before: datetime.datetime,
    limit: int,
    among: Collection[int] | None = None,
    within: tuple[int, int | None] = (0, None),
) -> Sequence[sa.Row[Any]]:
    """Return handles in use that no ARQ and no work owns.

    :param before: taken before then
    :param among: ids of the handles looked at; None = all
    :param within: the greatest id not looked at and the greatest that is;
        None = all that are greater
    """
    return context.connection.execute(
        sa.select(HANDLES)
        .where(
            _within(HANDLES.c.id, within),
            sa.true() if among is None else HANDLES.c.id.in_(among),
            HANDLES.c.in_use == sa.true(),
            sa.func.coalesce(HANDLES.c.updated_at, HANDLES.c.created_at)
            <= before,
            ~sa.exists().where(ARQS.c.attach_handle_id == HANDLES.c.id),
            ~sa.exists().where(
                JOBS.c.attach_handle_id == HANDLES.c.id,
                JOBS.c.finished_at.is_(None),
            ),
        )
        .order_by(HANDLES.c.id)
        .limit(limit)
    ).all()
