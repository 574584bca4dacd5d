"""Pieces of the schemas of what the API answers.

A representation has a title, under which the OpenAPI document shares it.
Nothing may be in an answer that its schema does not name.
"""

from collections.abc import Mapping

from cyborg.api import versions
from cyborg.api.schemas import common

Schema = common.Schema
Schemas = Mapping[versions.Version, Schema]

TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "integer"}
COUNT: Schema = {"type": "integer", "minimum": 0}
FLAG: Schema = {"type": "boolean"}
UUID: Schema = {
    "type": "string",
    "format": "uuid",
    "pattern": "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$",
}
# UTC; the fraction is missing where the database keeps whole seconds.
TIME: Schema = {
    "type": "string",
    "format": "date-time",
    "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?\+00:00$",
}


def or_null(schema: Schema) -> Schema:
    return schema | {"type": [schema["type"], "null"]}


TIMES: dict[str, Schema] = {"created_at": TIME, "updated_at": or_null(TIME)}


def link(*rels: str) -> Schema:
    return closed(
        {
            "href": {"type": "string", "format": "uri"},
            "rel": {"enum": list(rels)},
        }
    )


def links(*rels: str) -> dict[str, Schema]:
    """Return the member ``links``, which has one of each relation."""
    return {
        "links": {
            "type": "array",
            "items": link(*rels),
            "minItems": len(rels),
            "maxItems": len(rels),
        }
    }


def closed(
    required: dict[str, Schema], optional: dict[str, Schema] | None = None
) -> Schema:
    return common.json_object(required, optional, closed=True)


def shown(
    title: str, members: Mapping[versions.Version, dict[str, Schema]]
) -> Schemas:
    """Return the schemas of a representation.

    :param members: what each version adds to the one before
    """
    newest = max(members)
    schemas: dict[versions.Version, Schema] = {}
    every: dict[str, Schema] = {}
    for version in sorted(members):
        every = every | members[version]
        schemas[version] = {
            "title": title if version == newest else f"{title}-{version}",
            "description": f"As of microversion {version}.",
            **closed(every),
        }
    return schemas


def wrapped(key: str, schemas: Schemas) -> Schemas:
    """Return the schemas of an object with one member."""
    return {
        version: closed({key: schema}) for version, schema in schemas.items()
    }


def listed(key: str, schemas: Schemas) -> Schemas:
    """Return the schemas of a list, which may say where it goes on."""
    more = {
        f"{key}_links": {
            "type": "array",
            "items": link("next"),
            "minItems": 1,
            "maxItems": 1,
        }
    }
    since = {*schemas, max(versions.LISTS, min(schemas))}
    return {
        version: closed(
            {
                key: {
                    "type": "array",
                    "items": schemas[max(v for v in schemas if v <= version)],
                }
            },
            more if version >= versions.LISTS else None,
        )
        for version in since
    }


def since(version: versions.Version, schemas: Schemas) -> Schemas:
    """Return the schemas that hold from a version on, not those before."""
    first = max(v for v in schemas if v <= version)
    return {version: schemas[first]} | {
        v: schema for v, schema in schemas.items() if v > version
    }


LAST_JOB: Schema = or_null(
    closed(
        {
            "action": {"enum": ["program", "firmware"]},
            "state": {"enum": ["queued", "running", "done", "failed"]},
            "detail": or_null(TEXT),
            "updated_at": TIME,
        }
    )
)

_FAULT = closed(
    {
        "faultcode": {"enum": ["Client", "Server"]},
        "faultstring": TEXT,
        "debuginfo": {"type": "null"},
    }
)
ERRORS: Schemas = {
    versions.BASE: {
        "title": "Error-2.0",
        "description": "error_message is JSON text.",
        **closed(
            {
                "error_message": {
                    "type": "string",
                    "contentMediaType": "application/json",
                    "contentSchema": _FAULT,
                }
            }
        ),
    },
    versions.STRICT: {
        "title": "Error",
        "description": "error_message is an object.",
        **closed({"error_message": _FAULT}),
    },
}
# From the filter that checks tokens, which is Keystone's.
UNAUTHORIZED: Schema = {
    "title": "Unauthorized",
    **closed(
        {
            "error": closed(
                {"code": {"const": 401}, "title": TEXT, "message": TEXT}
            )
        }
    ),
}
