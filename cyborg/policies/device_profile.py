"""Rules of device profiles."""

from oslo_policy import policy

from cyborg.policies import base

GET_ALL = "cyborg:device_profile:get_all"
GET_ONE = "cyborg:device_profile:get_one"
CREATE = "cyborg:device_profile:create"
UPDATE = "cyborg:device_profile:update"
DELETE = "cyborg:device_profile:delete"


def list_rules() -> list[policy.RuleDefault]:
    return [
        base.rule(
            GET_ALL,
            base.PROJECT_READER_OR_ADMIN,
            "List device profiles.",
            "GET /v2/device_profiles",
        ),
        base.rule(
            GET_ONE,
            base.PROJECT_READER_OR_ADMIN,
            "Show a device profile.",
            "GET /v2/device_profiles/{uuid_or_name}",
        ),
        base.rule(
            CREATE,
            base.ADMIN,
            "Create device profiles.",
            "POST /v2/device_profiles",
        ),
        base.rule(
            UPDATE,
            base.ADMIN,
            "Change a device profile that is not in use.",
            "PUT /v2/device_profiles/{uuid_or_name}",
        ),
        base.rule(
            DELETE,
            base.ADMIN,
            "Delete device profiles.",
            "DELETE /v2/device_profiles/{uuid_or_name}",
            "DELETE /v2/device_profiles?value={names}",
        ),
    ]
