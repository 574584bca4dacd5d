"""What has gone: what may be deleted, and the deleting.

Parts of a host go when they have been missing for long, a host when an
operator says so. What an ARQ or work that goes on refers to stays.
"""

from collections.abc import Collection
from collections.abc import Sequence
import datetime
from typing import Any

import sqlalchemy as sa

from cyborg.common import clock
from cyborg.common import exception
from cyborg.context import RequestContext
from cyborg.db import engine
from cyborg.db import host as host_db
from cyborg.db import host_sync as sync_db
from cyborg.db import models

HOSTS = models.Host.__table__
DEVICES = models.Device.__table__
DEPLOYABLES = models.Deployable.__table__
ATTRIBUTES = models.Attribute.__table__
HANDLES = models.AttachHandle.__table__
CONTROL_PATHS = models.ControlPathID.__table__
ARQS = models.ARQ.__table__
JOBS = models.Job.__table__


# -- parts of a host


@engine.reader
def oldest_missing(
    context: RequestContext, hostname: str
) -> datetime.datetime | None:
    """Return since when the first missing thing of a host is missing."""
    parts = sa.union_all(
        sa.select(sa.func.min(DEVICES.c.missing_since)).where(
            DEVICES.c.hostname == hostname
        ),
        sa.select(sa.func.min(DEPLOYABLES.c.missing_since)).where(
            DEPLOYABLES.c.device_id.in_(host_db.device_ids(hostname))
        ),
        sa.select(sa.func.min(HANDLES.c.missing_since)).where(
            HANDLES.c.deployable_id.in_(host_db.deployable_ids(hostname))
        ),
    )
    found = [t for t in context.connection.execute(parts).scalars() if t]
    return min(found, default=None)


def _in_use(deployable_ids: Collection[int]) -> sa.CompoundSelect[Any]:
    """Select the deployables that an ARQ or unfinished work refers to."""
    return sa.union(
        sa.select(ARQS.c.deployable_id).where(
            ARQS.c.deployable_id.in_(deployable_ids)
        ),
        sa.select(HANDLES.c.deployable_id)
        .join(ARQS, ARQS.c.attach_handle_id == HANDLES.c.id)
        .where(HANDLES.c.deployable_id.in_(deployable_ids)),
        sa.select(JOBS.c.deployable_id).where(
            JOBS.c.deployable_id.in_(deployable_ids),
            JOBS.c.finished_at.is_(None),
        ),
        sa.select(HANDLES.c.deployable_id)
        .join(JOBS, JOBS.c.attach_handle_id == HANDLES.c.id)
        .where(
            HANDLES.c.deployable_id.in_(deployable_ids),
            JOBS.c.finished_at.is_(None),
        ),
        sa.select(DEPLOYABLES.c.id)
        .join(JOBS, JOBS.c.device_id == DEPLOYABLES.c.device_id)
        .where(
            DEPLOYABLES.c.id.in_(deployable_ids),
            JOBS.c.finished_at.is_(None),
        ),
    )


@engine.reader
def in_use(
    context: RequestContext, deployable_ids: Collection[int]
) -> set[int]:
    """Return which deployables an ARQ or unfinished work refers to."""
    return set(context.connection.execute(_in_use(deployable_ids)).scalars())


@engine.use_case
def delete_gone(
    context: RequestContext, hostname: str, deployable_ids: Collection[int]
) -> set[int]:
    """Delete deployables whose providers are gone, and empty devices.

    Those that came back, or were taken into use, meanwhile stay.

    :returns: ids of the deployables that were deleted
    """
    connection = context.connection
    # No report changes the host's rows from here on.
    host_db.lock_or_create(context, hostname)
    gone = set(
        connection.execute(
            sa.select(DEPLOYABLES.c.id)
            .join(DEVICES, DEPLOYABLES.c.device_id == DEVICES.c.id)
            .where(
                DEPLOYABLES.c.id.in_(deployable_ids),
                DEPLOYABLES.c.missing_since.is_not(None),
                DEVICES.c.hostname == hostname,
            )
        ).scalars()
    )
    # A deployable goes after those below it.
    gone -= set(
        connection.execute(
            sa.select(DEPLOYABLES.c.parent_id).where(
                DEPLOYABLES.c.parent_id.in_(gone),
                DEPLOYABLES.c.id.not_in(gone),
            )
        ).scalars()
    )
    gone -= in_use(context, gone)
    if not gone:
        return gone
    devices = set(
        connection.execute(
            sa.select(DEPLOYABLES.c.device_id).where(
                DEPLOYABLES.c.id.in_(gone)
            )
        ).scalars()
    )
    handles = sa.select(HANDLES.c.id).where(HANDLES.c.deployable_id.in_(gone))
    handle_ids = connection.execute(handles).scalars().all()
    # What is left of jobs here is finished.
    connection.execute(
        sa.delete(JOBS).where(
            sa.or_(
                JOBS.c.deployable_id.in_(gone),
                JOBS.c.attach_handle_id.in_(handle_ids),
            )
        )
    )
    _delete_deployables(context, gone)
    _delete_empty_devices(context, devices)
    return gone


def _delete_deployables(context: RequestContext, ids: Collection[int]) -> None:
    """Delete deployables that no ARQ and no job refers to any more."""
    connection = context.connection
    for table in (HANDLES, ATTRIBUTES):
        connection.execute(
            sa.delete(table).where(table.c.deployable_id.in_(ids))
        )
    # Rows of one tree refer to each other.
    connection.execute(
        sa.update(DEPLOYABLES)
        .where(DEPLOYABLES.c.id.in_(ids))
        .values(parent_id=None, root_id=None)
    )
    connection.execute(
        sa.update(DEPLOYABLES)
        .where(DEPLOYABLES.c.root_id.in_(ids))
        .values(root_id=None)
    )
    connection.execute(sa.delete(DEPLOYABLES).where(DEPLOYABLES.c.id.in_(ids)))


def _delete_empty_devices(
    context: RequestContext, device_ids: Collection[int]
) -> None:
    connection = context.connection
    kept = set(
        connection.execute(
            sa.select(DEPLOYABLES.c.device_id).where(
                DEPLOYABLES.c.device_id.in_(device_ids)
            )
        ).scalars()
    )
    empty = set(
        connection.execute(
            sa.select(DEVICES.c.id).where(
                DEVICES.c.id.in_(set(device_ids) - kept),
                DEVICES.c.missing_since.is_not(None),
            )
        ).scalars()
    )
    if not empty:
        return
    connection.execute(sa.delete(JOBS).where(JOBS.c.device_id.in_(empty)))
    connection.execute(
        sa.delete(CONTROL_PATHS).where(CONTROL_PATHS.c.device_id.in_(empty))
    )
    connection.execute(sa.delete(DEVICES).where(DEVICES.c.id.in_(empty)))


@engine.use_case
def delete_gone_parts(
    context: RequestContext, hostname: str, before: datetime.datetime
) -> int:
    """Delete handles, and devices without deployables, that are gone.

    Placement knows of neither.

    :param before: they have been missing since then at least
    :returns: how many
    """
    connection = context.connection
    handles = (
        sa.select(HANDLES.c.id)
        .where(
            HANDLES.c.deployable_id.in_(host_db.deployable_ids(hostname)),
            HANDLES.c.missing_since <= before,
            HANDLES.c.in_use == sa.false(),
            ~sa.exists().where(ARQS.c.attach_handle_id == HANDLES.c.id),
            ~sa.exists().where(JOBS.c.attach_handle_id == HANDLES.c.id),
        )
        .order_by(HANDLES.c.id)
    )
    devices = sa.select(DEVICES.c.id).where(
        DEVICES.c.hostname == hostname,
        DEVICES.c.missing_since <= before,
        ~sa.exists().where(DEPLOYABLES.c.device_id == DEVICES.c.id),
        ~sa.exists().where(
            JOBS.c.device_id == DEVICES.c.id, JOBS.c.finished_at.is_(None)
        ),
    )
    handle_ids = connection.execute(handles).scalars().all()
    device_ids = connection.execute(devices).scalars().all()
    if not (handle_ids or device_ids):
        return 0
    host_db.lock_or_create(context, hostname)
    handle_ids = connection.execute(handles.with_for_update()).scalars().all()
    device_ids = connection.execute(devices).scalars().all()
    connection.execute(sa.delete(HANDLES).where(HANDLES.c.id.in_(handle_ids)))
    _delete_empty_devices(context, device_ids)
    return len(handle_ids) + len(device_ids)


# -- hosts


@engine.reader
def users(
    context: RequestContext, hostname: str
) -> tuple[Sequence[Any], Sequence[Any]]:
    """Return the ARQs that refer to a host, and the jobs that go on there.

    Without an ARQ, work that is past its deadline or has none does not count:
    only the agent can end it, and a host that is gone has none.
    """
    connection = context.connection
    deployables = host_db.deployable_ids(hostname)
    handles = sa.select(HANDLES.c.id).where(
        HANDLES.c.deployable_id.in_(deployables)
    )
    arqs = connection.execute(
        sa.select(ARQS)
        .where(
            sa.or_(
                ARQS.c.hostname == hostname,
                ARQS.c.deployable_id.in_(deployables),
                ARQS.c.attach_handle_id.in_(handles),
            )
        )
        .order_by(ARQS.c.id)
    ).all()
    jobs = connection.execute(
        sa.select(JOBS)
        .where(
            JOBS.c.finished_at.is_(None),
            sa.or_(
                JOBS.c.arq_id.is_not(None),
                JOBS.c.deadline_at > clock.utcnow(),
            ),
            _of_host(hostname),
        )
        .order_by(JOBS.c.id)
    ).all()
    return arqs, jobs


def _of_host(hostname: str) -> sa.ColumnElement[bool]:
    """Return the condition for jobs on anything of a host."""
    deployables = host_db.deployable_ids(hostname)
    return sa.or_(
        JOBS.c.device_id.in_(host_db.device_ids(hostname)),
        JOBS.c.deployable_id.in_(deployables),
        JOBS.c.attach_handle_id.in_(
            sa.select(HANDLES.c.id).where(
                HANDLES.c.deployable_id.in_(deployables)
            )
        ),
    )


@engine.use_case
def delete(context: RequestContext, hostname: str) -> None:
    """Delete a host with everything it had.

    :raises HostInUse: an ARQ or work that goes on refers to it
    """
    connection = context.connection
    host_db.lock_or_create(context, hostname)
    arqs, jobs = users(context, hostname)
    if arqs or jobs:
        raise exception.HostInUse(
            host=hostname,
            reason=f"{len(arqs)} accelerator requests and {len(jobs)} jobs "
            "refer to it",
        )
    rows = sync_db.load(context, hostname)
    devices = [row.id for row in rows.devices]
    deployables = [row.id for row in rows.deployables]
    # What is left of jobs is finished, or ends with the host.
    left = connection.execute(sa.select(JOBS.c.id).where(_of_host(hostname)))
    connection.execute(
        sa.delete(JOBS).where(JOBS.c.id.in_(left.scalars().all()))
    )
    _delete_deployables(context, deployables)
    connection.execute(
        sa.delete(CONTROL_PATHS).where(CONTROL_PATHS.c.device_id.in_(devices))
    )
    connection.execute(sa.delete(DEVICES).where(DEVICES.c.id.in_(devices)))
    connection.execute(sa.delete(HOSTS).where(HOSTS.c.hostname == hostname))
