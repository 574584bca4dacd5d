"""The API reference tells of every operation, and all that it has."""

import pathlib
import re
from typing import Any

import pytest
import yaml

from cyborg.api import app
from cyborg.api import openapi
from cyborg.api import reference
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


@pytest.mark.parametrize(("method", "path"), sorted(set(TOLD) - FILTERS))
def test_parameters(method: str, path: str) -> None:
    operation = OPERATIONS[method, path]
    section = TOLD[method, path]
    query: Any = {}
    if operation.query is not None:
        query = operation.query.schema(versions.MAXIMUM)
    in_path = set(re.findall(r"\{(\w+)\}", path))
    assert in_path | set(query.get("properties", {})) <= set(section.request)
    name = openapi.identifier(method, path)
    assert section.answer == (name if operation.answer else None)


def test_tables_are_made_of_the_declaration(tmp_path: pathlib.Path) -> None:
    directory = tmp_path / "answers"
    reference.write(directory)
    text = (directory / "get-devices.inc").read_text()
    lines = text.splitlines()
    assert lines[0] == ".. rest_parameters:: answers/parameters.yaml"
    told = yaml.safe_load((directory / "parameters.yaml").read_text())
    for member, since, type_, required in (
        ("devices", None, "array", True),
        ("uuid", None, "string", True),
        ("status", "2.3", "string", True),
        ("last_job", "2.6", "object or null", True),
        ("devices_links", "2.5", "array", False),
    ):
        name = f"get-devices.{member}"
        assert f"   - {member}: {name}" in lines
        definition = told[name]
        assert definition["description"]
        assert definition.get("min_version") == since
        assert (definition["type"], definition["required"]) == (
            type_,
            required,
        )
    assert all(definition["description"] for definition in told.values())


def test_every_definition_is_used() -> None:
    used = {
        definition
        for section in TOLD.values()
        for definition in section.request.values()
    }
    assert used == api_ref.definitions().keys()


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
