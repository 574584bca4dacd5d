"""Store which providers count a host's deployables."""

import sqlalchemy as sa

from cyborg.db.migrations import converge

revision = "f2a6b81c9d04"
down_revision = "e3b7a90c5d14"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # What there is stays in providers of its own until somebody says
    # otherwise.
    converge.column(
        "hosts",
        sa.Column(
            "provider_layout",
            sa.String(16),
            nullable=False,
            server_default="device",
        ),
    )
    converge.column(
        "hosts",
        sa.Column(
            "sync_urgent",
            sa.Boolean,
            nullable=False,
            server_default=sa.false(),
        ),
    )
    converge.column("devices", sa.Column("carve", sa.String(64)))
    converge.column("deployables", sa.Column("rp_pool", sa.String(8)))
    converge.column(
        "deployables",
        sa.Column(
            "rp_moving",
            sa.Boolean,
            nullable=False,
            server_default=sa.false(),
        ),
    )
