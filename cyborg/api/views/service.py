"""Agents and conductors as clients see them."""

import json
from typing import Any

from cyborg.api.views import common
from cyborg.common import liveness


def show(service: Any) -> dict[str, Any]:
    seen = service.last_seen_at
    down = service.forced_down or liveness.is_silent(seen)
    return {
        "id": service.uuid,
        "binary": service.binary,
        "host": service.host,
        "state": "down" if down else "up",
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
