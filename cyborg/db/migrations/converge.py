"""Schema changes that look first, so that they can be repeated."""

from collections.abc import Sequence
from typing import Any

from alembic import op
import sqlalchemy as sa

from cyborg.db.migrations import baseline

# What a foreign key does on delete when it does nothing.
_PASSIVE = (None, "RESTRICT", "NO ACTION")


def is_mysql(connection: sa.Connection) -> bool:
    return connection.dialect.name in ("mysql", "mariadb")


def _rename(connection: sa.Connection, kind: str, *names: str) -> None:
    quote = connection.dialect.identifier_preparer.quote
    table, old, new = (quote(name) for name in names)
    if is_mysql(connection):
        op.execute(f"ALTER TABLE {table} RENAME INDEX {old} TO {new}")
    elif kind == "index":
        op.execute(f"ALTER INDEX {old} RENAME TO {new}")
    else:
        op.execute(f"ALTER TABLE {table} RENAME CONSTRAINT {old} TO {new}")


def unique(table: str, name: str, columns: list[str]) -> None:
    """Make ``columns`` unique under ``name``."""
    connection = op.get_bind()
    for found in sa.inspect(connection).get_unique_constraints(table):
        if found["column_names"] == columns:
            if found["name"] != name:
                _rename(
                    connection, "constraint", table, str(found["name"]), name
                )
            return
    with op.batch_alter_table(table) as batch:
        batch.create_unique_constraint(name, columns)


def index(table: str, name: str, columns: list[str]) -> None:
    """Index ``columns`` under ``name``."""
    connection = op.get_bind()
    found = {
        str(item["name"]): item["column_names"]
        for item in sa.inspect(connection).get_indexes(table)
        if not item["unique"]
    }
    if name in found:
        return
    for other, others_columns in found.items():
        if others_columns == columns and connection.dialect.name != "sqlite":
            _rename(connection, "index", table, other, name)
            return
    op.create_index(name, table, columns)


def column(table: str, new: sa.Column[Any]) -> None:
    """Add a column."""
    found = sa.inspect(op.get_bind()).get_columns(table)
    if new.name not in {item["name"] for item in found}:
        op.add_column(table, new)


def create_table(
    name: str,
    *items: Any,
    like: tuple[str, str] = ("devices", "uuid"),
    **options: Any,
) -> None:
    """Create a table; its indexes are :func:`index`'s to make.

    :param like: table and column that texts of the new table are compared
        with, see :func:`collate`
    """
    if sa.inspect(op.get_bind()).has_table(name):
        collate(name, like)
        return
    options = baseline.table_options() | options
    found = _collation(*like)
    if found is not None:
        options["mysql_charset"], options["mysql_collate"] = found
    op.create_table(name, *items, **options)


def _collation(table: str, column: str) -> tuple[str, str] | None:
    """Return character set and collation of a column; None if not MySQL."""
    connection = op.get_bind()
    if not is_mysql(connection):
        return None
    charset, collation = connection.execute(
        sa.text(
            "SELECT character_set_name, collation_name "
            "FROM information_schema.columns WHERE table_schema = DATABASE() "
            "AND table_name = :table AND column_name = :column"
        ),
        {"table": table, "column": column},
    ).one()
    return charset, collation


def collate(name: str, like: tuple[str, str] = ("devices", "uuid")) -> None:
    """Give the texts of a table the collation of a column of another.

    MySQL refuses to compare texts of two collations. What a server gives to
    a new table by itself depends on its version, and old tables keep theirs.
    """
    wanted = _collation(*like)
    if wanted is None:
        return
    others = op.get_bind().scalar(
        sa.text(
            "SELECT COUNT(*) FROM information_schema.columns "
            "WHERE table_schema = DATABASE() AND table_name = :table "
            "AND collation_name <> :collation"
        ),
        {"table": name, "collation": wanted[1]},
    )
    if others:
        op.execute(
            f"ALTER TABLE {name} CONVERT TO CHARACTER SET {wanted[0]} "
            f"COLLATE {wanted[1]}"
        )


def labels(
    table: str,
    column: str,
    known: Sequence[str],
    order: Sequence[str] = (),
    nullable: bool = False,
) -> None:
    """Have an enumeration take ``known`` labels, and those it has.

    Labels that are there and not known, of another release, stay: rows may
    have them. PostgreSQL adds labels outside of the transaction, so this
    has to come first in a revision there.

    :param order: of all labels that may be there; default: as in ``known``
    """
    order = order or known
    connection = op.get_bind()
    current: Any = next(
        item["type"]
        for item in sa.inspect(connection).get_columns(table)
        if item["name"] == column
    )
    if connection.dialect.name == "postgresql":
        _add_labels(current.name, list(current.enums), known, order)
        return
    if not is_mysql(connection):
        # Plain text, of any value.
        return
    wanted = [
        label for label in order if label in known or label in current.enums
    ]
    wanted += [label for label in current.enums if label not in wanted]
    if list(current.enums) != wanted:
        op.alter_column(
            table,
            column,
            existing_nullable=nullable,
            type_=sa.Enum(*wanted, name=column),
        )


def _add_labels(
    name: str, found: list[str], known: Sequence[str], order: Sequence[str]
) -> None:
    missing = [label for label in known if label not in found]
    if not missing:
        return
    # PostgreSQL before 12 adds labels only outside of a transaction.
    with op.get_context().autocommit_block():
        for label in missing:
            later = order[order.index(label) + 1 :]
            place = next(
                (f" BEFORE '{one}'" for one in later if one in found), ""
            )
            op.execute(
                f"ALTER TYPE {name} ADD VALUE IF NOT EXISTS '{label}'{place}"
            )


def foreign_keys(table: sa.Table) -> None:
    """Make the foreign keys of ``table`` what they are in ``table``.

    Not on SQLite, where they can only change with the whole table.
    """
    connection = op.get_bind()
    found = {
        tuple(item["constrained_columns"]): item
        for item in sa.inspect(connection).get_foreign_keys(table.name)
    }
    for key in sorted(table.foreign_keys, key=lambda key: str(key.name)):
        item = found.get((key.parent.name,))
        if (
            item is not None
            and item["name"] == key.name
            and item["options"].get("ondelete") in _PASSIVE
        ):
            continue
        # Rows that the old key has checked need not be checked again, which
        # would copy the table.
        unchecked = item is not None and is_mysql(connection)
        if item is not None:
            op.drop_constraint(str(item["name"]), table.name, "foreignkey")
        if unchecked:
            op.execute("SET SESSION foreign_key_checks = 0")
        try:
            op.create_foreign_key(
                str(key.name),
                table.name,
                key.column.table.name,
                [key.parent.name],
                [key.column.name],
                ondelete=key.ondelete,
            )
        finally:
            if unchecked:
                op.execute("SET SESSION foreign_key_checks = 1")


def names(table: sa.Table) -> None:
    """Give the keys and indexes of ``table`` the names they have in it."""
    for constraint in table.constraints:
        if isinstance(constraint, sa.UniqueConstraint):
            unique(
                table.name,
                str(constraint.name),
                [column.name for column in constraint.columns],
            )
    for item in table.indexes:
        index(
            table.name,
            str(item.name),
            [column.name for column in item.columns],
        )
