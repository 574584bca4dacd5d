"""Cleans what was given back, before it is given to anybody else.

A job of kind ``clean`` has one attach handle, which stays in use for it. The
agent does the work at its own pace and is asked how far it is; it says so by
itself when it has ended. A conductor may die between any two steps: another
asks the same again, and the agent knows the job by its uuid.
"""

from collections.abc import Sequence
from typing import Any

from oslo_config import cfg
from oslo_log import log as logging

from cyborg.agent import rpcapi as agent_rpcapi
from cyborg.common import constants
from cyborg.common import exception
from cyborg.common import faults
from cyborg.common import health
from cyborg.common import states
from cyborg.common.i18n import _
from cyborg.conductor.life import conditions
from cyborg.conductor.life import events
from cyborg.conductor.work import releases
from cyborg.conductor.work import steps
from cyborg.context import RequestContext
from cyborg.db import attach_handle as handle_db
from cyborg.db import cleaning as cleaning_db
from cyborg.db import device as device_db
from cyborg.db import device_state
from cyborg.db import engine
from cyborg.db import host as host_db
from cyborg.db import host_sync as sync_db
from cyborg.db import job as job_db

CONF = cfg.CONF
LOG = logging.getLogger(__name__)

Policy = constants.CleaningPolicy

# The step of a job that an agent may have begun.
BEGUN = "Cleaning"

# Seconds between two questions to an agent that is at work; it says by itself
# when it has ended.
_WHILE_RUNNING = 10.0
# Seconds before the next attempt, times the failures so far.
_AFTER_FAILURE = 5.0
# Seconds until it is looked again whether a guest has let go of a device.
_WHILE_BUSY = 2.0
_LONGEST_BUSY = 30.0
# After so many looks the operator is told.
_ODD = 10


def do(
    context: RequestContext, job: Any, agent: agent_rpcapi.AgentAPI
) -> None:
    """Do what can be done now of a cleaning whose lease is ours.

    :raises Cancelled: it is ours no more
    :raises TryLater: it goes on, or has to wait
    """
    work = steps.begin(context, job, agent)
    if work.target.handle_id is None or work.target.device_uuid is None:
        raise steps.Cancelled()
    try:
        _check_agent(work)
        _begin(context, work)
        faults.point("clean-begun")
        answer = work.agent.clean(
            context,
            work.rpc_host,
            job_uuid=work.job.uuid,
            attempt=work.payload.get("failures", 0),
            handle=work.handle,
            controlpath_id=work.controlpath_id,
            driver=work.target.device_driver,
            sequence=work.job.id,
        )
    except exception.Overtaken as error:
        steps.renumber(context, work, error)
        raise steps.TryLater(error.faultstring) from error
    except exception.PeerTooOld as error:
        _cannot(context, work, error.faultstring)
        return
    except exception.ServiceUnavailable as error:
        raise steps.TryLater(error.faultstring) from error
    except exception.CyborgException as error:
        # It does not become better by itself: it counts as any failure.
        answer = {"state": "failed", "reason": error.faultstring}
    except steps.Failed as error:
        _cannot(context, work, str(error))
        return
    faults.point("clean-answered")
    _take(context, work, answer)


def _check_agent(work: steps.Work) -> None:
    if work.target.device_driver is None or work.target.cpid_type is None:
        raise steps.Failed(
            "no agent of this release has reported the device yet"
        )
    if not agent_rpcapi.can_clean(work.target.host_rpc_version):
        raise steps.Failed(
            f"the agent of host {work.target.device_hostname} is of an "
            "earlier release, which cleans nothing"
        )


@engine.use_case
def _begin(context: RequestContext, work: steps.Work) -> None:
    if not job_db.advance(
        context, work.job.uuid, work.job.owner, BEGUN, work.payload
    ):
        raise steps.Cancelled()
    device_state.cleaning(context, work.target.device_id)


def _take(
    context: RequestContext, work: steps.Work, answer: dict[str, Any]
) -> None:
    state, reason = answer["state"], answer.get("reason") or ""
    if state == "done":
        _store_cleaned(context, work, answer["steps"])
        faults.point("clean-stored")
        return
    if state == "running":
        raise steps.TryLater(reason or "it goes on", _WHILE_RUNNING)
    if state == "busy":
        waits = _count_wait(context, work, reason)
        raise steps.TryLater(reason, min(_WHILE_BUSY * waits, _LONGEST_BUSY))
    failures = work.payload["failures"] = work.payload.get("failures", 0) + 1
    if failures < CONF.cleaning.attempts and not answer.get("is_final"):
        _begin(context, work)
        LOG.warning(
            "Cleaning handle %s failed, and is repeated: %s",
            work.target.handle_uuid,
            reason,
        )
        raise steps.TryLater(reason, _AFTER_FAILURE * failures)
    _give_up(context, work, reason, answer.get("steps", []))
    faults.point("clean-given-up")


@engine.use_case
def _count_wait(context: RequestContext, work: steps.Work, reason: str) -> int:
    """Return how often a device was in use yet, and say so if that is odd."""
    waits: int = work.payload.get("waits", 0) + 1
    if waits == _ODD:
        device = device_db.get(context, work.target.device_uuid)
        _say(context, device, f"it cannot be cleaned: {reason}", False)
    if not job_db.advance(
        context,
        work.job.uuid,
        work.job.owner,
        BEGUN,
        work.payload | {"waits": waits},
    ):
        raise steps.Cancelled()
    return waits


def _say(
    context: RequestContext, device: Any, reason: str, is_fenced: bool
) -> None:
    conditions.put(
        context,
        [
            conditions.Condition(
                device,
                constants.CONDITION_UNCLEAN,
                conditions.Source.AGENT,
                conditions.Effect.NO_SCHEDULE
                if is_fenced
                else conditions.Effect.NONE,
                reason,
            )
        ],
    )


def _is_required(context: RequestContext, work: steps.Work) -> bool:
    """Tell whether nobody may be given it before it is clean."""
    (subject,) = cleaning_db.subjects(context, [work.target.handle_id])
    return bool(
        releases.ASKED in work.payload
        or subject.is_one_time
        or releases.policy_of(subject) == Policy.REQUIRED
    )


def _cannot(context: RequestContext, work: steps.Work, reason: str) -> None:
    """Wait for an agent that can clean, or go on without."""
    if _is_required(context, work):
        raise steps.TryLater(reason)
    _give_up(context, work, reason, [])


@engine.use_case
def _store_cleaned(
    context: RequestContext, work: steps.Work, done: Sequence[Any]
) -> None:
    device = _free(context, work)
    device_state.cleaned(context, device.id)
    now = device_db.get(context, device.uuid)
    # Another handle of it may be what could not be cleaned.
    if now is not None and now.device_state != states.DeviceState.ERROR:
        keys = [constants.CONDITION_UNCLEAN]
        if handle_db.is_only(context, device.id):
            # Cleaned, a card that is given as a whole was reset as well.
            keys += health.NEED_RESET
        conditions.clear(
            context,
            [device],
            source=conditions.Source.AGENT,
            keys=keys,
            why="it was cleaned",
        )
    steps.record(
        context,
        work,
        events.Kind.CLEANED,
        handle=work.target.handle_uuid,
        steps=list(done),
    )
    LOG.info("Handle %s is clean", work.target.handle_uuid)


@engine.use_case
def _give_up(
    context: RequestContext,
    work: steps.Work,
    reason: str,
    done: Sequence[Any],
) -> None:
    """Keep a device that has to be clean; give out any other as it is."""
    is_required = _is_required(context, work)
    device = _free(context, work)
    if is_required:
        device_state.move(context, [device.id], states.DeviceState.ERROR)
    else:
        device_state.cleaned(context, device.id)
    _say(context, device, reason, is_required)
    steps.record(
        context,
        work,
        events.Kind.FAILED,
        reason,
        task=constants.JobKind.CLEAN.value,
        handle=work.target.handle_uuid,
        steps=list(done),
    )
    if not is_required:
        steps.record(
            context,
            work,
            events.Kind.RELEASED,
            f"released uncleaned: {reason}",
        )
        LOG.warning(
            "Device %s is given out uncleaned: %s", device.uuid, reason
        )
        return
    LOG.error(
        "Device %s of %s could not be cleaned and is given to nobody: %s. "
        "Mend it, then use 'cyborg-manage device clean' or 'release'",
        device.uuid,
        device.hostname,
        reason,
    )


def _free(context: RequestContext, work: steps.Work) -> Any:
    """End the job and its hold on the handle; returns the device.

    The host's row is locked first, as a report does.
    """
    host_db.lock_or_create(context, work.target.device_hostname)
    if not job_db.delete(context, work.job.uuid, work.job.owner):
        raise steps.Cancelled()
    handle_db.release(context, [work.target.handle_id])
    sync_db.mark(context, work.target.device_hostname)
    return device_db.get(context, work.target.device_uuid)


# -- what an operator wants


@engine.use_case
def clean(
    context: RequestContext,
    uuid: str,
    reason: str | None = None,
    who: str | None = None,
) -> str:
    """Have all of a device cleaned that nobody has; returns its state.

    :param who: see :func:`cyborg.conductor.life.events.record`
    :raises DeviceNotFound: there is none
    :raises Conflict: nothing of it is free, or it is being cleaned
    """
    device = _lock(context, uuid)
    if cleaning_db.jobs_of_device(context, device.id):
        raise exception.Conflict(
            _("Device %s is being cleaned already.") % uuid
        )
    idle = cleaning_db.idle_subjects(context, device.id)
    handle_db.lock(context, [row.id for row in idle])
    idle = cleaning_db.idle_subjects(context, device.id)
    if not idle:
        raise exception.Conflict(
            _("Device %s is in use; it cannot be cleaned.") % uuid
        )
    handle_db.hold(context, [row.id for row in idle])
    device_state.release(context, [device.id])
    releases.queue(context, idle, is_asked=True)
    sync_db.mark(context, device.hostname)
    events.record(
        context,
        [
            events.of(
                device,
                events.Kind.RELEASED,
                f"to be cleaned: {reason or 'the operator asks for it'}",
            )
        ],
        who,
    )
    return _state(context, uuid)


@engine.use_case
def release(
    context: RequestContext,
    uuid: str,
    reason: str | None = None,
    force: bool = False,
    who: str | None = None,
) -> str:
    """Let a device be given out as it is: whoever says so answers for it.

    :param force: also if its agent may be cleaning it; the host was seen to
    :returns: the state of the device
    :raises DeviceNotFound: there is none
    :raises Conflict: it is not held back, or its agent may be cleaning it
    """
    device = _lock(context, uuid)
    jobs = cleaning_db.jobs_of_device(context, device.id)
    if device.device_state not in list(states.UNFIT) and not jobs:
        raise exception.Conflict(
            _(
                "Device %(uuid)s is %(state)s; only one that is %(states)s "
                "can be released."
            )
            % {
                "uuid": uuid,
                "state": device.device_state,
                "states": ", ".join(states.UNFIT),
            }
        )
    if not force and any(job.step != job_db.QUEUED for job in jobs):
        raise exception.Conflict(
            _(
                "The agent of %(host)s may be cleaning device %(uuid)s; it "
                "can be released when that has ended or failed."
            )
            % {"host": device.hostname, "uuid": uuid}
        )
    job_db.delete_by_ids(context, [job.id for job in jobs])
    handle_db.release(context, [job.attach_handle_id for job in jobs])
    device_state.release(context, [device.id])
    conditions.clear(
        context,
        [device],
        source=conditions.Source.AGENT,
        keys=[constants.CONDITION_UNCLEAN],
        why=reason or "released by the operator",
        who=who,
    )
    sync_db.mark(context, device.hostname)
    events.record(
        context,
        [
            events.of(
                device,
                events.Kind.RELEASED,
                "released uncleaned by the operator"
                + (f": {reason}" if reason else ""),
            )
        ],
        who,
    )
    return _state(context, uuid)


def _state(context: RequestContext, uuid: str) -> str:
    device: Any = device_db.get(context, uuid)
    return str(device.device_state)


def _lock(context: RequestContext, uuid: str) -> Any:
    """Return a device; the row of its host is locked.

    :raises DeviceNotFound: there is none
    """
    device = device_db.get(context, uuid)
    if device is not None:
        host_db.lock_or_create(context, device.hostname)
        device = device_db.get(context, uuid)
    if device is None:
        raise exception.DeviceNotFound(uuid=uuid)
    return device
