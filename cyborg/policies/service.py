"""Rules of services."""

from oslo_policy import policy

from cyborg.policies import base

GET_ALL = "cyborg:service:get_all"
UPDATE = "cyborg:service:update"
DISCOVER = "cyborg:service:discover"


def list_rules() -> list[policy.RuleDefault]:
    return [
        base.rule(
            GET_ALL,
            base.ADMIN,
            "List agents and conductors.",
            "GET /v2/services",
        ),
        base.rule(
            UPDATE,
            base.ADMIN,
            "Force an agent's host down, or lift that.",
            "PUT /v2/services/{id}",
        ),
        base.rule(
            DISCOVER,
            base.ADMIN,
            "Have an agent look at its host's hardware now.",
            "POST /v2/services/{id}/discover",
        ),
    ]
