"""A conductor over a fresh database of each engine."""

from collections.abc import Iterator

from oslo_config import fixture as config_fixture
import pytest

from cyborg import conf
from cyborg.tests.fixtures import database
from cyborg.tests.fixtures import inventory

CONF = conf.CONF


@pytest.fixture
def config() -> Iterator[config_fixture.Config]:
    """Options as the test sets them; as they were afterwards."""
    with config_fixture.Config(CONF) as fixture:
        yield fixture


@pytest.fixture(params=database.KINDS)
def database_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """URL of a database with empty tables, on each engine."""
    with database.with_tables(request.param) as url:
        yield url


@pytest.fixture
def store(database_url: str) -> Iterator[inventory.Store]:
    with database.configured(database_url):
        yield inventory.Store()
