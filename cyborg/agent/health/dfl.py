"""Errors that an FPGA of the Device Feature List keeps.

``errors/`` of the management engine (``dfl-fme.*``) and of the port
(``dfl-port.*``), see Documentation/ABI/testing/sysfs-platform-dfl-fme and
sysfs-platform-dfl-port. They stay until somebody clears them.
"""

from collections.abc import Iterator
import os
from typing import Any

from cyborg.accelerator import sysfs
from cyborg.agent.health import core

_ENGINES = "fpga_region/region*/dfl-fme.*"
_PORTS = "fpga_region/region*/dfl-port.*"
_FATAL = "catfatal_errors"
_OTHERS = ("fme_errors", "pcie0_errors", "pcie1_errors", "nonfatal_errors")
# Bits that hold the revision of the register, in two of them.
_REVISION = 0xF << 56


def read(
    view: core.View, card: core.Card, memory: dict[str, Any]
) -> Iterator[core.Seen]:
    """Yield the errors that are kept."""
    for path in sysfs.glob(card.path, _ENGINES):
        fatal = _said(path, _FATAL)
        if fatal:
            yield "dfl-fatal", fatal
    others = [
        *(
            _said(path, name)
            for path in sysfs.glob(card.path, _ENGINES)
            for name in _OTHERS
        ),
        *(_said(path, "errors") for path in sysfs.glob(card.path, _PORTS)),
    ]
    text = ", ".join(filter(None, others))
    if text:
        yield "dfl-errors", text


def _said(path: str, name: str) -> str | None:
    value = sysfs.read_int(path, "errors", name) or 0
    if name in (_FATAL, "nonfatal_errors"):
        value &= ~_REVISION
    if not value:
        return None
    return f"{os.path.basename(path)} {name} 0x{value:x}"


SENSOR = core.Sensor("dfl", ("dfl-fatal", "dfl-errors"), read)
