"""Store why accelerator requests have failed."""

import sqlalchemy as sa

from cyborg.db.migrations import converge

revision = "f2b60d93c71e"
down_revision = "f2a6b81c9d04"
branch_labels = None
depends_on = None


def upgrade() -> None:
    table = "extended_accelerator_requests"
    converge.column(table, sa.Column("state_reason", sa.String(255)))
    converge.column(table, sa.Column("state_detail", sa.Text))
