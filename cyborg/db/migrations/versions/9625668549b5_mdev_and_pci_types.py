"""Devices may be of type MDEV or PCI, as in OpenStack Cyborg 17.0.0.

Databases of that release carry this revision already.
"""

from cyborg.db.migrations import baseline
from cyborg.db.migrations import converge

revision = "9625668549b5"
down_revision = "6c77bd6afea5"
branch_labels = None
depends_on = None


def upgrade() -> None:
    converge.labels(
        "devices",
        "type",
        (*baseline.ENUMS["device_type"], "MDEV", "PCI"),
        baseline.DEVICE_TYPES,
    )
