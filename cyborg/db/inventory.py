"""Everything that is stored of one host, read and written in bulk.

A report touches five tables at once; each is one query to read and one
statement to insert into, however many devices the host has.
"""

from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Sequence
import dataclasses
import datetime
import json
from typing import Any

from oslo_utils import uuidutils
import sqlalchemy as sa

from cyborg.context import RequestContext
from cyborg.db import engine
from cyborg.db import models

DEVICES = models.Device.__table__
CONTROL_PATHS = models.ControlPathID.__table__
DEPLOYABLES = models.Deployable.__table__
ATTRIBUTES = models.Attribute.__table__
HANDLES = models.AttachHandle.__table__
IDENTITIES = models.DeviceIdentity.__table__

_TIMES = ("created_at", "updated_at")


@dataclasses.dataclass
class Stored:
    """Rows of one host; those of devices also have their card's serial."""

    devices: Sequence[Any]
    control_paths: Sequence[Any]
    deployables: Sequence[Any]
    attributes: Sequence[Any]
    handles: Sequence[Any]


def _columns(table: sa.Table) -> list[sa.Column[Any]]:
    return [column for column in table.c if column.name not in _TIMES]


@engine.reader
def load(context: RequestContext, hostname: str) -> Stored:
    """Return all rows of a host: one query for each table.

    They are without ``created_at`` and ``updated_at``: nothing follows from
    them here, and to read them takes a quarter of the time.
    """
    connection = context.connection
    devices = sa.select(DEVICES.c.id).where(DEVICES.c.hostname == hostname)
    deployables = (
        sa.select(DEPLOYABLES.c.id)
        .join(DEVICES, DEPLOYABLES.c.device_id == DEVICES.c.id)
        .where(DEVICES.c.hostname == hostname)
    )

    def rows(table: sa.Table, condition: Any) -> Sequence[Any]:
        return connection.execute(
            sa.select(*_columns(table)).where(condition).order_by(table.c.id)
        ).all()

    return Stored(
        devices=connection.execute(
            sa.select(*_columns(DEVICES), IDENTITIES.c.serial)
            .outerjoin(IDENTITIES, DEVICES.c.identity_id == IDENTITIES.c.id)
            .where(DEVICES.c.hostname == hostname)
            .order_by(DEVICES.c.id)
        ).all(),
        control_paths=rows(
            CONTROL_PATHS, CONTROL_PATHS.c.device_id.in_(devices)
        ),
        deployables=rows(DEPLOYABLES, DEPLOYABLES.c.device_id.in_(devices)),
        attributes=rows(
            ATTRIBUTES, ATTRIBUTES.c.deployable_id.in_(deployables)
        ),
        handles=rows(HANDLES, HANDLES.c.deployable_id.in_(deployables)),
    )


@engine.reader
def ids(context: RequestContext, hostname: str) -> Sequence[int]:
    """Return the ids of a host's devices."""
    query = sa.select(DEVICES.c.id).where(DEVICES.c.hostname == hostname)
    return context.connection.execute(query).scalars().all()


@engine.writer
def insert(
    context: RequestContext, table: sa.Table, rows: Sequence[dict[str, Any]]
) -> list[int]:
    """Insert rows, each with a new uuid; returns their ids in order."""
    if not rows:
        return []
    complete = [{"uuid": uuidutils.generate_uuid()} | row for row in rows]
    context.connection.execute(sa.insert(table), complete)
    ids = dict(
        context.connection.execute(
            sa.select(table.c.uuid, table.c.id).where(
                table.c.uuid.in_([row["uuid"] for row in complete])
            )
        ).all()
    )
    return [ids[row["uuid"]] for row in complete]


@engine.writer
def update(
    context: RequestContext,
    table: sa.Table,
    changes: dict[int, dict[str, Any]],
) -> None:
    """Change columns of rows by id: one statement for each set of columns."""
    by_columns: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row_id, values in changes.items():
        by_columns.setdefault(tuple(sorted(values)), []).append(
            values | {"row_id": row_id}
        )
    for columns, rows in by_columns.items():
        context.connection.execute(
            sa.update(table)
            .where(table.c.id == sa.bindparam("row_id"))
            .values({name: sa.bindparam(name) for name in columns}),
            rows,
        )


@engine.writer
def set_missing(
    context: RequestContext,
    table: sa.Table,
    ids: Iterable[int],
    since: datetime.datetime | None,
) -> None:
    """Mark rows as missing, or as back (``since`` = None)."""
    ids = list(ids)
    if ids:
        context.connection.execute(
            sa.update(table)
            .where(table.c.id.in_(ids))
            .values(missing_since=since)
        )


@engine.writer
def delete_attributes(context: RequestContext, ids: Collection[int]) -> None:
    """Remove attributes that a driver reports no more."""
    if ids:
        context.connection.execute(
            sa.delete(ATTRIBUTES).where(ATTRIBUTES.c.id.in_(ids))
        )


@engine.reader
def control_paths(
    context: RequestContext, device_id: int
) -> Sequence[sa.Row[Any]]:
    """Return where a host manages a device."""
    return context.connection.execute(
        sa.select(CONTROL_PATHS)
        .where(CONTROL_PATHS.c.device_id == device_id)
        .order_by(CONTROL_PATHS.c.id)
    ).all()


def control_path_id(row: Any) -> dict[str, Any]:
    """Return a control path as agents take it, decoded."""
    return {
        "cpid_type": row.cpid_type,
        "cpid_info": json.loads(row.cpid_info),
    }
