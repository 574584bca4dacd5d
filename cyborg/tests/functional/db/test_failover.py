"""A database that turns to another server, or is restored."""

from collections.abc import Callable
from collections.abc import Iterator
import logging
from typing import Any

import pytest
import sqlalchemy as sa

from cyborg.common import exception
from cyborg.conductor import worker
from cyborg.context import get_admin_context
from cyborg.context import RequestContext
from cyborg.db import engine
from cyborg.tests.fixtures import database

# Has a server say that it is read-only, full, or at odds with another client.
CASES = [
    pytest.param(
        "mysql",
        f"SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = {number}, "
        f"MESSAGE_TEXT = '{text}'",
        id=f"mysql-{number}",
    )
    for number, text in (
        (1290, "The MariaDB server is running with --read-only"),
        (1040, "Too many connections"),
        (1213, "Deadlock found when trying to get lock"),
        (1205, "Lock wait timeout exceeded; try restarting transaction"),
    )
] + [
    pytest.param(
        "postgresql",
        f"DO $$ BEGIN RAISE EXCEPTION 'refused' USING ERRCODE = '{state}'; "
        "END $$",
        id=f"postgresql-{state}",
    )
    for state in ("25006", "53300", "57P01")
]


@pytest.fixture
def db(request: pytest.FixtureRequest) -> Iterator[sa.Engine]:
    with (
        database.database(request.getfixturevalue("kind")) as url,
        database.configured(url) as configured,
    ):
        with configured.begin() as connection:
            connection.execute(sa.text("CREATE TABLE notes (note INTEGER)"))
        yield configured


@engine.use_case
def _note(context: RequestContext) -> None:
    context.connection.execute(sa.text("INSERT INTO notes VALUES (1)"))


@engine.reader
def _count(context: RequestContext) -> int:
    query = sa.text("SELECT COUNT(*) FROM notes")
    return int(context.connection.execute(query).scalar_one())


Refuse = Callable[[str, int], list[Any]]


@pytest.fixture
def refuse(db: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> Refuse:
    """Have the server answer with an error instead of inserting.

    :returns: the connections that it was asked by
    """
    used: list[Any] = []

    def begin(error: str, times: int) -> list[Any]:
        execute = db.dialect.do_execute

        def do_execute(cursor: Any, statement: Any, *rest: Any) -> None:
            if statement.startswith("INSERT INTO notes"):
                used.append(cursor.connection)
                if len(used) <= times:
                    cursor.execute(error)
            execute(cursor, statement, *rest)

        monkeypatch.setattr(db.dialect, "do_execute", do_execute)
        return used

    return begin


@pytest.mark.parametrize(("kind", "error"), CASES)
def test_a_use_case_is_repeated_at_whoever_takes_over(
    refuse: Refuse, kind: str, error: str
) -> None:
    context = get_admin_context()
    used = refuse(error, 2)
    _note(context)
    assert len(used) == 3
    assert _count(context) == 1
    if "Deadlock" not in error and "timeout" not in error:
        # By a new connection, which may lead elsewhere.
        assert len({id(one) for one in used}) == 3


@pytest.mark.parametrize(("kind", "error"), [CASES[0], CASES[4]])
def test_what_lasts_is_said_to_whoever_asks(
    refuse: Refuse,
    kind: str,
    error: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    used = refuse(error, 10**6)
    with pytest.raises(exception.DatabaseUnavailable) as caught:
        _note(get_admin_context())
    assert caught.value.code == 503
    assert 1 < len(used) < 50


def test_background_work_says_so_once_a_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def work() -> bool:
        raise exception.DatabaseUnavailable(reason="read-only")

    idle = worker.Worker("jobs", work, 0.001)
    with caplog.at_level(logging.ERROR, "cyborg.conductor.worker"):
        idle.start()
        idle._ended.wait(0.1)
        idle.stop()
    (record,) = [r for r in caplog.records if "jobs" in r.getMessage()]
    assert "read-only" in record.getMessage()
    assert record.exc_info is None
