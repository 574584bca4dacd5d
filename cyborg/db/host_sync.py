"""How far Placement is behind the database, host by host.

A change raises ``sync_wanted`` in the transaction that makes it. Whoever
takes the lease (``sync_owner``, until ``sync_due_at``) works until
``sync_done`` equals what it read before.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import datetime
from typing import Any

import sqlalchemy as sa

from cyborg.common import exception
from cyborg.context import RequestContext
from cyborg.db import attach_handle as handle_db
from cyborg.db import device_condition as condition_db
from cyborg.db import engine
from cyborg.db import host as host_db
from cyborg.db import models

HOSTS = models.Host.__table__
DEVICES = models.Device.__table__
DEPLOYABLES = models.Deployable.__table__
ATTRIBUTES = models.Attribute.__table__
HANDLES = models.AttachHandle.__table__
ARQS = models.ARQ.__table__

# Parts of the interval between two comparisons with Placement, so that hosts
# that came up together do not stay together.
_SLOTS = 16


# -- falling behind, and catching up


@engine.writer
def mark(context: RequestContext, hostname: str, urgent: bool = False) -> None:
    """Have Placement told of what this transaction changes.

    :param urgent: before other hosts: what is offered is not to be given out

    Call :func:`cyborg.db.host.lock_or_create` first where the host may have
    no row.
    """
    context.connection.execute(
        sa.update(HOSTS)
        .where(HOSTS.c.hostname == hostname)
        .values(
            sync_wanted=HOSTS.c.sync_wanted + 1,
            **({"sync_urgent": True} if urgent else {}),
            sync_attempts=0,
            # Whoever works on it right now will notice by itself.
            sync_due_at=sa.case(
                (HOSTS.c.sync_owner.is_(None), engine.after(0)),
                else_=HOSTS.c.sync_due_at,
            ),
        )
    )


@engine.use_case
def mark_for_check(context: RequestContext, hostname: str | None) -> None:
    """Have a host, or all, compared with Placement soon."""
    statement = sa.update(HOSTS).where(HOSTS.c.sync_owner.is_(None))
    if hostname is not None:
        statement = statement.where(HOSTS.c.hostname == hostname)
    context.connection.execute(statement.values(sync_due_at=engine.after(0)))


def _is_due() -> sa.ColumnElement[bool]:
    """Select hosts whose time, or whose owner's lease, has ended."""
    return sa.or_(
        HOSTS.c.sync_due_at <= engine.after(0),
        HOSTS.c.sync_owner.is_not(None)
        & (HOSTS.c.sync_due_at > engine.past_any_lease()),
    )


@engine.reader
def due(context: RequestContext, limit: int, interval: float) -> Sequence[str]:
    """Return names of hosts that Placement may be behind of, oldest first.

    :param interval: seconds after which a host that nothing happened to is
        compared all the same; each has its own slot in the last quarter
    """
    changed = context.connection.execute(
        sa.select(HOSTS.c.hostname)
        .where(_is_due())
        .order_by(HOSTS.c.sync_urgent.desc(), HOSTS.c.sync_due_at)
        .limit(limit)
    )
    names = list(changed.scalars())
    if len(names) < limit:
        slots = [
            sa.and_(
                HOSTS.c.id % _SLOTS == slot,
                HOSTS.c.placement_synced_at
                <= engine.after(-interval * (0.75 + 0.25 * slot / _SLOTS)),
            )
            for slot in range(_SLOTS)
        ]
        names += context.connection.execute(
            sa.select(HOSTS.c.hostname)
            .where(
                HOSTS.c.sync_due_at.is_(None),
                HOSTS.c.placement_synced_at <= engine.after(-interval * 0.75),
                sa.or_(*slots),
            )
            .order_by(HOSTS.c.placement_synced_at)
            .limit(limit - len(names))
        ).scalars()
    return names


@engine.use_case
def claim(
    context: RequestContext, hostname: str, owner: str, lease: float
) -> sa.Row[Any] | None:
    """Take the host's lease; None if somebody else works on it.

    :raises HostNotFound: nobody has reported the host
    """
    host_db.ensure(context, hostname)
    claimed = context.connection.execute(
        sa.update(HOSTS)
        .where(
            HOSTS.c.hostname == hostname,
            sa.or_(
                HOSTS.c.sync_owner.is_(None),
                HOSTS.c.sync_owner == owner,
                _is_due(),
            ),
        )
        .values(sync_owner=owner, sync_due_at=engine.after(lease))
    ).rowcount
    return host_db.get(context, hostname) if claimed else None


@engine.use_case
def renew(
    context: RequestContext, hostname: str, owner: str, lease: float
) -> bool:
    """Keep the lease for longer; False if somebody else has it by now."""
    return (
        context.connection.execute(
            sa.update(HOSTS)
            .where(HOSTS.c.hostname == hostname, HOSTS.c.sync_owner == owner)
            .values(sync_due_at=engine.after(lease))
        ).rowcount
        == 1
    )


@engine.use_case
def finish(
    context: RequestContext,
    hostname: str,
    owner: str,
    wanted: int,
    next_due: datetime.datetime | None,
) -> bool:
    """Record that Placement is in step, and give the lease back.

    :param wanted: ``sync_wanted`` as read before the work
    :param next_due: when to look again although nothing will have changed
    :returns: False if it changed meanwhile: the lease is kept
    """
    return (
        context.connection.execute(
            sa.update(HOSTS)
            .where(
                HOSTS.c.hostname == hostname,
                HOSTS.c.sync_owner == owner,
                HOSTS.c.sync_wanted == wanted,
            )
            .values(
                sync_done=wanted,
                sync_owner=None,
                sync_due_at=next_due,
                sync_error=None,
                sync_attempts=0,
                sync_urgent=False,
                placement_synced_at=engine.after(0),
            )
        ).rowcount
        == 1
    )


@engine.use_case
def fail(
    context: RequestContext,
    hostname: str,
    owner: str,
    wanted: int,
    error: str,
    delay: float = 0.0,
) -> None:
    """Record why Placement is behind, and give the lease back.

    :param wanted: ``sync_wanted`` as read before the work
    :param delay: seconds until the next attempt, if nothing changed meanwhile
    """
    context.connection.execute(
        sa.update(HOSTS)
        .where(HOSTS.c.hostname == hostname, HOSTS.c.sync_owner == owner)
        .values(
            sync_owner=None,
            # What has changed meanwhile may be what was wrong.
            sync_due_at=sa.case(
                (HOSTS.c.sync_wanted == wanted, engine.after(delay)),
                else_=engine.after(0),
            ),
            sync_error=error[:2000],
            sync_attempts=HOSTS.c.sync_attempts + 1,
        )
    )


@engine.use_case
def set_root(
    context: RequestContext, hostname: str, root_rp_uuid: str
) -> None:
    """Remember the provider of the compute node itself."""
    context.connection.execute(
        sa.update(HOSTS)
        .where(HOSTS.c.hostname == hostname)
        .values(root_rp_uuid=root_rp_uuid)
    )


# -- what Placement should know of a host


@dataclasses.dataclass(frozen=True)
class Held:
    """How many attach handles of a deployable are in use.

    :ivar allocated: by requests, which have allocations in Placement
    :ivar idle: by nobody who has an allocation: they are being cleaned up
    """

    allocated: int = 0
    idle: int = 0


@dataclasses.dataclass(frozen=True)
class Rows:
    """What a host's providers follow from."""

    host: Any
    devices: Sequence[Any]
    deployables: Sequence[Any]
    attributes: Sequence[Any]
    # Those that hold, with ``device_id``.
    conditions: Sequence[Any] = ()
    # What is in use, by deployable id.
    held: Mapping[int, Held] = dataclasses.field(default_factory=dict)


@engine.reader
def load(context: RequestContext, hostname: str) -> Rows:
    """Return the rows of a host: one query for each table."""

    def rows(table: sa.Table, condition: Any) -> Sequence[Any]:
        return context.connection.execute(
            sa.select(table).where(condition).order_by(table.c.id)
        ).all()

    return Rows(
        host=host_db.get(context, hostname),
        devices=rows(DEVICES, DEVICES.c.hostname == hostname),
        deployables=rows(
            DEPLOYABLES,
            DEPLOYABLES.c.device_id.in_(host_db.device_ids(hostname)),
        ),
        attributes=rows(
            ATTRIBUTES,
            ATTRIBUTES.c.deployable_id.in_(host_db.deployable_ids(hostname)),
        ),
        conditions=condition_db.of_host(context, hostname),
        held=_held(context, hostname),
    )


def _held(context: RequestContext, hostname: str) -> dict[int, Held]:
    allocated = sa.func.sum(sa.case((handle_db.IS_ALLOCATED, 1), else_=0))
    idle = sa.func.sum(
        sa.case(
            (handle_db.IS_ALLOCATED, 0),
            # What is missing is counted no more.
            (HANDLES.c.missing_since.is_not(None), 0),
            else_=1,
        )
    )
    found = context.connection.execute(
        sa.select(HANDLES.c.deployable_id, allocated, idle)
        .select_from(DEVICES)
        .join(DEPLOYABLES, DEPLOYABLES.c.device_id == DEVICES.c.id)
        .join(HANDLES, HANDLES.c.deployable_id == DEPLOYABLES.c.id)
        .outerjoin(ARQS, ARQS.c.attach_handle_id == HANDLES.c.id)
        .where(DEVICES.c.hostname == hostname, HANDLES.c.in_use == sa.true())
        .group_by(HANDLES.c.deployable_id)
    )
    return {
        id_: Held(int(allocated), int(idle)) for id_, allocated, idle in found
    }


@engine.reader
def others_with_provider(
    context: RequestContext, hostname: str, rp_uuid: str
) -> bool:
    """Tell whether another host has a deployable with this provider."""
    return (
        context.connection.execute(
            sa.select(DEPLOYABLES.c.id)
            .join(DEVICES, DEPLOYABLES.c.device_id == DEVICES.c.id)
            .where(
                DEPLOYABLES.c.rp_uuid == rp_uuid,
                DEVICES.c.hostname != hostname,
            )
            .limit(1)
        ).first()
        is not None
    )


@engine.use_case
def set_layout(context: RequestContext, hostname: str, layout: str) -> None:
    """Say which providers count the deployables of a host from now on.

    :raises HostNotFound: nobody has reported the host
    """
    host_db.ensure(context, hostname)
    host_db.lock_or_create(context, hostname)
    context.connection.execute(
        sa.update(HOSTS)
        .where(HOSTS.c.hostname == hostname)
        .values(provider_layout=layout)
    )
    mark(context, hostname)


# What is known of the provider of a deployable that has left it.
_NOWHERE = {
    "rp_uuid": None,
    "rp_name": None,
    "rp_pool": None,
    "rp_traits": None,
    "rp_generation": None,
    "rp_moving": False,
}


@engine.use_case
def leave(
    context: RequestContext, hostname: str, owner: str | None, ids: list[int]
) -> None:
    """Have deployables counted nowhere that their providers count no more.

    One that was taken into use meanwhile stays where its allocation is.

    :raises HostLeaseLost: another conductor has the host's lease
    """
    host = host_db.lock_or_create(context, hostname)
    if host.sync_owner != owner:
        raise exception.HostLeaseLost(host=hostname)
    # Nobody takes one of their handles until this is done.
    handle_db.lock_of(context, ids)
    used = context.connection.execute(
        sa.select(HANDLES.c.deployable_id).where(
            HANDLES.c.deployable_id.in_(ids), HANDLES.c.in_use == sa.true()
        )
    )
    free = set(ids) - set(used.scalars())
    context.connection.execute(
        sa.update(DEPLOYABLES)
        .where(DEPLOYABLES.c.id.in_(free))
        .values(_NOWHERE)
    )


@engine.use_case
def record_providers(
    context: RequestContext, values: Mapping[int, dict[str, Any]]
) -> None:
    """Store what was written to Placement, by deployable id.

    All values have the same keys.
    """
    if not values:
        return
    columns = next(iter(values.values())).keys()
    context.connection.execute(
        sa.update(DEPLOYABLES)
        .where(DEPLOYABLES.c.id == sa.bindparam("row_id"))
        .values({name: sa.bindparam(f"new_{name}") for name in columns}),
        [
            {"row_id": id_}
            | {f"new_{name}": value for name, value in of_id.items()}
            for id_, of_id in values.items()
        ],
    )
