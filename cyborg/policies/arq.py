"""Rules of accelerator requests.

What a caller may see and touch is decided by its project besides; binding,
unbinding and deleting by instance need a service token, which no rule waives.
"""

from oslo_policy import policy

from cyborg.policies import base

GET_ALL = "cyborg:arq:get_all"
ALL_PROJECTS = "cyborg:arq:get_all:all_projects"
GET_ONE = "cyborg:arq:get_one"
CREATE = "cyborg:arq:create"
UPDATE = "cyborg:arq:update"
DELETE = "cyborg:arq:delete"
REPORT_FAULT = "cyborg:arq:report_fault"


def list_rules() -> list[policy.RuleDefault]:
    return [
        base.rule(
            GET_ALL,
            base.PROJECT_READER_OR_ADMIN,
            "List accelerator requests of the own project.",
            "GET /v2/accelerator_requests",
        ),
        base.rule(
            ALL_PROJECTS,
            base.ADMIN,
            "See the accelerator requests of all projects.",
            "GET /v2/accelerator_requests",
            "GET /v2/accelerator_requests/{uuid}",
        ),
        base.rule(
            GET_ONE,
            base.PROJECT_READER_OR_ADMIN,
            "Show an accelerator request.",
            "GET /v2/accelerator_requests/{uuid}",
        ),
        base.rule(
            CREATE,
            base.PROJECT_MEMBER_OR_SERVICE,
            "Create the accelerator requests of a device profile.",
            "POST /v2/accelerator_requests",
        ),
        base.rule(
            UPDATE,
            base.PROJECT_MEMBER_OR_SERVICE,
            "Bind or unbind accelerator requests.",
            "PATCH /v2/accelerator_requests",
            "PATCH /v2/accelerator_requests/{uuid}",
        ),
        base.rule(
            DELETE,
            base.PROJECT_MEMBER_OR_SERVICE,
            "Delete accelerator requests.",
            "DELETE /v2/accelerator_requests?arqs={uuids}",
            "DELETE /v2/accelerator_requests?instance={uuid}",
            "DELETE /v2/accelerator_requests/{uuid}",
        ),
        base.rule(
            REPORT_FAULT,
            base.PROJECT_MEMBER_OR_SERVICE,
            "Say that the device of an accelerator request is faulty.",
            "POST /v2/accelerator_requests/{uuid}/fault",
        ),
    ]
