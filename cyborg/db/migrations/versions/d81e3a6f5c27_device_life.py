"""Add the cards behind devices, their conditions and their history."""

from typing import Any

from alembic import op
from oslo_utils import timeutils
import sqlalchemy as sa

from cyborg.db.migrations import baseline
from cyborg.db.migrations import converge

revision = "d81e3a6f5c27"
down_revision = "b7d2c5e81f43"
branch_labels = None
depends_on = None


def upgrade() -> None:
    converge.column("devices", sa.Column("identity_id", sa.Integer))
    converge.index("devices", "devices_identity_id_idx", ["identity_id"])
    _create_identities()
    _create_conditions()
    _create_events()
    _identify_devices()
    _keep_maintaining()


def _create(name: str, *items: Any) -> None:
    converge.create_table(
        name,
        *baseline.common_columns(),
        *items,
        **baseline.table_options(),
    )


def _text(name: str, length: int = 255) -> sa.Column[Any]:
    return sa.Column(name, sa.String(length), nullable=False)


def _create_identities() -> None:
    _create(
        "device_identities",
        _text("hostname"),
        _text("place"),
        _text("vendor"),
        sa.Column("product", sa.String(255)),
        sa.Column("serial", sa.String(255)),
        sa.Column("device_uuid", sa.String(36)),
    )
    converge.index(
        "device_identities", "device_identities_hostname_idx", ["hostname"]
    )
    converge.index(
        "device_identities",
        "device_identities_device_uuid_idx",
        ["device_uuid"],
    )


def _create_conditions() -> None:
    _create(
        "device_conditions",
        sa.Column(
            "identity_id",
            sa.Integer,
            sa.ForeignKey(
                "device_identities.id",
                name="fk_device_conditions_identity",
                ondelete="RESTRICT",
            ),
            nullable=False,
        ),
        _text("key", 64),
        _text("effect", 16),
        _text("source", 16),
        sa.Column("reason", sa.Text),
        sa.Column("since", sa.DateTime, nullable=False),
        sa.Column("until", sa.DateTime),
        sa.UniqueConstraint(
            "identity_id",
            "key",
            "source",
            name="uniq_device_conditions0identity0key0source",
        ),
    )
    converge.index(
        "device_conditions", "device_conditions_until_idx", ["until"]
    )


def _create_events() -> None:
    _create(
        "device_events",
        _text("uuid", 36),
        sa.Column("identity_id", sa.Integer),
        _text("device_uuid", 36),
        _text("kind", 32),
        _text("who"),
        sa.Column("why", sa.Text),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("at", sa.DateTime, nullable=False),
        sa.UniqueConstraint("uuid", name="uniq_device_events0uuid"),
    )
    converge.index(
        "device_events",
        "device_events_identity_id_idx",
        ["identity_id", "id"],
    )
    converge.index("device_events", "device_events_at_idx", ["at"])


# The two tables are never joined by text: what an earlier release made may
# have another collation.


def _identify_devices() -> None:
    """Note which cards there are; the next report knows more of them."""
    connection = op.get_bind()
    names = ("id", "uuid", "vendor", "hostname", "identity_id")
    devices = sa.table("devices", *(sa.column(name) for name in names))
    paths = sa.table(
        "controlpath_ids",
        *(sa.column(name) for name in ("id", "device_id", "cpid_info")),
    )
    identities = sa.table(
        "device_identities",
        *(
            sa.column(name)
            for name in (
                "id",
                "created_at",
                "hostname",
                "place",
                "vendor",
                "device_uuid",
            )
        ),
    )
    unknown = connection.execute(
        sa.select(devices).where(devices.c.identity_id.is_(None))
    ).all()
    if not unknown:
        return
    place = {
        row.device_id: row.cpid_info
        for row in connection.execute(
            sa.select(paths).order_by(paths.c.id.desc())
        )
    }

    def known() -> dict[str, int]:
        found = connection.execute(
            sa.select(identities.c.device_uuid, identities.c.id).order_by(
                identities.c.id
            )
        )
        return {row.device_uuid: row.id for row in found}

    there = known()
    fresh = [
        {
            "created_at": timeutils.utcnow(),
            "hostname": row.hostname,
            "place": place.get(row.id, ""),
            "vendor": row.vendor,
            "device_uuid": row.uuid,
        }
        for row in unknown
        if row.uuid not in there
    ]
    if fresh:
        connection.execute(sa.insert(identities), fresh)
        there = known()
    connection.execute(
        sa.update(devices)
        .where(devices.c.id == sa.bindparam("device_id"))
        .values(identity_id=sa.bindparam("identity")),
        [
            {"device_id": row.id, "identity": there[row.uuid]}
            for row in unknown
        ],
    )


def _keep_maintaining() -> None:
    """Make conditions of what operators have disabled."""
    devices = sa.table(
        "devices",
        *(
            sa.column(name)
            for name in ("identity_id", "status", "status_reason")
        ),
    )
    conditions = sa.table(
        "device_conditions",
        *(
            sa.column(name)
            for name in (
                "created_at",
                "identity_id",
                "key",
                "effect",
                "source",
                "reason",
                "since",
            )
        ),
    )
    now = sa.literal(timeutils.utcnow(), sa.DateTime)
    op.execute(
        sa.insert(conditions).from_select(
            [column.name for column in conditions.c],
            sa.select(
                now,
                devices.c.identity_id,
                sa.literal("maintaining"),
                sa.literal("no-schedule"),
                sa.literal("operator"),
                devices.c.status_reason,
                now,
            ).where(
                devices.c.identity_id.is_not(None),
                devices.c.status == "maintaining",
                devices.c.identity_id.not_in(
                    sa.select(conditions.c.identity_id).where(
                        conditions.c.key == "maintaining",
                        conditions.c.source == "operator",
                    )
                ),
            ),
        )
    )
