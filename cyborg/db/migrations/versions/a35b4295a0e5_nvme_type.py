"""Devices may be of type NVME, as in OpenStack Cyborg 17.0.0.

Databases of that release carry this revision already.
"""

from cyborg.db.migrations import baseline
from cyborg.db.migrations import converge

revision = "a35b4295a0e5"
down_revision = "9625668549b5"
branch_labels = None
depends_on = None


def upgrade() -> None:
    converge.labels(
        "devices",
        "type",
        (*baseline.ENUMS["device_type"], "MDEV", "PCI", "NVME"),
        baseline.DEVICE_TYPES,
    )
