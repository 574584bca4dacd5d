"""The OpenAPI document is what the handlers check, and is valid."""

import json
import pathlib
from typing import Any

import jsonschema
import pytest

from cyborg.api import openapi

FILE = pathlib.Path(__file__).parents[4] / "api-ref" / "openapi.json"

DOCUMENT = openapi.document()
OPERATIONS = [
    (path, method, operation)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
]


def test_file_is_in_step() -> None:
    if not FILE.exists():
        pytest.skip("not a source tree")
    assert json.loads(FILE.read_text()) == DOCUMENT, (
        "run tools/generate-openapi"
    )


def resolved(node: dict[str, Any]) -> Any:
    while "$ref" in node:
        target: Any = DOCUMENT
        for step in node["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        node = target
    return node


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS)
def test_operation_is_complete(
    path: str, method: str, operation: dict[str, Any]
) -> None:
    names = set()
    for parameter in map(resolved, operation["parameters"]):
        names.add((parameter["in"], parameter["name"]))
        jsonschema.Draft202012Validator.check_schema(parameter["schema"])
    assert len(names) == len(operation["parameters"])
    for segment in path.split("/"):
        if segment.startswith("{"):
            assert ("path", segment[1:-1]) in names
    body = operation.get("requestBody")
    assert (body is not None) == (
        method in ("put", "patch")
        or (method == "post" and not path.startswith("/v2/devices/"))
    )
    if body is not None:
        schema = body["content"]["application/json"]["schema"]
        jsonschema.Draft202012Validator.check_schema(schema)
        assert r"\\Z" not in json.dumps(schema)
    assert operation["summary"]
    assert resolved(operation["responses"]["4XX"])["content"]
