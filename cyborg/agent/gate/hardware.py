"""What the hardware says of itself: that it does not work."""

from collections.abc import Iterator

from cyborg.accelerator import patience
from cyborg.accelerator import pci
from cyborg.accelerator import sysfs
from cyborg.agent.gate import core

# What a register reads as that nobody answers for: a link of 63 lanes.
_NO_LINK = 0x3F
_NOBODY = b"\xff" * 4

_LOOKING: patience.Patience[str | None, str | None] = patience.Patience(
    "looking at"
)


@core.rule(
    "hardware-fails",
    "The hardware says of itself that it does not work.",
    (
        "vendor, device, class",
        "config, current_link_width",
        "interface_id, afu_id and compat_id of FPGAs",
        "mode and state of persistent memory, and its bad blocks",
    ),
)
def hardware_fails(view: core.View) -> Iterator[core.Finding]:
    """Withhold what does not answer, or says that it is broken.

    A card whose parts are offered takes them with it.
    """
    failures = _failures(view)
    for offer in view.offers:
        why = view.broken(offer.driver, offer.info)
        if why:
            yield offer, offer.card or offer.name, why
        for info, address in offer.handles.items():
            why = view.broken(offer.driver, info)
            if why:
                yield offer, address or offer.name, why, frozenset({info})
        for address in dict.fromkeys((*offer.addresses, offer.card)):
            why = failures.get(address or "")
            if address and why:
                yield offer, address, f"{address} {why}"


def _failures(view: core.View) -> dict[str, str]:
    """Return why functions that are offered do not work, by address."""
    addresses = dict.fromkeys(
        address
        for offer in view.offers
        for address in (*offer.addresses, offer.card)
        if address in view.functions
    )
    found = {}
    for address, answer in _LOOKING.each(
        lambda address: failure(view.functions[str(address)]), addresses
    ).items():
        if isinstance(answer, Exception):
            answer = "has files whose reading does not return"
        if address and answer:
            found[address] = answer
    return found


def failure(function: pci.Function) -> str | None:
    """Return why a function does not work, None if nothing says so."""
    if function.error:
        return "is there, and its ids cannot be read"
    if function.odd:
        return f"has links that lead nowhere: {function.odd}"
    if sysfs.read_int(function.path, "current_link_width") == _NO_LINK:
        return "has fallen off the bus: its link is gone"
    # To read the registers of what sleeps would wake it up.
    status = sysfs.read_optional(function.path, "power/runtime_status")
    if (
        status in (None, "active")
        and sysfs.read_start(function.path, "config") == _NOBODY
    ):
        return "has fallen off the bus: its registers read as all ones"
    return None


RULES = (hardware_fails,)
