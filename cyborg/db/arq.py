"""Accelerator requests (ARQs)."""

from collections.abc import Collection
from collections.abc import Sequence
import functools
from typing import Any

import sqlalchemy as sa

from cyborg.common.states import ARQState
from cyborg.common.states import MAY_BECOME
from cyborg.common.states import Reason
from cyborg.context import RequestContext
from cyborg.db import engine
from cyborg.db import models
from cyborg.db import paging

ARQS = models.ARQ.__table__
PROFILES = models.DeviceProfile.__table__
HANDLES = models.AttachHandle.__table__


_SHOWN = sa.select(
    ARQS,
    PROFILES.c.name.label("device_profile_name"),
    HANDLES.c.uuid.label("attach_handle_uuid"),
    HANDLES.c.attach_type.label("attach_handle_type"),
    HANDLES.c.attach_info.label("attach_handle_info"),
).select_from(
    ARQS.join(PROFILES, PROFILES.c.id == ARQS.c.device_profile_id).outerjoin(
        HANDLES, HANDLES.c.id == ARQS.c.attach_handle_id
    )
)
# What ARQs can be found by, by the name that its value has in a statement.
_IS = {
    "scope": ARQS.c.project_id == sa.bindparam("scope"),
    "uuids": ARQS.c.uuid.in_(sa.bindparam("uuids")),
    "instances": ARQS.c.instance_uuid.in_(sa.bindparam("instances")),
    "states": ARQS.c.state.in_(sa.bindparam("states")),
}
_SHOWN_BY_UUIDS = (
    _SHOWN.add_columns(PROFILES.c.profile_json)
    .where(_IS["uuids"])
    .order_by(ARQS.c.id)
)
_WITH_PROFILE = sa.select(ARQS, PROFILES.c.profile_json).join_from(
    ARQS, PROFILES, PROFILES.c.id == ARQS.c.device_profile_id
)
# Not OR: MariaDB would read every ARQ of the profiles.
_FOR_BIND = sa.union(
    _WITH_PROFILE.where(_IS["uuids"]),
    _WITH_PROFILE.where(_IS["instances"]),
)
_INSERT = sa.insert(ARQS)
_IN_ORDER = sa.select(ARQS).order_by(ARQS.c.id)
_BY_UUIDS = _IN_ORDER.where(_IS["uuids"])
_LOCK = _IN_ORDER.where(ARQS.c.id.in_(sa.bindparam("ids"))).with_for_update()
_LOCK_OF_INSTANCE = _IN_ORDER.where(
    ARQS.c.instance_uuid == sa.bindparam("instance")
).with_for_update()
_SET_BOUND = sa.update(ARQS).where(ARQS.c.id == sa.bindparam("arq_id"))
_DELETE = sa.delete(ARQS).where(ARQS.c.id.in_(sa.bindparam("ids")))


@engine.reader
def find(
    context: RequestContext,
    page: paging.Page = paging.ALL,
    *,
    scope: str | None = None,
    uuids: Collection[str] | None = None,
    instances: Collection[str] | None = None,
    states: Collection[str] | None = None,
    device_profile_name: str | None = None,
    hostname: str | None = None,
    project_id: str | None = None,
) -> Sequence[sa.Row[Any]]:
    """Return ARQs with the name of their profile and their handle.

    ``attach_handle_info`` is JSON text. ARQs without a handle have None in
    the three ``attach_handle_*`` columns.

    :param scope: project whose ARQs the caller may see; None = all
    """
    if states is not None:
        # PostgreSQL would refuse to compare others.
        states = [each for each in states if each in {*ARQState}]
    values = paging.given(
        scope=scope, uuids=uuids, instances=instances, states=states
    )
    query = _found_by(*values)
    for column, value in (
        (ARQS.c.project_id, project_id),
        (ARQS.c.hostname, hostname),
        (PROFILES.c.name, device_profile_name),
    ):
        if value is not None:
            query = query.where(paging.is_exactly(context, column, [value]))
    visible = None if scope is None else ARQS.c.project_id == scope
    return paging.fetch(context, query, page, ARQS.c, visible, values)


@functools.cache
def _found_by(*names: str) -> sa.Select[Any]:
    return _SHOWN.where(*(_IS[name] for name in names))


@engine.reader
def find_by_uuids(
    context: RequestContext, uuids: Collection[str]
) -> Sequence[sa.Row[Any]]:
    """Return those of the ARQs that exist, in the order they were made.

    Each with its ``profile_json``.
    """
    return context.connection.execute(
        _SHOWN_BY_UUIDS, {"uuids": list(uuids)}
    ).all()


@engine.reader
def get(
    context: RequestContext, uuid: str, scope: str | None = None
) -> sa.Row[Any] | None:
    """Return an ARQ as :func:`find` does, or None.

    :param scope: project whose ARQs the caller may see; None = all
    """
    rows = find(context, scope=scope, uuids=[uuid])
    return rows[0] if rows else None


# -- binding and releasing


@engine.reader
def for_bind(
    context: RequestContext, uuids: Collection[str], instances: Collection[str]
) -> Sequence[sa.Row[Any]]:
    """Return the ARQs named, and all that the instances have already.

    Each with ``profile_json`` of its profile.
    """
    rows = context.connection.execute(
        _FOR_BIND, {"uuids": list(uuids), "instances": list(instances)}
    ).all()
    # SQLite does not find the column to order a union by.
    return sorted(rows, key=lambda row: row.id)


@engine.reader
def for_release(
    context: RequestContext, uuids: Collection[str]
) -> Sequence[sa.Row[Any]]:
    """Return the ARQs named, as they are stored."""
    return context.connection.execute(_BY_UUIDS, {"uuids": list(uuids)}).all()


@engine.writer
def lock(
    context: RequestContext, ids: Collection[int]
) -> Sequence[sa.Row[Any]]:
    """Lock ARQs, in the order of their ids, and return them as they are."""
    return context.connection.execute(_LOCK, {"ids": list(ids)}).all()


@engine.writer
def lock_of_instance(
    context: RequestContext, instance: str
) -> Sequence[sa.Row[Any]]:
    """Lock and return all ARQs of an instance."""
    return context.connection.execute(
        _LOCK_OF_INSTANCE, {"instance": instance}
    ).all()


@engine.writer
def create(context: RequestContext, rows: Sequence[dict[str, Any]]) -> None:
    """Insert ARQs in their first state, all in one statement."""
    if rows:
        context.connection.execute(_INSERT, rows)


@engine.writer
def set_bound(
    context: RequestContext, changes: Sequence[dict[str, Any]]
) -> None:
    """Give ARQs that are locked their handles.

    :param changes: for each, ``arq_id`` and the columns to set
    """
    context.connection.execute(_SET_BOUND, list(changes))


# Columns that say why an ARQ has failed, of one that has not.
_WELL = {"state_reason": None, "state_detail": None}
_RELEASED = {
    "hostname": None,
    "device_rp_uuid": None,
    "instance_uuid": None,
} | _WELL
_WITHOUT_HANDLE = {"attach_handle_id": None, "deployable_id": None}


def _set_released(
    context: RequestContext,
    ids: Collection[int],
    state: ARQState,
    values: dict[str, Any],
) -> None:
    if ids:
        context.connection.execute(
            sa.update(ARQS)
            .where(ARQS.c.id.in_(ids))
            .values(state=state.value, **_RELEASED, **values)
        )


@engine.writer
def set_unbound(
    context: RequestContext, ids: Collection[int], keep_handle: Collection[int]
) -> None:
    """Take ARQs that are locked from their instances.

    :param keep_handle: ids of those whose host has to be cleaned first
    """
    freed = [arq_id for arq_id in ids if arq_id not in keep_handle]
    _set_released(
        context,
        freed,
        ARQState.UNBOUND,
        _WITHOUT_HANDLE | {"substate": "Initial"},
    )
    _set_released(
        context, keep_handle, ARQState.UNBOUND, {"substate": "Cleaning"}
    )


@engine.writer
def set_deleting(context: RequestContext, ids: Collection[int]) -> None:
    """Take ARQs from their instances; they go once their host is clean."""
    _set_released(context, ids, ARQState.DELETING, {"substate": "Cleaning"})


@engine.writer
def delete(context: RequestContext, ids: Collection[int]) -> None:
    """Remove ARQs, and with them what was to be done for them."""
    if ids:
        context.connection.execute(_DELETE, {"ids": list(ids)})


@engine.writer
def move(
    context: RequestContext, arq_id: int, state: ARQState, **values: Any
) -> bool:
    """Move an ARQ to ``state`` if it is now in a state that may become it.

    One UPDATE: of two callers racing, exactly one gets True.

    :param values: other columns to set; :func:`failure` makes some
    """
    return (
        context.connection.execute(
            sa.update(ARQS)
            .where(
                ARQS.c.id == arq_id,
                ARQS.c.state.in_([str(s) for s in MAY_BECOME[state]]),
            )
            .values({"state": state.value} | _WELL | values)
        ).rowcount
        == 1
    )


def failure(reason: Reason, detail: str) -> dict[str, str]:
    """Return the columns that say why an ARQ fails.

    :param reason: for whoever may see the ARQ
    :param detail: for administrators
    """
    return {"state_reason": reason.value, "state_detail": detail[:2000]}


@engine.reader
def holding_handles_of(
    context: RequestContext, deployable_ids: Collection[int]
) -> Sequence[sa.Row[Any]]:
    """Return the ARQs that hold a handle of the deployables.

    Each with ``profile_json`` of its profile.
    """
    return context.connection.execute(
        _WITH_PROFILE.where(
            ARQS.c.deployable_id.in_(deployable_ids),
            ARQS.c.attach_handle_id.is_not(None),
        ).order_by(ARQS.c.id)
    ).all()


@engine.writer
def set_substate(context: RequestContext, arq_id: int, substate: str) -> None:
    """Note how far the work for an ARQ is, for the operator."""
    context.connection.execute(
        sa.update(ARQS).where(ARQS.c.id == arq_id).values(substate=substate)
    )


@engine.writer
def drop_handle(context: RequestContext, arq_id: int) -> None:
    """Let go of a handle that is clean."""
    context.connection.execute(
        sa.update(ARQS)
        .where(ARQS.c.id == arq_id)
        .values(substate="Initial", **_WITHOUT_HANDLE)
    )


@engine.writer
def set_owner(context: RequestContext, arq_id: int, project_id: str) -> None:
    """Give an ARQ to a project."""
    context.connection.execute(
        sa.update(ARQS)
        .where(ARQS.c.id == arq_id)
        .values(project_id=project_id)
    )
