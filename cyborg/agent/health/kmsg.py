"""What the kernel's log says of the card.

NVIDIA: "Xid Errors" and "Fabric Manager User Guide"; the other texts are
those that drivers and the PCI core print.
"""

from collections.abc import Iterator
import re
from typing import Any

from cyborg.accelerator import pci
from cyborg.agent.health import core
from cyborg.common import health

_AT = r"(?P<at>[0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f](?:\.[0-7])?)"
_DRIVER = r"^\S+ "

_XID = re.compile(rf"NVRM: Xid \(PCI:{_AT}\): (?P<code>\d+)", re.IGNORECASE)
_SXID = re.compile(
    rf"SXid \(PCI:{_AT}\): (?P<code>\d+), (?P<class>Fatal|Non-fatal)",
    re.IGNORECASE,
)
_NVIDIA = "10de"
_PROBE = "driver-failed"

# The sign, and how the line begins that says so.
_LINES = tuple(
    (key, re.compile(text, re.IGNORECASE))
    for key, text in (
        (
            _PROBE,
            rf"^\S+: probe of {_AT} failed with error -(?!517\b|19\b)\d+",
        ),
        (
            _PROBE,
            rf"{_DRIVER}{_AT}: probe with driver \S+ failed with error "
            r"-(?!517\b|19\b)\d+",
        ),
        ("driver-init", rf"NVRM: GPU {_AT}: RmInitAdapter failed"),
        ("not-ready", rf"{_DRIVER}{_AT}: not ready \d+ms after .*giving up"),
        (
            "inaccessible",
            rf"{_DRIVER}{_AT}: Unable to change power state from \S+ to D0, "
            "device inaccessible",
        ),
        (
            "aer-fatal",
            rf"{_DRIVER}{_AT}: PCIe Bus Error: "
            r"severity=Uncorrect(?:ed|able) \(Fatal\)",
        ),
        (
            "aer-nonfatal",
            rf"{_DRIVER}{_AT}: PCIe Bus Error: "
            r"severity=Uncorrect(?:ed|able) \(Non-Fatal\)",
        ),
        (
            "aer-unrecovered",
            rf"{_DRIVER}{_AT}: AER: device recovery failed",
        ),
        (
            "amdgpu-ecc",
            rf"^amdgpu {_AT}: .*\b[1-9]\d* uncorrectable hardware errors? "
            "detected",
        ),
        (
            "amdgpu-reset-failed",
            rf"^amdgpu {_AT}: .*GPU reset end with ret = -\d+",
        ),
        (
            "amdgpu-hang",
            rf"^amdgpu {_AT}: .*ring \S+ timeout",
        ),
    )
)


def read(
    view: core.View, card: core.Card, memory: dict[str, Any]
) -> Iterator[core.Seen]:
    """Yield what was said of the card since the last look.

    That its driver could not open it holds until it has one.
    """
    for record in view.records:
        seen = signs(record.text, card)
        if seen is None:
            continue
        if seen == _PROBE:
            memory[_PROBE] = record.text
        else:
            yield seen, record.text
    if card.function.driver is not None:
        memory.pop(_PROBE, None)
    elif _PROBE in memory:
        yield _PROBE, memory[_PROBE]


def signs(text: str, card: core.Card) -> str | None:
    """Return the key of the sign that a line is of a card, or None."""
    found = _XID.search(text)
    if found is not None:
        return (
            health.sign_of_xid(int(found["code"])).key
            if _is_at(found["at"], card)
            else None
        )
    found = _SXID.search(text)
    if found is not None:
        # The switch is nobody's; its errors are those of all its GPUs.
        if card.function.vendor != _NVIDIA:
            return None
        return "sxid-fatal" if found["class"].lower() == "fatal" else "sxid"
    for key, pattern in _LINES:
        found = pattern.search(text)
        if found is None:
            continue
        above = None if card.port is None else card.port.rpartition("/")[2]
        if _is_at(found["at"], card) or (
            # Only the port says that what is below it is lost.
            key.startswith("aer-") and found["at"].lower() == above
        ):
            return key
    return None


def concerns(text: str) -> bool:
    """Tell whether a line is about any card's health."""
    return bool(_XID.search(text) or _SXID.search(text)) or any(
        pattern.search(text) for _key, pattern in _LINES
    )


def _is_at(address: str, card: core.Card) -> bool:
    """Tell whether an address is the card's; NVIDIA's have no function."""
    if "." not in address:
        address = f"{address}.0"
    return pci.normalise_address(address) == card.function.address


SENSOR = core.Sensor(
    "kmsg",
    (
        *dict.fromkeys(key for key, _pattern in _LINES),
        "sxid-fatal",
        "sxid",
        *(key for key in health.SIGNS if key.startswith("xid-")),
    ),
    read,
)
