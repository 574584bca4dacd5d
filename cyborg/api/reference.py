"""The tables of the API reference that tell what answers hold.

They are made from the declaration in :mod:`cyborg.api.types`, so that they
cannot differ from it.
"""

from collections.abc import Iterator
import json
import pathlib
from typing import Any

from cyborg.api import app
from cyborg.api import openapi
from cyborg.api import routing
from cyborg.api import validation
from cyborg.api import versions
from cyborg.api.types import base

DEFINITIONS = "parameters.yaml"

Definition = dict[str, Any]


def write(directory: pathlib.Path) -> None:
    """Write a table for each operation that has a body to answer with.

    :param directory: below that of the pages
    """
    directory.mkdir(exist_ok=True)
    definitions: dict[str, Definition] = {}
    for name, table in tables().items():
        lines = [f".. rest_parameters:: {directory.name}/{DEFINITIONS}", ""]
        for member, definition in table.items():
            definitions[f"{name}.{member}"] = definition
            lines.append(f"   - {member}: {name}.{member}")
        (directory / f"{name}.inc").write_text("\n".join(lines) + "\n")
    # JSON is YAML as well.
    (directory / DEFINITIONS).write_text(
        json.dumps(definitions, sort_keys=True)
    )


def tables() -> dict[str, dict[str, Definition]]:
    """Return the members of each answer by the name of its operation."""
    return {
        openapi.identifier(operation.method, operation.paths[0]): _table(
            operation.answer
        )
        for controller in app.CONTROLLERS
        for operation, _handler in routing.operations(controller)
        if operation.answer is not None
    }


def _table(answer: validation.Validator) -> dict[str, Definition]:
    newest = answer.schema(versions.MAXIMUM)
    found: dict[str, Definition] = {}
    for name, schema, required in _members(newest):
        first = min(
            version
            for version, older in answer.schemas.items()
            if name in {one for one, _schema, _required in _members(older)}
        )
        definition = {
            "description": schema.get(base.MEANING, ""),
            "in": "body",
            "required": required,
            "type": _type(schema),
        }
        if first > min(answer.schemas):
            definition["min_version"] = str(first)
        found.setdefault(name, definition)
    return found


def _members(schema: Any) -> Iterator[tuple[str, Any, bool]]:
    """Yield the members of an answer and of the representations in it."""
    for part in schema.get("oneOf", ()):
        # Either the one or the other is there.
        yield from (
            (name, member, required and part is schema["oneOf"][0])
            for name, member, required in _members(part)
        )
    for name, member in schema.get("properties", {}).items():
        yield name, member, name in schema["required"]
        item = member.get("items", member)
        if "title" in item:
            yield from _members(item)


def _type(schema: Any) -> str:
    found = schema.get("type", "string")
    return found if isinstance(found, str) else " or ".join(found)
