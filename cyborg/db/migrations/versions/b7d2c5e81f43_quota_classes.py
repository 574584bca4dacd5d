"""Store which resource class each accelerator request stands for."""

import sqlalchemy as sa

from cyborg.db.migrations import converge

revision = "b7d2c5e81f43"
down_revision = "c4f09b72ad35"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Requests that are there already get theirs when quotas are counted.
    converge.column(
        "extended_accelerator_requests",
        sa.Column("resource_class", sa.String(255)),
    )
