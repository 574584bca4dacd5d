"""Add hosts, conductors, jobs, the outbox, and what goes with them."""

from typing import Any

from alembic import op
from oslo_utils import timeutils
import sqlalchemy as sa

from cyborg.db.migrations import baseline
from cyborg.db.migrations import converge

revision = "c4f09b72ad35"
down_revision = "8a3e5b0d6f17"
branch_labels = None
depends_on = None

ARQS = "extended_accelerator_requests"


def upgrade() -> None:
    _add_columns()
    _create_hosts()
    _create_jobs()
    _create_outbox()
    _create_bound_instances()


def _create(name: str, *items: Any, **options: Any) -> None:
    converge.create_table(
        name,
        *baseline.common_columns(),
        *items,
        **options,
    )


def _uuid(name: str, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.String(36), nullable=nullable)


def _number(name: str, default: str | None = None) -> sa.Column[Any]:
    return sa.Column(name, sa.Integer, nullable=False, server_default=default)


def _add_columns() -> None:
    for table in ("devices", "deployables", "attach_handles"):
        converge.column(table, sa.Column("missing_since", sa.DateTime))
    converge.column("devices", sa.Column("driver", sa.String(100)))
    converge.column("devices", sa.Column("status_reason", sa.String(255)))
    converge.column("deployables", sa.Column("rp_name", sa.String(200)))
    converge.column("deployables", sa.Column("rp_traits", sa.Text))
    converge.column("deployables", sa.Column("rp_generation", sa.Integer))
    converge.column("attributes", sa.Column("origin", sa.String(16)))


def _create_hosts() -> None:
    _create(
        "hosts",
        _uuid("uuid"),
        sa.Column("hostname", sa.String(255), nullable=False),
        sa.Column("rpc_host", sa.String(255)),
        sa.Column("rpc_version", sa.String(16)),
        _uuid("root_rp_uuid", nullable=True),
        sa.Column("report_digest", sa.String(64)),
        sa.Column("drivers", sa.Text),
        sa.Column(
            "forced_down",
            sa.Boolean,
            nullable=False,
            server_default=sa.false(),
        ),
        sa.Column("last_seen_at", sa.DateTime),
        sa.Column("last_full_report_at", sa.DateTime),
        sa.Column("placement_synced_at", sa.DateTime),
        sa.Column("sync_error", sa.Text),
        _number("sync_wanted", "0"),
        _number("sync_done", "0"),
        sa.Column("sync_due_at", sa.DateTime),
        _uuid("sync_owner", nullable=True),
        _number("sync_attempts", "0"),
        sa.UniqueConstraint("uuid", name="uniq_hosts0uuid"),
        sa.UniqueConstraint("hostname", name="uniq_hosts0hostname"),
        like=("devices", "hostname"),
    )
    converge.index("hosts", "hosts_rpc_host_idx", ["rpc_host"])
    converge.index("hosts", "hosts_sync_due_at_idx", ["sync_due_at"])
    converge.index(
        "hosts", "hosts_placement_synced_at_idx", ["placement_synced_at"]
    )
    _create(
        "conductors",
        _uuid("uuid"),
        sa.Column("host", sa.String(255), nullable=False),
        sa.Column("rpc_version", sa.String(16)),
        sa.Column("last_seen_at", sa.DateTime),
        sa.UniqueConstraint("uuid", name="uniq_conductors0uuid"),
        sa.UniqueConstraint("host", name="uniq_conductors0host"),
    )


def _create_jobs() -> None:
    def reference(
        column: str, table: str, ondelete: str = "RESTRICT"
    ) -> sa.Column[Any]:
        key = sa.ForeignKey(
            f"{table}.id", name=f"fk_jobs_{column}", ondelete=ondelete
        )
        return sa.Column(column, sa.Integer, key)

    _create(
        "jobs",
        _uuid("uuid"),
        sa.Column("kind", sa.String(16), nullable=False),
        reference("arq_id", ARQS, ondelete="CASCADE"),
        reference("deployable_id", "deployables"),
        reference("device_id", "devices"),
        reference("attach_handle_id", "attach_handles"),
        sa.Column("payload", sa.Text, nullable=False),
        sa.Column("step", sa.String(32), nullable=False),
        _uuid("owner", nullable=True),
        sa.Column("lease_expires_at", sa.DateTime),
        sa.Column("deadline_at", sa.DateTime),
        _number("attempt"),
        sa.Column("last_error", sa.Text),
        sa.Column("finished_at", sa.DateTime),
        sa.UniqueConstraint("uuid", name="uniq_jobs0uuid"),
        # Agents take an id that comes twice for old work, and refuse it.
        sqlite_autoincrement=True,
    )
    converge.index(
        "jobs", "jobs_lease_idx", ["finished_at", "lease_expires_at"]
    )
    converge.index("jobs", "jobs_arq_id_idx", ["arq_id"])
    converge.index("jobs", "jobs_deployable_id_idx", ["deployable_id"])
    converge.index("jobs", "jobs_device_id_idx", ["device_id"])
    converge.index("jobs", "jobs_attach_handle_id_idx", ["attach_handle_id"])


def _create_outbox() -> None:
    _create(
        "notifications",
        _uuid("instance_uuid"),
        _uuid("arq_uuid"),
        sa.Column("status", sa.String(16), nullable=False),
        _number("attempts"),
        sa.Column("next_attempt_at", sa.DateTime, nullable=False),
        sa.UniqueConstraint("arq_uuid", name="uniq_notifications0arq_uuid"),
        # Nova's answer to one event must not settle another.
        sqlite_autoincrement=True,
        like=(ARQS, "uuid"),
    )
    converge.index(
        "notifications", "notifications_due_idx", ["next_attempt_at"]
    )
    converge.index(
        "notifications", "notifications_instance_uuid_idx", ["instance_uuid"]
    )


def _create_bound_instances() -> None:
    _create(
        "bound_instances",
        _uuid("instance_uuid"),
        sa.UniqueConstraint(
            "instance_uuid", name="uniq_bound_instances0instance_uuid"
        ),
        like=(ARQS, "instance_uuid"),
    )
    bound = sa.table(
        "bound_instances", sa.column("created_at"), sa.column("instance_uuid")
    )
    arqs = sa.table(ARQS, sa.column("instance_uuid"))
    op.execute(
        sa.insert(bound).from_select(
            ["created_at", "instance_uuid"],
            sa.select(
                sa.literal(timeutils.utcnow(), sa.DateTime),
                arqs.c.instance_uuid,
            )
            .where(
                arqs.c.instance_uuid.is_not(None),
                arqs.c.instance_uuid.not_in(sa.select(bound.c.instance_uuid)),
            )
            .distinct(),
        )
    )
