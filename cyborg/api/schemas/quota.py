"""Queries and answers about quotas."""

from cyborg.api import versions
from cyborg.api.schemas import answers
from cyborg.api.schemas import common

INDEX = {versions.RESOURCES: common.query({"project_id": common.NAME})}

_USAGE = answers.shown(
    "QuotaUsage",
    {
        versions.RESOURCES: {
            "resource": answers.TEXT,
            "in_use": answers.NUMBER,
            "reserved": answers.NUMBER,
        }
    },
)
LISTED = answers.wrapped(
    "quota_usages",
    {
        version: {"type": "array", "items": schema}
        for version, schema in _USAGE.items()
    },
)
