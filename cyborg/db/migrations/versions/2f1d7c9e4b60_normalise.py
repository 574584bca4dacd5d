"""Bring all databases of earlier releases to one form.

Some were migrated step by step, some made from the models of their time, and
the two differ: in the keys of device profiles, in what deleting a deployable
does to its children, in names, and in the order of the ARQ states.
"""

from alembic import op
import sqlalchemy as sa

from cyborg.db.migrations import baseline
from cyborg.db.migrations import converge

revision = "2f1d7c9e4b60"
down_revision = "6c77bd6afea5"
branch_labels = None
depends_on = None

ARQS = "extended_accelerator_requests"

# (table, column, enumeration, labels that join at its end)
ENUMS = (
    ("devices", "type", "device_type", ("PMEM",)),
    ("devices", "status", "device_status", ()),
    ("controlpath_ids", "cpid_type", "cpid_type", ("PMEM",)),
    ("attach_handles", "attach_type", "attach_type", ("PMEM",)),
    (ARQS, "state", "state", ("UnbindFailed",)),
)


def upgrade() -> None:
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        _extend_columns()
    _repair_rows()
    if connection.dialect.name == "sqlite":
        _rebuild_tables()
        return
    for table in baseline.metadata().sorted_tables:
        converge.foreign_keys(table)
        converge.names(table)
    # The pair let two profiles have one uuid.
    for key in sa.inspect(connection).get_unique_constraints(
        "device_profiles"
    ):
        if len(key["column_names"]) > 1:
            op.drop_constraint(
                str(key["name"]), "device_profiles", type_="unique"
            )
    if converge.is_mysql(connection):
        _extend_columns()
    op.alter_column(
        "attach_handles",
        "in_use",
        existing_type=sa.Boolean,
        nullable=False,
        server_default=sa.false(),
    )
    op.alter_column(
        ARQS,
        "substate",
        existing_nullable=False,
        type_=sa.String(32),
        postgresql_using="substate::text",
    )
    if connection.dialect.name == "postgresql":
        op.execute("DROP TYPE IF EXISTS substate")


def _labels(enum: str, added: tuple[str, ...]) -> tuple[str, ...]:
    return baseline.ENUMS[enum] + added


def _repair_rows() -> None:
    handles = sa.table("attach_handles", sa.column("id"), sa.column("in_use"))
    arqs = sa.table(ARQS, sa.column("attach_handle_id"))
    op.execute(
        sa.update(handles)
        .where(handles.c.in_use.is_(None))
        .values(in_use=sa.false())
    )
    # An ARQ that kept its handle while the handle was set free: without this
    # the handle would be offered to others for ever.
    op.execute(
        sa.update(handles)
        .where(
            handles.c.id.in_(
                sa.select(arqs.c.attach_handle_id).where(
                    arqs.c.attach_handle_id.is_not(None)
                )
            ),
            handles.c.in_use == sa.false(),
        )
        .values(in_use=sa.true())
    )


def _extend_columns() -> None:
    for table, column, enum, added in ENUMS:
        converge.labels(table, column, _labels(enum, added))


def _rebuild_tables() -> None:
    # SQLite changes keys and types by copying the table, so that the names
    # need not be looked at.
    inspector = sa.inspect(op.get_bind())
    for table in baseline.metadata().sorted_tables:
        for found in inspector.get_columns(table.name):
            # A later release of another line of revisions may have added it.
            if found["name"] not in table.columns:
                table.append_column(sa.Column(found["name"], found["type"]))
        with op.batch_alter_table(
            table.name, copy_from=table, recreate="always"
        ) as batch:
            for name, column, enum, added in ENUMS:
                if name == table.name and added:
                    batch.alter_column(
                        column,
                        existing_nullable=False,
                        type_=sa.Enum(*_labels(enum, added), name=enum),
                    )
            if table.name == "attach_handles":
                batch.alter_column(
                    "in_use",
                    existing_type=sa.Boolean,
                    nullable=False,
                    server_default=sa.false(),
                )
            if table.name == ARQS:
                batch.alter_column(
                    "substate", existing_nullable=False, type_=sa.String(32)
                )
