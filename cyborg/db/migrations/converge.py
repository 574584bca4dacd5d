"""Schema changes that look first, so that they can be repeated."""

from typing import Any

from alembic import op
import sqlalchemy as sa

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


def create_table(name: str, *items: Any, **options: Any) -> None:
    """Create a table; its indexes are :func:`index`'s to make."""
    if not sa.inspect(op.get_bind()).has_table(name):
        op.create_table(name, *items, **options)


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
