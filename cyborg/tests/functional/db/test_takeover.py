"""A database of OpenStack Cyborg 17.0.0 becomes ours."""

from collections.abc import Callable
import concurrent.futures
import itertools
import threading
from typing import Any

import pytest
import sqlalchemy as sa

from cyborg import context as cyborg_context
from cyborg.db import device as device_db
from cyborg.db import migration
from cyborg.db import models
from cyborg.db.migrations import exclusive
from cyborg.tests.fixtures import schema
from cyborg.tests.fixtures import upstream

HEAD_17 = upstream.REVISIONS[-1]
# Of this project, before it knew 17.0.0.
OURS = "b7d2c5e81f43"

# engine, variant and revision: on MariaDB, which production has, all of them.
CASES = [
    pytest.param("mysql", variant, revision, id=f"{variant}-{revision}-mysql")
    for variant, revision in itertools.product(
        upstream.VARIANTS, upstream.REVISIONS
    )
] + [
    pytest.param(kind, "created", revision, id=f"{revision}-{kind}")
    for kind in ("postgresql", "sqlite")
    for revision in upstream.REVISIONS[1:]
]
AT_HEAD = [
    pytest.param(kind, "created", HEAD_17, id=kind)
    for kind in ("mysql", "postgresql", "sqlite")
]
cases = pytest.mark.parametrize(
    ("database_url", "variant", "revision"), CASES, indirect=["database_url"]
)
at_head = pytest.mark.parametrize(
    ("database_url", "variant", "revision"), AT_HEAD, indirect=["database_url"]
)


@pytest.fixture
def of_17(db: sa.Engine, variant: str, revision: str) -> sa.Engine:
    """Database of 17.0.0 with a cloud in it, as far as its columns go."""
    upstream.load_schema(db, variant)
    upstream.advance_schema(db, revision)
    upstream.load(db, "data")
    if revision == HEAD_17:
        upstream.load(db, "data-17", "states-17")
    return db


def states(engine: sa.Engine) -> dict[int, str | None]:
    with engine.connect() as connection:
        found = connection.execute(
            sa.text("SELECT id, device_state FROM devices")
        )
        return dict(found.tuples().all())


def expected(
    before: dict[str, dict[int, dict[str, Any]]],
) -> dict[str, dict[int, dict[str, Any]]]:
    """Return the rows after an upgrade; see test_migration for why."""
    before["attach_handles"][3]["in_use"] = False
    before["attach_handles"][6]["in_use"] = True
    before["quota_usages"][1].update(in_use=3, reserved=3)
    del before["quota_usages"][2]
    before["reservations"][1]["usage_id"] = 1
    return before


@cases
def test_nothing_is_lost(of_17: sa.Engine, revision: str) -> None:
    before = schema.rows(of_17)
    migration.upgrade()
    assert migration.version() == migration.head()
    assert migration.check_schema() == []
    assert schema.rows(of_17) == expected(before)
    known = {1: "allocated", 2: "available", 5: "allocated"}
    if revision == HEAD_17:
        known |= {11: "allocated", 12: "available", 13: "allocated"}
        known |= {14: "pending_cleaning", 15: "cleaning", 16: "error"}
    assert states(of_17) == known
    upgraded = schema.shape(of_17)
    assert upgraded == schema.made_at_once(of_17.dialect.name)


@at_head
def test_killed_anywhere_it_goes_on(
    of_17: sa.Engine, killed_at: Callable[[int], None]
) -> None:
    before = schema.rows(of_17)
    assert schema.repeat_killed(killed_at, migration.upgrade) > 10
    assert schema.rows(of_17) == expected(before)
    upgraded = schema.shape(of_17)
    assert upgraded == schema.made_at_once(of_17.dialect.name)


def test_a_database_of_our_own_goes_on(
    db: sa.Engine, killed_at: Callable[[int], None]
) -> None:
    migration.upgrade(OURS)
    upstream.load(db, "data-ours")
    assert schema.repeat_killed(killed_at, migration.upgrade) > 3
    assert states(db) == {1: "allocated", 2: "available"}
    with db.connect() as connection:
        found = connection.execute(
            sa.select(models.Device.id, models.Device.type).order_by(
                models.Device.id
            )
        )
        assert found.tuples().all() == [(1, "PMEM"), (2, "SSD")]
    upgraded = schema.shape(db)
    assert upgraded == schema.made_at_once(db.dialect.name)


@at_head
def test_labels_of_a_later_release_stay(of_17: sa.Engine) -> None:
    """Another release went on from there; an operator stamped it back."""
    with of_17.begin() as connection:
        for statement in LATER[of_17.dialect.name]:
            connection.exec_driver_sql(statement)
    with of_17.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE devices SET type = 'TPU', device_state = 'parked' "
            "WHERE id = 12"
        )
    migration.upgrade()
    assert migration.check_schema() == []
    context = cyborg_context.get_admin_context()
    found = {row.id: row for row in device_db.find(context)}
    assert (found[12].type, found[12].device_state) == ("TPU", "parked")
    assert len(found) == 9


_TYPES = "'GPU','FPGA','AICHIP','QAT','NIC','SSD','MDEV','PCI','NVME','TPU'"
_STATES = (
    "'available','allocated','pending_cleaning','cleaning','error','parked'"
)
LATER = {
    "mysql": (
        f"ALTER TABLE devices MODIFY type ENUM({_TYPES}) NOT NULL",
        f"ALTER TABLE devices MODIFY device_state ENUM({_STATES})",
    ),
    "postgresql": (
        "ALTER TYPE device_type ADD VALUE 'TPU'",
        "ALTER TYPE device_state ADD VALUE 'parked'",
    ),
    "sqlite": (),
}


class TestCollations:
    """Tables of an old server, or of another's default, under a new one."""

    @pytest.fixture
    def database_url(self) -> Any:
        with schema.database.database("mysql") as url:
            yield url

    @pytest.fixture
    def unlike(self, db: sa.Engine) -> sa.Engine:
        """Database whose tables have a collation that new ones do not get."""
        upstream.load_schema(db, "created")
        upstream.load(db, "data")
        with db.begin() as connection:
            connection.exec_driver_sql("SET SESSION foreign_key_checks = 0")
            for table in sa.inspect(connection).get_table_names():
                connection.exec_driver_sql(
                    f"ALTER TABLE {table} CONVERT TO CHARACTER SET utf8mb3 "
                    "COLLATE utf8mb3_unicode_ci"
                )
            connection.exec_driver_sql("SET SESSION foreign_key_checks = 1")
        return db

    def _collations(self, engine: sa.Engine) -> set[str]:
        with engine.connect() as connection:
            return set(
                connection.scalars(
                    sa.text(
                        "SELECT collation_name FROM "
                        "information_schema.columns WHERE table_schema = "
                        "DATABASE() AND collation_name IS NOT NULL "
                        "AND table_name <> 'alembic_version'"
                    )
                )
            )

    def test_new_tables_are_like_those_they_are_compared_with(
        self, unlike: sa.Engine
    ) -> None:
        migration.upgrade()
        assert self._collations(unlike) == {"utf8mb3_unicode_ci"}

    def test_what_stopped_half_way_goes_on(self, unlike: sa.Engine) -> None:
        migration.upgrade("8a3e5b0d6f17")
        with unlike.begin() as connection:
            for table in ("hosts", "bound_instances"):
                # As a server makes it that is not told otherwise.
                kept = models.Base.metadata.tables[table]
                kept.create(connection)
        migration.upgrade()
        assert self._collations(unlike) == {"utf8mb3_unicode_ci"}
        assert migration.version() == migration.head()


class TestAtOnce:
    def test_others_wait_and_succeed(
        self, db: sa.Engine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        waited = threading.Event()
        monkeypatch.setattr(exclusive.LOG, "warning", lambda *_: waited.set())
        with (
            concurrent.futures.ThreadPoolExecutor(2) as executor,
            db.connect() as connection,
        ):
            with exclusive.changing_schema(connection):
                begun = [executor.submit(migration.upgrade) for _ in range(2)]
                assert waited.wait(30)
                assert migration.version() is None
            for one in begun:
                one.result(60)
        assert migration.version() == migration.head()
        assert migration.check_schema() == []

    def test_the_lock_goes_with_its_holder(self, db: sa.Engine) -> None:
        with (
            pytest.raises(ZeroDivisionError),
            db.connect() as connection,
            exclusive.changing_schema(connection),
        ):
            _ = 1 / 0
        with db.connect() as connection, exclusive.changing_schema(connection):
            assert migration.version() is None
