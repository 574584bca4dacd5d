"""Bind, unbind and delete accelerator requests: each is one transaction.

What needs no work on a host ends in its final state right there, together
with the event for Nova. What does leaves a job behind, in the same
transaction, which :mod:`cyborg.conductor.work.jobs` drives on.

Locks are taken in the order deployable, bound instance, ARQ, attach handle,
quota usage, event; everywhere.
"""

from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import json
from typing import Any

from oslo_config import cfg
from oslo_log import log as logging
from oslo_utils import uuidutils

from cyborg.common import constants
from cyborg.common import exception
from cyborg.common import groups as profile_groups
from cyborg.common import liveness
from cyborg.common import states
from cyborg.conductor import quota
from cyborg.conductor.life import events as history
from cyborg.conductor.telling import notifications
from cyborg.conductor.work import loads
from cyborg.conductor.work import releases
from cyborg.context import RequestContext
from cyborg.db import arq as arq_db
from cyborg.db import attach_handle as handle_db
from cyborg.db import bound_instance as bound_db
from cyborg.db import deployable as deployable_db
from cyborg.db import device_profile as profile_db
from cyborg.db import engine
from cyborg.db import host_sync as sync_db
from cyborg.db import job as job_db
from cyborg.db import outbox as outbox_db

CONF = cfg.CONF
LOG = logging.getLogger(__name__)

State = states.ARQState
Event = notifications.Event


@dataclasses.dataclass(frozen=True)
class Binding:
    """What one ARQ shall be bound to.

    :ivar hostname: provider name or bus name of the host, in any case
    :ivar project_id: owner, where an administrator names one
    """

    uuid: str
    hostname: str
    device_rp_uuid: str
    instance_uuid: str
    project_id: str | None = None


@dataclasses.dataclass
class Outcome:
    """What a transaction left to do, for the caller to wake somebody.

    :ivar jobs: uuids of jobs on hosts
    :ivar events: whether there are events for Nova
    :ivar providers: whether Placement has to follow
    :ivar hosts: of what Placement goes on offering and nobody may take:
        before the caller is answered, it has to be told
    """

    jobs: list[str] = dataclasses.field(default_factory=list)
    events: bool = False
    providers: bool = False
    hosts: list[str] = dataclasses.field(default_factory=list)


# -- bind


@engine.use_case
def bind(
    context: RequestContext,
    bindings: Sequence[Binding],
    scope: str | None,
    limits: quota.Limits | None = None,
    meant: Mapping[str, Collection[str]] | None = None,
) -> Outcome:
    """Bind all of the ARQs, or change nothing.

    Asking again for what is bound already, or being bound, is a success.

    :param scope: project whose ARQs the caller may touch; None = all
    :param limits: of projects whose ARQs gave back their devices before
    :param meant: see :func:`cyborg.conductor.work.loads.look_up`
    :raises ARQNotFound: naming every ARQ that is not there
    :raises InstanceHasARQs: the instance has others
    :raises ARQBadState, ARQBoundElsewhere, HandleBeingCleaned: the state of
        an ARQ does not allow it
    :raises ProviderNotFound, WrongHost, NoFreeHandle: the provider cannot
        serve it
    :raises OtherImageInUse, DeployableInUse, AgentDown: the work on the host
        that it needs cannot be done
    :raises QuotaExceeded: the project has no room for them any more
    """
    wanted = {binding.uuid: binding for binding in bindings}
    instances = sorted({binding.instance_uuid for binding in bindings})
    arqs = arq_db.for_bind(context, list(wanted), instances)
    pending = _to_bind(arqs, wanted, scope)
    if not pending:
        return Outcome()
    deployables = _deployables_of(context, [b for _, b in pending])
    plans = loads.plan(context, pending, deployables, meant or {})

    already = {row.instance_uuid for row in arqs}
    known = [uuid for uuid in instances if uuid in already]
    entered = set(bound_db.lock(context, known)) if known else set()
    fresh = {b.instance_uuid for _, b in pending} - entered
    if fresh:
        # Two binds of one instance meet here: the later one waits, fails on
        # the key, begins anew and finds the instance taken.
        bound_db.create(context, sorted(fresh))
    if known and arq_db.for_bind(context, list(wanted), instances) != arqs:
        # Whoever had the lock before gave it more, or took some away.
        raise engine.Collision()
    _lock_unchanged(context, [row for row, _ in pending])
    handles = _take_handles(context, pending, deployables)
    return _store_bind(context, pending, handles, deployables, plans, limits)


def _to_bind(
    arqs: Sequence[Any], wanted: dict[str, Binding], scope: str | None
) -> list[tuple[Any, Binding]]:
    """Return the ARQs that are not bound as asked yet, in id order."""
    instances = {binding.instance_uuid for binding in wanted.values()}
    for row in arqs:
        if row.uuid not in wanted and row.instance_uuid in instances:
            raise exception.InstanceHasARQs(instance=row.instance_uuid)
    found = {row.uuid: row for row in arqs if _visible(row, scope)}
    _raise_missing(wanted, found)
    pending = []
    for uuid, binding in wanted.items():
        row = found[uuid]
        if row.state in (State.BOUND, State.BIND_STARTED):
            if not _is_bound_so(row, binding):
                raise exception.ARQBoundElsewhere(uuid=uuid)
            continue
        _check_state(row, State.BIND_STARTED)
        if row.attach_handle_id is not None:
            raise exception.HandleBeingCleaned(uuid=uuid)
        pending.append((row, binding))
    return sorted(pending, key=lambda pair: pair[0].id)


def _visible(row: Any, scope: str | None) -> bool:
    return scope is None or row.project_id == scope


def _raise_missing(wanted: Iterable[str], found: Collection[str]) -> None:
    missing = [uuid for uuid in wanted if uuid not in found]
    if missing:
        raise exception.ARQNotFound(uuids=", ".join(missing))


def _check_state(row: Any, target: State) -> None:
    allowed = states.MAY_BECOME[target]
    if row.state not in allowed:
        raise exception.ARQBadState(
            uuid=row.uuid, state=row.state, allowed=", ".join(allowed)
        )


def _is_bound_so(row: Any, binding: Binding) -> bool:
    return bool(
        row.instance_uuid == binding.instance_uuid
        and row.device_rp_uuid == binding.device_rp_uuid
        and (row.hostname or "").casefold() == binding.hostname.casefold()
    )


def _deployables_of(
    context: RequestContext, bindings: Sequence[Binding]
) -> dict[str, list[Any]]:
    """Return the deployables each provider counts, checked for the host."""
    by_provider: dict[str, list[Any]] = {}
    for row in deployable_db.for_bind(
        context, sorted({binding.device_rp_uuid for binding in bindings})
    ):
        by_provider.setdefault(row.rp_uuid, []).append(row)
    for binding in bindings:
        rows = by_provider.get(binding.device_rp_uuid)
        if not rows:
            raise exception.ProviderNotFound(rp_uuid=binding.device_rp_uuid)
        # Earlier releases gave one provider to two hosts with a deployable
        # of the same name.
        here = [row for row in rows if _is_on(row, binding.hostname)]
        if not here:
            raise exception.WrongHost(
                rp_uuid=binding.device_rp_uuid,
                actual=rows[0].hostname,
                hostname=binding.hostname,
            )
        by_provider[binding.device_rp_uuid] = here
    return by_provider


def _is_on(deployable: Any, hostname: str) -> bool:
    names = filter(None, (deployable.hostname, deployable.rpc_host))
    return hostname.casefold() in [name.casefold() for name in names]


def _lock_unchanged(context: RequestContext, rows: Sequence[Any]) -> None:
    """Lock ARQs and begin anew if one is no longer what was read."""
    locked = {
        row.id: row for row in arq_db.lock(context, [row.id for row in rows])
    }
    for row in rows:
        now = locked.get(row.id)
        if now is None or (
            now.state,
            now.attach_handle_id,
            now.instance_uuid,
            now.project_id,
            now.resource_class,
        ) != (
            row.state,
            row.attach_handle_id,
            row.instance_uuid,
            row.project_id,
            row.resource_class,
        ):
            raise engine.Collision()


def _take_handles(
    context: RequestContext,
    pending: Sequence[tuple[Any, Binding]],
    deployables: dict[str, list[Any]],
) -> dict[int, Any]:
    """Return a handle of the right provider for each ARQ id."""
    by_provider: dict[str, list[Any]] = {}
    for row, binding in pending:
        by_provider.setdefault(binding.device_rp_uuid, []).append(row)
    # In the order of the handles' ids, as near as can be told beforehand.
    order = sorted(by_provider, key=lambda rp_uuid: deployables[rp_uuid][0].id)
    given: dict[int, Any] = {}
    for rp_uuid in order:
        arqs = by_provider[rp_uuid]
        usable = [
            row
            for row in deployables[rp_uuid]
            if row.missing_since is None
            and row.device_missing_since is None
            and row.withheld is None
            and not row.is_updated
        ]
        if not usable:
            for row in deployables[rp_uuid]:
                if row.is_updated:
                    raise exception.DeployableInUse(uuid=row.uuid)
        handles = _take_of(context, usable, arqs)
        if len(handles) < len(arqs):
            raise exception.NoFreeHandle(
                rp_uuid=rp_uuid,
                wanted=len(arqs),
                free=len(handles),
                why=_why_not(context, deployables[rp_uuid], usable),
            )
        given.update(zip((row.id for row in arqs), handles, strict=True))
    _check_homes(context, given.values(), deployables)
    return given


def _take_of(
    context: RequestContext, usable: Sequence[Any], arqs: Sequence[Any]
) -> list[Any]:
    """Take handles of deployables of one provider, one for each ARQ.

    Those that take no new instances come last: somebody may have been given
    one before they were fenced off.
    """
    ids = [row.id for row in usable]
    spared = _management(context, ids, arqs, usable)
    taken: list[Any] = []
    for fenced in (False, True):
        some = [row.id for row in usable if bool(row.is_fenced) == fenced]
        if some and len(taken) < len(arqs):
            taken += handle_db.take(
                context, some, len(arqs) - len(taken), spared
            )
    return taken


def _why_not(
    context: RequestContext, deployables: Sequence[Any], usable: Sequence[Any]
) -> str:
    """Return what to add to a refusal: why handles are nobody's to take."""
    reasons = []
    idle = handle_db.count_idle(context, [row.id for row in deployables])
    if idle:
        reasons.append(f"{idle} in use until cleaned up on the host")
    for what, count in (
        ("missing", [r for r in deployables if r.missing_since is not None]),
        ("withheld", [r for r in deployables if r.withheld is not None]),
        ("being updated", [r for r in deployables if r.is_updated]),
    ):
        if count:
            reasons.append(f"{len(count)} of its deployables {what}")
    return f" ({'; '.join(reasons)})" if reasons else ""


def _check_homes(
    context: RequestContext,
    handles: Iterable[Any],
    deployables: dict[str, list[Any]],
) -> None:
    """Begin anew if one of a pool has left it since it was read.

    One with a provider of its own cannot: its allocation holds it there.
    """
    homes = {
        row.id: row.rp_uuid for rows in deployables.values() for row in rows
    }
    pooled = {
        row.id
        for rows in deployables.values()
        for row in rows
        if row.rp_pool is not None
    }
    pooled &= {handle.deployable_id for handle in handles}
    if pooled:
        for id_, now in deployable_db.providers_of(context, pooled).items():
            if homes[id_] != now:
                raise engine.Collision()


def _management(
    context: RequestContext,
    usable: Collection[int],
    arqs: Sequence[Any],
    deployables: Sequence[Any],
) -> list[int]:
    """Return ids of handles that are not given without their card.

    The first function of a Xilinx card manages it, for the host as well; a
    group without the trait that makes it two requests gets the other one.
    """
    cards = [
        row.id
        for row in deployables
        if row.id in usable
        and (row.driver_name or "").lower() == constants.XILINX_DRIVER
    ]
    if not cards or all(
        profile_groups.wants_xilinx(loads.group_of(row)) for row in arqs
    ):
        return []
    return handle_db.first_of_several(context, cards)


def _store_bind(
    context: RequestContext,
    pending: Sequence[tuple[Any, Binding]],
    handles: dict[int, Any],
    deployables: dict[str, list[Any]],
    plans: dict[tuple[str, int], loads.Image],
    limits: quota.Limits | None,
) -> Outcome:
    by_id = {row.id: row for rows in deployables.values() for row in rows}
    changes, jobs, events = [], [], []
    timeout = float(CONF.bind_timeout)
    for row, binding in pending:
        handle = handles[row.id]
        image = plans.get((row.uuid, handle.deployable_id))
        works = image is not None or handle_db.needs_host_work(
            handle.attach_type, handle.attach_info
        )
        changes.append(
            {
                "arq_id": row.id,
                "state": State.BIND_STARTED if works else State.BOUND,
                "hostname": binding.hostname,
                "device_rp_uuid": binding.device_rp_uuid,
                "instance_uuid": binding.instance_uuid,
                "project_id": binding.project_id or row.project_id,
                "attach_handle_id": handle.id,
                "deployable_id": handle.deployable_id,
                "substate": "Allocated" if works else "Initial",
            }
        )
        if works:
            liveness.check_agent(by_id[handle.deployable_id])
            jobs.append(
                {
                    "kind": constants.JobKind.BIND.value,
                    "arq_id": row.id,
                    "deployable_id": handle.deployable_id,
                    "attach_handle_id": handle.id,
                    "payload": {"image": image} if image else {},
                }
            )
            if image:
                timeout = float(CONF.bind_timeout + CONF.program_timeout)
        else:
            events.append(
                {
                    "instance_uuid": binding.instance_uuid,
                    "arq_uuid": row.uuid,
                    "status": constants.NovaEventStatus.COMPLETED.value,
                }
            )
    arq_db.set_bound(context, changes)
    quota.changed(
        context,
        [
            (row, change["project_id"], change["state"])
            for (row, _), change in zip(pending, changes, strict=True)
        ],
        limits,
    )
    for (row, _), change in zip(pending, changes, strict=True):
        if change["state"] == State.BOUND:
            notifications.arqs(context, Event.ARQ_BOUND, [row], **change)
    history.record(
        context,
        [
            history.at(
                change["deployable_id"],
                history.Kind.BOUND,
                arq=row.uuid,
                instance=change["instance_uuid"],
                project=change["project_id"],
            )
            for (row, _), change in zip(pending, changes, strict=True)
            if change["state"] == State.BOUND
        ],
    )
    outcome = Outcome(events=bool(events))
    if events:
        outbox_db.create(context, events)
    if jobs:
        outcome.jobs += job_db.create(context, jobs, timeout)
    for hostname in sorted(
        {
            by_id[handle.deployable_id].hostname
            for handle in handles.values()
            if by_id[handle.deployable_id].is_one_time
        }
    ):
        # Nobody else is to be sent there.
        sync_db.mark(context, hostname)
        outcome.providers = True
    for row, binding in pending:
        if context.is_admin and binding.project_id is None:
            outcome.jobs += _find_owner_later(context, row)
    # One line, however many there are.
    LOG.info(
        "%s",
        "; ".join(
            f"ARQ {row.uuid} of instance {binding.instance_uuid} takes handle "
            f"{handles[row.id].id} on {binding.hostname}"
            for row, binding in pending
        ),
    )
    return outcome


def _find_owner_later(context: RequestContext, row: Any) -> list[str]:
    """Queue the question whose server it is, where an admin acts for Nova.

    An administrator who evacuates or unshelves a user's server makes ARQs in
    a project of its own; the user could not see them.
    """
    if row.project_id is not None and row.project_id != context.project_id:
        return []
    return job_db.create(
        context,
        [{"kind": constants.JobKind.OWNER.value, "arq_id": row.id}],
        CONF.conductor.orphan_grace,
    )


# -- unbind and delete


@engine.use_case
def unbind(
    context: RequestContext, uuids: Sequence[str], scope: str | None
) -> Outcome:
    """Give back what the ARQs hold; they stay and can be bound again.

    What a handle left on its host is cleaned afterwards; until then the ARQ
    keeps the handle, so that nobody else gets it.

    :raises ARQNotFound: naming every ARQ that is not there; nothing changes
    :raises ARQBadState: an ARQ is being deleted
    """
    rows = arq_db.for_release(context, uuids)
    found = {row.uuid: row for row in rows if _visible(row, scope)}
    _raise_missing(uuids, found)
    rows = [
        row
        for row in found.values()
        if row.state != State.UNBOUND or row.attach_handle_id is not None
    ]
    for row in rows:
        if row.state != State.UNBOUND:
            _check_state(row, State.UNBOUND)
    if not rows:
        return Outcome()
    instances = _lock_for_release(context, rows)
    kept, given = _release_handles(context, rows)
    outcome = _queue_cleanup(context, [r for r in rows if r.id in kept])
    outcome.jobs += given.jobs
    outcome.hosts = _fence(context, rows, kept, given.hosts)
    arq_db.set_unbound(context, [row.id for row in rows], keep_handle=kept)
    quota.moved(context, rows, State.UNBOUND)
    notifications.arqs(
        context,
        Event.ARQ_UNBOUND,
        [row for row in rows if row.state != State.UNBOUND],
        state=State.UNBOUND,
    )
    _forget(context, rows, instances)
    return outcome


def delete(
    context: RequestContext,
    uuids: Sequence[str] | None,
    instance: str | None,
    scope: str | None,
    event: Event = Event.ARQ_DELETED,
) -> tuple[Outcome, list[str]]:
    """Delete ARQs by uuid, or all of an instance, whoever owns those.

    Those whose handle left something on the host stay, in state Deleting and
    without their instance, until it is cleaned.

    :returns: what is left to do, and the uuids that were not there; the
        others are deleted all the same
    :raises ServiceTokenRequired: one of ``uuids`` has an instance, and the
        caller is no service; nothing is deleted
    """
    return _delete(context, uuids, instance, scope, event, set())


@engine.use_case
def _delete(
    context: RequestContext,
    uuids: Sequence[str] | None,
    instance: str | None,
    scope: str | None,
    event: Event,
    seen: set[str],
) -> tuple[Outcome, list[str]]:
    """:param seen: filled with what was there: if the first attempt's commit
    succeeded and the answer was lost, a repeated one does not miss it
    """
    missing: list[str] = []
    instances: list[str] = []
    if instance is not None:
        # Keeps binds of the instance out, and waits for one that is at work.
        bound_db.delete(context, [instance])
        rows = list(arq_db.lock_of_instance(context, instance))
    else:
        found = {
            row.uuid: row
            for row in arq_db.for_release(context, uuids or [])
            if _visible(row, scope)
        }
        seen.update(found)
        missing = [uuid for uuid in uuids or [] if uuid not in seen]
        rows = list(found.values())
        if not context.is_service_request and any(
            row.instance_uuid for row in rows
        ):
            raise exception.ServiceTokenRequired(
                operation="Deleting a bound accelerator request"
            )
        if rows:
            instances = _lock_for_release(context, rows)
    if not rows:
        return Outcome(), missing
    kept, given = _release_handles(context, rows)
    outcome = _queue_cleanup(context, [r for r in rows if r.id in kept])
    outcome.jobs += given.jobs
    outcome.hosts = _fence(context, rows, kept, given.hosts)
    if kept:
        arq_db.set_deleting(context, kept)
    quota.moved(context, rows)
    notifications.arqs(
        context,
        event,
        [row for row in rows if row.state != State.DELETING],
        state=State.DELETING,
    )
    outbox_db.delete_for(context, [row.uuid for row in rows])
    arq_db.delete(context, [row.id for row in rows if row.id not in kept])
    if instances:
        bound_db.delete_empty(context, instances)
    LOG.info(
        "Deleted ARQs %s; %d wait for their host",
        ", ".join(row.uuid for row in rows),
        len(kept),
    )
    return outcome, missing


def _lock_for_release(
    context: RequestContext, rows: Sequence[Any]
) -> list[str]:
    """Lock what a release changes; returns the instances concerned."""
    instances = sorted({r.instance_uuid for r in rows if r.instance_uuid})
    if instances:
        bound_db.lock(context, instances)
    _lock_unchanged(context, sorted(rows, key=lambda row: row.id))
    return instances


def _fence(
    context: RequestContext,
    rows: Sequence[Any],
    kept: Collection[int],
    hosts: Collection[str],
) -> list[str]:
    """Have Placement told of what is released and not free; returns hosts.

    Nova deletes allocations when it has deleted requests: what is cleaned up
    until then would be given to the next server, whose bind would fail.

    :param kept: ids of ARQs whose handle has to be cleaned up
    :param hosts: others that Placement will be told of
    """
    if not kept:
        return sorted(hosts)
    busy = handle_db.hosts_of(
        context, [row.attach_handle_id for row in rows if row.id in kept]
    )
    for hostname in busy:
        if hostname not in hosts:
            sync_db.mark(context, hostname, urgent=True)
    return sorted({*hosts, *busy})


def _release_handles(
    context: RequestContext, rows: Sequence[Any]
) -> tuple[set[int], releases.Given]:
    """Give back handles that left nothing on their hosts.

    :returns: ids of the ARQs that keep theirs until what was made for them
        is removed, and what became of the others
    """
    held = {
        row.attach_handle_id: row.id
        for row in rows
        if row.attach_handle_id is not None
    }
    if not held:
        return set(), releases.Given()
    # Where a job has begun, or a clean-up is under way, only a (repeated)
    # clean-up tells what is left.
    unclear = {
        row.attach_handle_id
        for row in rows
        if row.attach_handle_id is not None and row.state != State.BOUND
    }
    simple = held.keys() - unclear
    given = releases.give_back(context, simple, keep_host_work=True)
    kept = {held[handle_id] for handle_id in unclear | given.kept}
    history.record(
        context,
        [
            history.at(
                row.deployable_id,
                history.Kind.RELEASED,
                given.why(row.attach_handle_id),
                arq=row.uuid,
                instance=row.instance_uuid,
                project=row.project_id,
            )
            for row in rows
            if row.attach_handle_id is not None
            and row.deployable_id is not None
            and row.id not in kept
        ],
    )
    return kept, given


def _queue_cleanup(context: RequestContext, rows: Sequence[Any]) -> Outcome:
    if not rows:
        return Outcome()
    arq_ids = [row.id for row in rows]
    carried = job_db.carried_of_arqs(context, arq_ids)
    job_db.delete_for_arqs(context, arq_ids)
    jobs = job_db.create(
        context,
        [
            {
                "kind": constants.JobKind.CLEANUP.value,
                "arq_id": row.id,
                "deployable_id": row.deployable_id,
                "attach_handle_id": row.attach_handle_id,
                "payload": carried.get(row.id, {}),
            }
            for row in rows
        ],
        None,
    )
    return Outcome(jobs=jobs)


def _forget(
    context: RequestContext, rows: Sequence[Any], instances: list[str]
) -> None:
    outbox_db.delete_for(context, [row.uuid for row in rows])
    if instances:
        bound_db.delete_empty(context, instances)


# -- create


def _groups(profile: Any) -> list[dict[str, str]]:
    groups: list[dict[str, str]] = json.loads(profile.profile_json)["groups"]
    return groups


def create(
    context: RequestContext, profile: str, project_id: str | None
) -> Sequence[Any]:
    """Insert the ARQs of a profile, all or none; returns their rows.

    :param profile: uuid or name
    :raises DeviceProfileNotFound: no such profile
    :raises QuotaExceeded: the project has no room for them
    """
    limits = quota.limits_to_create(context, profile, project_id)
    return _create(context, profile, project_id, [], limits)


@engine.use_case
def _create(
    context: RequestContext,
    name: str,
    project_id: str | None,
    uuids: list[str],
    limits: quota.Limits | None,
) -> Sequence[Any]:
    """:param uuids: filled by the first attempt: if its commit succeeded and
    the answer was lost, a repeated one finds its own rows
    """
    if uuids:
        there = arq_db.find_by_uuids(context, uuids)
        if there:
            return there
    profile = profile_db.get(context, name)
    if profile is None:
        raise exception.DeviceProfileNotFound(name=name)
    parts = [
        (index, resource_class)
        for index, group in enumerate(_groups(profile))
        for resource_class in profile_groups.classes_of(group)
    ]
    uuids[:] = [uuidutils.generate_uuid() for _ in parts]
    arq_db.create(
        context,
        [
            {
                "uuid": uuid,
                "project_id": project_id,
                "device_profile_id": profile.id,
                "device_profile_group_id": group_id,
                "resource_class": resource_class,
            }
            for uuid, (group_id, resource_class) in zip(
                uuids, parts, strict=True
            )
        ],
    )
    quota.created(context, project_id, [name for _, name in parts], limits)
    rows = arq_db.find_by_uuids(context, uuids)
    # The foreign key holds the profile since the insert, and not before.
    if any(row.profile_json != profile.profile_json for row in rows):
        raise engine.Collision()
    notifications.arqs(context, Event.ARQ_CREATED, rows)
    return rows
