"""Loading bitstreams and firmware because an administrator asks for it."""

import json
import time
from typing import Any

from oslo_config import cfg
from oslo_utils import timeutils
from oslo_utils import uuidutils

from cyborg.clients import glance
from cyborg.common import constants
from cyborg.common import exception
from cyborg.common import liveness
from cyborg.common.i18n import _
from cyborg.conductor.work import images
from cyborg.context import RequestContext
from cyborg.db import arq as arq_db
from cyborg.db import attribute as attribute_db
from cyborg.db import deployable as deployable_db
from cyborg.db import device as device_db
from cyborg.db import engine
from cyborg.db import host as host_db
from cyborg.db import inventory as inventory_db
from cyborg.db import job as job_db

CONF = cfg.CONF

# Seconds between two looks at a job that a request waits for.
_POLL = 0.2


def can(host: Any, driver: str | None, capability: str) -> bool:
    """Tell whether the driver of a device on a host has an interface.

    :param host: a hosts row, or None
    :param driver: entry point name; None = an older agent did not say
    """
    if host is None or host.drivers is None or driver is None:
        # An agent of an earlier release does not tell; it will refuse.
        return capability == "program"
    return any(
        entry["name"] == driver and capability in entry["capabilities"]
        for entry in json.loads(host.drivers)
    )


def _deadline() -> float:
    return float(CONF.program_timeout + CONF.bind_timeout)


def check_host(host: Any) -> None:
    """Refuse what needs an agent that is known not to answer.

    :raises AgentNotResponding: it is forced down or silent for too long
    """
    if host is None:
        return
    try:
        liveness.check_agent(host)
    except exception.AgentDown as error:
        raise exception.AgentNotResponding(
            _("The agent of host %s is down, or forced down, and not asked.")
            % host.hostname,
            host=host.hostname,
        ) from error


def program(context: RequestContext, uuid: str, image: str) -> str:
    """Queue a bitstream for a deployable; returns the job's uuid.

    See ``ConductorAPI.deployable_program`` for the errors.
    """
    deployable = deployable_db.get(context, uuid)
    if deployable is None:
        raise exception.DeployableNotFound(uuid=uuid)
    # Asked before the transaction: it must not wait for a peer.
    record = glance.get_image(image)
    if deployable.type == constants.DeviceType.FPGA:
        _check_image(context, record, deployable.device_uuid, deployable)
    job = uuidutils.generate_uuid()
    _queue_program(context, uuid, image, job)
    return job


@engine.use_case
def _queue_program(
    context: RequestContext, uuid: str, image: str, job: str
) -> None:
    if job_db.get(context, job) is not None:
        # The commit succeeded, and its answer was lost.
        return
    deployable = deployable_db.get(context, uuid)
    if deployable is None:
        raise exception.DeployableNotFound(uuid=uuid)
    driver = device_db.driver_of(context, deployable.device_id)
    host = host_db.get(context, deployable.hostname)
    if deployable.type != constants.DeviceType.FPGA:
        raise exception.NotProgrammable(
            uuid=uuid, reason=_("its type is %s") % deployable.type
        )
    if not can(host, driver, "program"):
        raise exception.NotProgrammable(
            uuid=uuid,
            reason=_("its driver %s cannot program") % driver,
        )
    if not inventory_db.control_paths(context, deployable.device_id):
        raise exception.NotProgrammable(
            uuid=uuid, reason=_("its device has no control path")
        )
    check_host(host)
    deployable_db.lock_for_programming(context, [deployable.id])
    if (
        arq_db.holding_handles_of(context, [deployable.id])
        or job_db.unfinished_for_deployables(context, [deployable.id])
        or job_db.unfinished_for_device(context, deployable.device_id)
    ):
        raise exception.DeployableInUse(uuid=uuid)
    job_db.delete_finished_for(context, deployable_id=deployable.id)
    job_db.create(
        context,
        [
            {
                "uuid": job,
                "kind": constants.JobKind.PROGRAM.value,
                "deployable_id": deployable.id,
                "payload": _payload(context, image),
            }
        ],
        _deadline(),
    )


def _payload(context: RequestContext, image: str) -> dict[str, Any]:
    return {"image": {"id": image}, "project": context.project_id}


def _check_image(
    context: RequestContext,
    image: dict[str, Any],
    device_uuid: str,
    deployable: Any = None,
) -> None:
    """Refuse at once what the job would refuse.

    :param deployable: None for the firmware of the whole device
    :raises ImageUnacceptable: saying why
    """
    device = device_db.get(context, device_uuid)
    if device is None:
        raise exception.DeviceNotFound(uuid=device_uuid)
    of_deployable = deployable is not None
    card = images.Card(
        vendor=device.vendor,
        model=device.model,
        std_board_info=device.std_board_info,
        driver_name=deployable.driver_name if of_deployable else None,
        attributes=[
            (row.key, row.value)
            for row in attribute_db.find_of(context, [deployable.id])
        ]
        if of_deployable
        else [],
    )
    images.check(image, card, context.project_id)


def update_firmware(
    context: RequestContext, uuid: str, image: str, job: str | None = None
) -> str:
    """Queue firmware for a device; returns the job's uuid.

    See ``ConductorAPI.device_update`` for the errors.

    :param job: its uuid; if there is such a job, nothing is done
    """
    if device_db.get(context, uuid) is None:
        raise exception.DeviceNotFound(uuid=uuid)
    _check_image(context, glance.get_image(image), uuid)
    job = job or uuidutils.generate_uuid()
    _queue_firmware(context, uuid, image, job)
    return job


@engine.use_case
def _queue_firmware(
    context: RequestContext, uuid: str, image: str, job: str
) -> None:
    if job_db.get(context, job) is not None:
        # The commit succeeded, and its answer was lost.
        return
    device = device_db.get(context, uuid)
    if device is None:
        raise exception.DeviceNotFound(uuid=uuid)
    host = host_db.get(context, device.hostname)
    if not can(host, device.driver, "update"):
        raise exception.NotUpdatable(
            uuid=uuid,
            reason=_("its driver %s has no update()") % device.driver,
        )
    check_host(host)
    deployables = [
        row.id for row in deployable_db.find(context, device_uuid=uuid)
    ]
    deployable_db.lock_for_programming(context, deployables)
    if (
        arq_db.holding_handles_of(context, deployables)
        or job_db.unfinished_for_deployables(context, deployables)
        or job_db.unfinished_for_device(context, device.id)
    ):
        raise exception.DeviceInUse(uuid=uuid)
    job_db.delete_finished_for(context, device_id=device.id)
    job_db.create(
        context,
        [
            {
                "uuid": job,
                "kind": constants.JobKind.FIRMWARE.value,
                "device_id": device.id,
                "payload": _payload(context, image),
            }
        ],
        _deadline(),
    )


def wait(context: RequestContext, uuid: str, job_uuid: str) -> None:
    """Wait for a programming job.

    :raises ProgrammingFailed: the driver said no
    :raises AgentNotResponding: it is not done within ``program_timeout``
    """
    watch = timeutils.StopWatch(duration=CONF.program_timeout)
    watch.start()
    while not watch.expired():
        job = job_db.get(context, job_uuid)
        if job is None:
            # It ended, and nobody can tell how: that is no success.
            raise exception.ProgrammingFailed(
                uuid=uuid, reason=_("it was replaced by a later request")
            )
        if job.finished_at is not None:
            if job.last_error:
                raise exception.ProgrammingFailed(
                    uuid=uuid, reason=job.last_error
                )
            return
        time.sleep(_POLL)
    deployable = deployable_db.get(context, uuid)
    raise exception.AgentNotResponding(
        host=deployable.hostname if deployable is not None else "?"
    )
