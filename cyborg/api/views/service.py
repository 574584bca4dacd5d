"""Agents and conductors as clients see them."""

import datetime
import json
from typing import Any

from oslo_config import cfg
from oslo_utils import timeutils

from cyborg.api.views import common

CONF = cfg.CONF


def show(service: Any) -> dict[str, Any]:
    limit = datetime.timedelta(seconds=CONF.conductor.service_down_time)
    seen = service.last_seen_at
    alive = seen is not None and timeutils.utcnow() - seen <= limit
    return {
        "id": service.uuid,
        "binary": service.binary,
        "host": service.host,
        "state": "up" if alive and not service.forced_down else "down",
        "forced_down": bool(service.forced_down),
        "updated_at": common.timestamp(seen),
        "drivers": [
            {
                "name": driver["name"],
                "state": driver["state"],
                "error": driver["error"],
                "capabilities": driver["capabilities"],
            }
            for driver in json.loads(service.drivers or "[]")
        ],
        "last_error": service.last_error,
    }
