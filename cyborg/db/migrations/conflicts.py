"""Finds rows that unique indexes of this release would refuse.

An upgrade searches before it changes anything, and ``cyborg-status upgrade
check`` says the same beforehand. It reads the tables of the 2023.2 release.
"""

import dataclasses
from typing import Any

import sqlalchemy as sa

_SHOWN = 20

# Tables whose uuid has to be unique; a profile's name as well.
_KEYS = (
    ("devices", "uuid"),
    ("deployables", "uuid"),
    ("attributes", "uuid"),
    ("controlpath_ids", "uuid"),
    ("attach_handles", "uuid"),
    ("device_profiles", "uuid"),
    ("device_profiles", "name"),
    ("extended_accelerator_requests", "uuid"),
)

_KEY_ADVICE = (
    "Give all but one of the rows another {column}, for example: UPDATE "
    "{table} SET {column} = '<new {column}>' WHERE id = <id>;"
)
_PROFILE_ADVICE = (
    "'cyborg-manage profile repair' gives the later profile another uuid; "
    "nothing refers to a profile by it but clients."
)
_HANDLE_ADVICE = (
    "Delete or shelve all but one of the instances while the release that is "
    "installed now still runs; or stop its cyborg-api and cyborg-conductor "
    "and run 'cyborg-manage handle audit', which says what to do, and "
    "'cyborg-manage handle repair'."
)


@dataclasses.dataclass(frozen=True)
class Conflict:
    """Rows that cannot all stay as they are."""

    subject: str
    rows: tuple[str, ...]
    advice: str

    def __str__(self) -> str:
        return f"{self.subject}: " + "; ".join(self.rows)


def find(connection: sa.Connection) -> list[Conflict]:
    """Return what the operator has to repair before an upgrade."""
    inspector = sa.inspect(connection)
    present = set(inspector.get_table_names())
    conflicts = []
    for table, column in _KEYS:
        if table in present and not is_unique(inspector, table, [column]):
            conflicts += _same_key(connection, table, column)
    if "extended_accelerator_requests" in present and not is_unique(
        inspector, "extended_accelerator_requests", ["attach_handle_id"]
    ):
        conflicts += _same_handle(connection)
    return conflicts


def describe(conflicts: list[Conflict]) -> str:
    """Return the conflicts as text: a line each, and what to do."""
    lines = [str(conflict) for conflict in conflicts[:_SHOWN]]
    if len(conflicts) > _SHOWN:
        lines.append(f"... and {len(conflicts) - _SHOWN} more")
    # The same advice once, however many rows it is for.
    lines += dict.fromkeys(conflict.advice for conflict in conflicts)
    return "\n".join(lines)


def is_unique(inspector: sa.Inspector, table: str, columns: list[str]) -> bool:
    """Tell whether the database keeps ``columns`` of ``table`` unique."""
    return any(
        found["column_names"] == columns
        for found in [
            *inspector.get_unique_constraints(table),
            *(
                index
                for index in inspector.get_indexes(table)
                if index["unique"]
            ),
        ]
    )


def _same_key(
    connection: sa.Connection, table: str, column: str
) -> list[Conflict]:
    key: Any = sa.column(column)
    rows: Any = sa.table(table, sa.column("id"), key)
    repeated = sa.select(key).select_from(rows).group_by(key)
    repeated = repeated.having(sa.func.count() > 1)
    conflicts = []
    for (value,) in connection.execute(repeated.order_by(key)).all():
        found = connection.execute(
            sa.select(rows.c.id).where(key == value).order_by(rows.c.id)
        )
        conflicts.append(
            Conflict(
                f"{table} with the {column} {value}",
                tuple(f"id {row_id}" for (row_id,) in found),
                _PROFILE_ADVICE
                if (table, column) == ("device_profiles", "uuid")
                else _KEY_ADVICE.format(table=table, column=column),
            )
        )
    return conflicts


def _same_handle(connection: sa.Connection) -> list[Conflict]:
    shared = connection.execute(
        sa.text(
            "SELECT r.attach_handle_id, h.uuid, h.attach_info, r.uuid, "
            "r.state, r.instance_uuid, r.hostname "
            "FROM extended_accelerator_requests r "
            "JOIN attach_handles h ON h.id = r.attach_handle_id "
            "WHERE r.attach_handle_id IN ("
            "SELECT attach_handle_id FROM extended_accelerator_requests "
            "GROUP BY attach_handle_id HAVING COUNT(*) > 1) "
            "ORDER BY r.attach_handle_id, r.id"
        )
    )
    handles: dict[str, list[str]] = {}
    for _, handle, info, arq, state, instance, host in shared:
        handles.setdefault(f"attach handle {handle} {info}", []).append(
            f"accelerator request {arq} ({state}, instance {instance}, "
            f"host {host})"
        )
    return [
        Conflict(f"{handle} is given to", tuple(arqs), _HANDLE_ADVICE)
        for handle, arqs in handles.items()
    ]
