"""Keeps what is said of a card true for as long as somebody has it.

A request is a promise about one physical thing. Whatever a report says of the
place where that was, the record of what is held stays as it was promised; what
differs is noted beside it, shown, and applied once nobody holds it.
"""

from collections.abc import Iterable
import dataclasses
import json
from typing import Any

from cyborg.common import constants
from cyborg.objects import report

_TRAIT = constants.ATTR_TRAIT_PREFIX
_CLASS = constants.ATTR_RESOURCE_CLASS
# Characters that the column of an id holds.
_LONGEST = 255


@dataclasses.dataclass
class Seen:
    """What a report says of a device that is held, and is not stored.

    :ivar differs: a sentence each
    :ivar breaks: whether something promised is no longer so; else there is
        only more of it, or another text
    """

    differs: list[str] = dataclasses.field(default_factory=list)
    breaks: bool = False

    def note(self, text: str, breaks: bool = False) -> None:
        self.differs.append(text)
        self.breaks = self.breaks or breaks

    @property
    def text(self) -> str:
        return "; ".join(self.differs)

    def to_json(self) -> str | None:
        """Return what ``devices.seen`` says."""
        if not self.differs:
            return None
        return json.dumps({"breaks": self.breaks, "differs": self.differs})


def differences(seen: str | None) -> list[str]:
    """Return the sentences in ``devices.seen``."""
    return list(json.loads(seen)["differs"]) if seen else []


def bare(number: str | None) -> str:
    """Return an id as every driver would have it: ``0x10DE`` is ``10de``."""
    return (number or "").strip().lower().removeprefix("0x")[:_LONGEST]


def product_of(std_board_info: str | None) -> str | None:
    """Return the product id in a board's information, if it has one."""
    try:
        product = json.loads(std_board_info or "{}").get("product_id")
    except (ValueError, AttributeError):
        # Some drivers write a text of another form.
        return None
    return bare(str(product)) if product else None


def takes_images(kind: str) -> bool:
    """Tell whether a card may become another product by our own doing."""
    return kind == constants.DeviceType.FPGA


def is_other_card(row: Any, device: report.DriverDevice) -> bool:
    """Tell whether a card is not the one that was in its place.

    What is not known of it is no difference.

    :param row: of ``devices``, with the serial number of its card
    """
    if bare(row.vendor) != bare(device.vendor):
        return True
    if _differ(row.serial, getattr(device, "serial", None)):
        return True
    if takes_images(row.type):
        return False
    return _differ(
        product_of(row.std_board_info), product_of(device.std_board_info)
    )


def _differ(before: str | None, now: str | None) -> bool:
    return bool(before and now and before != now)


def card(vendor: str, model: str, std_board_info: str | None) -> str:
    """Return what a card is for people: ``A2 [10de:25b6]``."""
    ids = f"{bare(vendor)}:{product_of(std_board_info) or '?'}"
    return f"{model} [{ids}]"


def other_card(seen: Seen, row: Any, device: report.DriverDevice) -> None:
    """Note that another card is in the place of one that is held."""
    now = card(device.vendor, device.model, device.std_board_info)
    held = card(row.vendor, row.model, row.std_board_info)
    place = place_text(device.controlpath_id.cpid_info)
    seen.note(f"the card at {place} is now {now}; bound is {held}", True)


def place_text(info: str) -> str:
    """Return ``0000:5e:00.0`` of a control path or handle, else the text."""
    try:
        return "{domain}:{bus}:{device}.{function}".format(**json.loads(info))
    except (KeyError, TypeError, ValueError):
        return info


def attributes(
    seen: Seen,
    name: str,
    before: Iterable[tuple[str, str]],
    now: Iterable[tuple[str, str]],
) -> None:
    """Note what is said otherwise of a deployable that is held."""
    before, now = list(before), list(now)

    def values(pairs: Iterable[tuple[str, str]], prefix: str) -> set[str]:
        return {value for key, value in pairs if key.startswith(prefix)}

    lost = values(before, _TRAIT) - values(now, _TRAIT)
    added = values(now, _TRAIT) - values(before, _TRAIT)
    if lost:
        seen.note(f"{name} has lost {', '.join(sorted(lost))}", True)
    if added:
        seen.note(f"{name} has got {', '.join(sorted(added))}")
    old, new = (
        {value for key, value in pairs if key == _CLASS}
        for pairs in (before, now)
    )
    if old != new:
        seen.note(
            f"{name} is now {', '.join(sorted(new)) or 'of no class'}; bound "
            f"is {', '.join(sorted(old)) or 'of no class'}",
            True,
        )


def handle(seen: Seen, row: Any, now: report.DriverAttachHandle) -> None:
    """Note what is said otherwise of a handle that is held."""
    if row.attach_type != now.attach_type:
        seen.note(
            f"{place_text(row.attach_info)} is now of type "
            f"{now.attach_type}; bound is {row.attach_type}",
            True,
        )
    if row.attach_info == now.attach_info:
        return
    try:
        old, new = json.loads(row.attach_info), json.loads(now.attach_info)
        keys = sorted(
            key for key in {*old, *new} if old.get(key) != new.get(key)
        )
    except (AttributeError, ValueError):
        seen.note(f"{row.attach_info} is now {now.attach_info}", True)
        return
    for key in keys:
        seen.note(
            f"{key} of {place_text(row.attach_info)} is now "
            f"{new.get(key, 'not known')}; bound with "
            f"{old.get(key, 'none')}",
            True,
        )
