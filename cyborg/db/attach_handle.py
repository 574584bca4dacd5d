"""Attach handles: taking a free one and giving it back."""

from collections.abc import Collection
from collections.abc import Sequence
import json
from typing import Any

import sqlalchemy as sa

from cyborg.common import constants
from cyborg.common import states
from cyborg.context import RequestContext
from cyborg.db import device_state
from cyborg.db import engine
from cyborg.db import models

HANDLES = models.AttachHandle.__table__
DEPLOYABLES = models.Deployable.__table__
DEVICES = models.Device.__table__
ARQS = models.ARQ.__table__
JOBS = models.Job.__table__

_MDEV = constants.AttachHandleType.MDEV.value
# Names, in attach_info, what the agent has to make.
_ASKED = '"asked_type"'

_NEEDS_HOST_WORK = sa.or_(
    HANDLES.c.attach_type == _MDEV,
    HANDLES.c.attach_info.contains(_ASKED, autoescape=True),
)


def needs_host_work(attach_type: str, attach_info: str) -> bool:
    """Tell whether a handle exists on the host only while somebody holds it.

    So does an mdev, and a virtual function that has to become a vGPU.

    :param attach_info: JSON text
    """
    return attach_type == _MDEV or _ASKED in attach_info


_FREE: sa.Select[Any] = (
    sa.select(
        HANDLES.c.id,
        HANDLES.c.deployable_id,
        HANDLES.c.attach_type,
        HANDLES.c.attach_info,
    )
    .where(
        HANDLES.c.deployable_id.in_(sa.bindparam("deployable_ids")),
        HANDLES.c.in_use == sa.false(),
        HANDLES.c.missing_since.is_(None),
        ~device_state.IS_UNFIT,
        # Looked at here, too: firmware may be changed since lately.
        ~sa.exists().where(
            DEPLOYABLES.c.id == HANDLES.c.deployable_id,
            JOBS.c.device_id == DEPLOYABLES.c.device_id,
            JOBS.c.finished_at.is_(None),
        ),
    )
    .order_by(HANDLES.c.id)
    .limit(sa.bindparam("count"))
)
_FREE_AND_NOT_LOCKED = _FREE.with_for_update(skip_locked=True)
_FREE_ONCE_UNLOCKED = _FREE.with_for_update()
_BY_IDS = sa.update(HANDLES).where(HANDLES.c.id.in_(sa.bindparam("ids")))
_TAKE = _BY_IDS.where(HANDLES.c.in_use == sa.false()).values(in_use=True)
_RELEASE = _BY_IDS.values(in_use=False)
_RELEASE_WITHOUT_HOST_WORK = _RELEASE.where(~_NEEDS_HOST_WORK)


# Whoever holds a handle has an allocation for it in Placement.
IS_ALLOCATED = sa.and_(
    ARQS.c.id.is_not(None),
    ARQS.c.state.in_([str(state) for state in states.ALLOCATED]),
)

_IN_USE: sa.Select[Any] = (
    sa.select(
        HANDLES.c.uuid,
        HANDLES.c.attach_type,
        HANDLES.c.attach_info,
        DEVICES.c.uuid.label("device"),
        ARQS.c.uuid.label("arq"),
        ARQS.c.state,
        ARQS.c.instance_uuid.label("instance"),
    )
    .select_from(DEVICES)
    .join(DEPLOYABLES, DEPLOYABLES.c.device_id == DEVICES.c.id)
    .join(HANDLES, HANDLES.c.deployable_id == DEPLOYABLES.c.id)
    .outerjoin(ARQS, ARQS.c.attach_handle_id == HANDLES.c.id)
    .where(
        DEVICES.c.hostname == sa.bindparam("hostname"),
        HANDLES.c.in_use == sa.true(),
    )
    .order_by(HANDLES.c.id)
)


@engine.reader
def in_use(context: RequestContext, hostname: str) -> Sequence[sa.Row[Any]]:
    """Return what is in use on a host, and by whom.

    Rows: uuid, attach_type, attach_info, device, arq, state, instance. One
    without a request is in use until the host is cleaned up.
    """
    return context.connection.execute(_IN_USE, {"hostname": hostname}).all()


@engine.writer
def take(
    context: RequestContext,
    deployable_ids: Collection[int],
    count: int,
    spared: Collection[int] = (),
) -> Sequence[sa.Row[Any]]:
    """Mark up to ``count`` free handles of the deployables as in use.

    :param spared: ids of handles that are left

    The rows (id, deployable_id, attach_type, attach_info) are this
    transaction's alone. Fewer rows than wanted means that there are no more.
    """
    wanted = {"deployable_ids": list(deployable_ids), "count": count}
    # Step over what others are taking right now. If that leaves too few,
    # wait for them: they may yet roll back.
    attempts = [_FREE_AND_NOT_LOCKED]
    if engine.supports_skip_locked(context.connection):
        attempts.append(_FREE_ONCE_UNLOCKED)
    for attempt in attempts:
        if spared:
            attempt = attempt.where(HANDLES.c.id.not_in(spared))
        rows = context.connection.execute(attempt, wanted).all()
        if len(rows) == count:
            break
    if not rows:
        return rows
    # The lock may not hold where the engine has none (SQLite) or keeps it on
    # one node (Galera): what counts is how many rows really changed.
    taken = context.connection.execute(
        _TAKE, {"ids": [row.id for row in rows]}
    ).rowcount
    if taken != len(rows):
        raise engine.Collision()
    device_state.taken(context, [row.id for row in rows])
    return rows


@engine.reader
def first_of_several(
    context: RequestContext, deployable_ids: Collection[int]
) -> list[int]:
    """Return ids of the handles of deployables' lowest PCI functions.

    Of a deployable that has one handle only it is none.
    """
    places: dict[int, list[tuple[str, int]]] = {}
    for row in context.connection.execute(
        sa.select(
            HANDLES.c.id, HANDLES.c.deployable_id, HANDLES.c.attach_info
        ).where(
            HANDLES.c.deployable_id.in_(deployable_ids),
            HANDLES.c.missing_since.is_(None),
        )
    ):
        function = str(json.loads(row.attach_info).get("function"))
        places.setdefault(row.deployable_id, []).append((function, row.id))
    return [min(found)[1] for found in places.values() if len(found) > 1]


@engine.writer
def release(
    context: RequestContext,
    ids: Collection[int],
    keep_host_work: bool = False,
) -> tuple[int, set[str]]:
    """Mark handles as free.

    :param keep_host_work: leave those in use that exist on the host and have
        to be removed there first
    :returns: how many were freed, and the hosts that Placement counts
        otherwise from now on
    """
    statement = _RELEASE_WITHOUT_HOST_WORK if keep_host_work else _RELEASE
    count = context.connection.execute(statement, {"ids": list(ids)}).rowcount
    devices = device_state.freed(context, ids)
    return count, {row.hostname for row in devices if row.is_watched}


@engine.reader
def hosts_of(context: RequestContext, ids: Collection[int]) -> list[str]:
    """Return the hosts that handles are on, sorted."""
    return sorted(
        context.connection.execute(
            sa.select(DEVICES.c.hostname)
            .distinct()
            .join(DEPLOYABLES, DEPLOYABLES.c.device_id == DEVICES.c.id)
            .join(HANDLES, HANDLES.c.deployable_id == DEPLOYABLES.c.id)
            .where(HANDLES.c.id.in_(ids))
        ).scalars()
    )


@engine.reader
def count_idle(
    context: RequestContext, deployable_ids: Collection[int]
) -> int:
    """Return how many handles are in use by nobody who has an allocation."""
    return int(
        context.connection.execute(
            sa.select(sa.func.count())
            .select_from(HANDLES)
            .outerjoin(ARQS, ARQS.c.attach_handle_id == HANDLES.c.id)
            .where(
                HANDLES.c.deployable_id.in_(deployable_ids),
                HANDLES.c.in_use == sa.true(),
                sa.not_(IS_ALLOCATED),
            )
        ).scalar_one()
    )


@engine.writer
def hold(context: RequestContext, ids: Collection[int]) -> None:
    """Take free handles, locked before, for other than a request.

    :raises Collision: somebody was faster
    """
    taken = context.connection.execute(_TAKE, {"ids": list(ids)}).rowcount
    if taken != len(ids):
        raise engine.Collision()


@engine.reader
def needing_host_work(
    context: RequestContext, ids: Collection[int]
) -> set[int]:
    """Return which of the handles exist on the host."""
    rows = context.connection.execute(
        sa.select(HANDLES.c.id).where(HANDLES.c.id.in_(ids), _NEEDS_HOST_WORK)
    )
    return {row.id for row in rows}


@engine.writer
def lock_of(context: RequestContext, deployable_ids: Collection[int]) -> None:
    """Lock the handles of deployables: nobody takes one meanwhile."""
    context.connection.execute(
        sa.select(HANDLES.c.id)
        .where(HANDLES.c.deployable_id.in_(deployable_ids))
        .order_by(HANDLES.c.id)
        .with_for_update()
    )


@engine.writer
def lock(context: RequestContext, ids: Collection[int]) -> None:
    """Lock handles, in the order of their ids."""
    context.connection.execute(
        sa.select(HANDLES.c.id)
        .where(HANDLES.c.id.in_(ids))
        .order_by(HANDLES.c.id)
        .with_for_update()
    )


@engine.reader
def is_only(context: RequestContext, device_id: int) -> bool:
    """Tell whether a device has one handle, and so is given as a whole."""
    count = context.connection.execute(
        sa.select(sa.func.count())
        .select_from(HANDLES)
        .join(DEPLOYABLES, DEPLOYABLES.c.id == HANDLES.c.deployable_id)
        .where(DEPLOYABLES.c.device_id == device_id)
    ).scalar_one()
    return bool(count == 1)
