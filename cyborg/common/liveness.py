"""Whether an agent or a conductor counts as alive."""

import datetime
from typing import Any

from oslo_config import cfg

from cyborg.common import clock
from cyborg.common import exception

CONF = cfg.CONF


def is_silent(
    last_seen_at: datetime.datetime | None,
    now: datetime.datetime | None = None,
) -> bool:
    """Tell whether somebody has not been heard of for too long.

    :param last_seen_at: UTC, without an offset; None = never
    :param now: None = now
    """
    if last_seen_at is None:
        return True
    limit = datetime.timedelta(seconds=CONF.conductor.service_down_time)
    return (now or clock.utcnow()) - last_seen_at > limit


def check_agent(deployable: Any) -> None:
    """Refuse work for a host that is known not to do it.

    :param deployable: a row with hostname, forced_down and last_seen_at
    :raises AgentDown: if its agent is forced down or silent for too long
    """
    if deployable.last_seen_at is None:
        # Not reported since an upgrade: nothing is known against it.
        return
    if deployable.forced_down or is_silent(deployable.last_seen_at):
        raise exception.AgentDown(host=deployable.hostname)
