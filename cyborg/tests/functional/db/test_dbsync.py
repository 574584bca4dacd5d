"""The commands operators run, as processes of their own."""

from collections.abc import Callable
from collections.abc import Iterator
import pathlib
import re
import subprocess

import pytest
import sqlalchemy as sa

from cyborg.cmd import dbsync
from cyborg.db import migration
from cyborg.tests.fixtures import nova_events
from cyborg.tests.fixtures import process
from cyborg.tests.fixtures import upstream

Run = Callable[..., subprocess.CompletedProcess[str]]

# Nobody may need the bus for this.
CONFIG = """
[DEFAULT]
transport_url = rabbit://nobody:nothing@127.0.0.1:1/
[database]
connection = {url}
max_retries = 0
[nova]
auth_type = none
endpoint_override = {nova}
"""


@pytest.fixture
def nova() -> Iterator[nova_events.NovaEvents]:
    peer = nova_events.NovaEvents()
    peer.start()
    yield peer
    peer.stop()


@pytest.fixture
def run(
    database_url: str, tmp_path: pathlib.Path, nova: nova_events.NovaEvents
) -> Run:
    """Run cyborg-dbsync on an empty database."""
    path = tmp_path / "cyborg.conf"
    path.write_text(CONFIG.format(url=database_url, nova=nova.url))

    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        return process.call(
            process.cyborg("dbsync", f"--config-file={path}", *arguments),
            tmp_path,
        )

    return command


def test_from_nothing_to_head(run: Run) -> None:
    done = run("version")
    assert (done.returncode, done.stdout) == (0, "None\n")
    assert run("online_data_migrations").returncode == 2

    done = run("upgrade", "--revision", migration.BASE)
    assert (done.returncode, done.stdout) == (0, "")
    assert f"-> {migration.BASE}" in done.stderr
    assert run("version").stdout == f"{migration.BASE}\n"
    done = run("check_schema")
    assert done.returncode == 1
    assert "table is missing: hosts" in done.stdout.splitlines()

    assert run("upgrade").returncode == 0
    done = run("check_schema")
    assert (done.returncode, done.stdout) == (0, "")
    done = run("create_schema")
    assert done.returncode == 1
    assert "use 'cyborg-dbsync upgrade'" in done.stderr
    assert "Traceback" not in done.stderr


def migrated(arqs: int, devices: int = 0) -> str:
    return (
        f"Migrated {arqs} ARQ(s)\n"
        f"Backfilled device_state on {devices}/{devices} devices\n"
    )


def test_upgrade_and_heal_an_earlier_database(
    run: Run, db: sa.Engine, nova: nova_events.NovaEvents
) -> None:
    upstream.load_schema(db, "migrated")
    upstream.load(db, "data")
    nova.servers["10000000-0000-4000-8000-000000000002"] = "project-2"
    assert run("upgrade").returncode == 0

    done = run("online_data_migrations", "--max-count", "1")
    assert (done.returncode, done.stdout) == (1, migrated(1))
    nova.status = 503
    done = run("online_data_migrations")
    assert (done.returncode, done.stdout) == (2, migrated(0))
    nova.status = None
    done = run("online_data_migrations")
    with db.begin() as connection:
        connection.exec_driver_sql("UPDATE devices SET device_state = NULL")
    assert (done.returncode, done.stdout) == (0, migrated(1))
    done = run("online_data_migrations")
    assert (done.returncode, done.stdout) == (0, migrated(0, 3))


class TestUsage:
    @pytest.fixture
    def database_url(self, tmp_path: pathlib.Path) -> str:
        return f"sqlite:///{tmp_path}/cyborg.sqlite"

    def test_no_command(self, run: Run) -> None:
        done = run()
        assert done.returncode == 2
        assert "usage:" in done.stderr

    def test_stamp(self, run: Run) -> None:
        done = run("stamp")
        assert done.returncode == 2
        assert "--revision" in done.stderr
        assert run("stamp", "--revision", "f50980397351").returncode == 1
        assert run("stamp", "--revision", migration.BASE).returncode == 0
        assert run("version").stdout == f"{migration.BASE}\n"

    @pytest.mark.parametrize("count", ["0", "-1", "many", "1.5"])
    def test_max_count(self, run: Run, count: str) -> None:
        done = run("online_data_migrations", f"--max-count={count}")
        assert done.returncode == 127
        assert count in done.stderr

    def test_database_away(self, run: Run, tmp_path: pathlib.Path) -> None:
        config = tmp_path / "cyborg.conf"
        config.write_text(
            "[database]\nmax_retries = 0\n"
            "connection = mysql+pymysql://root@127.0.0.1:1/cyborg\n"
        )
        done = run("upgrade")
        assert done.returncode == 1
        assert "The database does not answer" in done.stderr
        assert "Traceback" not in done.stderr

    def test_bad_configuration(self, run: Run, tmp_path: pathlib.Path) -> None:
        (tmp_path / "cyborg.conf").write_text("no section\n")
        done = run("version")
        assert done.returncode == 1
        assert "Traceback" not in done.stderr


def test_revision_writes_a_module(
    sqlite_db: sa.Engine,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    migration.upgrade()
    with sqlite_db.begin() as connection:
        connection.exec_driver_sql("DROP TABLE notifications")
    make_config = migration._config

    def elsewhere() -> object:
        config = make_config()
        source = pathlib.Path(migration.__file__).parent / "migrations"
        config.set_main_option(
            "version_locations", f"{source / 'versions'}:{tmp_path}"
        )
        return config

    monkeypatch.setattr(migration, "_config", elsewhere)
    monkeypatch.setattr(
        migration.command,
        "revision",
        _into(str(tmp_path), migration.command.revision),
    )
    newest = migration.head()
    migration.revision("Add the outbox again", autogenerate=True)
    (path,) = tmp_path.glob("*.py")
    assert re.fullmatch(r"[0-9a-f]{12}_add_the_outbox_again\.py", path.name)
    text = path.read_text()
    assert f"down_revision = '{newest}'" in text
    assert "op.create_table" in text and "'notifications'" in text
    compile(text, path.name, "exec")


def _into(directory: str, function: Callable[..., object]) -> object:
    def write(config: object, message: str, **options: object) -> None:
        function(config, message, version_path=directory, **options)

    return write


def test_every_command_has_help() -> None:
    for command in (
        dbsync.upgrade,
        dbsync.version,
        dbsync.stamp,
        dbsync.create_schema,
        dbsync.revision,
        dbsync.check_schema,
        dbsync.online_data_migrations,
    ):
        assert command.__doc__
