"""Which cards were seen where: what outlives a device's row."""

from collections.abc import Collection
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from cyborg.context import RequestContext
from cyborg.db import engine
from cyborg.db import models

IDENTITIES = models.DeviceIdentity.__table__
CONDITIONS = models.DeviceCondition.__table__
EVENTS = models.DeviceEvent.__table__
DEVICES = models.Device.__table__
PATHS = models.ControlPathID.__table__


@engine.reader
def of_host(context: RequestContext, hostname: str) -> Sequence[sa.Row[Any]]:
    """Return what was ever seen on a host, the oldest first."""
    return context.connection.execute(
        sa.select(IDENTITIES)
        .where(IDENTITIES.c.hostname == hostname)
        .order_by(IDENTITIES.c.id)
    ).all()


@engine.reader
def ids_of_device(context: RequestContext, device_uuid: str) -> list[int]:
    """Return the cards that a device is, and was."""
    return list(
        context.connection.execute(
            sa.select(IDENTITIES.c.id)
            .where(IDENTITIES.c.device_uuid == device_uuid)
            .order_by(IDENTITIES.c.id)
        ).scalars()
    )


@engine.writer
def lock_first(context: RequestContext) -> None:
    """Be alone, until the transaction ends, with what is counted of all.

    After the rows of hosts, which those who wait may hold.
    """
    context.connection.execute(
        sa.select(IDENTITIES.c.id)
        .order_by(IDENTITIES.c.id)
        .limit(1)
        .with_for_update()
    ).all()


@engine.writer
def of_devices(
    context: RequestContext, device_ids: Collection[int]
) -> dict[str, int]:
    """Return which card each device is, by the uuids of the devices.

    Those that no agent has reported since an earlier release made them get
    an identity, of what is known of them.
    """
    rows = context.connection.execute(
        sa.select(DEVICES).where(DEVICES.c.id.in_(device_ids))
    ).all()
    known = {row.uuid: row.identity_id for row in rows if row.identity_id}
    unknown = [row for row in rows if row.identity_id is None]
    if unknown:
        places = {
            row.device_id: row.cpid_info
            for row in context.connection.execute(
                sa.select(PATHS)
                .where(PATHS.c.device_id.in_([row.id for row in unknown]))
                .order_by(PATHS.c.id.desc())
            )
        }
        made = create(
            context,
            [
                {
                    "hostname": row.hostname,
                    "place": places.get(row.id, ""),
                    "vendor": row.vendor,
                    "device_uuid": row.uuid,
                }
                for row in unknown
            ],
        )
        give(context, {row.id: made[row.uuid] for row in unknown})
        known |= made
    return known


@engine.writer
def create(
    context: RequestContext, rows: Sequence[dict[str, Any]]
) -> dict[str, int]:
    """Insert identities; returns their ids by ``device_uuid``."""
    if not rows:
        return {}
    context.connection.execute(sa.insert(IDENTITIES), rows)
    found = context.connection.execute(
        sa.select(IDENTITIES.c.device_uuid, IDENTITIES.c.id)
        .where(
            IDENTITIES.c.device_uuid.in_([row["device_uuid"] for row in rows])
        )
        # A device may have been another card before.
        .order_by(IDENTITIES.c.id)
    )
    return {row.device_uuid: row.id for row in found}


@engine.writer
def update(
    context: RequestContext, changes: Mapping[int, dict[str, Any]]
) -> None:
    """Change identities by id; all changes have the same columns."""
    if not changes:
        return
    columns = next(iter(changes.values())).keys()
    context.connection.execute(
        sa.update(IDENTITIES)
        .where(IDENTITIES.c.id == sa.bindparam("row_id"))
        .values({name: sa.bindparam(f"new_{name}") for name in columns}),
        [
            {"row_id": id_}
            | {f"new_{name}": value for name, value in values.items()}
            for id_, values in changes.items()
        ],
    )


@engine.writer
def give(context: RequestContext, identities: Mapping[int, int]) -> None:
    """Say which card each device is: identity by device id."""
    if identities:
        context.connection.execute(
            sa.update(DEVICES)
            .where(DEVICES.c.id == sa.bindparam("device_id"))
            .values(identity_id=sa.bindparam("identity")),
            [
                {"device_id": device_id, "identity": identity}
                for device_id, identity in identities.items()
            ],
        )


@engine.writer
def forget(context: RequestContext, within: tuple[int, int | None]) -> int:
    """Delete those that nothing refers to any more; returns how many.

    :param within: the id after which to begin, and the last one; None = the
        last there is
    """
    first, last = within
    unused = [
        IDENTITIES.c.id > first,
        ~sa.exists().where(DEVICES.c.identity_id == IDENTITIES.c.id),
        ~sa.exists().where(CONDITIONS.c.identity_id == IDENTITIES.c.id),
        ~sa.exists().where(EVENTS.c.identity_id == IDENTITIES.c.id),
    ]
    if last is not None:
        unused.append(IDENTITIES.c.id <= last)
    return context.connection.execute(
        sa.delete(IDENTITIES).where(*unused)
    ).rowcount
