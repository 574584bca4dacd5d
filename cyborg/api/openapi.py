"""The OpenAPI document of the newest microversion.

Made from what the handlers themselves check requests against, so that the
two cannot differ. What is answered at earlier versions is beside it: under
``x-openstack``, and in the schemas whose names end in a version.

An answer has one of the statuses that its operation names, or 500 where
something is broken. ``tools/generate-openapi`` adds the words and the samples
of the API reference.
"""

from http import HTTPStatus
import re
from typing import Any

from cyborg.api import app
from cyborg.api import request as api_request
from cyborg.api import routing
from cyborg.api import validation
from cyborg.api import versions
from cyborg.api.types import base
from cyborg.api.types import error

_VERSION_PARAMETER = {"$ref": "#/components/parameters/Version"}
_HEADERS = {
    versions.HEADER: "The version of this answer.",
    versions.MINIMUM_HEADER: "The oldest version that is served.",
    versions.MAXIMUM_HEADER: "The newest version that is served.",
    "Link": "Where a list goes on: URL and relation, next; only if it does.",
}

Components = dict[str, Any]


def document() -> dict[str, Any]:
    """Return the document."""
    paths: dict[str, dict[str, Any]] = {}
    schemas: Components = {}
    for controller in app.CONTROLLERS:
        for operation, handler in routing.operations(controller):
            for path in operation.paths:
                paths.setdefault(path, {})[operation.method.lower()] = (
                    _operation(operation, handler, path, schemas)
                )
    refused = {
        status
        for controller in app.CONTROLLERS
        for operation, _handler in routing.operations(controller)
        for status in operation.errors()
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "OpenStack accelerator API",
            "summary": "Accelerators, and giving them to servers.",
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
            "headers": {
                name: {"description": text, "schema": {"type": "string"}}
                for name, text in _HEADERS.items()
            },
            "responses": {
                _name(status): _response(
                    HTTPStatus(status).phrase,
                    _error(status),
                    schemas,
                )
                for status in sorted(refused)
            },
            "schemas": {name: schemas[name] for name in sorted(schemas)},
        },
    }


def _error(status: int) -> validation.Schema:
    """Return the schema of the body of an error."""
    if status == HTTPStatus.UNAUTHORIZED:
        return error.UNAUTHORIZED
    newest = error.ERRORS[max(error.ERRORS)]
    if status == HTTPStatus.NOT_ACCEPTABLE:
        # A version that cannot be read is taken for the oldest.
        return {"anyOf": [newest, error.ERRORS[versions.BASE]]}
    return newest


def markdown(text: str) -> str:
    """Return text of the API reference as OpenAPI has it: lines joined."""
    lines = (" ".join(part.split()) for part in text.strip().split("\n\n"))
    linked = re.sub(
        r"(?<!`)`([^`<]+) <([^>]+)>`_", r"[\1](\2)", "\n\n".join(lines)
    )
    return linked.replace("``", "`")


def _operation(
    operation: routing.Operation,
    handler: routing.Handler,
    path: str,
    schemas: Components,
) -> dict[str, Any]:
    summary = (handler.__doc__ or "").splitlines()[0].rstrip(".")
    described: dict[str, Any] = {
        "operationId": identifier(operation.method, path),
        "tags": [_tag(handler)],
        "summary": summary,
        "parameters": [
            *_path_parameters(path),
            *_query_parameters(operation.query),
            _VERSION_PARAMETER,
        ],
        "responses": _responses(operation, schemas),
        "x-openstack": {
            "min-version": str(operation.since),
            "policy": operation.rule,
            "answers": _older_answers(operation, schemas),
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


def _tag(handler: routing.Handler) -> str:
    """Return ``DeviceProfiles`` for what its controller has."""
    controller: object = handler.__self__  # type: ignore[attr-defined]
    return type(controller).__name__.removesuffix("Controller")


def identifier(method: str, path: str) -> str:
    """Return ``get-devices-uuid-stats``, which no other operation has."""
    segments = api_request.split_path(path)
    words = [segment.strip("{}") for segment in segments[1:] or segments]
    return "-".join((method.lower(), *(words or ["root"])))


def _name(status: int) -> str:
    """Return what the component is called that describes an error."""
    return "".join(HTTPStatus(status).phrase.title().split())


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


def _responses(
    operation: routing.Operation, schemas: Components
) -> dict[str, Any]:
    responses = {
        str(status): _response("Done.", schema, schemas)
        for status, schema in operation.answers(versions.MAXIMUM).items()
    }
    for response in responses.values():
        response["headers"] = {
            name: {"$ref": f"#/components/headers/{name}"}
            for name in _HEADERS
            if operation.rule is not None
            and (name != "Link" or _is_list(operation))
        }
    return responses | {
        str(status): {"$ref": f"#/components/responses/{_name(status)}"}
        for status in sorted(operation.errors())
    }


def _is_list(operation: routing.Operation) -> bool:
    """Tell whether an answer may say where it goes on."""
    answer = {} if operation.answer is None else _newest(operation.answer)
    return any(
        name.endswith("_links") for name in answer.get("properties", {})
    )


def _older_answers(
    operation: routing.Operation, schemas: Components
) -> dict[str, Any]:
    """Return the bodies of successes by the version they are from."""
    if operation.answer is None:
        return {}
    by_version = operation.answer.schemas
    return {
        str(version): _shared(by_version[version], schemas)
        for version in sorted(by_version)
        if version < max(by_version)
    }


def _response(
    description: str, schema: Any, schemas: Components
) -> dict[str, Any]:
    response: dict[str, Any] = {"description": description}
    if schema is not None:
        response["content"] = {
            "application/json": {"schema": _shared(schema, schemas)}
        }
    return response


def _shared(schema: Any, schemas: Components) -> Any:
    """Return a schema that refers to the titled ones in it.

    :param schemas: the components, to which those are added
    """
    if isinstance(schema, list | tuple):
        return [_shared(item, schemas) for item in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {
        key: _shared(value, schemas)
        for key, value in schema.items()
        if key != base.MEANING
    }
    told = {}
    if isinstance(schema.get(base.MEANING), str):
        told["description"] = markdown(schema[base.MEANING])
    title = schema.get("title")
    if not isinstance(title, str):
        # In the properties of an object it may be a name.
        return inner | told
    schemas[title] = inner
    return {"$ref": f"#/components/schemas/{title}"} | told
