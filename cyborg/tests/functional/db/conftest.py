"""Databases for the tests in this directory."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from cyborg.tests.fixtures import database
from cyborg.tests.fixtures.database import database_url
from cyborg.tests.fixtures.schema import killed_at

__all__ = ["database_url", "db", "killed_at", "sqlite_db"]


@pytest.fixture
def db(database_url: str) -> Iterator[sa.Engine]:
    """Engine of an empty database that ``cyborg.db`` works on."""
    with database.configured(database_url) as engine:
        yield engine


@pytest.fixture(params=database.KINDS)
def cyborg_db(request: pytest.FixtureRequest) -> Iterator[sa.Engine]:
    """The same with Cyborg's tables, all empty."""
    with (
        database.with_tables(request.param) as url,
        database.configured(url) as engine,
    ):
        yield engine


@pytest.fixture
def sqlite_db() -> Iterator[sa.Engine]:
    """The same, where the engine makes no difference."""
    with (
        database.database("sqlite") as url,
        database.configured(url) as engine,
    ):
        yield engine
