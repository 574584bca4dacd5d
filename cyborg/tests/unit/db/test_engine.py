"""Transactions: who begins them, who joins, and what is tried again."""

from collections.abc import Iterator
import threading
from typing import Any

from oslo_db import exception as db_exception
import pytest
import sqlalchemy as sa

from cyborg import context as cyborg_context
from cyborg.common import exception
from cyborg.context import RequestContext
from cyborg.db import engine
from cyborg.tests.fixtures import database

TABLE = sa.Table(
    "counters",
    sa.MetaData(),
    sa.Column("name", sa.String(20), primary_key=True),
    sa.Column("value", sa.Integer, nullable=False),
)


@pytest.fixture(autouse=True)
def counters() -> Iterator[None]:
    with (
        database.database("sqlite") as url,
        database.configured(url) as db,
    ):
        TABLE.metadata.create_all(db)
        yield


@pytest.fixture
def context() -> RequestContext:
    return cyborg_context.get_admin_context()


def value_of(name: str) -> int | None:
    with engine.reading(cyborg_context.get_admin_context()) as connection:
        found: int | None = connection.scalar(
            sa.select(TABLE.c.value).where(TABLE.c.name == name)
        )
        return found


@engine.writer
def insert(context: RequestContext, name: str, value: int = 0) -> None:
    context.connection.execute(sa.insert(TABLE).values(name=name, value=value))


class TestWriter:
    def test_commits(self, context: RequestContext) -> None:
        insert(context, "one", 1)
        assert value_of("one") == 1

    def test_rolls_back_on_error(self, context: RequestContext) -> None:
        @engine.writer
        def fail(context: RequestContext) -> None:
            insert(context, "one")
            raise ValueError("after the insert")

        with pytest.raises(ValueError, match="after the insert"):
            fail(context)
        assert value_of("one") is None

    def test_nested_writers_are_one_transaction(
        self, context: RequestContext
    ) -> None:
        with (
            pytest.raises(db_exception.DBDuplicateEntry),
            engine.writing(context),
        ):
            insert(context, "one")
            insert(context, "two")
            insert(context, "two")
        assert value_of("one") is None
        assert value_of("two") is None

    def test_reader_inside_a_writer_sees_what_it_wrote(
        self, context: RequestContext
    ) -> None:
        with engine.writing(context) as outer:
            insert(context, "one", 7)
            with engine.reading(context) as inner:
                assert inner is outer
                assert inner.scalar(sa.select(TABLE.c.value)) == 7

    def test_other_transactions_do_not_see_it_before_the_end(
        self, context: RequestContext
    ) -> None:
        with engine.writing(context):
            insert(context, "one", 7)
            assert value_of("one") is None
        assert value_of("one") == 7

    def test_readers_do_not_write_lock(self, context: RequestContext) -> None:
        with engine.reading(context) as connection:
            connection.execute(sa.select(TABLE)).all()
            thread = threading.Thread(
                target=insert,
                args=(cyborg_context.get_admin_context(), "one", 1),
            )
            thread.start()
            thread.join(10)
            assert not thread.is_alive()
        assert value_of("one") == 1

    def test_foreign_keys_are_on(self, context: RequestContext) -> None:
        with engine.reading(context) as connection:
            assert connection.scalar(sa.text("PRAGMA foreign_keys")) == 1


def test_url_that_oslo_db_does_not_understand() -> None:
    engine.reset()
    with pytest.raises(exception.ConfigInvalid, match=r"mysql\+pymysql"):
        engine.configure(connection="mariadb+pymysql://root@127.0.0.1/cyborg")


class TestThreads:
    def test_eight_threads_that_read_before_they_write(
        self, context: RequestContext
    ) -> None:
        insert(context, "hits")
        attempts = []
        errors: list[BaseException] = []

        @engine.use_case
        def increment(context: RequestContext) -> None:
            attempts.append(1)
            query = sa.select(TABLE.c.value).where(TABLE.c.name == "hits")
            value = context.connection.scalar(query) or 0
            context.connection.execute(
                sa.update(TABLE)
                .where(TABLE.c.name == "hits")
                .values(value=value + 1)
            )

        def work() -> None:
            try:
                for _ in range(20):
                    increment(cyborg_context.get_admin_context())
            except Exception as error:
                errors.append(error)

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert value_of("hits") == 160
        # The lock is taken at the beginning, so nobody had to begin anew.
        assert len(attempts) == 160


class TestUseCase:
    def test_begins_anew_when_another_took_the_key(
        self, context: RequestContext
    ) -> None:
        seen: list[int | None] = []

        @engine.use_case
        def get_or_insert(context: RequestContext) -> int:
            # What the first run reads is older than what it meets.
            found = None
            if seen:
                found = context.connection.scalar(
                    sa.select(TABLE.c.value).where(TABLE.c.name == "one")
                )
            seen.append(found)
            if found is not None:
                return int(found)
            insert(context, "mine", 1)
            insert(context, "one", 1)
            return 1

        insert(cyborg_context.get_admin_context(), "one", 5)
        assert get_or_insert(context) == 5
        assert seen == [None, 5]
        # The run that failed left nothing.
        assert value_of("mine") is None

    def test_deadlock_and_lost_connection_begin_anew(
        self, context: RequestContext
    ) -> None:
        errors: list[Exception] = [
            db_exception.DBDeadlock(),
            db_exception.DBConnectionError(),
        ]

        @engine.use_case
        def unlucky(context: RequestContext) -> str:
            insert(context, f"run {len(errors)}")
            if errors:
                raise errors.pop(0)
            return "done"

        assert unlucky(context) == "done"
        assert value_of("run 2") is None
        assert value_of("run 1") is None
        assert value_of("run 0") == 0

    def test_other_errors_end_it(self, context: RequestContext) -> None:
        runs = []

        @engine.use_case
        def wrong(context: RequestContext) -> None:
            runs.append(1)
            raise ValueError("no use to repeat")

        with pytest.raises(ValueError, match="no use"):
            wrong(context)
        assert len(runs) == 1

    def test_only_the_outermost_begins_anew(
        self, context: RequestContext
    ) -> None:
        runs: list[str] = []

        @engine.use_case
        def inner(context: RequestContext) -> None:
            runs.append("inner")
            if len(runs) < 4:
                raise db_exception.DBDeadlock()

        @engine.use_case
        def outer(context: RequestContext) -> None:
            runs.append("outer")
            inner(context)

        outer(context)
        assert runs == ["outer", "inner"] * 2

    def test_duplicate_that_stays_is_an_error(
        self, context: RequestContext, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("time.sleep", lambda seconds: None)
        insert(context, "one")
        runs: list[Any] = []

        @engine.use_case
        def again(context: RequestContext) -> None:
            runs.append(1)
            insert(context, "one")

        with pytest.raises(db_exception.DBDuplicateEntry):
            again(cyborg_context.get_admin_context())
        assert len(runs) == 21
