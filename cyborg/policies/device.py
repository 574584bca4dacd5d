"""Rules of devices."""

from oslo_policy import policy

from cyborg.policies import base

GET_ALL = "cyborg:device:get_all"
GET_ONE = "cyborg:device:get_one"
ENABLE = "cyborg:device:enable"
DISABLE = "cyborg:device:disable"
UPDATE = "cyborg:device:update"
GET_STATS = "cyborg:device:get_stats"
GET_HISTORY = "cyborg:device:get_history"


def list_rules() -> list[policy.RuleDefault]:
    return [
        base.rule(
            GET_ALL,
            base.PROJECT_MANAGER_OR_ADMIN,
            "List devices.",
            "GET /v2/devices",
        ),
        base.rule(
            GET_ONE,
            base.PROJECT_MANAGER_OR_ADMIN,
            "Show a device.",
            "GET /v2/devices/{uuid}",
        ),
        base.rule(
            ENABLE,
            base.ADMIN,
            "Let the scheduler use a device.",
            "POST /v2/devices/{uuid}/enable",
        ),
        base.rule(
            DISABLE,
            base.ADMIN,
            "Keep the scheduler from using a device.",
            "POST /v2/devices/{uuid}/disable",
        ),
        base.rule(
            UPDATE,
            base.ADMIN,
            "Set a device's status or conditions, or update its firmware.",
            "PATCH /v2/devices/{uuid}",
        ),
        base.rule(
            GET_STATS,
            base.ADMIN,
            "Show what the driver measures on a device.",
            "GET /v2/devices/{uuid}/stats",
        ),
        base.rule(
            GET_HISTORY,
            base.ADMIN,
            "List what happened to a device.",
            "GET /v2/devices/{uuid}/history",
        ),
    ]
