"""A conductor over a fresh database of each engine."""

from collections.abc import Iterator

import pytest

from cyborg.db import migration
from cyborg.tests.fixtures import database
from cyborg.tests.fixtures import inventory
from cyborg.tests.fixtures.database import database_url

__all__ = ["database_url", "store"]


@pytest.fixture
def store(database_url: str) -> Iterator[inventory.Store]:
    """A store with the schema, the same that upgrades lead to."""
    with database.configured(database_url):
        migration.create_schema()
        yield inventory.Store()
