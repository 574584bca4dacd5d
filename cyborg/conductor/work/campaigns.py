"""Gives many devices firmware, a few at a time, with nobody on them.

A campaign is its image. What a device is at is kept in its condition
``firmware-<image>``, which fences it: whoever goes on, after whatever died,
finds there what was to be done next. The steps of a device are: fence, wait
until it is free, update, see that it is there, clean, release.
"""

from collections.abc import Iterable
from collections.abc import Sequence
import dataclasses
import enum
import json
from typing import Any

from oslo_log import log as logging
from oslo_utils import uuidutils

from cyborg.common import constants
from cyborg.common import exception
from cyborg.common import states
from cyborg.conductor.life import conditions
from cyborg.conductor.work import cleaning
from cyborg.conductor.work import programming
from cyborg.conductor.work import releases
from cyborg.context import RequestContext
from cyborg.db import cleaning as cleaning_db
from cyborg.db import device as device_db
from cyborg.db import device_condition as condition_db
from cyborg.db import device_identity as identity_db
from cyborg.db import engine
from cyborg.db import job as job_db

LOG = logging.getLogger(__name__)

_SOURCE = conditions.Source.OPERATOR
_WHO = "firmware campaign"


class Phase(enum.StrEnum):
    """What a device of a campaign is at."""

    QUEUED = "queued"
    # Fenced; somebody has it yet.
    WAITING = "waiting"
    UPDATING = "updating"
    CLEANING = "cleaning"
    DONE = "done"
    # It stays fenced if something was done to it.
    FAILED = "failed"


_AT_WORK = (Phase.WAITING, Phase.UPDATING, Phase.CLEANING)


@dataclasses.dataclass(frozen=True)
class Campaign:
    """Which devices get which firmware, and how.

    :ivar image: uuid of the image
    :ivar budget: how many devices may be away at once
    :ivar canary: how many have to be done before others begin
    :ivar type: of the devices; None = any, and so of the rest
    :ivar firmware: what they run now, see :func:`firmware_of`
    """

    image: str
    budget: int = 1
    canary: int = 1
    type: str | None = None
    vendor: str | None = None
    product: str | None = None
    firmware: str | None = None

    @property
    def key(self) -> str:
        return f"firmware-{self.image}"


@dataclasses.dataclass
class Progress:
    """One device of a campaign.

    :ivar job: uuid of the job that updates it
    """

    device: Any
    phase: Phase
    reason: str | None = None
    job: str | None = None


def firmware_of(device: Any, last: Any) -> str | None:
    """Return what a device runs now, as far as anybody knows.

    :param last: its last update, a row of ``jobs``, or None
    :returns: the ``firmware_version`` that its driver reports, or else the
        image that was loaded last
    """
    for text in (device.std_board_info, device.vendor_board_info):
        try:
            version = json.loads(text or "{}").get("firmware_version")
        except (ValueError, AttributeError):
            continue
        if version:
            return str(version)
    return None if last is None or last.last_error else _image_of(last)


def look(context: RequestContext, campaign: Campaign) -> list[Progress]:
    """Return what each device of a campaign is at, in their order."""
    rows = device_db.find_cards(context)
    last = job_db.last_of_devices(context, [row.id for row in rows])
    marks = {
        row.device_id: row.reason or ""
        for row in condition_db.of_devices(context, [row.id for row in rows])
        if (row.key, row.source) == (campaign.key, _SOURCE)
    }
    found = []
    for row in rows:
        job = last.get(row.id)
        if row.id in marks:
            found.append(_marked(row, marks[row.id], job))
        elif not _matches(campaign, row):
            continue
        elif job is not None and _image_of(job) == campaign.image:
            # Somebody else may be at it, or have failed.
            if job.finished_at is not None and not job.last_error:
                found.append(Progress(row, Phase.DONE))
            else:
                found.append(Progress(row, Phase.QUEUED))
        elif campaign.firmware in (None, firmware_of(row, job)):
            found.append(Progress(row, Phase.QUEUED))
    return found


def _matches(campaign: Campaign, row: Any) -> bool:
    return (
        campaign.type in (None, row.type)
        and _is_code(campaign.vendor, row.vendor)
        and _is_code(campaign.product, row.product)
        and row.missing_since is None
    )


def _is_code(wanted: str | None, code: str | None) -> bool:
    return wanted is None or device_db.without_prefix(
        wanted
    ) == device_db.without_prefix(code or "")


def _image_of(job: Any) -> str | None:
    if job.kind != constants.JobKind.FIRMWARE:
        return None
    image: str | None = json.loads(job.payload).get("image", {}).get("id")
    return image


def _marked(row: Any, mark: str, last: Any) -> Progress:
    """Read what a condition says: the phase, and what belongs to it."""
    phase, _colon, rest = mark.partition(": ")
    if phase == Phase.FAILED:
        return Progress(row, Phase.FAILED, rest)
    if phase == Phase.CLEANING:
        return Progress(row, Phase.CLEANING)
    if last is not None and last.uuid == rest:
        if last.finished_at is None:
            return Progress(row, Phase.UPDATING, job=rest)
        return Progress(row, Phase.UPDATING, last.last_error, rest)
    return Progress(row, Phase.WAITING, job=rest)


def advance(context: RequestContext, campaign: Campaign) -> list[Progress]:
    """Do what can be done now; returns what each device is at then.

    It may be stopped at any moment, and called again, also by two at once.

    :raises ImageNotFound: there is no such image, and the like
    """
    for progress in look(context, campaign):
        if progress.phase == Phase.WAITING:
            _update(context, campaign, progress)
        elif progress.phase == Phase.UPDATING:
            _finish(context, campaign, progress)
        elif progress.phase == Phase.CLEANING:
            _release(context, campaign, progress.device)
    _begin(context, campaign)
    return look(context, campaign)


def retry(context: RequestContext, campaign: Campaign) -> None:
    """Have the devices that failed begin again, fenced as they are."""
    for progress in look(context, campaign):
        if progress.phase == Phase.FAILED:
            _mark(context, campaign, progress.device, _new_job())


def _new_job() -> str:
    return f"{Phase.WAITING}: {uuidutils.generate_uuid()}"


@engine.use_case
def _begin(context: RequestContext, campaign: Campaign) -> None:
    """Fence as many more as the budget has room for.

    None after a failure, and none but canaries before those are done.
    """
    # Of two that go on with one campaign, each counts what the other began.
    identity_db.lock_first(context)
    found = look(context, campaign)
    phases = [progress.phase for progress in found]
    if Phase.FAILED in phases:
        return
    done = phases.count(Phase.DONE)
    at_work = sum(phase in _AT_WORK for phase in phases)
    room = campaign.budget - at_work
    if done < campaign.canary:
        room = min(room, campaign.canary - done - at_work)
    queued = [p.device for p in found if p.phase == Phase.QUEUED]
    # Those that nobody has are done soonest.
    queued.sort(
        key=lambda row: (
            row.device_state == states.DeviceState.ALLOCATED,
            row.id,
        )
    )
    for device in queued[: max(0, room)]:
        _mark(context, campaign, device, _new_job())
        LOG.info("Device %s is fenced, to get new firmware", device.uuid)


@engine.use_case
def _mark(
    context: RequestContext,
    campaign: Campaign,
    device: Any,
    mark: str,
    fences: bool = True,
) -> None:
    conditions.put(
        context,
        [
            conditions.Condition(
                device,
                campaign.key,
                _SOURCE,
                conditions.Effect.NO_SCHEDULE
                if fences
                else conditions.Effect.NONE,
                mark,
            )
        ],
        _WHO,
    )


def _fail(
    context: RequestContext,
    campaign: Campaign,
    device: Any,
    reason: str,
    fences: bool,
) -> None:
    LOG.error("Device %s got no new firmware: %s", device.uuid, reason)
    _mark(context, campaign, device, f"{Phase.FAILED}: {reason}", fences)


def _update(
    context: RequestContext, campaign: Campaign, progress: Progress
) -> None:
    """Update a device that is fenced, if nobody has it any more."""
    device = progress.device
    try:
        programming.update_firmware(
            context, device.uuid, campaign.image, progress.job
        )
    except exception.ServiceUnavailable as error:
        # Its agent, or Glance, is away; the next look may find it.
        LOG.warning("Device %s waits: %s", device.uuid, error.faultstring)
    except exception.DeviceInUse:
        LOG.debug("Device %s is in use yet", device.uuid)
    except exception.DeviceNotFound:
        LOG.warning("Device %s is gone", device.uuid)
    except (exception.Conflict, exception.Invalid) as error:
        # Nothing was done to it, so that it may go on as it is.
        _fail(context, campaign, device, error.faultstring, fences=False)


def _finish(
    context: RequestContext, campaign: Campaign, progress: Progress
) -> None:
    """See how an update ended, and have the device cleaned."""
    device = progress.device
    job = job_db.get(context, progress.job or "")
    if job is None or job.finished_at is None:
        return
    if job.last_error:
        _fail(context, campaign, device, job.last_error, fences=True)
    elif device.missing_since is not None:
        _fail(
            context,
            campaign,
            device,
            "it was updated, and is not there any more",
            fences=True,
        )
    elif not _clean(context, campaign, device):
        _release(context, campaign, device)


@engine.use_case
def _clean(context: RequestContext, campaign: Campaign, device: Any) -> bool:
    """Have a device cleaned; False where that is not wanted."""
    idle = cleaning_db.idle_subjects(context, device.id)
    if all(
        releases.policy_of(subject) == constants.CleaningPolicy.OFF
        for subject in idle
    ):
        return False
    _mark(context, campaign, device, Phase.CLEANING.value)
    cleaning.clean(context, device.uuid, "its firmware is new", _WHO)
    return True


@engine.use_case
def _release(context: RequestContext, campaign: Campaign, device: Any) -> None:
    """Let a device be given out again, once it is clean."""
    now = device_db.get(context, device.uuid)
    if now is None or cleaning_db.jobs_of_device(context, device.id):
        return
    if now.device_state == states.DeviceState.ERROR:
        _fail(context, campaign, now, "it could not be cleaned", fences=True)
        return
    conditions.clear(
        context,
        [now],
        source=_SOURCE,
        keys=[campaign.key],
        why=f"it has the firmware {campaign.image}",
        who=_WHO,
    )
    LOG.info("Device %s has new firmware", now.uuid)


def is_over(found: Iterable[Progress]) -> bool:
    """Tell whether nothing goes on, and nothing will."""
    phases: Sequence[Phase] = [progress.phase for progress in found]
    return not any(phase in _AT_WORK for phase in phases) and (
        Phase.QUEUED not in phases or Phase.FAILED in phases
    )
