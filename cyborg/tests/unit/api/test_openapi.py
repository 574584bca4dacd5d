"""The OpenAPI document is what the handlers check, and is valid."""

import itertools
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


def references(node: Any) -> set[str]:
    """Return what a part of the document refers to."""
    if isinstance(node, list):
        return set().union(*map(references, node))
    if not isinstance(node, dict):
        return set()
    found = set().union(*map(references, node.values()))
    return found | {node["$ref"]} if "$ref" in node else found


def test_references_lead_somewhere() -> None:
    found = references(DOCUMENT)
    assert "#/components/schemas/Device-2.3" in found
    for reference in found:
        assert resolved({"$ref": reference})


@pytest.mark.parametrize("name", DOCUMENT["components"]["schemas"])
def test_representation_is_closed(name: str) -> None:
    schema = DOCUMENT["components"]["schemas"][name]
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["additionalProperties"] is False


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS)
def test_body_of_success_is_described(
    path: str, method: str, operation: dict[str, Any]
) -> None:
    for status, response in operation["responses"].items():
        if status in ("202", "204"):
            assert "content" not in response
        elif status in ("200", "201"):
            schema = response["content"]["application/json"]["schema"]
            schema = resolved(schema)
            assert schema.get("additionalProperties") is False or all(
                resolved(one)["additionalProperties"] is False
                for one in schema["oneOf"]
            )


def test_representations_grow_with_versions() -> None:
    """Members come and never go."""
    schemas = DOCUMENT["components"]["schemas"]
    members = [
        set(schemas[name]["properties"])
        for name in ("Device-2.0", "Device-2.3", "Device-2.4", "Device")
    ]
    assert [one - before for before, one in itertools.pairwise(members)] == [
        {"status"},
        {"is_maintaining"},
        {"status_reason", "last_job"},
    ]
