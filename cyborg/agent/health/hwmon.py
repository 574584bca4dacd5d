"""Alarms of the sensors on a card.

``hwmon/hwmon*/``, see Documentation/hwmon/sysfs-interface of the kernel:
``temp1_crit_alarm`` and its like are 1 while a limit is passed.
"""

from collections.abc import Iterator
import os
import re
from typing import Any

from cyborg.accelerator import sysfs
from cyborg.agent.health import core

# NVMe drives and FPGAs have theirs one or more levels below the function.
_PLACES = (
    "hwmon/hwmon*",
    "nvme/nvme*/hwmon*",
    "fpga_region/region*/dfl-fme.*/hwmon/hwmon*",
)
_ALARM = re.compile(
    r"(?P<channel>(?:temp|in|curr|power|fan|energy)\d+)_"
    r"(?P<limit>(?:(?P<critical>l?crit|emergency)_)?(?:\w+_)?alarm)"
)


def read(
    view: core.View, card: core.Card, memory: dict[str, Any]
) -> Iterator[core.Seen]:
    """Yield the limits that are passed."""
    critical: list[str] = []
    others: list[str] = []
    for place in _PLACES:
        for path in sysfs.glob(card.path, place):
            for name in sysfs.names_optional(path):
                alarm = _ALARM.fullmatch(name)
                if alarm is None or sysfs.read_int(path, name) != 1:
                    continue
                text = _text(path, alarm["channel"], name)
                (critical if alarm["critical"] else others).append(text)
    if critical:
        yield "hwmon-critical", ", ".join(critical)
    if others:
        yield "hwmon-alarm", ", ".join(others)


def _text(path: str, channel: str, name: str) -> str:
    chip = sysfs.read_optional(path, "name") or os.path.basename(path)
    label = sysfs.read_optional(path, f"{channel}_label")
    return f"{chip} {name}" + (f" ({label})" if label else "")


SENSOR = core.Sensor("hwmon", ("hwmon-critical", "hwmon-alarm"), read)
