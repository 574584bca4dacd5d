"""Queries, bodies and answers about services."""

from cyborg.api import versions
from cyborg.api.schemas import answers
from cyborg.api.schemas import common

SORT_KEYS = ("id", "uuid", "binary", "host")

INDEX = {
    versions.RESOURCES: common.paged(
        SORT_KEYS, {"binary": common.ANY, "host": common.ANY}
    )
}
UPDATE = {
    versions.RESOURCES: common.json_object(
        {"forced_down": {"type": "boolean"}}, closed=True
    )
}

_DRIVER = answers.closed(
    {
        "name": answers.TEXT,
        "state": {"enum": ["ok", "failed"]},
        "error": answers.or_null(answers.TEXT),
        "capabilities": {"type": "array", "items": answers.TEXT},
    }
)
SHOWN = answers.shown(
    "Service",
    {
        versions.RESOURCES: {
            "id": answers.UUID,
            "binary": {"enum": ["cyborg-agent", "cyborg-conductor"]},
            "host": answers.TEXT,
            "state": {"enum": ["up", "down"]},
            "forced_down": answers.FLAG,
            "updated_at": answers.or_null(answers.TIME),
            "drivers": {"type": "array", "items": _DRIVER},
            "last_error": answers.or_null(answers.TEXT),
        }
    },
)
LISTED = answers.listed("services", SHOWN)
