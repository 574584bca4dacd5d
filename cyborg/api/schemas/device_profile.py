"""Queries and bodies about device profiles.

What the groups may hold depends on their keys; see
:mod:`cyborg.api.groups`.
"""

from typing import Any

from cyborg.api import versions
from cyborg.api.schemas import common

SORT_KEYS = ("id", "uuid", "name", "created_at", "updated_at")

INDEX = {
    versions.BASE: common.paged(SORT_KEYS, {"name": common.ANY}),
    versions.LISTS: common.paged(
        SORT_KEYS, {"name": common.ANY, "uuid": common.ANY}
    ),
}

# Python's $ lets a newline pass; the pattern shall not.
_NAME = {
    "type": "string",
    "pattern": r"^[a-zA-Z0-9\-_]+\Z",
    "errorMessage": (
        "has to be text of letters, digits, hyphens and underscores"
    ),
}
_SIZED_NAME = _NAME | {"maxLength": 255}
_SIZED_NAME["errorMessage"] = (
    "has to be 1 to 255 letters, digits, hyphens and underscores"
)
_GROUPS: dict[str, Any] = {
    "type": "array",
    "minItems": 1,
    "items": {
        "type": "object",
        "additionalProperties": {
            "type": ["string", "integer", "number", "boolean"]
        },
        "propertyNames": {
            "pattern": "^(resources:|trait:|accel:)",
            "errorMessage": (
                "keys have to begin with resources:, trait: or accel:"
            ),
        },
    },
}
_OPTIONAL: dict[str, Any] = {
    "description": common.TEXT | {"type": ["string", "null"]},
    "uuid": common.UUID | {"type": ["string", "null"]},
}

# Up to 2.3 an empty and an overlong name are server errors, which clients
# have come to expect; the handler sees to them.
_LENIENT = common.json_object(
    {"name": {"anyOf": [{"const": ""}, _NAME]}, "groups": _GROUPS},
    _OPTIONAL,
    closed=False,
)
_LENIENT["properties"]["name"]["errorMessage"] = _NAME["errorMessage"]
_STRICT = common.json_object(
    {"name": _SIZED_NAME, "groups": _GROUPS}, _OPTIONAL, closed=True
)


CREATE = {
    versions.BASE: common.list_of("device profile", _LENIENT),
    versions.STRICT: common.list_of("device profile", _STRICT),
    versions.RESOURCES: common.list_of("device profiles", _STRICT, 100),
}

UPDATE = {
    versions.RESOURCES: common.json_object(
        {"name": _SIZED_NAME, "groups": _GROUPS},
        {"description": _OPTIONAL["description"]},
        closed=True,
    )
}

DELETE = {
    versions.BASE: common.query({"value": common.ANY}),
    versions.RESOURCES: common.query(
        {"value": common.ANY, "name": common.ANY}
    ),
}
