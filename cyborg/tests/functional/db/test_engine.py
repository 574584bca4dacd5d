"""Transactions that meet, on each engine."""

import contextlib
import threading
import time
from typing import Any

from oslo_db import exception as db_exception
import pymysql
import pytest
import sqlalchemy as sa

from cyborg import _compat
from cyborg import context as cyborg_context
from cyborg.context import RequestContext
from cyborg.db import engine

TABLE = sa.Table(
    "counters",
    sa.MetaData(),
    sa.Column("name", sa.String(20), primary_key=True),
    sa.Column("value", sa.Integer, nullable=False),
    mysql_engine="InnoDB",
)


@pytest.fixture(autouse=True)
def counters(db: sa.Engine) -> None:
    TABLE.metadata.create_all(db)
    with db.begin() as connection:
        connection.execute(
            sa.insert(TABLE),
            [{"name": "a", "value": 0}, {"name": "b", "value": 0}],
        )


def values(db: sa.Engine) -> dict[str, int]:
    with db.connect() as connection:
        rows = connection.execute(TABLE.select())
        return {row.name: row.value for row in rows}


def together(*functions: object) -> list[BaseException]:
    """Run functions in threads; return what they raised."""
    errors: list[BaseException] = []

    def run(function: object) -> None:
        try:
            assert callable(function)
            function(cyborg_context.get_admin_context())
        except Exception as error:
            errors.append(error)

    threads = [
        threading.Thread(target=run, args=(function,))
        for function in functions
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return errors


def increment(context: RequestContext, name: str) -> None:
    context.connection.execute(
        sa.update(TABLE)
        .where(TABLE.c.name == name)
        .values(value=TABLE.c.value + 1)
    )


def test_every_connection_is_prepared(db: sa.Engine) -> None:
    with contextlib.ExitStack() as stack:
        # The first of them is the one that was tried.
        connections = [stack.enter_context(db.connect()) for _ in range(3)]
        if db.dialect.name == "sqlite":
            found = {
                connection.exec_driver_sql("PRAGMA busy_timeout").scalar()
                for connection in connections
            }
            assert found == {30000}
        else:
            found = {each.get_isolation_level() for each in connections}
            assert found == {"READ COMMITTED"}


def test_deadlock_is_survived(db: sa.Engine) -> None:
    meeting = threading.Barrier(2, timeout=1)

    def meet() -> None:
        # SQLite lets one in at a time, so that there the other never comes;
        # nor does anybody when the loser begins anew.
        try:
            meeting.wait()
        except threading.BrokenBarrierError:
            pass

    @engine.use_case
    def forward(context: RequestContext) -> None:
        increment(context, "a")
        meet()
        increment(context, "b")

    @engine.use_case
    def backward(context: RequestContext) -> None:
        increment(context, "b")
        meet()
        increment(context, "a")

    assert together(forward, backward) == []
    assert values(db) == {"a": 2, "b": 2}


@pytest.mark.parametrize("database_url", ["mysql"], indirect=True)
def test_a_cluster_that_refuses_a_commit(
    db: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = db.dialect.do_commit
    commits = []

    def refuse_first(connection: Any) -> None:
        """As Galera does where another node was faster."""
        commits.append(1)
        if len(commits) == 1:
            connection.rollback()
            raise pymysql.err.OperationalError(
                1213,
                "Deadlock found when trying to get lock; try restarting "
                "transaction",
            )
        commit(connection)

    @engine.use_case
    def use(context: RequestContext) -> None:
        increment(context, "a")

    monkeypatch.setattr(db.dialect, "do_commit", refuse_first)
    use(cyborg_context.get_admin_context())
    assert len(commits) == 2
    assert values(db)["a"] == 1


def test_two_that_insert_the_same_key(db: sa.Engine) -> None:
    inserted = []

    @engine.use_case
    def get_or_insert(context: RequestContext) -> None:
        query = sa.select(TABLE.c.value).where(TABLE.c.name == "new")
        if context.connection.scalar(query) is None:
            context.connection.execute(
                sa.insert(TABLE).values(name="new", value=1)
            )
            inserted.append(1)
        else:
            increment(context, "new")

    assert together(*[get_or_insert] * 8) == []
    assert values(db)["new"] == 8


def test_lost_connection_is_survived(db: sa.Engine) -> None:
    runs = []

    @engine.use_case
    def use(context: RequestContext) -> None:
        runs.append(1)
        if len(runs) == 1 and db.dialect.name != "sqlite":
            kill = {
                "mysql": "KILL CONNECTION_ID()",
                "postgresql": "SELECT pg_terminate_backend(pg_backend_pid())",
            }
            context.connection.execute(sa.text(kill[db.dialect.name]))
        increment(context, "a")

    use(cyborg_context.get_admin_context())
    assert values(db)["a"] == 1
    assert len(runs) == (1 if db.dialect.name == "sqlite" else 2)


KILL_OTHERS = {
    "mysql": (
        "SELECT id FROM information_schema.processlist "
        "WHERE db = DATABASE() AND id <> CONNECTION_ID()",
        "KILL {}",
    ),
    "postgresql": (
        "SELECT pid FROM pg_stat_activity WHERE "
        "datname = current_database() AND pid <> pg_backend_pid()",
        "SELECT pg_terminate_backend({})",
    ),
}


@pytest.mark.parametrize("idle", [False, True])
def test_idle_connections_are_asked_whether_they_live(
    db: sa.Engine, idle: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if db.dialect.name == "sqlite":
        pytest.skip("a file does not go away")
    context = cyborg_context.get_admin_context()
    with engine.reading(context) as connection:
        connection.execute(TABLE.select())
    find, kill = KILL_OTHERS[db.dialect.name]
    other = sa.create_engine(db.url, poolclass=sa.NullPool)
    with other.connect() as connection:
        for other_id in connection.execute(sa.text(find)).scalars():
            connection.execute(sa.text(kill.format(other_id)))
    if idle:
        later = time.monotonic() + 5
        monkeypatch.setattr(_compat.time, "monotonic", lambda: later)
    else:
        # It was used just now, so it is believed to live.
        with (
            pytest.raises(db_exception.DBConnectionError),
            engine.reading(context) as connection,
        ):
            connection.execute(TABLE.select())
    with engine.reading(context) as connection:
        assert len(connection.execute(TABLE.select()).all()) == 2


@pytest.mark.parametrize("database_url", ["mysql"], indirect=True)
def test_rolls_back_only_what_is_open(db: sa.Engine) -> None:
    def rolled_back(connection: sa.Connection) -> int:
        # One connection serves them all, one after the other.
        row = connection.execute(
            sa.text("SHOW SESSION STATUS LIKE 'Com_rollback'")
        ).one()
        return int(row[1])

    context = cyborg_context.get_admin_context()
    with engine.writing(context) as connection:
        start = rolled_back(connection)
    with engine.reading(context) as connection:
        assert rolled_back(connection) == start
    with engine.writing(context) as connection:
        assert rolled_back(connection) == start + 1
        increment(context, "a")
    with (
        contextlib.suppress(LookupError),
        engine.writing(context) as connection,
    ):
        assert rolled_back(connection) == start + 1
        increment(context, "b")
        raise LookupError
    assert values(db) == {"a": 1, "b": 0}
