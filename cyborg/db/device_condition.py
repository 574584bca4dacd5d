"""Conditions of cards: what holds until it is cleared, or ends by itself."""

from collections.abc import Collection
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from cyborg.common import constants
from cyborg.context import RequestContext
from cyborg.db import clock
from cyborg.db import engine
from cyborg.db import models

CONDITIONS = models.DeviceCondition.__table__
DEVICES = models.Device.__table__

_HOLDS = sa.or_(CONDITIONS.c.until.is_(None), CONDITIONS.c.until > clock.Now())


@engine.reader
def of_identities(
    context: RequestContext, ids: Collection[int]
) -> Sequence[sa.Row[Any]]:
    """Return the conditions of cards, those that have ended as well."""
    return context.connection.execute(
        sa.select(CONDITIONS)
        .where(CONDITIONS.c.identity_id.in_(ids))
        .order_by(CONDITIONS.c.id)
    ).all()


@engine.reader
def of_devices(
    context: RequestContext, device_ids: Collection[int]
) -> Sequence[sa.Row[Any]]:
    """Return the conditions that hold of devices, with ``device_id``."""
    return context.connection.execute(
        sa.select(CONDITIONS, DEVICES.c.id.label("device_id"))
        .join(DEVICES, DEVICES.c.identity_id == CONDITIONS.c.identity_id)
        .where(DEVICES.c.id.in_(device_ids), _HOLDS)
        .order_by(CONDITIONS.c.id)
    ).all()


@engine.reader
def of_host(
    context: RequestContext, hostname: str | None
) -> Sequence[sa.Row[Any]]:
    """Return the conditions that hold on a host, with ``device_id``.

    :param hostname: None = on any
    """
    query = (
        sa.select(CONDITIONS, DEVICES.c.id.label("device_id"))
        .join(DEVICES, DEVICES.c.identity_id == CONDITIONS.c.identity_id)
        .where(_HOLDS)
        .order_by(CONDITIONS.c.id)
    )
    if hostname is not None:
        query = query.where(DEVICES.c.hostname == hostname)
    return context.connection.execute(query).all()


@engine.reader
def fenced(
    context: RequestContext, source: str, keys: Collection[str]
) -> Sequence[sa.Row[Any]]:
    """Return the devices that such conditions reserve."""
    return context.connection.execute(
        sa.select(DEVICES)
        .where(
            sa.exists().where(
                CONDITIONS.c.identity_id == DEVICES.c.identity_id,
                CONDITIONS.c.source == source,
                CONDITIONS.c.effect
                == constants.ConditionEffect.NO_SCHEDULE.value,
                CONDITIONS.c.key.in_(keys),
                _HOLDS,
            )
        )
        .order_by(DEVICES.c.id)
    ).all()


@engine.writer
def create(context: RequestContext, rows: Sequence[dict[str, Any]]) -> None:
    """Insert conditions, which hold from now on."""
    if rows:
        context.connection.execute(
            sa.insert(CONDITIONS).values(since=clock.Now()), rows
        )


@engine.writer
def update(
    context: RequestContext, changes: Mapping[int, dict[str, Any]]
) -> None:
    """Change effect, reason and end of conditions by id."""
    if changes:
        context.connection.execute(
            sa.update(CONDITIONS)
            .where(CONDITIONS.c.id == sa.bindparam("row_id"))
            .values(
                effect=sa.bindparam("new_effect"),
                reason=sa.bindparam("new_reason"),
                until=sa.bindparam("new_until"),
            ),
            [
                {"row_id": id_}
                | {f"new_{name}": value for name, value in values.items()}
                for id_, values in changes.items()
            ],
        )


@engine.writer
def delete(context: RequestContext, ids: Collection[int]) -> None:
    """Remove conditions."""
    if ids:
        context.connection.execute(
            sa.delete(CONDITIONS).where(CONDITIONS.c.id.in_(ids))
        )


@engine.reader
def ended(context: RequestContext, limit: int) -> Sequence[sa.Row[Any]]:
    """Return conditions that have ended by themselves."""
    return context.connection.execute(
        sa.select(CONDITIONS)
        .where(CONDITIONS.c.until <= clock.Now())
        .order_by(CONDITIONS.c.until)
        .limit(limit)
    ).all()
