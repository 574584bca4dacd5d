"""Rules of attributes."""

from oslo_policy import policy

from cyborg.policies import base

GET_ALL = "cyborg:attribute:get_all"
GET_ONE = "cyborg:attribute:get_one"
CREATE = "cyborg:attribute:create"
UPDATE = "cyborg:attribute:update"
DELETE = "cyborg:attribute:delete"
DELETE_ALL = "cyborg:attribute:delete_all"


def list_rules() -> list[policy.RuleDefault]:
    return [
        base.rule(
            GET_ALL,
            base.PROJECT_MANAGER_OR_ADMIN,
            "List attributes.",
            "GET /v2/attributes",
            "GET /v2/deployables/{uuid}/attributes",
        ),
        base.rule(
            GET_ONE,
            base.PROJECT_MANAGER_OR_ADMIN,
            "Show an attribute.",
            "GET /v2/attributes/{uuid}",
            "GET /v2/deployables/{uuid}/attributes/{uuid_or_key}",
        ),
        base.rule(
            CREATE,
            base.ADMIN,
            "Add attributes to a deployable.",
            "POST /v2/attributes",
            "POST /v2/deployables/{uuid}/attributes",
        ),
        base.rule(
            UPDATE,
            base.ADMIN,
            "Give an attribute another value.",
            "PUT /v2/deployables/{uuid}/attributes/{uuid_or_key}",
        ),
        base.rule(
            DELETE,
            base.ADMIN,
            "Delete an attribute.",
            "DELETE /v2/attributes/{uuid}",
            "DELETE /v2/deployables/{uuid}/attributes/{uuid_or_key}",
        ),
        base.rule(
            DELETE_ALL,
            base.ADMIN,
            "Delete all attributes of a deployable.",
            "DELETE /v2/deployables/{uuid}/attributes",
        ),
    ]
