"""The card's registers and its link.

``current_link_width``, ``current_link_speed``, ``max_link_width`` and
``max_link_speed`` of the card and of the port above it, and ``config``; see
Documentation/ABI/testing/sysfs-bus-pci of the kernel.
"""

from collections.abc import Iterator
from typing import Any

from cyborg.accelerator import sysfs
from cyborg.agent.health import core

_HEADER = 64
# GPUs lower the speed of their link when nothing runs on them.
_IDLES = ("03", "12")
# What the kernel prints where the register has no answer.
_NO_WIDTH = (0, 63, 255)


def read(
    view: core.View, card: core.Card, memory: dict[str, Any]
) -> Iterator[core.Seen]:
    """Yield whether registers answer, and what the link lacks."""
    header = _header(card.path)
    # A read of what is not there is answered with ones. That alone the
    # vendor is so is no sign: those of virtual functions are.
    if header and not header.strip(b"\xff"):
        yield "config-unreadable", "config reads as ones"
        return
    if card.function.physfn is not None or card.port is None:
        return
    yield from _width(card.path, card.port)
    speed = _slow(card.path, card.port)
    if speed is not None:
        idles = card.function.class_code.startswith(_IDLES)
        yield "link-idle" if idles else "link-speed", speed


def _header(path: str) -> bytes:
    try:
        with open(f"{path}/config", "rb", buffering=0) as file:
            return file.read(_HEADER)
    except FileNotFoundError:
        return b""


def _width(path: str, port: str) -> Iterator[core.Seen]:
    now = sysfs.read_int(path, "current_link_width")
    most = [
        width
        for width in (
            sysfs.read_int(path, "max_link_width"),
            sysfs.read_int(port, "max_link_width"),
        )
        if width not in (None, *_NO_WIDTH)
    ]
    if now is None or now in _NO_WIDTH or len(most) < 2:
        return
    if now < min(most):
        yield "link-width", f"x{now}, where x{min(most)} would be possible"


def _slow(path: str, port: str) -> str | None:
    now = _gigatransfers(path, "current_link_speed")
    most = [
        _gigatransfers(path, "max_link_speed"),
        _gigatransfers(port, "max_link_speed"),
    ]
    if now is None or None in most:
        return None
    best = min(speed for speed in most if speed is not None)
    if now >= best:
        return None
    return f"{now:g} GT/s, where {best:g} GT/s would be possible"


def _gigatransfers(path: str, name: str) -> float | None:
    """Return ``16.0 GT/s PCIe`` as a number; ``Unknown`` is None."""
    words = (sysfs.read_optional(path, name) or "").split()
    try:
        return float(words[0])
    except (IndexError, ValueError):
        return None


SENSOR = core.Sensor(
    "pcie",
    ("config-unreadable", "link-width", "link-speed", "link-idle"),
    read,
)
