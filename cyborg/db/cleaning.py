"""Handles that are given back: what they are of, and whether they are clean.

A handle that is to be cleaned stays in use; an unfinished job of kind
``clean`` has it, and nobody else.
"""

from collections.abc import Collection
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from cyborg.common import clock
from cyborg.common import constants
from cyborg.context import RequestContext
from cyborg.db import engine
from cyborg.db import host as host_db
from cyborg.db import models

ARQS = models.ARQ.__table__
ATTRIBUTES = models.Attribute.__table__
DEPLOYABLES = models.Deployable.__table__
DEVICES = models.Device.__table__
HANDLES = models.AttachHandle.__table__
HOSTS = models.Host.__table__
JOBS = models.Job.__table__

IS_UNFINISHED = sa.and_(
    JOBS.c.kind == constants.JobKind.CLEAN.value, JOBS.c.finished_at.is_(None)
)

_IS_ONE_TIME = sa.exists().where(
    ATTRIBUTES.c.deployable_id == DEPLOYABLES.c.id,
    ATTRIBUTES.c.value == constants.ONE_TIME_TRAIT,
)
_SUBJECTS = (
    sa.select(
        HANDLES.c.id,
        HANDLES.c.deployable_id,
        DEVICES.c.id.label("device_id"),
        DEVICES.c.uuid.label("device_uuid"),
        DEVICES.c.type.label("device_type"),
        DEVICES.c.hostname,
        sa.func.coalesce(HOSTS.c.cleans, sa.false()).label("cleans"),
        _IS_ONE_TIME.label("is_one_time"),
    )
    .select_from(
        HANDLES.join(DEPLOYABLES, DEPLOYABLES.c.id == HANDLES.c.deployable_id)
        .join(DEVICES, DEVICES.c.id == DEPLOYABLES.c.device_id)
        .outerjoin(HOSTS, HOSTS.c.hostname == DEVICES.c.hostname)
    )
    .order_by(HANDLES.c.id)
)


@engine.reader
def subjects(
    context: RequestContext, handle_ids: Collection[int]
) -> Sequence[sa.Row[Any]]:
    """Return what handles are of.

    Rows: id, deployable_id, device_id, device_uuid, device_type, hostname,
    cleans (whether this release has seen the host first) and is_one_time.
    """
    return context.connection.execute(
        _SUBJECTS.where(HANDLES.c.id.in_(handle_ids))
    ).all()


@engine.reader
def idle_subjects(
    context: RequestContext, device_id: int
) -> Sequence[sa.Row[Any]]:
    """Return, as :func:`subjects` does, the free handles of a device."""
    return context.connection.execute(
        _SUBJECTS.where(
            DEVICES.c.id == device_id, HANDLES.c.in_use == sa.false()
        )
    ).all()


@engine.reader
def jobs_of_device(
    context: RequestContext, device_id: int
) -> Sequence[sa.Row[Any]]:
    """Return the cleanings of a device that are queued or going on."""
    return context.connection.execute(
        sa.select(JOBS)
        .join(DEPLOYABLES, DEPLOYABLES.c.id == JOBS.c.deployable_id)
        .where(DEPLOYABLES.c.device_id == device_id, IS_UNFINISHED)
        .order_by(JOBS.c.id)
    ).all()


@engine.use_case
def make_due(context: RequestContext, hostname: str, uuid: str) -> bool:
    """Have a cleaning that waits looked at now; False if there is none.

    :param hostname: whose agent says so; of no other host
    """
    # A conductor that has it has an answer under way.
    return (
        context.connection.execute(
            sa.update(JOBS)
            .where(
                JOBS.c.uuid == uuid,
                JOBS.c.owner.is_(None),
                JOBS.c.deployable_id.in_(host_db.deployable_ids(hostname)),
                IS_UNFINISHED,
            )
            .values(lease_expires_at=clock.utcnow())
        ).rowcount
        == 1
    )
