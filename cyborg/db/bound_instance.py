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
