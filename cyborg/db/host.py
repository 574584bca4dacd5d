"""Hosts: their row, which is also their lock, and what they report."""

from collections.abc import Sequence
import json
from typing import Any

from oslo_config import cfg
from oslo_utils import uuidutils
import sqlalchemy as sa

from cyborg.common import constants
from cyborg.common import exception
from cyborg.context import RequestContext
from cyborg.db import clock
from cyborg.db import engine
from cyborg.db import models

CONF = cfg.CONF

HOSTS = models.Host.__table__
DEVICES = models.Device.__table__
DEPLOYABLES = models.Deployable.__table__

_HEARTBEAT = sa.update(HOSTS).where(
    HOSTS.c.hostname == sa.bindparam("name"),
    HOSTS.c.report_digest == sa.bindparam("digest"),
)


def device_ids(hostname: str) -> sa.Select[tuple[int]]:
    """Select the devices of a host."""
    return sa.select(DEVICES.c.id).where(DEVICES.c.hostname == hostname)


def deployable_ids(hostname: str) -> sa.Select[tuple[int]]:
    """Select the deployables of a host."""
    return (
        sa.select(DEPLOYABLES.c.id)
        .join(DEVICES, DEPLOYABLES.c.device_id == DEVICES.c.id)
        .where(DEVICES.c.hostname == hostname)
    )


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


@engine.writer
def lock_or_create(context: RequestContext, hostname: str) -> sa.Row[Any]:
    """Return a host's row, locked until the transaction ends.

    Of two that create it one starts again, in its use case. A host whose
    devices an earlier release has stored keeps the providers that it has.
    """
    query = (
        sa.select(HOSTS).where(HOSTS.c.hostname == hostname).with_for_update()
    )
    row = context.connection.execute(query).one_or_none()
    if row is None:
        # Its devices may have been stored by a release without this table.
        devices = context.connection.execute(device_ids(hostname).limit(1))
        is_known = devices.first() is not None
        context.connection.execute(
            sa.insert(HOSTS).values(
                uuid=uuidutils.generate_uuid(),
                hostname=hostname,
                cleans=not is_known,
                provider_layout=constants.ProviderLayout.DEVICE.value
                if is_known
                else CONF.placement.provider_layout,
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
    devices = device_ids(hostname).limit(1)
    if context.connection.execute(devices).first() is None:
        raise exception.HostNotFound(host=hostname)
    lock_or_create(context, hostname)


# -- keys


def _is_known_by(key_hash: str | None) -> sa.ColumnElement[bool]:
    if key_hash is None:
        return HOSTS.c.key_hash.is_(None)
    return HOSTS.c.key_hash == key_hash


@engine.use_case
def set_key(
    context: RequestContext,
    hostname: str,
    known: str | None,
    key_hash: str | None,
    apart: bool,
) -> bool:
    """Note by which key a host is known, and on which bus its agent is.

    :param known: the key it was known by
    :returns: False if it is known by another one now
    """
    return (
        context.connection.execute(
            sa.update(HOSTS)
            .where(HOSTS.c.hostname == hostname, _is_known_by(known))
            .values(key_hash=key_hash, apart=apart)
        ).rowcount
        == 1
    )


@engine.use_case
def rekey(
    context: RequestContext, hostname: str, key_hash: str | None
) -> None:
    """Forget a host's key, or give it another; the refusals were about it.

    :raises HostNotFound: nobody has reported the host
    """
    ensure(context, hostname)
    context.connection.execute(
        sa.update(HOSTS)
        .where(HOSTS.c.hostname == hostname)
        .values(key_hash=key_hash, refused_at=None)
    )


@engine.use_case
def note_refusal(context: RequestContext, hostname: str) -> None:
    """Note that somebody spoke in the name of a host and was refused."""
    context.connection.execute(
        sa.update(HOSTS)
        .where(HOSTS.c.hostname == hostname)
        .values(refused_at=clock.Now())
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


# -- reports


@engine.use_case
def heartbeat(
    context: RequestContext,
    hostname: str,
    rpc_host: str,
    digest: str,
    agent: dict[str, Any] | None = None,
    key_hash: str | None = None,
    apart: bool = False,
) -> bool:
    """Note that a host is alive; False if its report is not the last one.

    Nor is it if the machine has been booted since, or if the host is known by
    another key, or on another bus.

    :param agent: ``{"machine_id", "boot_id"}`` and more; None = one that does
        not tell
    """
    statement = _HEARTBEAT.where(
        HOSTS.c.apart.is_(sa.true() if apart else sa.false()),
        _is_known_by(key_hash),
    )
    if agent is not None:
        statement = statement.where(HOSTS.c.boot_id == agent["boot_id"])
    return (
        context.connection.execute(
            statement,
            {
                "name": hostname,
                "digest": digest,
                "last_seen_at": engine.after(0),
                "rpc_host": rpc_host,
            },
        ).rowcount
        == 1
    )


@engine.writer
def set_machine(
    context: RequestContext, row: Any, agent: dict[str, Any] | None
) -> None:
    """Note on which machine the agent of a host runs; its row is locked.

    :param agent: ``{"machine_id", "boot_id"}`` and more; None = one that does
        not tell
    """
    if agent is None:
        return
    values = {name: agent[name] for name in ("machine_id", "boot_id")}
    if (row.machine_id, row.boot_id) != tuple(values.values()):
        context.connection.execute(
            sa.update(HOSTS).where(HOSTS.c.id == row.id).values(values)
        )


@engine.use_case
def forget_machine(context: RequestContext, hostname: str) -> None:
    """Let whichever machine reports next, with its own key, be a host.

    :raises HostNotFound: nobody has reported the host
    """
    ensure(context, hostname)
    context.connection.execute(
        sa.update(HOSTS)
        .where(HOSTS.c.hostname == hostname)
        .values(
            machine_id=None,
            boot_id=None,
            report_digest=None,
            key_hash=None,
            refused_at=None,
        )
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
            last_seen_at=engine.after(0),
            rpc_host=rpc_host,
            rpc_version=rpc_version,
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
    now = engine.after(0)
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


@engine.reader
def has_seen_other(context: RequestContext, hostname: str) -> bool:
    """Tell whether a report left a device of a host as it was, being held."""
    query = sa.select(DEVICES.c.id).where(
        DEVICES.c.hostname == hostname, DEVICES.c.seen.is_not(None)
    )
    return context.connection.execute(query.limit(1)).first() is not None


@engine.use_case
def ask_for_report(context: RequestContext, hostname: str) -> None:
    """Have the host report everything again, with its next heartbeat."""
    context.connection.execute(
        sa.update(HOSTS)
        .where(HOSTS.c.hostname == hostname)
        .values(report_digest=None)
    )
