"""Microversions: what is not there before, and what the history page tells."""

import itertools
import pathlib
import re

import pytest

from cyborg.api import app
from cyborg.api import routing
from cyborg.api import versions
from cyborg.tests.fixtures import api as api_fixture
from cyborg.tests.fixtures import records

PAGE = (
    pathlib.Path(__file__).parents[4]
    / "doc/source/reference/api-microversion-history.rst"
)

OPERATIONS = [
    operation
    for controller in app.CONTROLLERS
    for operation, _handler in routing.operations(controller)
]


def path(text: str) -> str:
    """Return a path of an operation, naming what is there if it can."""
    return re.sub(r"\{\w+\}", records.uuid(1, "e"), text)


def before(version: versions.Version) -> str:
    return str(versions.Version(version.major, version.minor - 1))


def test_operations_are_not_served_before(
    shared_api: api_fixture.Api,
) -> None:
    newer = [one for one in OPERATIONS if one.since > versions.BASE]
    assert newer
    for operation in newer:
        for text in operation.paths:
            response = shared_api.ask(
                operation.method, path(text), version=before(operation.since)
            )
            assert response.status_int in (404, 405), (operation.method, text)


def test_filters_are_refused_before(shared_api: api_fixture.Api) -> None:
    found = set()
    for operation in OPERATIONS:
        schemas = {} if operation.query is None else operation.query.schemas
        for older, version in itertools.pairwise(sorted(schemas)):
            known = schemas[older]["properties"].keys()
            for name in schemas[version]["properties"].keys() - known:
                found.add(name)
                response = shared_api.ask(
                    operation.method,
                    f"{path(operation.paths[0])}?{name}=x",
                    version=before(version),
                )
                assert response.status_int == 400, (operation.paths, name)
                assert name in api_fixture.fault(response)
    assert {"status", "attribute", "arqs", "uuid", "project_id"} <= found


def test_history_has_every_version() -> None:
    if not PAGE.exists():
        pytest.skip("not a source tree")
    told = re.findall(r"^(\d+\.\d+)\n---$", PAGE.read_text(), re.MULTILINE)
    assert told == [
        f"{versions.MINIMUM.major}.{minor}"
        for minor in range(versions.MINIMUM.minor, versions.MAXIMUM.minor + 1)
    ]
    named = {
        str(value)
        for value in vars(versions).values()
        if isinstance(value, versions.Version)
    }
    assert set(told) == named
