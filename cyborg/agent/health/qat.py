"""Whether a QAT device's firmware answers.

``/sys/kernel/debug/qat_<device>_<address>/heartbeat/status``, 0 or -1, see
Documentation/ABI/testing/debugfs-driver-qat; and ``qat/state``, ``up`` or
``down``, see Documentation/ABI/testing/sysfs-driver-qat.
"""

from collections.abc import Iterator
from typing import Any

from cyborg.accelerator import privileged
from cyborg.accelerator import sysfs
from cyborg.agent.health import core

_INTEL = "8086"
_CLASS = "0b40"


def read(
    view: core.View, card: core.Card, memory: dict[str, Any]
) -> Iterator[core.Seen]:
    """Yield what its driver says of a device."""
    function = card.function
    if (function.vendor, function.class_code) != (_INTEL, _CLASS):
        return
    if function.physfn is not None or function.driver is None:
        return
    if sysfs.read_optional(card.path, "qat", "state") == "down":
        yield "qat-down", "its driver has it down"
        # Nothing runs that could answer.
        return
    status = privileged.qat_heartbeat(view.root, function.address)
    if status == "-1":
        yield "qat-heartbeat", "heartbeat/status is -1"


SENSOR = core.Sensor("qat", ("qat-heartbeat", "qat-down"), read)
