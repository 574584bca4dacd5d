"""What owners of requests say of the devices they were given.

The host is mostly blind while a guest has the device: the guest sees first
that it fails.
"""

from oslo_config import cfg
from oslo_log import log as logging

from cyborg.common import constants
from cyborg.common import exception
from cyborg.common import states
from cyborg.conductor.life import conditions
from cyborg.conductor.life import events
from cyborg.context import RequestContext
from cyborg.db import arq as arq_db
from cyborg.db import device as device_db
from cyborg.db import engine

CONF = cfg.CONF
LOG = logging.getLogger(__name__)


@engine.use_case
def report_fault(
    context: RequestContext, uuid: str, reason: str, scope: str | None
) -> bool:
    """Note a fault; returns whether it is news.

    See ``ConductorAPI.arq_report_fault``.
    """
    arq = arq_db.get(context, uuid, scope)
    if arq is None:
        raise exception.ARQNotFound(uuids=uuid)
    device = None
    if arq.state == states.ARQState.BOUND and arq.deployable_id is not None:
        device = device_db.of_deployable(context, arq.deployable_id)
    if device is None:
        raise exception.ARQBadState(
            uuid=uuid, state=arq.state, allowed=states.ARQState.BOUND.value
        )
    effect = constants.ConditionEffect(CONF.conductor.fault_effect)
    is_news = conditions.put(
        context,
        [
            conditions.Condition(
                device,
                constants.CONDITION_FAULT,
                conditions.Source.TENANT,
                effect,
                reason,
            )
        ],
    )
    if is_news:
        events.record(
            context,
            [
                events.of(
                    device,
                    events.Kind.FAULT,
                    reason,
                    arq=arq.uuid,
                    instance=arq.instance_uuid,
                    project=arq.project_id,
                )
            ],
        )
        LOG.warning(
            "Device %s of host %s is faulty, says the owner of ARQ %s: %s",
            device.uuid,
            device.hostname,
            uuid,
            reason,
        )
    return is_news
