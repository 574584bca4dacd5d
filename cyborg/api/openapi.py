"""The OpenAPI document of the newest microversion.

Made from what the handlers themselves check requests against, so that the
two cannot differ.
"""

from typing import Any

from cyborg.api import app
from cyborg.api import request as api_request
from cyborg.api import routing
from cyborg.api import validation
from cyborg.api import versions

_ERROR = {
    "type": "object",
    "properties": {
        "error_message": {
            "type": "string",
            "description": (
                "JSON text of an object with faultcode, faultstring and "
                "debuginfo."
            ),
        }
    },
    "required": ["error_message"],
}
_ERROR_RESPONSE = {"$ref": "#/components/responses/Error"}
_VERSION_PARAMETER = {"$ref": "#/components/parameters/Version"}


def document() -> dict[str, Any]:
    """Return the document."""
    paths: dict[str, dict[str, Any]] = {}
    for controller in app.CONTROLLERS:
        for operation, handler in routing.operations(controller):
            for path in operation.paths:
                paths.setdefault(path, {})[operation.method.lower()] = (
                    _operation(operation, handler, path)
                )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "OpenStack accelerator API",
            "version": str(versions.MAXIMUM),
            "license": {"name": "Apache-2.0"},
        },
        "servers": [{"url": api_request.DEFAULT_PREFIX}],
        "security": [{"token": []}],
        "paths": {path: paths[path] for path in sorted(paths)},
        "components": {
            "securitySchemes": {
                "token": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "X-Auth-Token",
                }
            },
            "parameters": {
                "Version": {
                    "name": versions.HEADER,
                    "in": "header",
                    "description": "Absent means the oldest version.",
                    "schema": {"type": "string"},
                    "example": f"{versions.SERVICE_TYPE} {versions.MAXIMUM}",
                }
            },
            "responses": {
                "Error": {
                    "description": "What was wrong.",
                    "content": {"application/json": {"schema": _ERROR}},
                }
            },
        },
    }


def _operation(
    operation: routing.Operation, handler: routing.Handler, path: str
) -> dict[str, Any]:
    summary = (handler.__doc__ or "").splitlines()[0].rstrip(".")
    described: dict[str, Any] = {
        "summary": summary,
        "parameters": [
            *_path_parameters(path),
            *_query_parameters(operation.query),
            _VERSION_PARAMETER,
        ],
        "responses": _responses(operation),
        "x-openstack": {
            "min-version": str(operation.since),
            "policy": operation.rule,
        },
    }
    if operation.body is not None:
        described["requestBody"] = {
            "required": True,
            "content": {
                "application/json": {
                    "schema": _portable(_newest(operation.body))
                }
            },
        }
    if operation.rule is None:
        described["security"] = []
    return described


def _newest(validator: validation.Validator) -> validation.Schema:
    return validator.schemas[max(validator.schemas)]


def _portable(schema: Any) -> Any:
    """Return a schema without what only Python's expressions have."""
    if isinstance(schema, dict):
        return {
            key: value.replace(r"\Z", "$")
            if key == "pattern" and isinstance(value, str)
            else _portable(value)
            for key, value in schema.items()
        }
    if isinstance(schema, list | tuple):
        return [_portable(item) for item in schema]
    return schema


def _path_parameters(path: str) -> list[dict[str, Any]]:
    return [
        {
            "name": segment[1:-1],
            "in": "path",
            "required": True,
            "schema": {"type": "string", "minLength": 1},
        }
        for segment in path.split("/")
        if routing.is_variable(segment)
    ]


def _query_parameters(
    validator: validation.Validator | None,
) -> list[dict[str, Any]]:
    if validator is None:
        return []
    properties = _portable(_newest(validator)).get("properties", {})
    return [
        {
            "name": name,
            "in": "query",
            "schema": (
                schema["items"] if schema.get("maxItems") == 1 else schema
            ),
        }
        for name, schema in properties.items()
    ]


def _responses(operation: routing.Operation) -> dict[str, Any]:
    succeeds = str(operation.status)
    if succeeds in ("202", "204"):
        responses: dict[str, Any] = {succeeds: {"description": "Done."}}
    else:
        responses = {
            succeeds: {
                "description": "The answer.",
                "content": {
                    "application/json": {"schema": {"type": "object"}}
                },
            }
        }
    return responses | {"4XX": _ERROR_RESPONSE, "5XX": _ERROR_RESPONSE}
