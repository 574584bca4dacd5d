"""What is done on a host for each kind of job, step by step.

A conductor may die between any two steps, and another repeats the last one:
every step is harmless to repeat. A result is stored only while the job is
still ours. A bind that was cancelled has lost its row, and what it did on the
host is undone by the clean-up that replaced it.
"""

import dataclasses
import json
import types
from typing import Any

from oslo_config import cfg
from oslo_log import log as logging

from cyborg.agent import rpcapi as agent_rpcapi
from cyborg.clients import nova
from cyborg.common import clock
from cyborg.common import constants
from cyborg.common import exception
from cyborg.common import faults
from cyborg.common import functions
from cyborg.common import groups
from cyborg.common import liveness
from cyborg.common import states
from cyborg.common.i18n import _
from cyborg.conductor import quota
from cyborg.conductor.life import events
from cyborg.conductor.telling import notifications
from cyborg.conductor.work import errands
from cyborg.conductor.work import images
from cyborg.conductor.work import loads
from cyborg.conductor.work import releases
from cyborg.context import RequestContext
from cyborg.db import arq as arq_db
from cyborg.db import attach_handle as handle_db
from cyborg.db import attribute as attribute_db
from cyborg.db import bound_instance as bound_db
from cyborg.db import deployable as deployable_db
from cyborg.db import engine
from cyborg.db import host as host_db
from cyborg.db import host_sync as sync_db
from cyborg.db import job as job_db
from cyborg.db import outbox as outbox_db

CONF = cfg.CONF
LOG = logging.getLogger(__name__)

Kind = constants.JobKind
Reason = states.Reason
State = states.ARQState
Status = constants.NovaEventStatus

# Times an agent may refuse to clean a handle before an operator has to look.
REFUSALS = 5
# Seconds between two looks whether a deployable's other job is done.
_WAIT_FOR_TWIN = 2.0

# Steps of a bind in which it is the image that is at fault.
_LOADING = ("queued", "Downloading", "Programming")
# Answers of an agent that was asked to load something.
_LOADED = 0


class Cancelled(Exception):
    """The job is no longer ours."""


class TryLater(Exception):
    """The work has to wait; ``delay`` in seconds, None = longer each time."""

    def __init__(self, reason: str, delay: float | None = None) -> None:
        super().__init__(reason)
        self.delay = delay


class Failed(Exception):
    """The work cannot be done, and repeating it would not help."""


class Late(Failed):
    """The deadline has passed; what was asked for may still be done."""


@dataclasses.dataclass
class Work:
    """A job that is ours, and what it is about.

    :ivar target: a row of :func:`cyborg.db.job.target`
    :ivar step: how far the job is, in this attempt and those before
    """

    job: Any
    target: Any
    agents: agent_rpcapi.AgentAPI
    payload: dict[str, Any]
    step: str

    @property
    def agent(self) -> agent_rpcapi.AgentAPI:
        """How the host's agent is called.

        :raises AgentNotResponding: it is known not to answer. Waiting for
            that would keep a thread from the work on other hosts.
        """
        seen = self.target.host_last_seen_at
        if seen is not None and liveness.is_silent(seen):
            raise exception.AgentNotResponding(
                _("The agent of host %s is silent, and not asked.")
                % self.target.device_hostname,
                host=self.target.device_hostname,
            )
        return errands.way_to(
            self.target.device_hostname, self.target.host_apart, self.agents
        )

    @property
    def rpc_host(self) -> str:
        # An agent of an earlier release is known by its provider's name.
        return str(self.target.host_rpc_host or self.target.device_hostname)

    @property
    def handle(self) -> dict[str, Any]:
        return {
            "uuid": self.target.handle_uuid,
            "attach_type": self.target.handle_attach_type,
            "attach_info": json.loads(self.target.handle_attach_info),
        }

    @property
    def controlpath_id(self) -> dict[str, Any]:
        return {
            "cpid_type": self.target.cpid_type,
            "cpid_info": json.loads(self.target.cpid_info),
        }

    def carried(self) -> dict[str, Any]:
        """Return the payload of a clean-up in this job's place."""
        job = self.job._asdict() | {"step": self.step}
        return job_db.carried_of(types.SimpleNamespace(**job))

    @property
    def seconds_left(self) -> float:
        left = self.job.deadline_at - clock.utcnow()
        return float(max(1.0, left.total_seconds()))

    def is_late(self) -> bool:
        deadline = self.job.deadline_at
        return deadline is not None and clock.utcnow() > deadline


def begin(
    context: RequestContext, job: Any, agent: agent_rpcapi.AgentAPI
) -> Work:
    """Return a job with what it is about.

    :raises Cancelled: that is gone
    """
    target = job_db.target(context, job)
    if target is None:
        raise Cancelled()
    return Work(job, target, agent, json.loads(job.payload), job.step)


def do(
    context: RequestContext, job: Any, agent: agent_rpcapi.AgentAPI
) -> None:
    """Do the work of a job whose lease is ours.

    :raises Cancelled: it is ours no more
    :raises TryLater: a peer does not answer; nothing is lost
    """
    work = begin(context, job, agent)
    try:
        {
            Kind.BIND: _bind,
            Kind.CLEANUP: _clean,
            Kind.PROGRAM: _program,
            Kind.FIRMWARE: _update_firmware,
            Kind.OWNER: _find_owner,
        }[Kind(job.kind)](context, work)
    except exception.Overtaken as error:
        # If the job is ours all the same, later work has come and gone.
        renumber(context, work, error)
        raise TryLater(error.faultstring) from error


@engine.use_case
def renumber(
    context: RequestContext, work: Work, error: exception.Overtaken
) -> None:
    """Give a job a number that is greater than what its agent has seen.

    A database that was restored from a backup may not have come so far.

    :raises Cancelled: it is ours no more
    """
    latest = int(error.kwargs.get("latest", 0))
    if not job_db.renumber(context, work.job.uuid, work.job.owner, latest):
        raise Cancelled()


@engine.use_case
def _enter(context: RequestContext, work: Work, step: str) -> None:
    """Record that a step begins; what follows may have touched the host."""
    if not job_db.advance(
        context, work.job.uuid, work.job.owner, step, work.payload
    ):
        raise Cancelled()
    work.step = step
    if work.job.arq_id is not None:
        arq_db.set_substate(context, work.job.arq_id, step)


# -- bind


def _bind(context: RequestContext, work: Work) -> None:
    try:
        if work.is_late():
            raise Late("it was not ready in time")
        if work.payload.get("image"):
            _load_for_bind(context, work)
        if handle_db.needs_host_work(
            work.target.handle_attach_type, work.target.handle_attach_info
        ):
            _enter(context, work, "Preparing")
            faults.point("bind-preparing")
            work.agent.prepare_handle(
                context,
                work.rpc_host,
                handle=work.handle,
                sequence=work.job.id,
                timeout=min(work.seconds_left, float(CONF.bind_timeout)),
                rpc_version=work.target.host_rpc_version,
            )
    except exception.ServiceUnavailable as error:
        if not work.is_late():
            raise TryLater(error.faultstring) from error
        _give_up_bind(context, work, error)
    except exception.Overtaken:
        raise
    except (exception.CyborgException, Failed) as error:
        _give_up_bind(context, work, error)
    else:
        faults.point("bind-prepared")
        _store_bound(context, work)
        faults.point("bind-stored")


def _why(work: Work, error: Exception) -> Reason:
    """Return why a bind fails, for its user."""
    if isinstance(error, Late):
        return Reason.LATE
    if isinstance(error, exception.AgentNotResponding):
        return Reason.AWAY
    return Reason.IMAGE if work.step in _LOADING else Reason.UNPREPARED


@engine.use_case
def _store_bound(context: RequestContext, work: Work) -> None:
    if not job_db.delete(context, work.job.uuid, work.job.owner):
        raise Cancelled()
    quota.move_one(context, work.target.arq_id, State.BOUND)
    if not arq_db.move(
        context, work.target.arq_id, State.BOUND, substate="Initial"
    ):
        raise Cancelled()
    _announce(context, work, Status.COMPLETED)
    record(context, work, events.Kind.BOUND)
    notifications.arq(
        context, notifications.Event.ARQ_BOUND, work.target.arq_id
    )
    LOG.info("ARQ %s is bound", work.target.arq_uuid)


def record(
    context: RequestContext,
    work: Work,
    kind: events.Kind,
    why: str | None = None,
    **detail: Any,
) -> None:
    """Add what became of a job to the history of its device."""
    target = work.target
    if target.device_uuid is None:
        # An earlier release has stored it in part.
        return
    if target.arq_uuid is not None:
        detail |= {
            "arq": target.arq_uuid,
            "instance": target.arq_instance_uuid,
            "project": target.arq_project_id,
        }
    events.record(
        context,
        [
            events.Event(
                kind,
                target.device_uuid,
                target.device_identity_id,
                why,
                detail,
            )
        ],
    )


def _tell_placement(context: RequestContext, work: Work) -> None:
    """Have Placement reserve a handle that is cleaned, or give it back."""
    if work.target.device_hostname is not None:
        sync_db.mark(context, work.target.device_hostname)


def _announce(context: RequestContext, work: Work, status: Status) -> None:
    outbox_db.create(
        context,
        [
            {
                "instance_uuid": work.target.arq_instance_uuid,
                "arq_uuid": work.target.arq_uuid,
                "status": status.value,
            }
        ],
    )


@engine.use_case
def _fail_bind(
    context: RequestContext, work: Work, why: Reason, reason: str
) -> None:
    """Give the ARQ up; its handle is free once the host is surely clean.

    :param why: for the user
    :param reason: for the operator
    """
    if not job_db.delete(context, work.job.uuid, work.job.owner):
        raise Cancelled()
    # It may be for a server that was deleted meanwhile.
    bound_db.look_soon(context, [work.target.arq_instance_uuid])
    quota.move_one(context, work.target.arq_id, State.BIND_FAILED)
    if not arq_db.move(
        context,
        work.target.arq_id,
        State.BIND_FAILED,
        substate="Failed",
        **arq_db.failure(why, reason),
    ):
        raise Cancelled()
    _announce(context, work, Status.FAILED)
    record(context, work, events.Kind.FAILED, reason, task="bind")
    notifications.arq(
        context,
        notifications.Event.ARQ_BIND_FAILED,
        work.target.arq_id,
        reason=reason,
    )
    job_db.create(
        context,
        [
            {
                "kind": Kind.CLEANUP.value,
                "arq_id": work.target.arq_id,
                "deployable_id": work.target.deployable_id,
                "attach_handle_id": work.target.handle_id,
                # The clean-up keeps the card from being loaded with it yet.
                "payload": work.carried(),
            }
        ],
        None,
    )
    _tell_placement(context, work)
    LOG.error(
        "ARQ %s of instance %s failed: %s",
        work.target.arq_uuid,
        work.target.arq_instance_uuid,
        reason,
    )


def _give_up_bind(
    context: RequestContext, work: Work, error: Exception
) -> None:
    _fail_bind(context, work, _why(work, error), str(error.args[0]))
    faults.point("bind-failed")


# -- clean up


def _clean(context: RequestContext, work: Work) -> None:
    was_loaded = "image" in work.payload and work.target.cpid_type is not None
    try:
        work.agent.cleanup_handle(
            context,
            work.rpc_host,
            handle=work.handle,
            sequence=work.job.id,
            controlpath_id=work.controlpath_id if was_loaded else None,
            timeout=float(CONF.program_timeout + CONF.bind_timeout),
            rpc_version=work.target.host_rpc_version,
        )
    except exception.ServiceUnavailable as error:
        raise TryLater(error.faultstring) from error
    except exception.Overtaken:
        raise
    except Exception as error:
        # Whatever it is, it does not become better by itself.
        reason = exception.text(error)
        # Without an ARQ there is nothing that an operator could ask again.
        if work.job.arq_id is None or _count_refusal(context, work) < REFUSALS:
            raise TryLater(reason) from error
        _give_up_cleaning(context, work, reason)
        return
    faults.point("cleanup-cleaned")
    _store_clean(context, work)
    faults.point("cleanup-stored")


def _count_refusal(context: RequestContext, work: Work) -> int:
    """Return how often the agent refused; being away is no refusal."""
    refusals: int = work.payload.get("refusals", 0) + 1
    work.payload["refusals"] = refusals
    _enter(context, work, "Cleaning")
    return refusals


@engine.use_case
def _store_clean(context: RequestContext, work: Work) -> None:
    """Free the handle, and remove the ARQ if it was only waiting for that."""
    # Without an ARQ it is a handle that nobody owned any more.
    rows = arq_db.lock(context, [work.job.arq_id]) if work.job.arq_id else []
    if not job_db.delete(context, work.job.uuid, work.job.owner):
        raise Cancelled()
    for arq in rows:
        if arq.state == State.DELETING:
            arq_db.delete(context, [arq.id])
        else:
            arq_db.drop_handle(context, arq.id)
    given = releases.give_back(
        context,
        [work.target.handle_id],
        untouched="untouched" in work.payload,
    )
    _tell_placement(context, work)
    record(
        context,
        work,
        events.Kind.RELEASED,
        given.why(work.target.handle_id),
    )
    LOG.info("Handle %s is given back", work.target.handle_uuid)


@engine.use_case
def _give_up_cleaning(
    context: RequestContext, work: Work, reason: str
) -> None:
    """Leave it to an operator; the handle stays in use."""
    if not job_db.finish(context, work.job.uuid, work.job.owner, reason):
        raise Cancelled()
    quota.move_one(context, work.job.arq_id, State.UNBIND_FAILED)
    arq_db.move(
        context,
        work.job.arq_id,
        State.UNBIND_FAILED,
        substate="Cleaning",
        **arq_db.failure(Reason.UNCLEAN, reason),
    )
    record(context, work, events.Kind.FAILED, reason, task="cleanup")
    LOG.error(
        "The agent of %s cannot clean the handle %s of ARQ %s: %s. Mend the "
        "host, then delete the ARQ again or use 'cyborg-manage arq release'",
        work.target.device_hostname,
        work.target.handle_uuid,
        work.target.arq_uuid,
        reason,
    )


# -- programming


def _load_for_bind(context: RequestContext, work: Work) -> None:
    image = _resolve(context, work)
    _confirm(context, work, image)
    if not _may_load(context, work, image):
        return
    faults.point("bind-programming")
    _load(context, work, image)
    faults.point("bind-programmed")
    _store_loaded(context, work, image, finished=False)
    faults.point("bind-loaded")


def _resolve(context: RequestContext, work: Work) -> dict[str, Any]:
    """Return the image's description, looked up once."""
    if work.target.cpid_type is None:
        # An earlier release was cut short when it stored the device.
        raise Failed("the device has no control path")
    found = work.payload.get("found")
    # A conductor of before may have chosen it, by other rules.
    if found is None or "owner" not in found:
        work.payload["found"] = images.find(
            work.payload["image"], _card(context, work), _loaded_for(work)
        )
        _enter(context, work, "Downloading")
        faults.point("image-found")
    return dict(work.payload["found"])


def _card(context: RequestContext, work: Work) -> images.Card:
    target = work.target
    return images.Card(
        vendor=target.device_vendor,
        model=target.device_model,
        std_board_info=target.device_std_board_info,
        driver_name=target.deployable_driver_name,
        attributes=[
            (row.key, row.value)
            for row in attribute_db.find_of(context, [target.deployable_id])
        ],
    )


def _loaded_for(work: Work) -> str | None:
    """Return the project for which an image is loaded.

    That of the request, or of the administrator who asked for it.
    """
    project = work.payload.get("project") or work.target.arq_project_id
    return None if project is None else str(project)


@engine.use_case
def _may_load(
    context: RequestContext, work: Work, image: dict[str, Any]
) -> bool:
    """Begin to load, if nobody else does or has; False = loaded already.

    The lock of the deployable makes one job at a time pass here.
    """
    deployable_id = work.target.deployable_id
    row = _lock_card(context, work)
    running = loads.loaded(context, [row])[row.id]
    if running.has({"id": image["id"]}) or running.has(
        work.payload["image"], [image["id"]]
    ):
        return False
    for job in job_db.unfinished_for_deployables(context, [deployable_id]):
        if job.id != work.job.id and job.step == "Programming":
            raise TryLater("another job programs it", _WAIT_FOR_TWIN)
    for user in arq_db.holding_handles_of(context, [deployable_id]):
        if user.id != work.target.arq_id and (
            user.state != State.BIND_STARTED
            or groups.image(loads.group_of(user)) != work.payload["image"]
        ):
            raise Failed("another accelerator request uses the deployable")
    _enter(context, work, "Programming")
    _forget_loaded(context, work, row)
    return True


@engine.use_case
def _begin_program(context: RequestContext, work: Work) -> None:
    """Begin, if no bind was under way when the job was queued.

    The lock they meet in does not hold between the nodes of a cluster.
    """
    row = _lock_card(context, work)
    if arq_db.holding_handles_of(context, [row.id]):
        raise Failed("an accelerator request uses the deployable")
    _enter(context, work, "Programming")
    _forget_loaded(context, work, row)


def _lock_card(context: RequestContext, work: Work) -> Any:
    """Lock the deployable, and before it its host, and return it."""
    host_db.lock_or_create(context, work.target.device_hostname)
    (row,) = deployable_db.lock_for_programming(
        context, [work.target.deployable_id]
    )
    return row


def _forget_loaded(
    context: RequestContext, work: Work, deployable: Any
) -> None:
    """Let nobody count on what was loaded, whatever becomes of what is."""
    if deployable.bitstream_id is not None:
        deployable_db.set_bitstream(context, deployable.id, None)
    attribute_db.forget_functions(context, deployable.id)
    # What the driver finds afterwards may be what it found before.
    host_db.ask_for_report(context, work.target.device_hostname)
    # Always: nodes of a cluster do not share the lock, but of two that change
    # one row only one commits.
    sync_db.mark(context, work.target.device_hostname)


def _confirm(
    context: RequestContext, work: Work, image: dict[str, Any]
) -> None:
    """Look once more before the card is touched; see images.confirm()."""
    images.confirm(image, _card(context, work), _loaded_for(work))


def _load(context: RequestContext, work: Work, image: dict[str, Any]) -> None:
    answer = work.agent.program(
        context,
        work.rpc_host,
        job_uuid=work.job.uuid,
        controlpath_id=work.controlpath_id,
        image=image,
        driver_name=work.target.deployable_driver_name,
        sequence=work.job.id,
        timeout=min(work.seconds_left, float(CONF.program_timeout)),
        rpc_version=work.target.host_rpc_version,
    )
    if answer["code"] != _LOADED:
        raise Failed(str(answer["detail"]))


@engine.use_case
def _store_loaded(
    context: RequestContext,
    work: Work,
    image: dict[str, Any],
    finished: bool,
) -> None:
    """Record what is loaded, for Placement and for the next request.

    :raises Cancelled: others have loaded the card since, or may have
    """
    host_db.lock_or_create(context, work.target.device_hostname)
    if finished:
        ours = job_db.finish(context, work.job.uuid, work.job.owner)
    else:
        ours = job_db.advance(
            context, work.job.uuid, work.job.owner, "Publishing", work.payload
        )
    if not ours:
        raise Cancelled()
    deployable_db.set_bitstream(
        context, work.target.deployable_id, image["id"]
    )
    traits = []
    if image.get("function_id"):
        traits.append(
            functions.trait(
                work.target.deployable_driver_name, image["function_id"]
            )
        )
    attribute_db.set_programmed_traits(
        context, work.target.deployable_id, traits
    )
    record(
        context,
        work,
        events.Kind.BITSTREAM,
        image=image["id"],
        deployable=work.target.deployable_uuid,
    )
    sync_db.mark(context, work.target.device_hostname)


def _program(context: RequestContext, work: Work) -> None:
    if "failed" in work.payload:
        _fence(context, work)
        return
    try:
        if work.is_late():
            raise Late("it was not done in time")
        image = _resolve(context, work)
        _confirm(context, work, image)
        _begin_program(context, work)
        faults.point("program-programming")
        _load(context, work, image)
        faults.point("program-programmed")
    except exception.Overtaken:
        raise
    except (exception.CyborgException, Failed) as error:
        _end_or_repeat(context, work, error)
    else:
        _store_loaded(context, work, image, finished=True)
        faults.point("program-stored")


def _update_firmware(context: RequestContext, work: Work) -> None:
    if "failed" in work.payload:
        _fence(context, work)
        return
    try:
        if work.is_late():
            raise Late("it was not done in time")
        image = _resolve(context, work)
        _confirm(context, work, image)
        _begin_update(context, work)
        faults.point("firmware-programming")
        answer = work.agent.device_update(
            context,
            work.rpc_host,
            job_uuid=work.job.uuid,
            controlpath_id=work.controlpath_id,
            image=image,
            driver=work.target.device_driver,
            sequence=work.job.id,
            timeout=min(work.seconds_left, float(CONF.program_timeout)),
        )
        if answer["code"] != _LOADED:
            raise Failed(str(answer["detail"]))
    except exception.Overtaken:
        raise
    except (exception.CyborgException, Failed) as error:
        _end_or_repeat(context, work, error)
    else:
        faults.point("firmware-programmed")
        _finish(context, work, None)
        faults.point("firmware-stored")


@engine.use_case
def _begin_update(context: RequestContext, work: Work) -> None:
    """Begin, if no bind was under way when the job was queued.

    From then on binds see the job.
    """
    host_db.lock_or_create(context, work.target.device_hostname)
    deployables = deployable_db.lock_for_programming(
        context,
        [
            row.id
            for row in deployable_db.find(
                context, device_uuid=work.target.device_uuid
            )
        ],
    )
    ids = [row.id for row in deployables]
    handle_db.lock_of(context, ids)
    if arq_db.holding_handles_of(context, ids):
        raise Failed("an accelerator request uses the device")
    _enter(context, work, "Programming")
    for row in deployables:
        # With other firmware a card begins anew.
        _forget_loaded(context, work, row)


def _end_or_repeat(
    context: RequestContext, work: Work, error: Exception
) -> None:
    if isinstance(error, exception.ServiceUnavailable) and not work.is_late():
        raise TryLater(error.faultstring) from error
    reason = str(error.args[0])
    LOG.error("Job %s (%s) failed: %s", work.job.uuid, work.job.kind, reason)
    if work.step == "Programming" and isinstance(
        error, (Late, exception.ServiceUnavailable)
    ):
        # The card may be loaded yet: nobody gets it before it is left alone.
        work.payload["failed"] = reason
        _begin_fence(context, work)
        faults.point("load-given-up")
        raise TryLater(reason, 0)
    _finish(context, work, reason)


@engine.use_case
def _begin_fence(context: RequestContext, work: Work) -> None:
    _enter(context, work, "Fencing")
    # The fence keeps out what is older, and that is this job's own work.
    job_db.renumber(context, work.job.uuid, work.job.owner)


def _fence(context: RequestContext, work: Work) -> None:
    try:
        work.agent.fence(
            context,
            work.rpc_host,
            controlpath_id=work.controlpath_id,
            sequence=work.job.id,
            timeout=float(CONF.program_timeout + CONF.bind_timeout),
            rpc_version=work.target.host_rpc_version,
        )
    except exception.CyborgException as error:
        raise TryLater(error.faultstring) from error
    faults.point("load-fenced")
    _finish(context, work, work.payload["failed"])


@engine.use_case
def _finish(context: RequestContext, work: Work, error: str | None) -> None:
    if not job_db.finish(context, work.job.uuid, work.job.owner, error):
        return
    image = work.payload.get("image", {}).get("id")
    if error is not None:
        record(
            context,
            work,
            events.Kind.FAILED,
            error,
            task=work.job.kind,
            image=image,
        )
    elif work.job.kind == Kind.FIRMWARE:
        record(context, work, events.Kind.FIRMWARE, image=image)


# -- ownership


def _find_owner(context: RequestContext, work: Work) -> None:
    """Give an ARQ that an administrator made to the server's project."""
    instance = work.target.arq_instance_uuid
    owner = None
    if instance is not None and not work.is_late():
        try:
            owner = nova.find_owner(instance)
        except (exception.ServiceUnavailable, exception.ConfigInvalid) as err:
            raise TryLater(err.faultstring) from err
    faults.point("owner-found")
    _store_owner(context, work, owner)
    faults.point("owner-stored")


@engine.use_case
def _store_owner(
    context: RequestContext, work: Work, owner: str | None
) -> None:
    if not job_db.delete(context, work.job.uuid, work.job.owner):
        raise Cancelled()
    if owner is None:
        return
    for row in arq_db.lock(context, [work.target.arq_id]):
        # It may be another server's by now, with a question of its own.
        if row.instance_uuid == work.target.arq_instance_uuid:
            quota.give(context, row.id, owner)
            arq_db.set_owner(context, row.id, owner)
