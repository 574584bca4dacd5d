"""What an operator says of devices and hosts: enabled, fenced, down."""

import datetime
from typing import Any

from oslo_log import log as logging

from cyborg.common import constants
from cyborg.common import exception
from cyborg.common import faults
from cyborg.common import health
from cyborg.common.i18n import _
from cyborg.conductor.life import conditions
from cyborg.conductor.placement import sync
from cyborg.conductor.telling import notifications
from cyborg.context import RequestContext
from cyborg.db import attribute as attribute_db
from cyborg.db import deployable as deployable_db
from cyborg.db import device as device_db
from cyborg.db import engine
from cyborg.db import host as host_db
from cyborg.db import host_sync as sync_db
from cyborg.db import service as service_db

LOG = logging.getLogger(__name__)


def set_status(
    context: RequestContext, uuid: str, status: str, reason: str | None
) -> None:
    """Store what the operator wants, then tell Placement.

    See ``ConductorAPI.device_set_status``. If Placement does not answer, the
    wish is stored, and applied as soon as it does.
    """
    hostname, deployables = _store_status(context, uuid, status, reason)
    faults.point("status-stored")
    LOG.info("Device %s of host %s is now %s", uuid, hostname, status)
    try:
        errors = sync.sync_host(context, hostname, behind=True)
    except (
        exception.ServiceUnavailable,
        exception.ConfigInvalid,
        exception.HostNotFound,
    ) as error:
        raise _stored_only(status, error.faultstring) from error
    # Other devices of the host may have troubles of their own.
    reasons = [text for id_, text in errors.items() if id_ in deployables]
    if reasons:
        raise _stored_only(status, "; ".join(reasons))


def _stored_only(status: str, reason: str) -> exception.PlacementUnavailable:
    return exception.PlacementUnavailable(
        _(
            "The status %(status)s is stored, and will be applied when "
            "Placement answers: %(reason)s"
        )
        % {"status": status, "reason": reason},
        reason=reason,
    )


@engine.use_case
def _store_status(
    context: RequestContext, uuid: str, status: str, reason: str | None
) -> tuple[str, set[int]]:
    """Store it; returns the host and the ids of the device's deployables."""
    device = device_db.get(context, uuid)
    if device is not None:
        host_db.lock_or_create(context, device.hostname)
        # It may have been removed until then.
        device = device_db.get(context, uuid)
    if device is None:
        raise exception.DeviceNotFound(uuid=uuid)
    hostname: str = device.hostname
    deployables = deployable_db.find(context, device_uuid=uuid)
    classes = {
        row.deployable_id
        for row in attribute_db.find_of(context, [d.id for d in deployables])
        if row.key == constants.ATTR_RESOURCE_CLASS
    }
    for deployable in deployables:
        if deployable.id not in classes:
            raise exception.ResourceClassMissing(uuid=deployable.uuid)
    if reason is None and status != constants.DeviceStatus.ENABLED:
        # Only to enable a device takes the reason away.
        reason = device.status_reason
    if status == constants.DeviceStatus.ENABLED:
        conditions.clear(
            context,
            [device],
            source=conditions.Source.OPERATOR,
            keys=[conditions.MAINTAINING],
        )
    else:
        conditions.put(
            context,
            [
                conditions.Condition(
                    device,
                    conditions.MAINTAINING,
                    conditions.Source.OPERATOR,
                    reason=reason,
                )
            ],
        )
    # Also where an earlier release stored it, and no condition.
    device_db.update(
        context, device.id, {"status": status, "status_reason": reason}
    )
    sync_db.mark(
        context,
        hostname,
        urgent=status != constants.DeviceStatus.ENABLED,
    )
    notifications.devices(
        context,
        notifications.Event.DEVICE_ENABLE
        if status == constants.DeviceStatus.ENABLED
        else notifications.Event.DEVICE_DISABLE,
        [device],
        status=status,
        status_reason=reason,
    )
    return hostname, {deployable.id for deployable in deployables}


@engine.use_case
def set_condition(
    context: RequestContext,
    uuid: str,
    key: str,
    condition: dict[str, Any] | None,
) -> bool:
    """Have a condition of the operator's hold; returns whether that is news.

    See ``ConductorAPI.device_set_condition``.
    """
    device = device_db.get(context, uuid)
    if device is None:
        raise exception.DeviceNotFound(uuid=uuid)
    operator = conditions.Source.OPERATOR
    if condition is None:
        # What a tenant has said nobody else can take back, and that a reset
        # was made no sensor sees.
        sources = [operator, conditions.Source.TENANT]
        if key in health.SIGNS and health.SIGNS[key].needs_reset:
            sources.append(conditions.Source.AGENT)
        cleared = [
            conditions.clear(context, [device], source=source, keys=[key])
            for source in sources
        ]
        return any(cleared)
    until = condition["until"]
    wanted = conditions.Condition(
        device,
        key,
        operator,
        conditions.Effect(condition["effect"]),
        condition["reason"],
        None if until is None else datetime.datetime.fromisoformat(until),
    )
    return conditions.put(context, [wanted])


def force_down(context: RequestContext, uuid: str, forced_down: bool) -> None:
    """Fence a host's devices off; see ``ConductorAPI.service_update``."""
    hostname = _store_forced_down(context, uuid, forced_down)
    LOG.info(
        "Host %s is %s", hostname, "forced down" if forced_down else "back"
    )
    # It is stored, and the repair tasks finish it.
    sync.try_host(context, hostname)


@engine.use_case
def _store_forced_down(
    context: RequestContext, uuid: str, forced_down: bool
) -> str:
    service: Any = service_db.get(context, uuid)
    if service is None:
        raise exception.ServiceNotFound(uuid=uuid)
    if service.binary != constants.AGENT_TOPIC:
        raise exception.Conflict(
            _("Only an agent can be forced down; %s is a conductor.") % uuid
        )
    host_db.lock_or_create(context, service.host)
    host_db.set_forced_down(context, service.host, forced_down)
    sync_db.mark(context, service.host, urgent=forced_down)
    return str(service.host)
