"""Whether an agent or a conductor counts as alive."""

import datetime

from oslo_config import cfg
from oslo_utils import timeutils

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
    return (now or timeutils.utcnow()) - last_seen_at > limit
