"""Rules of quotas."""

from oslo_policy import policy

from cyborg.policies import base

GET = "cyborg:quota:get"


def list_rules() -> list[policy.RuleDefault]:
    return [
        base.rule(
            GET,
            base.PROJECT_READER_OR_ADMIN,
            "Show what the own project uses; administrators: any project.",
            "GET /v2/quota_usages",
        ),
    ]
