"""Instances that have ARQs: where two binds of one instance meet."""

from collections.abc import Collection
from collections.abc import Sequence

import sqlalchemy as sa

from cyborg.context import RequestContext
from cyborg.db import engine
from cyborg.db import models

BOUND = models.BoundInstance.__table__

_IS_NAMED = BOUND.c.instance_uuid.in_(sa.bindparam("instances"))
_LOCK = (
    sa.select(BOUND.c.instance_uuid)
    .where(_IS_NAMED)
    .order_by(BOUND.c.id)
    .with_for_update()
)
_INSERT = sa.insert(BOUND)
_DELETE = sa.delete(BOUND).where(_IS_NAMED)


@engine.writer
def create(context: RequestContext, instances: Collection[str]) -> None:
    """Enter instances that have no ARQs yet.

    :raises oslo_db.exception.DBDuplicateEntry: another bind was first
    """
    context.connection.execute(
        _INSERT, [{"instance_uuid": uuid} for uuid in instances]
    )


@engine.writer
def lock(context: RequestContext, instances: Collection[str]) -> Sequence[str]:
    """Wait for, and keep out, other binds and deletes of these instances.

    :returns: those that are entered
    """
    return (
        context.connection.execute(_LOCK, {"instances": list(instances)})
        .scalars()
        .all()
    )


@engine.writer
def delete(context: RequestContext, instances: Collection[str]) -> None:
    """Forget instances whose ARQs all go in this transaction."""
    context.connection.execute(_DELETE, {"instances": list(instances)})


@engine.writer
def delete_empty(context: RequestContext, instances: Collection[str]) -> None:
    """Forget those of the instances that no ARQ names any more."""
    context.connection.execute(
        sa.delete(BOUND).where(
            BOUND.c.instance_uuid.in_(instances),
            ~sa.exists().where(
                models.ARQ.instance_uuid == BOUND.c.instance_uuid
            ),
        )
    )


# -- whether their servers are there


@engine.use_case
def look_soon(context: RequestContext, instances: Collection[str]) -> None:
    """Have it looked whether servers are there: something says they are not.

    Those that are to be looked at anyway are when it is time.
    """
    context.connection.execute(
        sa.update(BOUND)
        .where(BOUND.c.instance_uuid.in_(instances), BOUND.c.look_at.is_(None))
        .values(look_at=engine.after(0))
    )


@engine.use_case
def take_due(
    context: RequestContext, limit: int, pause: float
) -> Sequence[str]:
    """Return instances whose servers it is time to look for.

    :param pause: seconds after which they are due again, if nothing comes of
        this look
    """
    instances = (
        context.connection.execute(
            sa.select(BOUND.c.instance_uuid)
            .where(BOUND.c.look_at <= engine.after(0))
            .order_by(BOUND.c.look_at)
            .limit(limit)
        )
        .scalars()
        .all()
    )
    if instances:
        look_again(context, instances, pause)
    return instances


@engine.writer
def look_again(
    context: RequestContext, instances: Collection[str], pause: float
) -> None:
    """Have servers looked for ``pause`` seconds from now."""
    context.connection.execute(
        sa.update(BOUND)
        .where(BOUND.c.instance_uuid.in_(instances))
        .values(look_at=engine.after(pause))
    )


@engine.use_case
def found(context: RequestContext, instances: Collection[str]) -> None:
    """Note that servers are there."""
    context.connection.execute(
        sa.update(BOUND)
        .where(
            BOUND.c.instance_uuid.in_(instances),
            sa.or_(
                BOUND.c.look_at.is_not(None),
                BOUND.c.missing_since.is_not(None),
            ),
        )
        .values(look_at=None, missing_since=None)
    )


@engine.use_case
def missed(
    context: RequestContext,
    instances: Collection[str],
    pause: float,
    patience: float,
) -> Sequence[str]:
    """Note that servers are not there, and look again in ``pause`` seconds.

    :returns: those that were not there for ``patience`` seconds, by all looks
    """
    context.connection.execute(
        sa.update(BOUND)
        .where(BOUND.c.instance_uuid.in_(instances))
        .values(
            missing_since=sa.func.coalesce(
                BOUND.c.missing_since, engine.after(0)
            ),
            look_at=engine.after(pause),
        )
    )
    return (
        context.connection.execute(
            sa.select(BOUND.c.instance_uuid).where(
                BOUND.c.instance_uuid.in_(instances),
                BOUND.c.missing_since <= engine.ago(patience),
            )
        )
        .scalars()
        .all()
    )


@engine.reader
def count_missed(context: RequestContext, patience: float) -> tuple[int, int]:
    """Return how many ARQs have servers that are missed for so long, of all.

    :param patience: seconds
    """
    arqs = models.ARQ.__table__
    joined = sa.select(sa.func.count(arqs.c.id)).join_from(
        BOUND, arqs, arqs.c.instance_uuid == BOUND.c.instance_uuid
    )
    missed = joined.where(BOUND.c.missing_since <= engine.ago(patience))
    return (
        context.connection.execute(missed).scalar_one(),
        context.connection.execute(joined).scalar_one(),
    )
