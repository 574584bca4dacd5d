"""Deployables: the parts of devices that Placement counts."""

from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from cyborg.common import constants
from cyborg.context import RequestContext
from cyborg.db import attribute as attribute_db
from cyborg.db import engine
from cyborg.db import models
from cyborg.db import paging

DEPLOYABLES = models.Deployable.__table__
DEVICES = models.Device.__table__
ATTRIBUTES = models.Attribute.__table__
HOSTS = models.Host.__table__
JOBS = models.Job.__table__
CONDITIONS = models.DeviceCondition.__table__

_PARENTS = DEPLOYABLES.alias("parents")
_ROOTS = DEPLOYABLES.alias("roots")

# Columns of other tables that a deployable is found by and shown with.
_JOINED = {
    "device_uuid": DEVICES.c.uuid,
    "hostname": DEVICES.c.hostname,
    "type": DEVICES.c.type,
    "parent_uuid": _PARENTS.c.uuid,
    "root_uuid": _ROOTS.c.uuid,
}
_COLUMNS = {**DEPLOYABLES.c, **_JOINED}


_NO_SCHEDULE = constants.ConditionEffect.NO_SCHEDULE.value
_BIND = constants.AttributeOrigin.BIND.value

_FOR_BIND = (
    sa.select(
        DEPLOYABLES.c.id,
        DEPLOYABLES.c.uuid,
        DEPLOYABLES.c.rp_uuid,
        DEPLOYABLES.c.rp_pool,
        DEPLOYABLES.c.driver_name,
        DEPLOYABLES.c.missing_since,
        DEPLOYABLES.c.withheld,
        DEVICES.c.type.label("device_type"),
        DEVICES.c.hostname,
        DEVICES.c.missing_since.label("device_missing_since"),
        sa.exists()
        .where(
            ATTRIBUTES.c.deployable_id == DEPLOYABLES.c.id,
            ATTRIBUTES.c.value == constants.ONE_TIME_TRAIT,
        )
        .label("is_one_time"),
        HOSTS.c.rpc_host,
        HOSTS.c.forced_down,
        HOSTS.c.last_seen_at,
        sa.exists()
        .where(JOBS.c.device_id == DEVICES.c.id, JOBS.c.finished_at.is_(None))
        .label("is_updated"),
        sa.or_(
            DEVICES.c.status != constants.DeviceStatus.ENABLED.value,
            DEVICES.c.identity_id.in_(
                sa.select(CONDITIONS.c.identity_id).where(
                    CONDITIONS.c.effect == _NO_SCHEDULE
                )
            ),
        ).label("is_fenced"),
    )
    .select_from(
        DEPLOYABLES.join(
            DEVICES, DEVICES.c.id == DEPLOYABLES.c.device_id
        ).outerjoin(HOSTS, HOSTS.c.hostname == DEVICES.c.hostname)
    )
    .where(DEPLOYABLES.c.rp_uuid.in_(sa.bindparam("rp_uuids")))
    .order_by(DEPLOYABLES.c.id)
)


def _query() -> sa.Select[Any]:
    return sa.select(
        DEPLOYABLES,
        *(column.label(name) for name, column in _JOINED.items()),
    ).select_from(
        DEPLOYABLES.join(DEVICES, DEVICES.c.id == DEPLOYABLES.c.device_id)
        .outerjoin(_PARENTS, _PARENTS.c.id == DEPLOYABLES.c.parent_id)
        .outerjoin(_ROOTS, _ROOTS.c.id == DEPLOYABLES.c.root_id)
    )


@engine.reader
def find(
    context: RequestContext,
    page: paging.Page = paging.ALL,
    *,
    attributes: Iterable[tuple[str, str]] = (),
    **equal: str | None,
) -> Sequence[sa.Row[Any]]:
    """Return deployables with uuids of device, parent and root.

    :param attributes: keys and values that they must have, all of them
    :param equal: column names and values; None = no value
    """
    query = _query()
    for name, value in equal.items():
        column = _COLUMNS[name]
        query = query.where(
            column.is_(None)
            if value is None
            else paging.is_exactly(context, column, [value])
        )
    for key, value in attributes:
        query = query.where(
            sa.exists().where(
                ATTRIBUTES.c.deployable_id == DEPLOYABLES.c.id,
                paging.is_exactly(context, ATTRIBUTES.c.key, [key]),
                paging.is_exactly(context, ATTRIBUTES.c.value, [value]),
            )
        )
    return paging.fetch(context, query, page, DEPLOYABLES.c)


@engine.reader
def get(context: RequestContext, uuid: str) -> sa.Row[Any] | None:
    """Return a deployable as :func:`find` does, or None."""
    return context.connection.execute(
        _query().where(DEPLOYABLES.c.uuid == uuid)
    ).one_or_none()


@engine.reader
def withheld(
    context: RequestContext, device_ids: Collection[int]
) -> dict[int, list[str]]:
    """Return why deployables are withheld, as stored, by device id."""
    found: dict[int, list[str]] = {}
    for row in context.connection.execute(
        sa.select(DEPLOYABLES.c.device_id, DEPLOYABLES.c.withheld)
        .where(
            DEPLOYABLES.c.device_id.in_(device_ids),
            DEPLOYABLES.c.withheld.is_not(None),
        )
        .order_by(DEPLOYABLES.c.id)
    ):
        found.setdefault(row.device_id, []).append(row.withheld)
    return found


@engine.reader
def get_by_id(context: RequestContext, id_: int) -> sa.Row[Any] | None:
    """Return a deployable by the key other tables know it by, or None."""
    return context.connection.execute(
        _query().where(DEPLOYABLES.c.id == id_)
    ).one_or_none()


# -- binding and programming


@engine.reader
def for_bind(
    context: RequestContext, rp_uuids: Collection[str]
) -> Sequence[Any]:
    """Return the deployables that providers count, with device and host.

    A host that has not reported since an upgrade has no row: ``rpc_host``,
    ``forced_down`` and ``last_seen_at`` are None. ``is_updated`` tells that
    the device's firmware is being changed, ``is_fenced`` that it should take
    no new instances.
    """
    return context.connection.execute(
        _FOR_BIND, {"rp_uuids": list(rp_uuids)}
    ).all()


@engine.reader
def providers_of(
    context: RequestContext, ids: Collection[int]
) -> dict[int, str | None]:
    """Return the provider that counts each deployable right now."""
    found = context.connection.execute(
        sa.select(DEPLOYABLES.c.id, DEPLOYABLES.c.rp_uuid).where(
            DEPLOYABLES.c.id.in_(ids)
        )
    )
    return {row.id: row.rp_uuid for row in found}


@engine.writer
def lock_for_programming(
    context: RequestContext,
    exclusive: Collection[int],
    shared: Collection[int] = (),
) -> Sequence[sa.Row[Any]]:
    """Lock deployables and return them as they are now.

    :param exclusive: those that will be programmed
    :param shared: those that must not be programmed meanwhile
    """
    rows: list[sa.Row[Any]] = []
    for ids, read in ((exclusive, False), (shared, True)):
        if ids:
            rows += context.connection.execute(
                sa.select(DEPLOYABLES)
                .where(DEPLOYABLES.c.id.in_(ids))
                .order_by(DEPLOYABLES.c.id)
                .with_for_update(read=read)
            ).all()
    return rows


@engine.reader
def function_traits(
    context: RequestContext, deployable_ids: Collection[int]
) -> Sequence[sa.Row[Any]]:
    """Return (deployable_id, value, is_programmed) of traits of functions.

    Those that programming gave the deployables, and those that their drivers
    have found; not what users wrote.
    """
    origin = ATTRIBUTES.c.origin
    return context.connection.execute(
        sa.select(
            ATTRIBUTES.c.deployable_id,
            ATTRIBUTES.c.value,
            sa.func.coalesce(origin == _BIND, sa.false()).label(
                "is_programmed"
            ),
        ).where(
            ATTRIBUTES.c.deployable_id.in_(deployable_ids),
            sa.or_(origin == _BIND, attribute_db.is_found_function()),
        )
    ).all()


@engine.writer
def set_bitstream(
    context: RequestContext, deployable_id: int, image: str | None
) -> None:
    """Record which image a deployable runs; None = that is not known."""
    context.connection.execute(
        sa.update(DEPLOYABLES)
        .where(DEPLOYABLES.c.id == deployable_id)
        .values(bitstream_id=image)
    )
