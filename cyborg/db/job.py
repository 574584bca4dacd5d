"""Durable work on hosts, and the leases of those who do it."""

from collections.abc import Collection
from collections.abc import Sequence
import json
from typing import Any

from oslo_utils import uuidutils
import sqlalchemy as sa

from cyborg.common import clock
from cyborg.common import constants
from cyborg.context import RequestContext
from cyborg.db import engine
from cyborg.db import models

JOBS = models.Job.__table__

# The step of a job that nobody has begun.
QUEUED = "queued"
_CARRIED = ("image", "untouched")

# Finished jobs of these kinds stay: the API shows the last one of a target.
KEPT_KINDS = (
    constants.JobKind.PROGRAM.value,
    constants.JobKind.FIRMWARE.value,
)


@engine.writer
def create(
    context: RequestContext,
    jobs: Sequence[dict[str, Any]],
    timeout: float | None,
) -> list[str]:
    """Queue jobs and return their uuids.

    :param jobs: columns of each; ``payload`` as a dict, without tokens
    :param timeout: seconds after which they fail; None = never
    """
    rows = [
        {
            "uuid": uuidutils.generate_uuid(),
            "arq_id": None,
            "deployable_id": None,
            "device_id": None,
            "attach_handle_id": None,
            "deadline_at": None if timeout is None else engine.after(timeout),
            "lease_expires_at": engine.after(0),
        }
        | job
        | {"payload": json.dumps(job.get("payload", {}), sort_keys=True)}
        for job in jobs
    ]
    context.connection.execute(sa.insert(JOBS), rows)
    return [row["uuid"] for row in rows]


# Ids do not come to that; a number that does is a mistake.
_LAST_ID = 2**31 - 10**6


def _is_free() -> sa.ColumnElement[bool]:
    """Select jobs that nobody works on."""
    return JOBS.c.finished_at.is_(None) & sa.or_(
        JOBS.c.lease_expires_at <= clock.utcnow(),
        JOBS.c.lease_expires_at > engine.past_any_lease(),
    )


_IS_BIND = JOBS.c.kind == constants.JobKind.BIND.value
# A bind that loads nothing: a server waits for what takes an instant.
_IS_SHORT = _IS_BIND & ~JOBS.c.payload.contains('"image"', autoescape=True)


@engine.reader
def due(
    context: RequestContext, limit: int, short: bool | None = None
) -> Sequence[str]:
    """Return uuids of jobs that nobody works on, oldest first.

    What nobody waits for comes last.

    :param short: whether only those that take an instant are wanted, or only
        the others; None = all
    """
    condition = {True: _IS_SHORT, False: ~_IS_SHORT, None: sa.true()}[short]
    return _due(context, limit, condition)


@engine.reader
def late_binds(context: RequestContext, limit: int) -> Sequence[str]:
    """Return uuids of binds past their deadline that nobody works on."""
    is_late = JOBS.c.deadline_at < clock.utcnow()
    return _due(context, limit, _IS_BIND & is_late)


def _due(
    context: RequestContext, limit: int, condition: sa.ColumnElement[bool]
) -> Sequence[str]:
    return (
        context.connection.execute(
            sa.select(JOBS.c.uuid)
            .where(_is_free(), condition)
            .order_by(JOBS.c.deadline_at.is_(None), JOBS.c.id)
            .limit(limit)
        )
        .scalars()
        .all()
    )


@engine.use_case
def claim(
    context: RequestContext, uuid: str, owner: str, lease: float
) -> sa.Row[Any] | None:
    """Take a job that nobody works on; None if somebody else was faster."""
    claimed = context.connection.execute(
        sa.update(JOBS)
        .where(JOBS.c.uuid == uuid, _is_free())
        .values(
            owner=owner,
            lease_expires_at=engine.after(lease),
            attempt=JOBS.c.attempt + 1,
        )
    ).rowcount
    return get(context, uuid) if claimed else None


@engine.reader
def failing(
    context: RequestContext, kind: str, limit: int
) -> Sequence[sa.Row[Any]]:
    """Return unfinished jobs that have failed before, oldest first."""
    return context.connection.execute(
        sa.select(JOBS)
        .where(
            JOBS.c.kind == kind,
            JOBS.c.finished_at.is_(None),
            JOBS.c.last_error.is_not(None),
        )
        .order_by(JOBS.c.id)
        .limit(limit)
    ).all()


@engine.reader
def get(context: RequestContext, uuid: str) -> sa.Row[Any] | None:
    """Return a job, or None once it is gone."""
    return context.connection.execute(
        sa.select(JOBS).where(JOBS.c.uuid == uuid)
    ).one_or_none()


@engine.use_case
def renew(
    context: RequestContext, uuids: Collection[str], owner: str, lease: float
) -> None:
    """Keep the leases of jobs that are being worked on."""
    context.connection.execute(
        sa.update(JOBS)
        .where(JOBS.c.uuid.in_(uuids), JOBS.c.owner == owner)
        .values(lease_expires_at=engine.after(lease))
    )


@engine.writer
def advance(
    context: RequestContext,
    uuid: str,
    owner: str,
    step: str,
    payload: dict[str, Any] | None = None,
) -> bool:
    """Record that a job reached ``step``.

    :returns: False if the job was cancelled or taken over: its owner stops
    """
    values: dict[str, Any] = {"step": step}
    if payload is not None:
        values["payload"] = json.dumps(payload, sort_keys=True)
    return (
        context.connection.execute(
            sa.update(JOBS)
            .where(
                JOBS.c.uuid == uuid,
                JOBS.c.owner == owner,
                JOBS.c.finished_at.is_(None),
            )
            .values(**values)
        ).rowcount
        == 1
    )


@engine.use_case
def postpone(
    context: RequestContext, uuid: str, owner: str, delay: float, error: str
) -> None:
    """Give a job back, to be tried again ``delay`` seconds from now."""
    context.connection.execute(
        sa.update(JOBS)
        .where(JOBS.c.uuid == uuid, JOBS.c.owner == owner)
        .values(
            owner=None,
            lease_expires_at=engine.after(delay),
            last_error=error[:2000],
        )
    )


@engine.use_case
def release(
    context: RequestContext, uuids: Collection[str], owner: str
) -> None:
    """Give jobs up, so that others may take them at once."""
    context.connection.execute(
        sa.update(JOBS)
        .where(JOBS.c.uuid.in_(uuids), JOBS.c.owner == owner)
        .values(owner=None, lease_expires_at=engine.after(0))
    )


@engine.writer
def finish(
    context: RequestContext, uuid: str, owner: str, error: str | None = None
) -> bool:
    """End a job whose result stays visible; False if it was taken over."""
    return (
        context.connection.execute(
            sa.update(JOBS)
            .where(
                JOBS.c.uuid == uuid,
                JOBS.c.owner == owner,
                JOBS.c.finished_at.is_(None),
            )
            .values(
                step="failed" if error else "done",
                last_error=error[:2000] if error else None,
                finished_at=clock.utcnow(),
                lease_expires_at=None,
            )
        ).rowcount
        == 1
    )


@engine.writer
def delete(context: RequestContext, uuid: str, owner: str) -> bool:
    """Remove a job that is done; False if it was cancelled or taken over."""
    return (
        context.connection.execute(
            sa.delete(JOBS).where(JOBS.c.uuid == uuid, JOBS.c.owner == owner)
        ).rowcount
        == 1
    )


@engine.writer
def delete_by_ids(context: RequestContext, ids: Collection[int]) -> None:
    """Cancel jobs."""
    context.connection.execute(sa.delete(JOBS).where(JOBS.c.id.in_(ids)))


@engine.writer
def renumber(
    context: RequestContext, uuid: str, owner: str, above: int = 0
) -> bool:
    """Give a job an id that is greater than all; False if it is not ours.

    Those that follow are greater still.

    :param above: a number that somebody has seen, maybe of a job that a
        database restored from a backup does not know
    """
    row = context.connection.execute(
        sa.select(JOBS)
        .where(
            JOBS.c.uuid == uuid,
            JOBS.c.owner == owner,
            JOBS.c.finished_at.is_(None),
        )
        .with_for_update()
    ).one_or_none()
    if row is None:
        return False
    context.connection.execute(sa.delete(JOBS).where(JOBS.c.id == row.id))
    values = row._asdict()
    del values["id"]
    if row.id <= above < _LAST_ID:
        newest = context.connection.execute(
            sa.select(sa.func.coalesce(sa.func.max(JOBS.c.id), 0))
        ).scalar_one()
        values["id"] = max(newest, above) + 1
        if context.connection.dialect.name == "postgresql":
            # Elsewhere what is inserted moves the counter.
            context.connection.execute(
                sa.select(
                    sa.func.setval(
                        sa.func.pg_get_serial_sequence("jobs", "id"),
                        values["id"],
                    )
                )
            )
    context.connection.execute(sa.insert(JOBS).values(**values))
    return True


@engine.reader
def carried_of_arqs(
    context: RequestContext, arq_ids: Collection[int]
) -> dict[int, dict[str, Any]]:
    """Return what clean-ups in place of the jobs of ARQs have to know.

    :returns: their payload, by ARQ id
    """
    rows = context.connection.execute(
        sa.select(JOBS).where(JOBS.c.arq_id.in_(arq_ids))
    )
    carried: dict[int, dict[str, Any]] = {}
    for row in rows:
        carried.setdefault(row.arq_id, {}).update(carried_of(row))
    return carried


def carried_of(job: Any) -> dict[str, Any]:
    """Return what a clean-up in place of a job has to know.

    ``image``: what was to be loaded; ``untouched``: nothing was begun on the
    host, so there is nothing to clean.
    """
    payload = json.loads(job.payload)
    kept = {name: payload[name] for name in _CARRIED if name in payload}
    # An ARQ may have a job that is not about the host, besides.
    if job.kind == constants.JobKind.BIND.value and job.step == QUEUED:
        kept["untouched"] = True
    return kept


@engine.writer
def delete_for_arqs(context: RequestContext, arq_ids: Collection[int]) -> None:
    """Cancel whatever is being done for ARQs."""
    context.connection.execute(
        sa.delete(JOBS).where(JOBS.c.arq_id.in_(arq_ids))
    )


@engine.writer
def delete_finished_for(
    context: RequestContext,
    deployable_id: int | None = None,
    device_id: int | None = None,
) -> None:
    """Remove the last finished job of a target: a new one takes its place."""
    column, value = (
        (JOBS.c.deployable_id, deployable_id)
        if deployable_id is not None
        else (JOBS.c.device_id, device_id)
    )
    context.connection.execute(
        sa.delete(JOBS).where(
            column == value,
            JOBS.c.kind.in_(KEPT_KINDS),
            JOBS.c.finished_at.is_not(None),
        )
    )


@engine.reader
def unfinished_for_deployables(
    context: RequestContext, deployable_ids: Collection[int]
) -> Sequence[sa.Row[Any]]:
    """Return work that is queued or running on deployables."""
    return context.connection.execute(
        sa.select(JOBS).where(
            JOBS.c.deployable_id.in_(deployable_ids),
            JOBS.c.finished_at.is_(None),
        )
    ).all()


# -- what a job is about


@engine.reader
def target(context: RequestContext, job: sa.Row[Any]) -> sa.Row[Any] | None:
    """Return the ARQ, handle, deployable, device and host of a job.

    Columns of what a job does not name are None; the whole is None once
    its ARQ is gone. ``arq_*``, ``handle_*``, ``deployable_*``, ``device_*``,
    ``cpid_*`` and ``host_*``.
    """
    arqs, handles = models.ARQ.__table__, models.AttachHandle.__table__
    deployables = models.Deployable.__table__
    devices = models.Device.__table__
    paths = models.ControlPathID.__table__
    hosts = models.Host.__table__
    source = (
        JOBS.outerjoin(arqs, arqs.c.id == JOBS.c.arq_id)
        .outerjoin(handles, handles.c.id == JOBS.c.attach_handle_id)
        .outerjoin(deployables, deployables.c.id == JOBS.c.deployable_id)
        .outerjoin(
            devices,
            devices.c.id
            == sa.func.coalesce(JOBS.c.device_id, deployables.c.device_id),
        )
        .outerjoin(paths, paths.c.device_id == devices.c.id)
        .outerjoin(hosts, hosts.c.hostname == devices.c.hostname)
    )
    named = {
        "arq": (arqs, ("id", "uuid", "state", "instance_uuid", "project_id")),
        "handle": (handles, ("id", "uuid", "attach_type", "attach_info")),
        "deployable": (
            deployables,
            ("id", "uuid", "driver_name", "bitstream_id"),
        ),
        "device": (
            devices,
            (
                "id",
                "uuid",
                "hostname",
                "vendor",
                "model",
                "std_board_info",
                "driver",
                "identity_id",
            ),
        ),
        "cpid": (paths, ("cpid_type", "cpid_info")),
        "host": (hosts, ("rpc_host", "rpc_version", "last_seen_at", "apart")),
    }
    columns = [
        table.c[name].label(
            name if name.startswith(prefix) else f"{prefix}_{name}"
        )
        for prefix, (table, names) in named.items()
        for name in names
    ]
    return context.connection.execute(
        sa.select(*columns)
        .select_from(source)
        .where(JOBS.c.id == job.id)
        .order_by(paths.c.id)
        .limit(1)
    ).one_or_none()


@engine.reader
def unfinished_for_device(
    context: RequestContext, device_id: int
) -> Sequence[sa.Row[Any]]:
    """Return work that is queued or running on a device as a whole."""
    return context.connection.execute(
        sa.select(JOBS).where(
            JOBS.c.device_id == device_id, JOBS.c.finished_at.is_(None)
        )
    ).all()


@engine.reader
def unfinished_for_arq(
    context: RequestContext, arq_id: int
) -> Sequence[sa.Row[Any]]:
    """Return work that is queued or running for an ARQ."""
    return context.connection.execute(
        sa.select(JOBS).where(
            JOBS.c.arq_id == arq_id, JOBS.c.finished_at.is_(None)
        )
    ).all()


def _last(
    context: RequestContext,
    query: sa.Select[Any],
    target: sa.Column[Any],
    ids: Collection[int],
) -> dict[int, sa.Row[Any]]:
    rows = context.connection.execute(
        query.where(target.in_(ids), JOBS.c.kind.in_(KEPT_KINDS)).order_by(
            JOBS.c.id
        )
    )
    return {row._mapping[target]: row for row in rows}


@engine.reader
def last_of_devices(
    context: RequestContext, ids: Collection[int]
) -> dict[int, sa.Row[Any]]:
    """Return the last programming or update of each device that had one."""
    return _last(context, sa.select(JOBS), JOBS.c.device_id, ids)


@engine.reader
def last_of_deployables(
    context: RequestContext, ids: Collection[int]
) -> dict[int, sa.Row[Any]]:
    """Return the last programming of each deployable that had one.

    Each with the ``bitstream_id`` of its deployable, read at once: that of a
    job which is done shows.
    """
    deployables = models.Deployable.__table__
    query = sa.select(JOBS, deployables.c.bitstream_id).join(
        deployables, deployables.c.id == JOBS.c.deployable_id
    )
    return _last(context, query, JOBS.c.deployable_id, ids)
