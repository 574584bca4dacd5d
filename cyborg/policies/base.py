"""Base rules, which the rules of the resources refer to.

Their names are those of every release, so files that override them load.
"""

from oslo_policy import policy

ADMIN = "rule:admin_api"
PROJECT_MANAGER_OR_ADMIN = "rule:project_manager_or_admin"
PROJECT_READER_OR_ADMIN = "rule:project_reader_or_admin"
PROJECT_MEMBER_OR_SERVICE = "rule:project_member_or_service"

SCOPE = ["project"]

_LEGACY = "Kept for policy files that refer to it; nothing here does."

_RULES = (
    ("admin_api", "role:admin", "Administrators."),
    (
        "project_admin_api",
        "role:admin and project_id:%(project_id)s",
        "Administrators, in their project.",
    ),
    (
        "project_manager_api",
        "role:manager and project_id:%(project_id)s",
        "Managers of the project.",
    ),
    (
        "project_member_api",
        "role:member and project_id:%(project_id)s",
        "Members of the project.",
    ),
    (
        "project_reader_api",
        "role:reader and project_id:%(project_id)s",
        "Readers of the project.",
    ),
    ("service_api", "role:service", "Other OpenStack services."),
    (
        "project_member_or_admin",
        "rule:project_member_api or rule:admin_api",
        "Members of the project, and administrators.",
    ),
    (
        "project_reader_or_admin",
        "rule:project_reader_api or rule:admin_api",
        "Readers of the project, and administrators.",
    ),
    (
        "project_manager_or_admin",
        "rule:project_manager_api or rule:admin_api",
        "Managers of the project, and administrators.",
    ),
    (
        "project_member_or_service",
        "rule:project_member_api or rule:service_api",
        "Members of the project, and other OpenStack services.",
    ),
    ("public_api", "is_public_api:True", _LEGACY),
    ("allow", "@", _LEGACY),
    ("deny", "!", _LEGACY),
    ("is_admin", "rule:admin_api", _LEGACY),
    (
        "admin_or_owner",
        "is_admin:True or project_id:%(project_id)s",
        _LEGACY,
    ),
    ("admin_or_user", "is_admin:True or user_id:%(user_id)s", _LEGACY),
    # What a rule is checked by that is not known.
    ("default", "rule:admin_api", "Anything without a rule of its own."),
)


def list_rules() -> list[policy.RuleDefault]:
    return [
        policy.RuleDefault(name, check, description)
        for name, check, description in _RULES
    ]


def rule(
    name: str, check: str, description: str, *operations: str
) -> policy.DocumentedRuleDefault:
    """Return the rule of an operation.

    :param operations: ``"GET /v2/devices"`` each
    """
    return policy.DocumentedRuleDefault(
        name=name,
        check_str=check,
        description=description,
        operations=[
            {"method": method, "path": path}
            for method, path in (text.split(" ") for text in operations)
        ],
        scope_types=SCOPE,
    )
