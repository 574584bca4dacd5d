"""The API reference tells of every operation, and all that it has."""

import re
from typing import Any

import pytest

from cyborg.api import app
from cyborg.api import routing
from cyborg.api import versions
from cyborg.tests.fixtures import api_ref

pytestmark = pytest.mark.skipif(
    not api_ref.SOURCE.exists(), reason="not a source tree"
)

# Not an operation, but a filter in front of them.
FILTERS = {("GET", "/healthcheck")}

OPERATIONS = {
    (operation.method, operation.paths[0]): operation
    for controller in app.CONTROLLERS
    for operation, _handler in routing.operations(controller)
    if operation.answers(versions.MAXIMUM)
}
TOLD = api_ref.sections() if api_ref.SOURCE.exists() else {}


def test_every_operation_is_told_of() -> None:
    assert set(TOLD) - FILTERS == set(OPERATIONS) - set(api_ref.REPEATED)


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


@pytest.mark.parametrize(("method", "path"), sorted(set(TOLD) - FILTERS))
def test_parameters(method: str, path: str) -> None:
    operation = OPERATIONS[method, path]
    section = TOLD[method, path]
    query: Any = {}
    if operation.query is not None:
        query = operation.query.schema(versions.MAXIMUM)
    in_path = set(re.findall(r"\{(\w+)\}", path))
    assert in_path | set(query.get("properties", {})) <= set(section.request)
    expected = set()
    if operation.answer is not None:
        expected = members(operation.answer.schema(versions.MAXIMUM))
    assert set(section.response) == expected


@pytest.mark.parametrize(("method", "path"), sorted(set(TOLD) - FILTERS))
def test_statuses(method: str, path: str) -> None:
    operation = OPERATIONS[method, path]
    answers = {
        status
        for minor in range(operation.since.minor, versions.MAXIMUM.minor + 1)
        for status in operation.answers(
            versions.Version(versions.MAXIMUM.major, minor)
        )
    }
    assert TOLD[method, path].statuses == answers | operation.errors()


def test_statuses_have_a_meaning() -> None:
    told = frozenset().union(*(one.statuses for one in TOLD.values()))
    assert told == api_ref.statuses().keys()


def test_since() -> None:
    for key in set(TOLD) - FILTERS:
        told = re.search(
            r"^New in microversion (\S+)\.$", TOLD[key].prose, re.MULTILINE
        )
        since = OPERATIONS[key].since
        assert (told[1] if told else str(versions.BASE)) == str(since)


def test_since_of_members() -> None:
    """``min_version`` is that of the schema which has the member first."""
    for key in set(TOLD) - FILTERS:
        operation = OPERATIONS[key]
        if operation.answer is None:
            continue
        for name, word in TOLD[key].response.items():
            first = min(
                version
                for version, schema in operation.answer.schemas.items()
                if name in members(schema)
            )
            definition = api_ref.definitions()[word]
            told = definition.get("min_version", versions.BASE)
            # In the oldest answer a member may be older than that.
            oldest = first == min(operation.answer.schemas)
            assert str(told) == str(first) or oldest, word
