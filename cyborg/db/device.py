"""Devices: the cards that agents reported."""

from collections.abc import Collection
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from cyborg.context import RequestContext
from cyborg.db import engine
from cyborg.db import models
from cyborg.db import paging

DEVICES = models.Device.__table__
DEPLOYABLES = models.Deployable.__table__
PATHS = models.ControlPathID.__table__
IDENTITIES = models.DeviceIdentity.__table__


def without_prefix(vendor: str) -> str:
    """Return a vendor's or a product's code as those are compared."""
    return vendor.lower().removeprefix("0x")


@engine.reader
def find(
    context: RequestContext,
    page: paging.Page = paging.ALL,
    *,
    vendor: str | None = None,
    **equal: str,
) -> Sequence[sa.Row[Any]]:
    """Return devices.

    :param vendor: as a driver gave it, with or without ``0x``, in any case
    :param equal: column names and the values they must have
    """
    query = sa.select(DEVICES).where(
        *(
            paging.is_exactly(context, DEVICES.c[name], [value])
            for name, value in equal.items()
        )
    )
    if vendor is not None:
        bare = without_prefix(vendor)
        query = query.where(
            sa.func.lower(DEVICES.c.vendor).in_([bare, f"0x{bare}"])
        )
    return paging.fetch(context, query, page, DEVICES.c)


@engine.reader
def find_cards(context: RequestContext) -> Sequence[sa.Row[Any]]:
    """Return all devices, each with the ``product`` that the card is."""
    return context.connection.execute(
        sa.select(DEVICES, IDENTITIES.c.product)
        .outerjoin(IDENTITIES, IDENTITIES.c.id == DEVICES.c.identity_id)
        .order_by(DEVICES.c.id)
    ).all()


@engine.reader
def get(context: RequestContext, uuid: str) -> sa.Row[Any] | None:
    """Return a device, or None."""
    return context.connection.execute(
        sa.select(DEVICES).where(DEVICES.c.uuid == uuid)
    ).one_or_none()


@engine.reader
def of_identities(
    context: RequestContext, identity_ids: Collection[int]
) -> Sequence[sa.Row[Any]]:
    """Return the devices that are certain cards."""
    return context.connection.execute(
        sa.select(DEVICES)
        .where(DEVICES.c.identity_id.in_(identity_ids))
        .order_by(DEVICES.c.id)
    ).all()


@engine.reader
def of_deployable(
    context: RequestContext, deployable_id: int
) -> sa.Row[Any] | None:
    """Return the device that a deployable is part of, or None."""
    return context.connection.execute(
        sa.select(DEVICES)
        .join(DEPLOYABLES, DEPLOYABLES.c.device_id == DEVICES.c.id)
        .where(DEPLOYABLES.c.id == deployable_id)
    ).one_or_none()


@engine.reader
def by_place(context: RequestContext, hostname: str) -> dict[str, sa.Row[Any]]:
    """Return the devices of a host by the ``cpid_info`` of their paths."""
    rows = context.connection.execute(
        sa.select(DEVICES, PATHS.c.cpid_info)
        .join(PATHS, PATHS.c.device_id == DEVICES.c.id)
        .where(DEVICES.c.hostname == hostname)
        .order_by(DEVICES.c.id)
    ).all()
    return {row.cpid_info: row for row in rows}


@engine.reader
def count_by_type(context: RequestContext) -> dict[str, int]:
    """Return how many devices of each type there are."""
    rows = context.connection.execute(
        sa.select(DEVICES.c.type, sa.func.count().label("devices")).group_by(
            DEVICES.c.type
        )
    )
    return {row.type: row.devices for row in rows}


@engine.reader
def existing(context: RequestContext, ids: Collection[int]) -> set[int]:
    """Return which of the devices there still are."""
    return set(
        context.connection.execute(
            sa.select(DEVICES.c.id).where(DEVICES.c.id.in_(ids))
        ).scalars()
    )


@engine.writer
def update(context: RequestContext, id_: int, values: dict[str, Any]) -> None:
    """Change columns of a device."""
    context.connection.execute(
        sa.update(DEVICES).where(DEVICES.c.id == id_).values(**values)
    )


@engine.reader
def driver_of(context: RequestContext, id_: int) -> str | None:
    """Return the entry point that reported a device, None if unknown."""
    driver: str | None = context.connection.execute(
        sa.select(DEVICES.c.driver).where(DEVICES.c.id == id_)
    ).scalar()
    return driver
