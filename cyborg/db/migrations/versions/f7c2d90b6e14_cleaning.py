"""Store on which hosts devices are cleaned without being asked."""

import sqlalchemy as sa

from cyborg.db.migrations import converge

revision = "f7c2d90b6e14"
down_revision = "e5a4c1708b9d"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Hosts that are known now keep what their devices hold.
    converge.column(
        "hosts",
        sa.Column(
            "cleans", sa.Boolean, nullable=False, server_default=sa.false()
        ),
    )
