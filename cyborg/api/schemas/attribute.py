"""Queries, bodies and answers about attributes."""

from typing import Any

from cyborg.api import versions
from cyborg.api.schemas import answers
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

SHOWN = answers.shown(
    "Attribute",
    {
        versions.BASE: {
            "uuid": answers.UUID,
            "deployable_id": answers.NUMBER,
            "key": answers.TEXT,
            "value": answers.TEXT,
            **answers.links("self"),
            **answers.TIMES,
        },
        versions.STRICT: {"deployable_uuid": answers.UUID},
    },
)
LISTED = answers.listed("attributes", SHOWN)

_NESTED = answers.since(versions.RESOURCES, SHOWN)
LISTED_OF_DEPLOYABLE = answers.since(versions.RESOURCES, LISTED)
SHOWN_OF_DEPLOYABLE = answers.wrapped("attribute", _NESTED)
CREATED_OF_DEPLOYABLE = answers.wrapped(
    "attributes",
    {
        version: {"type": "array", "items": schema, "minItems": 1}
        for version, schema in _NESTED.items()
    },
)
