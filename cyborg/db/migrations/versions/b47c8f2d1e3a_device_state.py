"""Devices have a state, as in OpenStack Cyborg 17.0.0.

Databases of that release carry this revision already.
"""

from alembic import op
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from cyborg.db.migrations import converge

revision = "b47c8f2d1e3a"
down_revision = "a35b4295a0e5"
branch_labels = None
depends_on = None

STATES = ("available", "allocated", "pending_cleaning", "cleaning", "error")


def upgrade() -> None:
    connection = op.get_bind()
    kind: sa.Enum = sa.Enum(*STATES, name="device_state")
    if connection.dialect.name == "postgresql":
        # Adding a column does not make its type.
        kind = postgresql.ENUM(*STATES, name="device_state", create_type=False)
        kind.create(connection, checkfirst=True)
    converge.column("devices", sa.Column("device_state", kind))
