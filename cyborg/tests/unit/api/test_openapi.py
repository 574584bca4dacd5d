"""The OpenAPI document is what the handlers check, and is valid."""

import itertools
import json
from typing import Any

import jsonschema
import pytest

from cyborg.tests.fixtures import api_ref

if not api_ref.SOURCE.exists():
    pytest.skip("not a source tree", allow_module_level=True)

FILE = api_ref.SOURCE.parent / "openapi.json"

DOCUMENT = api_ref.document()
OPERATIONS = [
    (path, method, operation)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
]


def test_file_is_in_step() -> None:
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
        assert parameter["description"]
        names.add((parameter["in"], parameter["name"]))
        jsonschema.Draft202012Validator.check_schema(parameter["schema"])
    assert len(names) == len(operation["parameters"])
    for segment in path.split("/"):
        if segment.startswith("{"):
            assert ("path", segment[1:-1]) in names
    body = operation.get("requestBody")
    assert (body is not None) == (
        method in ("put", "patch")
        or (
            method == "post"
            and not path.startswith("/v2/devices/")
            and not path.endswith("/discover")
        )
    )
    if body is not None:
        schema = body["content"]["application/json"]["schema"]
        jsonschema.Draft202012Validator.check_schema(schema)
        assert r"\\Z" not in json.dumps(schema)
    assert operation["summary"]
    for status, response in operation["responses"].items():
        assert resolved(response)["description"]
        assert (int(status) < 400) or resolved(response)["content"]


def test_operations_are_told_apart() -> None:
    names = [
        operation["operationId"] for _path, _method, operation in OPERATIONS
    ]
    assert len(set(names)) == len(names)
    assert {
        tag for _path, _method, one in OPERATIONS for tag in one["tags"]
    } == {tag["name"] for tag in DOCUMENT["tags"]}


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS)
def test_success_is_described_and_shown(
    path: str, method: str, operation: dict[str, Any]
) -> None:
    """The samples are valid, too."""
    if not any(status.startswith("2") for status in operation["responses"]):
        # It only refuses what names nothing.
        return
    assert operation["description"]
    for holder in (
        operation.get("requestBody", {}),
        *operation["responses"].values(),
    ):
        if "content" not in holder:
            continue
        content = holder["content"]["application/json"]
        assert content["examples"]
        # The document is what its references are relative to.
        validator = jsonschema.Draft202012Validator(
            content["schema"] | {"components": DOCUMENT["components"]}
        )
        for example in content["examples"].values():
            validator.validate(example["value"])


def described(schema: dict[str, Any]) -> bool:
    return all("description" in one for one in schema["properties"].values())


@pytest.mark.parametrize("name", DOCUMENT["components"]["schemas"])
def test_members_are_described(name: str) -> None:
    schema = DOCUMENT["components"]["schemas"][name]
    # What errors look like is told once, for all of them.
    assert described(schema) or name in (
        "Error",
        "Error-2.0",
        "Unauthorized",
    )


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
        for name in (
            "Device-2.0",
            "Device-2.3",
            "Device-2.4",
            "Device-2.6",
            "Device",
        )
    ]
    assert [one - before for before, one in itertools.pairwise(members)] == [
        {"status"},
        {"is_maintaining"},
        {"status_reason", "last_job"},
        {"withheld", "conditions"},
    ]
