"""A conductor over a fresh database of each engine."""

from collections.abc import Iterator

from oslo_config import fixture as config_fixture
import pytest

from cyborg import conf
from cyborg.db import migration
from cyborg.tests.fixtures import database
from cyborg.tests.fixtures import inventory
from cyborg.tests.fixtures.database import database_url

__all__ = ["config", "database_url", "store"]

CONF = conf.CONF


@pytest.fixture
def config() -> Iterator[config_fixture.Config]:
    """Options as the test sets them; as they were afterwards."""
    with config_fixture.Config(CONF) as fixture:
        yield fixture


@pytest.fixture
def store(database_url: str) -> Iterator[inventory.Store]:
    """A store with the schema, the same that upgrades lead to."""
    with database.configured(database_url):
        migration.create_schema()
        yield inventory.Store()
