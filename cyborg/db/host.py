"""Hosts: their lock, and how far Placement is behind the database.

A change raises ``sync_wanted`` in the transaction that makes it. Whoever
takes the lease (``sync_owner``, until ``sync_due_at``) works until
``sync_done`` equals what it read before.
"""

from collections.abc import Collection
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import datetime
import json
from typing import Any

from oslo_utils import timeutils
from oslo_utils import uuidutils
import sqlalchemy as sa

from cyborg.common import exception
from cyborg.context import RequestContext
from cyborg.db import engine
from cyborg.db import models

HOSTS = models.Host.__table__
DEVICES = models.Device.__table__
DEPLOYABLES = models.Deployable.__table__
ATTRIBUTES = models.Attribute.__table__
HANDLES = models.AttachHandle.__table__
CONTROL_PATHS = models.ControlPathID.__table__
ARQS = models.ARQ.__table__
JOBS = models.Job.__table__

_HEARTBEAT = sa.update(HOSTS).where(
    HOSTS.c.hostname == sa.bindparam("name"),
    HOSTS.c.report_digest == sa.bindparam("digest"),
)

# Parts of the interval between two comparisons with Placement, so that hosts
# that came up together do not stay together.
_SLOTS = 16


def _now() -> datetime.datetime:
    # Columns have whole seconds, and some engines round up.
    return timeutils.utcnow().replace(microsecond=0)


def _after(seconds: float) -> datetime.datetime:
    return _now() + datetime.timedelta(seconds=seconds)


# -- the row


@engine.reader
def get(context: RequestContext, hostname: str) -> sa.Row[Any] | None:
    """Return a host's row, None if nobody has reported it yet."""
    return context.connection.execute(
        sa.select(HOSTS).where(HOSTS.c.hostname == hostname)
    ).one_or_none()


@engine.reader
def find(context: RequestContext) -> Sequence[sa.Row[Any]]:
    """Return all hosts that were reported, by name."""
    return context.connection.execute(
        sa.select(HOSTS).order_by(HOSTS.c.hostname)
    ).all()


@engine.writer
def lock_or_create(context: RequestContext, hostname: str) -> sa.Row[Any]:
    """Return a host's row, locked until the transaction ends.

    Of two that create it one starts again, in its use case.
    """
    query = (
        sa.select(HOSTS).where(HOSTS.c.hostname == hostname).with_for_update()
    )
    row = context.connection.execute(query).one_or_none()
    if row is None:
        context.connection.execute(
            sa.insert(HOSTS).values(
                uuid=uuidutils.generate_uuid(), hostname=hostname
            )
        )
        row = context.connection.execute(query).one()
    return row


@engine.use_case
def ensure(context: RequestContext, hostname: str) -> None:
    """Give a host a row whose devices an earlier release stored.

    :raises HostNotFound: nobody has reported the host
    """
    if get(context, hostname) is not None:
        return
    devices = _device_ids(hostname).limit(1)
    if context.connection.execute(devices).first() is None:
        raise exception.HostNotFound(host=hostname)
    lock_or_create(context, hostname)


# -- falling behind, and catching up


@engine.writer
def mark(context: RequestContext, hostname: str) -> None:
    """Have Placement told of what this transaction changes.

    Call :func:`lock_or_create` first where the host may have no row.
    """
    context.connection.execute(
        sa.update(HOSTS)
        .where(HOSTS.c.hostname == hostname)
        .values(
            sync_wanted=HOSTS.c.sync_wanted + 1,
            sync_attempts=0,
            # Whoever works on it right now will notice by itself.
            sync_due_at=sa.case(
                (HOSTS.c.sync_owner.is_(None), _now()),
                else_=HOSTS.c.sync_due_at,
            ),
        )
    )


@engine.reader
def due(context: RequestContext, limit: int, interval: float) -> Sequence[str]:
    """Return names of hosts that Placement may be behind of, oldest first.

    :param interval: seconds after which a host that nothing happened to is
        compared all the same; each has its own slot in the last quarter
    """
    changed = context.connection.execute(
        sa.select(HOSTS.c.hostname)
        .where(HOSTS.c.sync_due_at <= _now())
        .order_by(HOSTS.c.sync_due_at)
        .limit(limit)
    )
    names = list(changed.scalars())
    if len(names) < limit:
        slots = [
            sa.and_(
                HOSTS.c.id % _SLOTS == slot,
                HOSTS.c.placement_synced_at
                <= _after(-interval * (0.75 + 0.25 * slot / _SLOTS)),
            )
            for slot in range(_SLOTS)
        ]
        names += context.connection.execute(
            sa.select(HOSTS.c.hostname)
            .where(
                HOSTS.c.sync_due_at.is_(None),
                HOSTS.c.placement_synced_at <= _after(-interval * 0.75),
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
    ensure(context, hostname)
    claimed = context.connection.execute(
        sa.update(HOSTS)
        .where(
            HOSTS.c.hostname == hostname,
            sa.or_(
                HOSTS.c.sync_owner.is_(None),
                HOSTS.c.sync_owner == owner,
                HOSTS.c.sync_due_at <= _now(),
            ),
        )
        .values(sync_owner=owner, sync_due_at=_after(lease))
    ).rowcount
    return get(context, hostname) if claimed else None


@engine.use_case
def renew(
    context: RequestContext, hostname: str, owner: str, lease: float
) -> bool:
    """Keep the lease for longer; False if somebody else has it by now."""
    return (
        context.connection.execute(
            sa.update(HOSTS)
            .where(HOSTS.c.hostname == hostname, HOSTS.c.sync_owner == owner)
            .values(sync_due_at=_after(lease))
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
                placement_synced_at=_now(),
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
                (HOSTS.c.sync_wanted == wanted, _after(delay)), else_=_now()
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
class Rows:
    """What a host's providers follow from."""

    host: Any
    devices: Sequence[Any]
    deployables: Sequence[Any]
    attributes: Sequence[Any]


def _device_ids(hostname: str) -> sa.Select[tuple[int]]:
    return sa.select(DEVICES.c.id).where(DEVICES.c.hostname == hostname)


def _deployable_ids(hostname: str) -> sa.Select[tuple[int]]:
    return (
        sa.select(DEPLOYABLES.c.id)
        .join(DEVICES, DEPLOYABLES.c.device_id == DEVICES.c.id)
        .where(DEVICES.c.hostname == hostname)
    )


@engine.reader
def load(context: RequestContext, hostname: str) -> Rows:
    """Return the rows of a host: one query for each table."""

    def rows(table: sa.Table, condition: Any) -> Sequence[Any]:
        return context.connection.execute(
            sa.select(table).where(condition).order_by(table.c.id)
        ).all()

    return Rows(
        host=get(context, hostname),
        devices=rows(DEVICES, DEVICES.c.hostname == hostname),
        deployables=rows(
            DEPLOYABLES, DEPLOYABLES.c.device_id.in_(_device_ids(hostname))
        ),
        attributes=rows(
            ATTRIBUTES,
            ATTRIBUTES.c.deployable_id.in_(_deployable_ids(hostname)),
        ),
    )


@engine.reader
def all_hostnames(context: RequestContext) -> Sequence[str]:
    """Return every host that has a row or devices, sorted."""
    return (
        context.connection.execute(
            sa.union(
                sa.select(HOSTS.c.hostname), sa.select(DEVICES.c.hostname)
            ).order_by("hostname")
        )
        .scalars()
        .all()
    )


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


# -- what has gone


@engine.reader
def oldest_missing(
    context: RequestContext, hostname: str
) -> datetime.datetime | None:
    """Return since when the first missing thing of a host is missing."""
    parts = sa.union_all(
        sa.select(sa.func.min(DEVICES.c.missing_since)).where(
            DEVICES.c.hostname == hostname
        ),
        sa.select(sa.func.min(DEPLOYABLES.c.missing_since)).where(
            DEPLOYABLES.c.device_id.in_(_device_ids(hostname))
        ),
        sa.select(sa.func.min(HANDLES.c.missing_since)).where(
            HANDLES.c.deployable_id.in_(_deployable_ids(hostname))
        ),
    )
    found = [t for t in context.connection.execute(parts).scalars() if t]
    return min(found, default=None)


def _in_use(deployable_ids: Collection[int]) -> sa.CompoundSelect[Any]:
    """Select the deployables that an ARQ or unfinished work refers to."""
    return sa.union(
        sa.select(ARQS.c.deployable_id).where(
            ARQS.c.deployable_id.in_(deployable_ids)
        ),
        sa.select(HANDLES.c.deployable_id)
        .join(ARQS, ARQS.c.attach_handle_id == HANDLES.c.id)
        .where(HANDLES.c.deployable_id.in_(deployable_ids)),
        sa.select(JOBS.c.deployable_id).where(
            JOBS.c.deployable_id.in_(deployable_ids),
            JOBS.c.finished_at.is_(None),
        ),
        sa.select(HANDLES.c.deployable_id)
        .join(JOBS, JOBS.c.attach_handle_id == HANDLES.c.id)
        .where(
            HANDLES.c.deployable_id.in_(deployable_ids),
            JOBS.c.finished_at.is_(None),
        ),
        sa.select(DEPLOYABLES.c.id)
        .join(JOBS, JOBS.c.device_id == DEPLOYABLES.c.device_id)
        .where(
            DEPLOYABLES.c.id.in_(deployable_ids),
            JOBS.c.finished_at.is_(None),
        ),
    )


@engine.reader
def in_use(
    context: RequestContext, deployable_ids: Collection[int]
) -> set[int]:
    """Return which deployables an ARQ or unfinished work refers to."""
    return set(context.connection.execute(_in_use(deployable_ids)).scalars())


@engine.use_case
def delete_gone(
    context: RequestContext, hostname: str, deployable_ids: Collection[int]
) -> set[int]:
    """Delete deployables whose providers are gone, and empty devices.

    Those that came back, or were taken into use, meanwhile stay.

    :returns: ids of the deployables that were deleted
    """
    connection = context.connection
    # No report changes the host's rows from here on.
    lock_or_create(context, hostname)
    gone = set(
        connection.execute(
            sa.select(DEPLOYABLES.c.id)
            .join(DEVICES, DEPLOYABLES.c.device_id == DEVICES.c.id)
            .where(
                DEPLOYABLES.c.id.in_(deployable_ids),
                DEPLOYABLES.c.missing_since.is_not(None),
                DEVICES.c.hostname == hostname,
            )
        ).scalars()
    )
    # A deployable goes after those below it.
    gone -= set(
        connection.execute(
            sa.select(DEPLOYABLES.c.parent_id).where(
                DEPLOYABLES.c.parent_id.in_(gone),
                DEPLOYABLES.c.id.not_in(gone),
            )
        ).scalars()
    )
    gone -= in_use(context, gone)
    if not gone:
        return gone
    devices = set(
        connection.execute(
            sa.select(DEPLOYABLES.c.device_id).where(
                DEPLOYABLES.c.id.in_(gone)
            )
        ).scalars()
    )
    handles = sa.select(HANDLES.c.id).where(HANDLES.c.deployable_id.in_(gone))
    handle_ids = connection.execute(handles).scalars().all()
    # What is left of jobs here is finished.
    connection.execute(
        sa.delete(JOBS).where(
            sa.or_(
                JOBS.c.deployable_id.in_(gone),
                JOBS.c.attach_handle_id.in_(handle_ids),
            )
        )
    )
    connection.execute(sa.delete(HANDLES).where(HANDLES.c.id.in_(handle_ids)))
    connection.execute(
        sa.delete(ATTRIBUTES).where(ATTRIBUTES.c.deployable_id.in_(gone))
    )
    # Rows of one tree refer to each other.
    connection.execute(
        sa.update(DEPLOYABLES)
        .where(DEPLOYABLES.c.id.in_(gone))
        .values(parent_id=None, root_id=None)
    )
    connection.execute(
        sa.update(DEPLOYABLES)
        .where(DEPLOYABLES.c.root_id.in_(gone))
        .values(root_id=None)
    )
    connection.execute(
        sa.delete(DEPLOYABLES).where(DEPLOYABLES.c.id.in_(gone))
    )
    _delete_empty_devices(context, devices)
    return gone


def _delete_empty_devices(
    context: RequestContext, device_ids: Collection[int]
) -> None:
    connection = context.connection
    kept = set(
        connection.execute(
            sa.select(DEPLOYABLES.c.device_id).where(
                DEPLOYABLES.c.device_id.in_(device_ids)
            )
        ).scalars()
    )
    empty = set(
        connection.execute(
            sa.select(DEVICES.c.id).where(
                DEVICES.c.id.in_(set(device_ids) - kept),
                DEVICES.c.missing_since.is_not(None),
            )
        ).scalars()
    )
    if not empty:
        return
    connection.execute(sa.delete(JOBS).where(JOBS.c.device_id.in_(empty)))
    connection.execute(
        sa.delete(CONTROL_PATHS).where(CONTROL_PATHS.c.device_id.in_(empty))
    )
    connection.execute(sa.delete(DEVICES).where(DEVICES.c.id.in_(empty)))


@engine.use_case
def delete_gone_parts(
    context: RequestContext, hostname: str, before: datetime.datetime
) -> int:
    """Delete handles, and devices without deployables, that are gone.

    Placement knows of neither.

    :param before: they have been missing since then at least
    :returns: how many
    """
    connection = context.connection
    handles = (
        sa.select(HANDLES.c.id)
        .where(
            HANDLES.c.deployable_id.in_(_deployable_ids(hostname)),
            HANDLES.c.missing_since <= before,
            HANDLES.c.in_use == sa.false(),
            ~sa.exists().where(ARQS.c.attach_handle_id == HANDLES.c.id),
            ~sa.exists().where(JOBS.c.attach_handle_id == HANDLES.c.id),
        )
        .order_by(HANDLES.c.id)
    )
    devices = sa.select(DEVICES.c.id).where(
        DEVICES.c.hostname == hostname,
        DEVICES.c.missing_since <= before,
        ~sa.exists().where(DEPLOYABLES.c.device_id == DEVICES.c.id),
        ~sa.exists().where(
            JOBS.c.device_id == DEVICES.c.id, JOBS.c.finished_at.is_(None)
        ),
    )
    handle_ids = connection.execute(handles).scalars().all()
    device_ids = connection.execute(devices).scalars().all()
    if not (handle_ids or device_ids):
        return 0
    lock_or_create(context, hostname)
    handle_ids = connection.execute(handles.with_for_update()).scalars().all()
    device_ids = connection.execute(devices).scalars().all()
    connection.execute(sa.delete(HANDLES).where(HANDLES.c.id.in_(handle_ids)))
    _delete_empty_devices(context, device_ids)
    return len(handle_ids) + len(device_ids)


# -- hosts that are gone for good


@engine.reader
def users(
    context: RequestContext, hostname: str
) -> tuple[Sequence[Any], Sequence[Any]]:
    """Return the ARQs that refer to a host, and its unfinished jobs."""
    connection = context.connection
    deployables = _deployable_ids(hostname)
    handles = sa.select(HANDLES.c.id).where(
        HANDLES.c.deployable_id.in_(deployables)
    )
    arqs = connection.execute(
        sa.select(ARQS)
        .where(
            sa.or_(
                ARQS.c.hostname == hostname,
                ARQS.c.deployable_id.in_(deployables),
                ARQS.c.attach_handle_id.in_(handles),
            )
        )
        .order_by(ARQS.c.id)
    ).all()
    jobs = connection.execute(
        sa.select(JOBS)
        .where(JOBS.c.finished_at.is_(None), _of_host(hostname))
        .order_by(JOBS.c.id)
    ).all()
    return arqs, jobs


def _of_host(hostname: str) -> sa.ColumnElement[bool]:
    """Return the condition for jobs on anything of a host."""
    deployables = _deployable_ids(hostname)
    return sa.or_(
        JOBS.c.device_id.in_(_device_ids(hostname)),
        JOBS.c.deployable_id.in_(deployables),
        JOBS.c.attach_handle_id.in_(
            sa.select(HANDLES.c.id).where(
                HANDLES.c.deployable_id.in_(deployables)
            )
        ),
    )


@engine.use_case
def delete(context: RequestContext, hostname: str) -> None:
    """Delete a host with everything it had.

    :raises HostInUse: an ARQ or unfinished work refers to it
    """
    connection = context.connection
    lock_or_create(context, hostname)
    arqs, jobs = users(context, hostname)
    if arqs or jobs:
        raise exception.HostInUse(
            host=hostname,
            reason=f"{len(arqs)} accelerator requests and {len(jobs)} jobs "
            "refer to it",
        )
    rows = load(context, hostname)
    devices = [row.id for row in rows.devices]
    deployables = [row.id for row in rows.deployables]
    # What is left of jobs is finished.
    finished = connection.execute(
        sa.select(JOBS.c.id).where(_of_host(hostname))
    )
    connection.execute(
        sa.delete(JOBS).where(JOBS.c.id.in_(finished.scalars().all()))
    )
    for table in (HANDLES, ATTRIBUTES):
        connection.execute(
            sa.delete(table).where(table.c.deployable_id.in_(deployables))
        )
    # Rows of one tree refer to each other.
    connection.execute(
        sa.update(DEPLOYABLES)
        .where(DEPLOYABLES.c.id.in_(deployables))
        .values(parent_id=None, root_id=None)
    )
    connection.execute(
        sa.delete(DEPLOYABLES).where(DEPLOYABLES.c.id.in_(deployables))
    )
    connection.execute(
        sa.delete(CONTROL_PATHS).where(CONTROL_PATHS.c.device_id.in_(devices))
    )
    connection.execute(sa.delete(DEVICES).where(DEVICES.c.id.in_(devices)))
    connection.execute(sa.delete(HOSTS).where(HOSTS.c.hostname == hostname))


# -- reports


@engine.use_case
def heartbeat(
    context: RequestContext, hostname: str, rpc_host: str, digest: str
) -> bool:
    """Note that a host is alive; False if its report is not the last one."""
    return (
        context.connection.execute(
            _HEARTBEAT,
            {
                "name": hostname,
                "digest": digest,
                "last_seen_at": _now(),
                "rpc_host": rpc_host,
            },
        ).rowcount
        == 1
    )


@engine.writer
def seen(
    context: RequestContext,
    hostname: str,
    rpc_host: str | None,
    rpc_version: str,
) -> None:
    """Note that a host reported what is stored already."""
    context.connection.execute(
        sa.update(HOSTS)
        .where(HOSTS.c.hostname == hostname)
        .values(
            last_seen_at=_now(), rpc_host=rpc_host, rpc_version=rpc_version
        )
    )


@engine.writer
def store_report(
    context: RequestContext,
    hostname: str,
    *,
    rpc_host: str | None,
    rpc_version: str,
    digest: str,
    drivers: Sequence[dict[str, Any]] | None,
) -> None:
    """Note what a host whose row is locked reported of itself."""
    now = _now()
    context.connection.execute(
        sa.update(HOSTS)
        .where(HOSTS.c.hostname == hostname)
        .values(
            rpc_host=rpc_host,
            rpc_version=rpc_version,
            report_digest=digest,
            drivers=None if drivers is None else json.dumps(drivers),
            last_seen_at=now,
            last_full_report_at=now,
        )
    )


@engine.use_case
def ask_for_report(context: RequestContext, hostname: str) -> None:
    """Have the host report everything again, with its next heartbeat."""
    context.connection.execute(
        sa.update(HOSTS)
        .where(HOSTS.c.hostname == hostname)
        .values(report_digest=None)
    )


@engine.writer
def set_forced_down(
    context: RequestContext, hostname: str, forced_down: bool
) -> None:
    """Note that an operator takes a host out of service, or back."""
    context.connection.execute(
        sa.update(HOSTS)
        .where(HOSTS.c.hostname == hostname)
        .values(forced_down=forced_down)
    )


@engine.use_case
def mark_for_check(context: RequestContext, hostname: str | None) -> None:
    """Have a host, or all, compared with Placement soon."""
    statement = sa.update(HOSTS).where(HOSTS.c.sync_owner.is_(None))
    if hostname is not None:
        statement = statement.where(HOSTS.c.hostname == hostname)
    context.connection.execute(statement.values(sync_due_at=_now()))
