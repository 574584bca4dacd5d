"""Let hosts have keys, and agents a bus of their own."""

import sqlalchemy as sa

from cyborg.db.migrations import baseline
from cyborg.db.migrations import converge

revision = "e3b7a90c5d14"
down_revision = "f7c2d90b6e14"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # The first report that comes with a key brings the host's.
    converge.column("hosts", sa.Column("key_hash", sa.String(64)))
    converge.column(
        "hosts",
        sa.Column(
            "apart", sa.Boolean, nullable=False, server_default=sa.false()
        ),
    )
    converge.column("hosts", sa.Column("refused_at", sa.DateTime))
    converge.create_table(
        "errands",
        *baseline.common_columns(),
        sa.Column("uuid", sa.String(36), nullable=False),
        sa.Column("hostname", sa.String(255), nullable=False),
        sa.Column("method", sa.String(64), nullable=False),
        sa.Column("arguments", sa.Text, nullable=False),
        sa.Column(
            "taken", sa.Boolean, nullable=False, server_default=sa.false()
        ),
        sa.Column("result", sa.Text),
        sa.Column("expires_at", sa.DateTime, nullable=False),
        sa.UniqueConstraint("uuid", name="uniq_errands0uuid"),
        like=("hosts", "hostname"),
    )
    converge.index("errands", "errands_hostname_idx", ["hostname"])
