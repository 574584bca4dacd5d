"""Store which servers may be gone."""

from alembic import op
import sqlalchemy as sa

from cyborg.db.migrations import converge

revision = "a90b4e17c5d8"
down_revision = "f2b60d93c71e"
branch_labels = None
depends_on = None

_TABLE = "bound_instances"
_ARQS = sa.table("extended_accelerator_requests", sa.column("substate"))


def upgrade() -> None:
    for name in ("missing_since", "look_at"):
        converge.column(_TABLE, sa.Column(name, sa.DateTime))
        converge.index(_TABLE, f"{_TABLE}_{name}_idx", [name])
    # It was noted there before. Who is gone is found anew.
    op.execute(
        sa.update(_ARQS)
        .where(_ARQS.c.substate.like("Orphan@%"))
        .values(substate="Initial")
    )
