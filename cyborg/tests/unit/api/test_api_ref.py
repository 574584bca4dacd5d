"""The API reference tells of every operation, and all that it has."""

import pathlib
import re
from typing import Any

import pytest
import yaml

from cyborg.api import app
from cyborg.api import routing
from cyborg.api import versions

SOURCE = pathlib.Path(__file__).parents[4] / "api-ref/source"

pytestmark = pytest.mark.skipif(
    not SOURCE.exists(), reason="not a source tree"
)

# Told of where the operations are told of that they repeat.
REPEATED = {("PATCH", "/v2/deployables/{uuid}/program/{same_uuid}")}
# Not an operation, but a filter in front of them.
FILTERS = {("GET", "/healthcheck")}


def sections() -> dict[tuple[str, str], str]:
    """Return what is told of each method and path."""
    found = {}
    for page in SOURCE.glob("*.inc"):
        parts = re.split(
            r"^\.\. rest_method:: (\S+) (\S+)$",
            page.read_text(),
            flags=re.MULTILINE,
        )
        for method, path, content in zip(
            parts[1::3], parts[2::3], parts[3::3], strict=True
        ):
            found[method, path] = content
    return found


OPERATIONS = {
    (operation.method, operation.paths[0]): operation
    for controller in app.CONTROLLERS
    for operation, _handler in routing.operations(controller)
    if operation.answers(versions.MAXIMUM)
}


def test_every_operation_is_told_of() -> None:
    assert set(sections()) - FILTERS == set(OPERATIONS) - REPEATED


def names(content: str) -> dict[str, dict[str, str]]:
    """Return the parameters of request and response: name to definition."""
    request, _heading, response = content.partition("\nResponse\n")
    return {
        part: dict(re.findall(r"^   - (\S+): (\S+)$", text, re.MULTILINE))
        for part, text in (("request", request), ("response", response))
    }


def members(schema: Any) -> set[str]:
    """Return the members of an answer, and of the representations in it."""
    if "oneOf" in schema:
        return set().union(*map(members, schema["oneOf"]))
    found = set(schema.get("properties", {}))
    for value in schema.get("properties", {}).values():
        item = value.get("items", value)
        if "title" in item:
            found |= members(item)
    return found


@pytest.mark.parametrize(
    ("method", "path"), sorted(set(OPERATIONS) - REPEATED)
)
def test_parameters(method: str, path: str) -> None:
    operation = OPERATIONS[method, path]
    told = names(sections()[method, path])
    query: Any = {}
    if operation.query is not None:
        query = operation.query.schema(versions.MAXIMUM)
    in_path = set(re.findall(r"\{(\w+)\}", path))
    assert in_path | set(query.get("properties", {})) <= set(told["request"])
    expected = set()
    if operation.answer is not None:
        expected = members(operation.answer.schema(versions.MAXIMUM))
    assert set(told["response"]) == expected


@pytest.mark.parametrize(
    ("method", "path"), sorted(set(OPERATIONS) - REPEATED)
)
def test_statuses(method: str, path: str) -> None:
    operation = OPERATIONS[method, path]
    successes, _heading, _rest = sections()[method, path].partition("Error r")
    told = {
        int(status)
        for status in re.findall(r"^   - (\d{3})$", successes, re.MULTILINE)
        if int(status) < 400
    }
    assert told == {
        status
        for minor in range(operation.since.minor, versions.MAXIMUM.minor + 1)
        for status in operation.answers(
            versions.Version(versions.MAXIMUM.major, minor)
        )
    }


def test_since() -> None:
    for (method, path), content in sections().items():
        if (method, path) in FILTERS:
            continue
        told = re.search(
            r"^New in microversion (\S+)\.$", content, re.MULTILINE
        )
        since = OPERATIONS[method, path].since
        assert (told[1] if told else str(versions.BASE)) == str(since)


def test_since_of_members() -> None:
    """``min_version`` is that of the schema which has the member first."""
    definitions = yaml.safe_load((SOURCE / "parameters.yaml").read_text())
    for (method, path), content in sections().items():
        if (method, path) in FILTERS:
            continue
        operation = OPERATIONS[method, path]
        if operation.answer is None:
            continue
        for name, key in names(content)["response"].items():
            first = min(
                version
                for version, schema in operation.answer.schemas.items()
                if name in members(schema)
            )
            told = definitions[key].get("min_version", versions.BASE)
            # In the oldest answer a member may be older than that.
            oldest = first == min(operation.answer.schemas)
            assert str(told) == str(first) or oldest, key
