"""The API over records on SQLite."""

from collections.abc import Iterator

import pytest

from cyborg.tests.fixtures import api as api_fixture


@pytest.fixture
def api() -> Iterator[api_fixture.Api]:
    with api_fixture.running() as running:
        yield running


@pytest.fixture(scope="module")
def shared_api() -> Iterator[api_fixture.Api]:
    """One for all tests of a module that change nothing."""
    with api_fixture.running() as running:
        yield running
