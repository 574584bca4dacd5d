"""Join the revisions of OpenStack Cyborg 17.0.0 with those of this project.

States of devices are set to what the handles say: 17.0.0 lets them go stale.
"""

from alembic import op
import sqlalchemy as sa

from cyborg.db.migrations import baseline
from cyborg.db.migrations import converge

revision = "d3a90e6b5c28"
down_revision = ("d81c6f20a4e7", "b47c8f2d1e3a")
branch_labels = None
depends_on = None

ARQS = "extended_accelerator_requests"
STATES = ("available", "allocated", "pending_cleaning", "cleaning", "error")

# Tables of this project, and what their texts are compared with.
COMPARED = {
    "hosts": ("devices", "hostname"),
    "conductors": ("devices", "hostname"),
    "jobs": ("devices", "uuid"),
    "notifications": (ARQS, "uuid"),
    "bound_instances": (ARQS, "instance_uuid"),
    "device_identities": ("devices", "hostname"),
    "device_conditions": ("devices", "uuid"),
    "device_events": ("devices", "uuid"),
}


def upgrade() -> None:
    converge.labels("devices", "type", baseline.DEVICE_TYPES)
    converge.labels("devices", "device_state", STATES, nullable=True)
    _settle()
    for table, like in COMPARED.items():
        converge.collate(table, like)


def _settle() -> None:
    devices = sa.table(
        "devices",
        sa.column("id"),
        sa.column("device_state", sa.Enum(*STATES, name="device_state")),
    )
    deployables = sa.table(
        "deployables", sa.column("id"), sa.column("device_id")
    )
    handles = sa.table(
        "attach_handles", sa.column("deployable_id"), sa.column("in_use")
    )
    taken = sa.exists().where(
        deployables.c.device_id == devices.c.id,
        handles.c.deployable_id == deployables.c.id,
        handles.c.in_use == sa.true(),
    )
    state = devices.c.device_state
    for value, where in (("allocated", taken), ("available", ~taken)):
        op.execute(
            sa.update(devices)
            .where(
                where,
                sa.or_(
                    state.is_(None),
                    state.in_(
                        [s for s in ("available", "allocated") if s != value]
                    ),
                ),
            )
            .values(device_state=value)
        )
