"""Reads what hosts have and who holds it: a query for each table."""

import dataclasses
from typing import Any

import sqlalchemy as sa

from cyborg.common import constants
from cyborg.context import RequestContext
from cyborg.db import device_condition as condition_db
from cyborg.db import engine
from cyborg.db import models

HOSTS = models.Host.__table__
DEVICES = models.Device.__table__
PATHS = models.ControlPathID.__table__
DEPLOYABLES = models.Deployable.__table__
ATTRIBUTES = models.Attribute.__table__
HANDLES = models.AttachHandle.__table__
ARQS = models.ARQ.__table__


@dataclasses.dataclass(frozen=True)
class Rows:
    """Rows of each table, in the order they were made."""

    hosts: list[Any]
    devices: list[Any]
    control_paths: list[Any]
    deployables: list[Any]
    # Only those that name a resource class.
    classes: list[Any]
    handles: list[Any]
    # Only those that have a handle.
    arqs: list[Any]
    # Those that hold, with ``device_id``.
    conditions: list[Any] = dataclasses.field(default_factory=list)


@engine.reader
def load(context: RequestContext, hostname: str | None = None) -> Rows:
    """Return the rows of one host, or of all."""
    devices = sa.select(DEVICES.c.id)
    hosts = sa.select(HOSTS)
    if hostname is not None:
        devices = devices.where(DEVICES.c.hostname == hostname)
        hosts = hosts.where(HOSTS.c.hostname == hostname)
    deployables = sa.select(DEPLOYABLES.c.id).where(
        DEPLOYABLES.c.device_id.in_(devices)
    )
    handles = sa.select(HANDLES.c.id).where(
        HANDLES.c.deployable_id.in_(deployables)
    )

    def rows(table: sa.Table, column: str, of: Any, *also: Any) -> list[Any]:
        query = sa.select(table).where(*also).order_by(table.c.id)
        if hostname is not None:
            query = query.where(table.c[column].in_(of))
        return list(context.connection.execute(query))

    return Rows(
        hosts=list(context.connection.execute(hosts)),
        devices=rows(DEVICES, "id", devices),
        control_paths=rows(PATHS, "device_id", devices),
        deployables=rows(DEPLOYABLES, "device_id", devices),
        classes=rows(
            ATTRIBUTES,
            "deployable_id",
            deployables,
            ATTRIBUTES.c.key == constants.ATTR_RESOURCE_CLASS,
        ),
        handles=rows(HANDLES, "deployable_id", deployables),
        arqs=rows(
            ARQS,
            "attach_handle_id",
            handles,
            ARQS.c.attach_handle_id.is_not(None),
        ),
        conditions=list(condition_db.of_host(context, hostname)),
    )
