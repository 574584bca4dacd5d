"""The controller of a drive.

``nvme/nvme*/state`` below the function: ``live``, or what it is doing; a
``dead`` one answers nobody. The critical warning is in the drive's SMART log,
which ``nvme smart-log`` reads; its bits are those of the NVMe specification.
"""

from collections.abc import Iterator
import json
import os
from typing import Any

from oslo_config import cfg

from cyborg.accelerator import privileged
from cyborg.accelerator import sysfs
from cyborg.agent.health import core

CONF = cfg.CONF

_WARNINGS = (
    "spare space is low",
    "temperature is out of range",
    "reliability is degraded",
    "media are read-only",
    "backup of volatile memory has failed",
    "persistent memory region is unreliable",
)
# Of its temperature hwmon tells as well, and that it was warm ends.
_TEMPERATURE = 1 << 1


def read(
    view: core.View, card: core.Card, memory: dict[str, Any]
) -> Iterator[core.Seen]:
    """Yield what is wrong with the controllers of a card."""
    for path in sysfs.glob(card.path, "nvme/nvme*"):
        name = os.path.basename(path)
        state = sysfs.read_optional(path, "state")
        if state == "dead":
            yield "nvme-dead", f"{name} is dead"
        elif state not in (None, "live"):
            yield "nvme-state", f"{name} is {state}"
        else:
            warning = _warning(view.root, name)
            bits = [
                text
                for bit, text in enumerate(_WARNINGS)
                if warning & ~_TEMPERATURE & 1 << bit
            ]
            if bits:
                yield "nvme-warning", f"{name}: {', '.join(bits)}"


def _warning(root: sysfs.Path, name: str) -> int:
    """Return the bits; none where the tool is missing."""
    text = privileged.nvme_smart_log(root, name, CONF.health.sensor_timeout)
    return 0 if text is None else warning_in(text)


def warning_in(text: str) -> int:
    """Return the bits in what ``nvme smart-log --output-format=json`` says.

    :raises ValueError: it is something else
    """
    value = json.loads(text)["critical_warning"]
    if isinstance(value, dict):
        # Verbose, and some later versions.
        value = value["value"]
    return int(value)


SENSOR = core.Sensor("nvme", ("nvme-dead", "nvme-state", "nvme-warning"), read)
