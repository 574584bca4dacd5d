"""Every way a database gets to the schema of this release."""

from collections.abc import Callable
from typing import Any

from oslo_db import exception as db_exception
from oslo_db.sqlalchemy import test_migrations
import pytest
import sqlalchemy as sa

from cyborg.common import exception
from cyborg.db import migration
from cyborg.db import models
from cyborg.tests.fixtures import schema
from cyborg.tests.fixtures import upstream

ARQS = "extended_accelerator_requests"


@pytest.fixture(params=upstream.VARIANTS)
def earlier(request: pytest.FixtureRequest, db: sa.Engine) -> sa.Engine:
    """Database of an earlier release with a small cloud in it."""
    upstream.load_schema(db, request.param)
    upstream.load(db, "data")
    return db


class TestEmptyDatabase:
    def test_upgrade_and_create_schema_make_the_same(
        self, db: sa.Engine
    ) -> None:
        migration.upgrade()
        upgraded = schema.shape(db)
        assert set(upgraded) == {
            *models.Base.metadata.tables,
            "alembic_version",
        }
        assert upgraded == schema.made_at_once(db.dialect.name)

    def test_no_difference_from_the_models(self, db: sa.Engine) -> None:
        migration.upgrade()
        assert migration.check_schema() == []

    def test_upgrade_is_repeatable_and_stops_where_told(
        self, db: sa.Engine
    ) -> None:
        assert migration.version() is None
        migration.upgrade(migration.BASE)
        assert migration.version() == migration.BASE
        assert not sa.inspect(db).has_table("hosts")
        migration.upgrade()
        migration.upgrade()
        assert migration.version() == migration.head()

    def test_unknown_revision(self, db: sa.Engine) -> None:
        with pytest.raises(exception.SchemaRefused, match="nosuchrevision"):
            migration.upgrade("nosuchrevision")

    def test_create_schema_refuses_a_versioned_database(
        self, db: sa.Engine
    ) -> None:
        migration.create_schema()
        with pytest.raises(exception.SchemaRefused, match="version control"):
            migration.create_schema()

    def test_differences_are_named(self, db: sa.Engine) -> None:
        migration.upgrade()
        with db.begin() as connection:
            connection.exec_driver_sql("DROP TABLE notifications")
            connection.exec_driver_sql("CREATE TABLE leftover (id INTEGER)")
            on = " ON devices" if db.dialect.name == "mysql" else ""
            connection.exec_driver_sql(f"DROP INDEX devices_type_idx{on}")
            connection.exec_driver_sql(
                "ALTER TABLE hosts ADD COLUMN color VARCHAR(9)"
            )
        assert sorted(migration.check_schema()) == [
            "column is extra: hosts.color",
            "index is missing: devices.devices_type_idx",
            "index is missing: notifications.notifications_due_idx",
            "index is missing: notifications.notifications_instance_uuid_idx",
            "table is extra: leftover",
            "table is missing: notifications",
        ]


class TestEarlierRelease:
    def test_nothing_is_lost(self, earlier: sa.Engine) -> None:
        before = schema.rows(earlier)
        migration.upgrade()
        after = schema.rows(earlier)

        # Handles that were neither free nor taken, or taken and marked free.
        before["attach_handles"][3]["in_use"] = False
        before["attach_handles"][6]["in_use"] = True
        # Two counters of one project and resource.
        before["quota_usages"][1].update(in_use=3, reserved=3)
        del before["quota_usages"][2]
        before["reservations"][1]["usage_id"] = 1
        assert after == before
        assert migration.version() == migration.head()

    def test_schema_is_that_of_a_new_database(
        self, earlier: sa.Engine
    ) -> None:
        migration.upgrade()
        upgraded = schema.shape(earlier)
        assert upgraded == schema.made_at_once(earlier.dialect.name)

    def test_instances_with_arqs_are_bound(self, earlier: sa.Engine) -> None:
        migration.upgrade()
        with earlier.connect() as connection:
            found = connection.execute(
                sa.select(models.BoundInstance.instance_uuid)
            ).scalars()
            assert sorted(found) == [
                f"10000000-0000-4000-8000-00000000000{n}" for n in range(1, 5)
            ]

    def test_handles_are_guarded(self, earlier: sa.Engine) -> None:
        migration.upgrade()
        with pytest.raises(Exception, match=r"(?i)duplicate|unique"):
            upstream.load(earlier, "double-booked")

    def test_new_labels_are_accepted(self, earlier: sa.Engine) -> None:
        migration.upgrade()
        with earlier.begin() as connection:
            for table, column, label in (
                (models.ARQ, "state", "UnbindFailed"),
                (models.Device, "type", "PMEM"),
                (models.AttachHandle, "attach_type", "PMEM"),
                (models.ControlPathID, "cpid_type", "PMEM"),
                (models.ARQ, "substate", "Publishing"),
            ):
                connection.execute(
                    sa.update(table)
                    .where(table.id == 1)
                    .values({column: label})
                )
                found = connection.scalar(
                    sa.select(getattr(table, column)).where(table.id == 1)
                )
                assert found == label

    def test_children_of_a_deployable_keep_it(
        self, earlier: sa.Engine
    ) -> None:
        migration.upgrade()
        with earlier.begin() as connection:
            connection.execute(sa.delete(models.Attribute))
            connection.execute(
                sa.update(models.ARQ).values(
                    attach_handle_id=None, deployable_id=None
                )
            )
            connection.execute(sa.delete(models.AttachHandle))
        with (
            pytest.raises(Exception, match=r"(?i)foreign key"),
            earlier.begin() as connection,
        ):
            connection.execute(
                sa.delete(models.Deployable).where(models.Deployable.id == 1)
            )

    def test_rows_get_new_ids(self, earlier: sa.Engine) -> None:
        migration.upgrade()
        with earlier.begin() as connection:
            inserted = connection.execute(
                sa.insert(models.QuotaUsage).values(
                    project_id="project-3",
                    resource="FPGA",
                    in_use=0,
                    reserved=0,
                )
            )
            assert inserted.inserted_primary_key is not None
            assert inserted.inserted_primary_key[0] > 5

    def test_services_of_the_release_before_can_write(
        self, earlier: sa.Engine
    ) -> None:
        migration.upgrade()
        before = schema.rows(earlier)
        upstream.load(earlier, "statements")
        assert schema.rows(earlier) == before

    def test_double_booked_handle_stops_it(self, earlier: sa.Engine) -> None:
        upstream.load(earlier, "double-booked")
        before, tables = schema.rows(earlier), schema.shape(earlier)
        with pytest.raises(exception.SchemaRefused) as refused:
            migration.upgrade()
        text = refused.value.faultstring
        assert "nothing was changed" in text
        assert "attach handle ab000000-0000-4000-8000-000000000001" in text
        assert "e0000000-0000-4000-8000-000000000001 (Bound" in text
        assert "e0000000-0000-4000-8000-000000000090 (Bound" in text
        assert "cyborg-manage handle repair" in text
        assert (schema.rows(earlier), schema.shape(earlier)) == (
            before,
            tables,
        )
        assert migration.version() == migration.BASE


def test_profiles_of_one_uuid_stop_it(db: sa.Engine) -> None:
    upstream.load_schema(db, "created")
    upstream.load(db, "data", "profiles-of-one-uuid")
    with pytest.raises(exception.SchemaRefused) as refused:
        migration.upgrade()
    assert (
        "device_profiles with the uuid df000000-0000-4000-8000-000000000001"
        ": id 1; id 90" in refused.value.faultstring
    )
    assert "cyborg-manage profile repair" in refused.value.faultstring


class TestRefusals:
    @pytest.mark.parametrize("revision", migration.TOO_OLD)
    def test_release_before_2023_2(
        self, sqlite_db: sa.Engine, revision: str
    ) -> None:
        upstream.load_schema(sqlite_db, "migrated")
        _restamp(sqlite_db, revision)
        with pytest.raises(exception.SchemaRefused, match=r"2023\.2 or later"):
            migration.upgrade()
        assert migration.version() == revision

    def test_newer_release(self, db: sa.Engine) -> None:
        migration.upgrade()
        _restamp(db, "ffffffffffff")
        with pytest.raises(exception.SchemaRefused, match="newer release"):
            migration.upgrade()

    def test_tables_without_a_revision(self, db: sa.Engine) -> None:
        upstream.load_schema(db, "created")
        upstream.load(db, "data")
        with db.begin() as connection:
            connection.exec_driver_sql("DELETE FROM alembic_version")
        for refused in (migration.upgrade, migration.create_schema):
            with pytest.raises(
                exception.SchemaRefused, match="stamp --revision 6c77bd6afea5"
            ):
                refused()
        migration.stamp(migration.BASE)
        migration.upgrade()
        assert migration.version() == migration.head()

    def test_two_revisions(self, db: sa.Engine) -> None:
        migration.upgrade()
        with db.begin() as connection:
            connection.exec_driver_sql(
                "INSERT INTO alembic_version VALUES ('6c77bd6afea5')"
            )
        with pytest.raises(exception.SchemaRefused, match="more than one"):
            migration.upgrade()
        migration.stamp("head")
        assert migration.version() == migration.head()

    def test_stamp_of_an_unknown_revision(self, db: sa.Engine) -> None:
        migration.upgrade()
        with pytest.raises(exception.SchemaRefused, match="4cc1d79978fc"):
            migration.stamp("4cc1d79978fc")
        assert migration.version() == migration.head()


def _restamp(engine: sa.Engine, revision: str) -> None:
    with engine.begin() as connection:
        connection.execute(
            sa.text("UPDATE alembic_version SET version_num = :revision"),
            {"revision": revision},
        )


# Other engines take back what a transaction did not end.
COMMITS_EACH = pytest.mark.parametrize(
    "database_url", ["mysql"], indirect=True
)


class TestKilled:
    def test_upgrade_goes_on_where_it_stopped(
        self, earlier: sa.Engine, killed_at: Callable[[int], None]
    ) -> None:
        before = schema.rows(earlier)
        assert schema.repeat_killed(killed_at, migration.upgrade) > 10
        upgraded, after = schema.shape(earlier), schema.rows(earlier)
        assert {table: len(found) for table, found in after.items()} == {
            table: len(found) - (table == "quota_usages")
            for table, found in before.items()
        }
        assert after["quota_usages"][1]["in_use"] == 3
        assert after["quota_usages"][1]["reserved"] == 3
        assert upgraded == schema.made_at_once(earlier.dialect.name)

    @COMMITS_EACH
    def test_so_it_does_from_nothing(
        self, db: sa.Engine, killed_at: Callable[[int], None]
    ) -> None:
        assert schema.repeat_killed(killed_at, migration.upgrade) > 10
        assert migration.version() == migration.head()
        assert schema.shape(db) == schema.made_at_once(db.dialect.name)

    @COMMITS_EACH
    @pytest.mark.parametrize("survives", [2, 20, 36])
    def test_upgrade_ends_what_create_schema_began(
        self, db: sa.Engine, killed_at: Callable[[int], None], survives: int
    ) -> None:
        killed_at(survives)
        with pytest.raises((schema.Killed, db_exception.DBError)):
            migration.create_schema()
        with pytest.raises(exception.SchemaRefused, match="upgrade"):
            migration.create_schema()
        migration.upgrade()
        assert migration.version() == migration.head()
        assert schema.shape(db) == schema.made_at_once(db.dialect.name)


class _ModelsMigrationsSync(test_migrations.ModelsMigrationsSync):
    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine

    def db_sync(self, engine: sa.Engine) -> None:
        migration.upgrade()

    def get_engine(self) -> sa.Engine:
        return self.engine

    def get_metadata(self) -> sa.MetaData:
        return models.Base.metadata

    def include_object(self, item: Any, name: str, kind: str, *_: Any) -> bool:
        return not (kind == "table" and name == "alembic_version")

    def addCleanup(self, function: Any) -> None:
        """Leave it to the fixture to drop the database."""

    def fail(self, message: str) -> None:
        pytest.fail(message)


def test_models_and_migrations_agree(db: sa.Engine) -> None:
    _ModelsMigrationsSync(db).test_models_sync()
