"""Deletes what has gone: cards from a host, and hosts for good.

Providers go first, and only if nothing is allocated from them; then the rows,
if nothing refers to them.
"""

from collections.abc import Collection
from collections.abc import Sequence
import datetime
from typing import Any

from oslo_config import cfg
from oslo_log import log as logging
from oslo_utils import uuidutils

from cyborg.common import clock
from cyborg.common import exception
from cyborg.common import faults
from cyborg.common import liveness
from cyborg.conductor.life import events
from cyborg.conductor.placement import desired
from cyborg.conductor.placement import passes
from cyborg.conductor.telling import notifications
from cyborg.context import RequestContext
from cyborg.db import device as device_db
from cyborg.db import engine
from cyborg.db import host_sync as sync_db
from cyborg.db import removal as removal_db

CONF = cfg.CONF
LOG = logging.getLogger(__name__)


# -- parts of a host


def remove_gone(pass_: passes.Pass) -> None:
    """Delete what the host has reported as gone for ``removal_grace``.

    The provider goes first, and only if nothing is allocated from it; then
    the rows, if no request refers to them.
    """
    host = pass_.rows.host
    if host.last_seen_at is None:
        return
    before = min(host.last_seen_at, clock.utcnow()) - datetime.timedelta(
        seconds=CONF.conductor.removal_grace
    )
    gone = {
        row.id: row
        for row in pass_.rows.deployables
        if row.missing_since is not None and row.missing_since <= before
    }
    used = removal_db.in_use(pass_.context, list(gone)) if gone else set()
    made = _made(pass_) if gone else {}
    going = gone.keys() - used
    removed = [
        row.id
        for row in sorted(
            (gone[id_] for id_ in going),
            key=lambda row: -desired.depth(pass_.tree, made[row.id]),
        )
        if _remove_provider(pass_, row, made, going)
    ]
    faults.point("providers-removed")
    deleted, parts = _delete_rows(pass_.context, pass_, removed, before)
    for id_ in deleted:
        LOG.info(
            "Deployable %s of host %s is gone and was removed",
            gone[id_].name,
            pass_.hostname,
        )
    if deleted or parts:
        pass_.rows = sync_db.load(pass_.context, pass_.hostname)


@engine.use_case
def _delete_rows(
    context: RequestContext,
    pass_: passes.Pass,
    deployables: list[int],
    before: datetime.datetime,
) -> tuple[set[int], int]:
    """Delete deployables, and what is gone and Placement knows nothing of.

    :returns: ids of the deployables that were deleted, and how many others
    """
    deleted: set[int] = set()
    if deployables:
        deleted = removal_db.delete_gone(context, pass_.hostname, deployables)
    parts = removal_db.delete_gone_parts(context, pass_.hostname, before)
    if deleted or parts:
        left = device_db.existing(context, [r.id for r in pass_.rows.devices])
        _tell_removed(
            context, [r for r in pass_.rows.devices if r.id not in left]
        )
    return deleted, parts


def _tell_removed(context: RequestContext, devices: Sequence[Any]) -> None:
    """Tell of devices that this transaction has deleted."""
    events.record(
        context, [events.of(row, events.Kind.REMOVED) for row in devices]
    )
    notifications.devices(context, notifications.Event.DEVICE_DELETE, devices)


def _made(pass_: passes.Pass) -> dict[int, str]:
    """Return the provider of each deployable, recorded or not.

    A conductor may have died when it had made one and not recorded it.
    """
    settled = desired.settle(desired.desired(pass_.rows), pass_.tree)
    return {
        id_: provider.uuid
        for provider in settled.values()
        for id_ in provider.deployable_ids
    }


def _remove_provider(
    pass_: passes.Pass,
    deployable: Any,
    made: dict[int, str],
    going: Collection[int],
) -> bool:
    """:param going: ids of all deployables that are to be removed"""
    uuid_ = made[deployable.id]
    if uuid_ not in pass_.tree:
        return True
    if any(other == uuid_ and id_ not in going for id_, other in made.items()):
        # It counts other deployables too, and less from now on.
        return True
    try:
        pass_.client.delete_provider(uuid_)
    except exception.PlacementConflict as error:
        # Something is allocated from it, or below it.
        LOG.info(
            "Provider %s of host %s stays for now: %s",
            deployable.name,
            pass_.hostname,
            error.faultstring,
        )
        return False
    del pass_.tree[uuid_]
    return True


def remove_left_over(pass_: passes.Pass) -> None:
    """Delete what was made for this host's devices and counts none of them.

    What something is allocated from stays, and is tried again.
    """
    for node in list(pass_.tree.values()):
        if (
            node.parent != pass_.root
            or node.uuid in pass_.wanted
            or not desired.is_left_over(node, pass_.rows)
        ):
            continue
        try:
            pass_.client.delete_provider(node.uuid)
        except exception.PlacementConflict as error:
            LOG.info(
                "Provider %s of host %s stays for now: %s",
                node.name,
                pass_.hostname,
                error.faultstring,
            )
        else:
            del pass_.tree[node.uuid]
            LOG.info("Deleted provider %s, which counts nothing", node.name)


def next_look(context: RequestContext, hostname: str) -> Any:
    """Return when something that is missing may be removed, or None."""
    since = removal_db.oldest_missing(context, hostname)
    if since is None:
        return None
    grace = CONF.conductor.removal_grace
    # By then the host has reported once more.
    first = since + datetime.timedelta(seconds=grace + CONF.periodic_interval)
    now = clock.utcnow().replace(microsecond=0)
    again = now + datetime.timedelta(
        seconds=max(CONF.periodic_interval, grace)
    )
    return first if first > now else again


# -- hosts


def remove_host(context: RequestContext, hostname: str) -> None:
    """Delete a host: its providers, if nothing is allocated, and its rows.

    :raises HostInUse: a request, a job or an allocation refers to it, or it
        goes on reporting; nothing was deleted
    :raises HostNotFound: nobody has reported the host
    :raises PlacementUnavailable: Placement does not answer, or another
        conductor is busy with the host
    """
    owner = uuidutils.generate_uuid()
    row = passes.claim(context, hostname, owner, full=True, wait=30)
    try:
        _refuse_alive(row)
        arqs, jobs = removal_db.users(context, hostname)
        if arqs or jobs:
            uuids = ", ".join(user.uuid for user in (*arqs, *jobs))
            raise exception.HostInUse(
                host=hostname, reason=f"{uuids} refer to it"
            )
        pass_ = passes.Pass(
            context,
            hostname,
            full=True,
            lease=passes.Lease(context, hostname, owner),
        )
        for provider in _providers_of(pass_):
            pass_.client.delete_provider(provider.uuid)
            LOG.info("Deleted provider %s of %s", provider.name, hostname)
        _delete_host(context, pass_)
    except Exception as error:
        # What was deleted too early comes back with the next comparison.
        sync_db.fail(
            context,
            hostname,
            owner,
            row.sync_wanted,
            passes.reason(error),
        )
        raise
    LOG.warning("Host %s was deleted", hostname)


@engine.use_case
def _delete_host(context: RequestContext, pass_: passes.Pass) -> None:
    removal_db.delete(context, pass_.hostname)
    _tell_removed(context, pass_.rows.devices)


def _refuse_alive(host: Any) -> None:
    if not liveness.is_silent(host.last_seen_at):
        raise exception.HostInUse(
            host=host.hostname,
            reason="its agent is running; stop it, and try again in "
            f"{CONF.conductor.service_down_time} seconds",
        )


def _providers_of(pass_: passes.Pass) -> list[desired.Actual]:
    """Return a host's providers, those that are below others first.

    :raises HostInUse: something is allocated from one of them
    """
    try:
        pass_.read_tree()
    except exception.PlacementResourceProviderNotFound:
        # Nova has forgotten the host; what was below it may be elsewhere.
        LOG.info("Host %s has no provider of its own", pass_.hostname)
    pass_.wanted = desired.desired(pass_.rows)
    uuids = set(_made(pass_).values())
    uuids |= {orphan.uuid for orphan in pass_.orphans()}
    found = []
    for uuid_ in uuids:
        if uuid_ not in pass_.tree:
            record = pass_.client.get_provider(uuid_)
            if record is None or sync_db.others_with_provider(
                pass_.context, pass_.hostname, uuid_
            ):
                continue
            pass_.tree[uuid_] = desired.actual(record)
        found.append(pass_.tree[uuid_])
    for provider in found:
        consumers = pass_.client.provider_allocations(provider.uuid)
        if consumers:
            raise exception.HostInUse(
                host=pass_.hostname,
                reason=f"{', '.join(sorted(consumers))} allocated provider "
                f"{provider.name}",
            )
    return sorted(
        found, key=lambda node: -desired.depth(pass_.tree, node.uuid)
    )
