"""The schema of the 2023.2 release.

Databases that earlier releases made carry this revision already, and only
run what follows.
"""

from alembic import op

from cyborg.db.migrations import baseline

revision = "6c77bd6afea5"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    baseline.metadata().create_all(op.get_bind())
