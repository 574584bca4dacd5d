"""Store why agents withhold deployables."""

import sqlalchemy as sa

from cyborg.db.migrations import converge

revision = "e5a4c1708b9d"
down_revision = "d3a90e6b5c28"
branch_labels = None
depends_on = None


def upgrade() -> None:
    converge.column("deployables", sa.Column("withheld", sa.Text))
