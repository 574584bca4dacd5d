"""The schema's version: create, upgrade, stamp and compare.

Needs the database and nothing else. The chain of revisions begins with the
schema of the 2023.2 release, under the id that release gave it, so that a
database of that release or later upgrades in place.
"""

from collections.abc import Iterator
import contextlib
from typing import Any

from alembic import autogenerate
from alembic import command
from alembic import config as alembic_config
from alembic import script as alembic_script
from alembic import util as alembic_util
from alembic.runtime import migration as alembic_migration
import sqlalchemy as sa

from cyborg import conf
from cyborg.common import exception
from cyborg.db import engine as db_engine
from cyborg.db import models
from cyborg.db.migrations import baseline
from cyborg.db.migrations import conflicts
from cyborg.db.migrations import exclusive

CONF = conf.CONF

BASE = "6c77bd6afea5"

# Revisions of releases before 2023.2, which this one cannot upgrade.
TOO_OLD = (
    "f50980397351",
    "d6f033d8fa5b",
    "ede4e3f1a232",
    "589ff20545b7",
    "c1b5abada09c",
    "57539722e5cf",
    "22fb1af2d51e",
    "7b696fd94949",
    "62bcf2610c5d",
    "7a4fd0fc3f8c",
    "60d8ac91fd20",
    "7e6f1f107f2b",
    "899cead40bc9",
    "4cc1d79978fc",
)


def _config() -> alembic_config.Config:
    config = alembic_config.Config()
    config.set_main_option("script_location", "cyborg.db:migrations")
    config.set_main_option("path_separator", "os")
    # New modules are named like the others.
    config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    return config


def _script() -> alembic_script.ScriptDirectory:
    return alembic_script.ScriptDirectory.from_config(_config())


def head() -> str:
    """Return the newest revision that this release knows."""
    return str(_script().get_current_head())


@contextlib.contextmanager
def _connecting() -> Iterator[sa.Connection]:
    """Provide a connection for schema changes."""
    with db_engine.get_engine().connect() as connection:
        if connection.dialect.name != "sqlite":
            yield connection
            return
        # SQLite changes a table by copying it, and dropping the original
        # must not touch the rows that refer to it. The setting is ignored
        # inside a transaction, hence the raw connection.
        raw = connection.connection.driver_connection
        assert raw is not None
        raw.execute("PRAGMA foreign_keys = OFF")
        try:
            yield connection
        finally:
            connection.rollback()
            raw.execute("PRAGMA foreign_keys = ON")


@contextlib.contextmanager
def _refusing() -> Iterator[None]:
    """Turn alembic's complaints into errors of ours."""
    try:
        yield
    except alembic_util.CommandError as error:
        raise exception.SchemaRefused(reason=str(error)) from error


def stamps(connection: sa.Connection) -> tuple[str, ...]:
    """Return the revisions the database is stamped with; normally one."""
    heads = alembic_migration.MigrationContext.configure(
        connection
    ).get_current_heads()
    return tuple(heads)


def is_new(connection: sa.Connection) -> bool:
    """Tell whether nothing was ever stored: an upgrade makes all tables."""
    return not stamps(connection) and _holds_nothing(connection)


def problem(connection: sa.Connection) -> str | None:
    """Return why this release cannot upgrade the database, or None."""
    found = stamps(connection)
    if len(found) > 1 and not _have_parted(found):
        return (
            "The database is stamped with more than one revision: "
            f"{', '.join(found)}. Restore it from a backup, or stamp it with "
            "the one its tables have: cyborg-dbsync stamp --revision "
            "<revision>."
        )
    if not found:
        if _holds_nothing(connection):
            return None
        return (
            "The database has Cyborg's tables and no revision. If the "
            "2023.2 release or a later one made them, say so with "
            f"'cyborg-dbsync stamp --revision {BASE}' and upgrade again; a "
            "database of an older release has to be upgraded with that "
            "release's tools to 2023.2 first."
        )
    old = set(found).intersection(TOO_OLD)
    if old:
        return (
            f"The database is at revision {old.pop()}, of a release before "
            "2023.2. Upgrade it with the tools of OpenStack Cyborg 2023.2 "
            f"or later to revision {BASE} first."
        )
    unknown = sorted(set(found) - _revisions().keys())
    if unknown:
        return (
            f"The database is at revision {unknown[0]}, which this release "
            "does not know: a newer release has upgraded it. Install that "
            "release, or restore a backup."
        )
    return None


def _revisions() -> dict[str, set[str]]:
    """Return the revisions this release knows, each with those before it."""
    before: dict[str, set[str]] = {}
    # They come from the newest to the oldest.
    for item in reversed(list(_script().walk_revisions())):
        parents = alembic_util.to_tuple(item.down_revision, default=())
        before[item.revision] = set(parents).union(
            *(before[parent] for parent in parents)
        )
    return before


def _have_parted(found: tuple[str, ...]) -> bool:
    """Tell whether an upgrade stopped before two lines of revisions met."""
    before = _revisions()
    return before.keys() >= set(found) and not any(
        before[one].intersection(found) for one in found
    )


def _holds_nothing(connection: sa.Connection) -> bool:
    """Tell whether the database is new, or was killed while it was made.

    MySQL commits every statement, so that tables may be there, with all
    columns and without rows, before the stamp is. Revisions go on from that.
    """
    inspector = sa.inspect(connection)
    for table in baseline.metadata().sorted_tables:
        if not inspector.has_table(table.name):
            continue
        columns = {item["name"] for item in inspector.get_columns(table.name)}
        if not columns.issuperset(table.columns.keys()):
            return False
        any_row = sa.select(sa.literal(1)).select_from(table).limit(1)
        if connection.execute(any_row).first():
            return False
    return True


def _run(connection: sa.Connection, function: Any, *args: Any) -> None:
    config = _config()
    config.attributes["connection"] = connection
    # What was read so far is not part of the first revision.
    connection.rollback()
    with _refusing():
        function(config, *args)
    connection.commit()


def upgrade(revision: str | None = None) -> None:
    """Upgrade to ``revision``, or to the newest.

    :raises SchemaRefused: with advice, if the database is not one that can
        be upgraded, or rows stand in the way
    """
    with (
        _connecting() as connection,
        exclusive.changing_schema(connection),
    ):
        refusal = problem(connection)
        if refusal:
            raise exception.SchemaRefused(reason=refusal)
        found = conflicts.find(connection)
        if found:
            raise exception.SchemaRefused(
                reason="Rows have to be repaired first; nothing was changed."
                "\n" + conflicts.describe(found)
            )
        _run(connection, command.upgrade, revision or "head")


def version() -> str | None:
    """Return the revision the database is at; None if it has none."""
    with _connecting() as connection:
        return ", ".join(stamps(connection)) or None


def stamp(revision: str) -> None:
    """Write ``revision`` into the database and change nothing else.

    :raises SchemaRefused: if this release does not know the revision
    """
    with _connecting() as connection:
        # What is written there may be what has to be got rid of.
        config = _config()
        config.attributes["connection"] = connection
        with _refusing():
            _script().get_revisions(revision)
            command.stamp(config, revision, purge=True)
        connection.commit()


def create_schema() -> None:
    """Create all tables at once and stamp them as the newest revision.

    :raises SchemaRefused: if the database has a version or tables already
    """
    with (
        _connecting() as connection,
        exclusive.changing_schema(connection),
    ):
        found = stamps(connection)
        if found:
            raise exception.SchemaRefused(
                reason="The database is under version control already, at "
                f"{', '.join(found)}; use 'cyborg-dbsync upgrade'."
            )
        present = sa.inspect(connection).get_table_names()
        if not set(present).isdisjoint(models.Base.metadata.tables):
            raise exception.SchemaRefused(
                reason=problem(connection)
                or "The database has Cyborg's tables already; use "
                "'cyborg-dbsync upgrade'."
            )
        tables = sa.MetaData()
        for table in models.Base.metadata.sorted_tables:
            copied = table.to_metadata(tables)
            copied.dialect_options["mysql"]["engine"] = (
                CONF.database.mysql_engine
            )
        connection.rollback()
        tables.create_all(connection)
        connection.commit()
    stamp("head")


def revision(message: str, autogenerate: bool = False) -> None:
    """Write a new revision module.

    :param autogenerate: fill it with what the models have and the database,
        which has to be at the newest revision, has not
    """
    with _connecting() as connection:

        def write(config: alembic_config.Config) -> None:
            command.revision(config, message, autogenerate=autogenerate)

        _run(connection, write)


def check_schema() -> list[str]:
    """Return how the database differs from the models, a line each."""
    with _connecting() as connection:
        context = alembic_migration.MigrationContext.configure(
            connection, opts={"compare_type": True}
        )
        found = autogenerate.compare_metadata(context, models.Base.metadata)
        return [_describe(item) for item in _flat(found)] + _label_differences(
            connection
        )


def _flat(differences: Any) -> Iterator[tuple[Any, ...]]:
    # Changes of columns come as lists of tuples, all others as tuples.
    for item in differences:
        if isinstance(item, list):
            yield from item
        else:
            yield item


def _describe(difference: tuple[Any, ...]) -> str:
    what, *about = difference
    action = str(what).replace("_", " ")
    for verb, meaning in (("add ", "is missing: "), ("remove ", "is extra: ")):
        if action.startswith(verb):
            kind = action.removeprefix(verb)
            return f"{kind} {meaning}{_name(about)}"
    _, table, column, *_, stored, wanted = about
    return (
        f"{action.removeprefix('modify ')} of {table}.{column} differs: "
        f"{stored!r} instead of {wanted!r}"
    )


def _name(about: list[Any]) -> str:
    item = about[-1]
    if isinstance(item, sa.Column):
        return f"{about[-2]}.{item.name}"
    if isinstance(item, sa.Table):
        return item.name
    return f"{item.table.name}.{item.name}"


def _label_differences(connection: sa.Connection) -> list[str]:
    inspector = sa.inspect(connection)
    differences = []
    for table in models.Base.metadata.sorted_tables:
        if not inspector.has_table(table.name):
            continue
        for found in inspector.get_columns(table.name):
            column = table.columns.get(found["name"])
            if (
                column is not None
                and isinstance(column.type, models.Label)
                and isinstance(found["type"], sa.Enum)
                # What another release has added does no harm.
                and [
                    label
                    for label in found["type"].enums
                    if label in column.type.labels
                ]
                != list(column.type.labels)
            ):
                differences.append(
                    f"labels of {table.name}.{column.name} differ: "
                    f"{', '.join(found['type'].enums)}"
                )
    return differences
