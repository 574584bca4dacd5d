"""The ports of a network card.

``net/*/carrier``, see Documentation/ABI/testing/sysfs-class-net: 0 or 1, and
EINVAL for a port that is not up.
"""

from collections.abc import Iterator
from typing import Any

from cyborg.accelerator import sysfs
from cyborg.agent.health import core


def read(
    view: core.View, card: core.Card, memory: dict[str, Any]
) -> Iterator[core.Seen]:
    """Yield the ports that have no link though they are up."""
    if card.function.physfn is not None:
        return
    down = [
        name
        for name in card.function.netdevs
        if sysfs.read_int(card.path, "net", name, "carrier") == 0
    ]
    if down:
        yield "port-down", f"no link at {', '.join(down)}"


SENSOR = core.Sensor("nic", ("port-down",), read)
