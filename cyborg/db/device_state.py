"""``devices.device_state``: what follows from handles, and what is decided.

Whoever takes or frees a handle says so here, in the same transaction. The
device's row is locked for it: of two that meet, one sees what the other did.
"""

from collections.abc import Collection
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from cyborg.common import constants
from cyborg.common import states
from cyborg.context import RequestContext
from cyborg.db import engine
from cyborg.db import models

DEVICES = models.Device.__table__
DEPLOYABLES = models.Deployable.__table__
HANDLES = models.AttachHandle.__table__
JOBS = models.Job.__table__
CONDITIONS = models.DeviceCondition.__table__

State = states.DeviceState
_STATE = DEVICES.c.device_state
_IN_USE = sa.exists().where(
    DEPLOYABLES.c.device_id == DEVICES.c.id,
    HANDLES.c.deployable_id == DEPLOYABLES.c.id,
    HANDLES.c.in_use == sa.true(),
)
_OF_HANDLES = DEVICES.c.id.in_(
    sa.select(DEPLOYABLES.c.device_id)
    .join(HANDLES, HANDLES.c.deployable_id == DEPLOYABLES.c.id)
    .where(HANDLES.c.id.in_(sa.bindparam("handle_ids")))
)
_OF_IDS = DEVICES.c.id.in_(sa.bindparam("device_ids"))


def _may_become(state: State) -> sa.ColumnElement[bool]:
    sources = states.DEVICE_MAY_BECOME[state]
    found: sa.ColumnElement[bool] = _STATE.in_([str(s) for s in sources])
    if any(source in states.DERIVED for source in sources):
        # An earlier release made the row.
        found = sa.or_(found, _STATE.is_(None))
    return found


def _lock(
    which: sa.ColumnElement[bool], *columns: sa.ColumnElement[Any]
) -> sa.Select[Any]:
    query = sa.select(DEVICES.c.id, *columns).where(which)
    return query.order_by(DEVICES.c.id).with_for_update()


# Placement counts a device otherwise as soon as nobody has it any more: it
# belongs elsewhere, or others of its pool could be given in its place.
_IS_WATCHED = sa.or_(
    sa.exists().where(
        DEPLOYABLES.c.device_id == DEVICES.c.id,
        DEPLOYABLES.c.rp_moving == sa.true(),
    ),
    sa.and_(
        sa.exists().where(
            DEPLOYABLES.c.device_id == DEVICES.c.id,
            DEPLOYABLES.c.rp_pool.is_not(None),
        ),
        sa.or_(
            DEVICES.c.status != constants.DeviceStatus.ENABLED.value,
            DEVICES.c.missing_since.is_not(None),
            sa.exists().where(
                DEPLOYABLES.c.device_id == DEVICES.c.id,
                sa.or_(
                    DEPLOYABLES.c.withheld.is_not(None),
                    DEPLOYABLES.c.missing_since.is_not(None),
                ),
            ),
            sa.exists().where(
                CONDITIONS.c.identity_id == DEVICES.c.identity_id,
                CONDITIONS.c.effect
                == constants.ConditionEffect.NO_SCHEDULE.value,
            ),
        ),
    ),
)


def _derived() -> sa.ColumnElement[bool]:
    return sa.or_(
        _STATE.is_(None), _STATE.in_([str(s) for s in states.DERIVED])
    )


# Written also if it is so already: that locks the row until this is known.
_TAKEN = (
    sa.update(DEVICES)
    .where(_OF_HANDLES, _derived())
    .values(device_state=State.ALLOCATED.value)
)
_LOCK_OF_HANDLES = _lock(
    _OF_HANDLES, DEVICES.c.hostname, _IS_WATCHED.label("is_watched")
)
_FREED = (
    sa.update(DEVICES)
    .where(_OF_HANDLES, _derived(), ~_IN_USE)
    .values(device_state=State.AVAILABLE.value)
)

# Some handle of it is free, or in use by other than a cleaning.
_IS_OFFERED = sa.exists().where(
    DEPLOYABLES.c.device_id == DEVICES.c.id,
    HANDLES.c.deployable_id == DEPLOYABLES.c.id,
    ~sa.exists().where(
        JOBS.c.attach_handle_id == HANDLES.c.id,
        JOBS.c.kind == constants.JobKind.CLEAN.value,
        JOBS.c.finished_at.is_(None),
    ),
)

# A handle of a device in one of these is nobody's to take.
IS_UNFIT = sa.exists().where(
    DEPLOYABLES.c.id == HANDLES.c.deployable_id,
    DEVICES.c.id == DEPLOYABLES.c.device_id,
    _STATE.in_([str(state) for state in states.UNFIT]),
)


@engine.writer
def taken(context: RequestContext, handle_ids: Collection[int]) -> None:
    """Say that handles are in use now."""
    context.connection.execute(_TAKEN, {"handle_ids": list(handle_ids)})


@engine.writer
def freed(
    context: RequestContext, handle_ids: Collection[int]
) -> Sequence[sa.Row[Any]]:
    """Say that handles are free now.

    :returns: the devices: id, hostname, ``is_watched``: Placement counts it
        otherwise from now on
    """
    if not handle_ids:
        return []
    values = {"handle_ids": list(handle_ids)}
    rows = context.connection.execute(_LOCK_OF_HANDLES, values).all()
    context.connection.execute(_FREED, values)
    return rows


@engine.writer
def to_be_cleaned(
    context: RequestContext, handle_ids: Collection[int]
) -> None:
    """Say that jobs to clean handles are queued.

    A device of which others have handles, or may have, keeps its state.
    """
    values = {"handle_ids": list(handle_ids)}
    context.connection.execute(_LOCK_OF_HANDLES, values)
    context.connection.execute(
        sa.update(DEVICES)
        .where(_OF_HANDLES, _may_become(State.PENDING_CLEANING), ~_IS_OFFERED)
        .values(device_state=State.PENDING_CLEANING.value),
        values,
    )


@engine.writer
def hold(context: RequestContext, handle_ids: Collection[int]) -> None:
    """Keep the devices of handles until an operator frees them."""
    values = {"handle_ids": list(handle_ids)}
    context.connection.execute(_LOCK_OF_HANDLES, values)
    context.connection.execute(
        sa.update(DEVICES)
        .where(_OF_HANDLES, _may_become(State.PENDING_CLEANING))
        .values(device_state=State.PENDING_CLEANING.value),
        values,
    )


@engine.writer
def cleaning(context: RequestContext, device_id: int) -> None:
    """Say that the cleaning of a handle of a device begins."""
    context.connection.execute(
        sa.update(DEVICES)
        .where(_OF_IDS, _STATE.in_([State.PENDING_CLEANING.value]))
        .values(device_state=State.CLEANING.value),
        {"device_ids": [device_id]},
    )


@engine.writer
def cleaned(context: RequestContext, device_id: int) -> None:
    """Say that a handle of a device was cleaned and is free."""
    _derive(
        context,
        [device_id],
        _STATE.in_([State.PENDING_CLEANING.value, State.CLEANING.value]),
    )


@engine.writer
def follow(context: RequestContext, device_ids: Collection[int]) -> None:
    """Set what follows from the handles of devices, whatever it was."""
    _derive(context, device_ids, _derived())


@engine.writer
def release(context: RequestContext, device_ids: Collection[int]) -> None:
    """End what keeps devices from being given out: somebody answers for it."""
    _derive(
        context,
        device_ids,
        _STATE.in_([str(state) for state in states.UNFIT]),
    )


def _derive(
    context: RequestContext,
    device_ids: Collection[int],
    which: sa.ColumnElement[bool],
) -> None:
    if not device_ids:
        return
    values = {"device_ids": list(device_ids)}
    context.connection.execute(_lock(_OF_IDS), values)
    for state, used in (
        (State.ALLOCATED, _IN_USE),
        (State.AVAILABLE, ~_IN_USE),
    ):
        context.connection.execute(
            sa.update(DEVICES)
            .where(_OF_IDS, which, used)
            .values(device_state=state.value),
            values,
        )


@engine.writer
def move(
    context: RequestContext, device_ids: Collection[int], state: State
) -> int:
    """Move devices to ``state`` that may become it; returns how many.

    One UPDATE: of two callers racing, exactly one moves a device.
    """
    return context.connection.execute(
        sa.update(DEVICES)
        .where(_OF_IDS, _may_become(state))
        .values(device_state=state.value),
        {"device_ids": list(device_ids)},
    ).rowcount


@engine.reader
def unknown(context: RequestContext, marker: int, limit: int) -> Sequence[int]:
    """Return ids above ``marker`` of devices without a state."""
    return (
        context.connection.execute(
            sa.select(DEVICES.c.id)
            .where(_STATE.is_(None), DEVICES.c.id > marker)
            .order_by(DEVICES.c.id)
            .limit(limit)
        )
        .scalars()
        .all()
    )
