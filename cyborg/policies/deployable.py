"""Rules of deployables."""

from oslo_policy import policy

from cyborg.policies import base

GET_ALL = "cyborg:deployable:get_all"
GET_ONE = "cyborg:deployable:get_one"
PROGRAM = "cyborg:deployable:program"
UPDATE = "cyborg:deployable:update"


def list_rules() -> list[policy.RuleDefault]:
    return [
        base.rule(
            GET_ALL,
            base.PROJECT_MANAGER_OR_ADMIN,
            "List deployables.",
            "GET /v2/deployables",
        ),
        base.rule(
            GET_ONE,
            base.PROJECT_MANAGER_OR_ADMIN,
            "Show a deployable.",
            "GET /v2/deployables/{uuid}",
        ),
        base.rule(
            PROGRAM,
            base.ADMIN,
            "Load a bitstream and wait for it.",
            "PATCH /v2/deployables/{uuid}/program",
            "PATCH /v2/deployables/{uuid}/program/{same_uuid}",
        ),
        base.rule(
            UPDATE,
            base.ADMIN,
            "Load a bitstream in the background.",
            "PATCH /v2/deployables/{uuid}",
        ),
    ]
