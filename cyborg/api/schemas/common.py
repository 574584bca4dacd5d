"""Pieces of the schemas of several resources.

In a query every value is a list, since a name may be repeated.
"""

from collections.abc import Sequence
from typing import Any

Schema = dict[str, Any]

UUID: Schema = {"type": "string", "format": "uuid"}
# What a column of 255 characters holds.
NAME: Schema = {"type": "string", "minLength": 1, "maxLength": 255}
# What a TEXT column of MySQL holds, in characters of three bytes.
TEXT: Schema = {"type": "string", "maxLength": 21845}
# A file name, a size or a state of nothing that exists matches nothing.
ANY: Schema = {"type": "string"}
IMAGE = UUID


def once(schema: Schema) -> Schema:
    """Return the schema of a parameter that is given once."""
    return {
        "type": "array",
        "items": schema,
        "maxItems": 1,
        "errorMessage": "can be given only once",
    }


def query(parameters: dict[str, Schema]) -> Schema:
    """Return the schema of a query with these parameters, each once."""
    return {
        "type": "object",
        "properties": {
            name: once(schema) for name, schema in parameters.items()
        },
        "additionalProperties": False,
    }


def paged(sort_keys: Sequence[str], parameters: dict[str, Schema]) -> Schema:
    """Return the schema of the query of a list.

    :param parameters: its filters
    """
    return query(parameters | page(sort_keys))


def page(sort_keys: Sequence[str]) -> dict[str, Schema]:
    """Return the parameters that every list has."""
    return {
        "limit": {
            "type": "string",
            "pattern": "^0*[1-9][0-9]*$",
            "errorMessage": "has to be a number, 1 or more",
        },
        "marker": {"type": "string", "anyOf": [UUID, {"maxLength": 0}]},
        "sort_key": {"enum": list(sort_keys)},
        "sort_dir": {"enum": ["asc", "desc"]},
    }


def with_filter_array(schema: Schema, fields: Sequence[str]) -> Schema:
    """Return a query schema that takes ``filters.field`` and ``.value``."""
    return schema | {
        "properties": schema["properties"]
        | {
            "filters.field": {
                "type": "array",
                "items": {"enum": list(fields)},
            },
            "filters.value": {"type": "array", "items": ANY},
        }
    }


def list_of(what: str, schema: Schema, most: int = 1) -> Schema:
    """Return the schema of a list of one item, or of up to ``most``.

    :param what: what error messages call an item
    """
    number = "one" if most == 1 else f"1 to {most}"
    return {
        "type": "array",
        "items": schema,
        "minItems": 1,
        "maxItems": most,
        "errorMessage": f"has to be a list of {number} {what}",
    }


def json_object(
    required: dict[str, Schema],
    optional: dict[str, Schema] | None = None,
    *,
    closed: bool,
) -> Schema:
    """Return the schema of an object.

    :param closed: refuse other members
    """
    schema: Schema = {
        "type": "object",
        "properties": required | (optional or {}),
        "required": list(required),
    }
    if closed:
        schema["additionalProperties"] = False
    return schema
