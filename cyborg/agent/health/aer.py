"""Counters of errors on the link.

``aer_dev_fatal`` and ``aer_dev_nonfatal``, which end in a line such as
``TOTAL_ERR_FATAL 0``. An error of the card may be counted by the port above
it alone; see Documentation/ABI/testing/sysfs-bus-pci-devices-aer.
"""

from collections.abc import Iterator
from typing import Any

from cyborg.accelerator import sysfs
from cyborg.agent.health import core

_COUNTERS = (
    ("aer-fatal", "aer_dev_fatal", "fatal"),
    ("aer-nonfatal", "aer_dev_nonfatal", "non-fatal"),
)


def read(
    view: core.View, card: core.Card, memory: dict[str, Any]
) -> Iterator[core.Seen]:
    """Yield what was counted since the last look; the first one is none."""
    for key, name, what in _COUNTERS:
        for place, path in (("card", card.path), ("port", card.port)):
            now = None if path is None else _total(path, name)
            if now is None:
                continue
            before = memory.get(f"{key}-{place}")
            memory[f"{key}-{place}"] = now
            # A card that was away begins with zero.
            if before is not None and now > before:
                yield key, f"{now - before} {what} errors, says the {place}"


def _total(path: str, name: str) -> int | None:
    for line in sysfs.read_lines(path, name):
        label, _space, number = line.rpartition(" ")
        if label.strip().startswith("TOTAL_ERR") and number.isdigit():
            return int(number)
    return None


SENSOR = core.Sensor("aer", ("aer-fatal", "aer-nonfatal"), read)
