"""Queries and bodies about attributes."""

from typing import Any

from cyborg.api import versions
from cyborg.api.schemas import common

SORT_KEYS = ("id", "uuid", "deployable_id", "created_at", "updated_at")

_DEPLOYABLE = {
    "type": ["string", "integer"],
    "anyOf": [
        {"type": "integer"},
        {"type": "string", "pattern": r"^\s*-?[0-9]+\s*\Z"},
        common.UUID | {"pattern": "[0-9a-fA-F]{4}"},
    ],
    "errorMessage": "has to be the uuid of a deployable, or its number",
}

INDEX = {
    versions.BASE: common.paged(
        SORT_KEYS, {"deployable_id": _DEPLOYABLE, "key": common.ANY}
    )
}
INDEX_OF_DEPLOYABLE = {
    versions.RESOURCES: common.paged(SORT_KEYS, {"key": common.ANY})
}

_KEY = common.TEXT | {"minLength": 1}
_VALUE = common.TEXT

_ATTRIBUTE = common.json_object(
    {"deployable_id": _DEPLOYABLE, "key": _KEY, "value": _VALUE},
    {"uuid": common.UUID},
    closed=False,
)
_WRAPPED: dict[str, Any] = common.json_object(
    {"attribute": _ATTRIBUTE}, closed=False
)
CREATE = {
    versions.BASE: {
        "type": "object",
        "if": {"type": "object", "required": ["attribute"]},
        "then": _WRAPPED,
        "else": _ATTRIBUTE,
    }
}
CREATE_OF_DEPLOYABLE = {
    versions.RESOURCES: {
        "type": "array",
        "minItems": 1,
        "items": common.json_object(
            {"key": _KEY, "value": _VALUE},
            {"uuid": common.UUID},
            closed=True,
        ),
    }
}
UPDATE = {
    versions.RESOURCES: common.json_object({"value": _VALUE}, closed=True)
}
