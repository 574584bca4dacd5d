"""Store which machine a host is, and what its cards became."""

import sqlalchemy as sa

from cyborg.db.migrations import converge

revision = "d81c6f20a4e7"
down_revision = "d81e3a6f5c27"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Agents tell with their next report.
    converge.column("hosts", sa.Column("machine_id", sa.String(64)))
    converge.column("hosts", sa.Column("boot_id", sa.String(36)))
    converge.column("devices", sa.Column("seen", sa.Text))
