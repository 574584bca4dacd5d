"""The operator's word: what is withheld, and what is offered all the same."""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
import fnmatch
from typing import Any

from oslo_log import log as logging

from cyborg.accelerator import pci
from cyborg.agent.gate import core
from cyborg.common import exception

LOG = logging.getLogger(__name__)

# What an address may have besides wildcards.
_LEGAL = frozenset("0123456789abcdef:.*?[]-")


@core.rule(
    "operator-withholds",
    "The operator has said that the function is not to be offered.",
    ("[agent] withhold",),
    is_expected=True,
)
def operator_withholds(view: core.View) -> Iterator[core.Finding]:
    """Withhold what ``[agent] withhold`` names."""
    patterns = [pattern(text) for text in view.conf.agent.withhold]
    if not patterns:
        return
    for offer in view.offers:
        for address in dict.fromkeys(filter(None, (*offer.free, offer.card))):
            for each in patterns:
                if fnmatch.fnmatchcase(address, each):
                    yield offer, address, f"{address} is in [agent] withhold"
                    break


RULES = (operator_withholds,)


def pattern(text: str) -> str:
    """Return an address in the form sysfs has, or a pattern of addresses.

    ``00000000:AF:00.0`` is how nvidia-smi writes ``0000:af:00.0``.

    :raises ConfigInvalid: it can match no address
    """
    text = text.strip().lower()
    try:
        return pci.normalise_address(text)
    except exception.PciDeviceWrongAddressFormat as error:
        if not set(text) <= _LEGAL or not set(text) & set("*?["):
            raise exception.ConfigInvalid(
                option="[agent] withhold or offer_anyway",
                reason=f"{text!r} is neither a PCI address nor a pattern "
                "of PCI addresses",
            ) from error
        return text


def idle(conf: Any, addresses: Iterable[str]) -> Iterator[str]:
    """Yield a sentence for each entry that means no function there is.

    :param addresses: of all functions, and of what else is offered
    """
    known = list(addresses)
    for option in ("withhold", "offer_anyway"):
        for entry in conf.agent[option]:
            text = entry
            if option == "offer_anyway":
                text = entry.partition(":")[2]
            if not fnmatch.filter(known, pattern(text)):
                yield f"[agent] {option}: {entry} means no PCI function here"


def overrides(
    entries: Iterable[str], known: Iterable[str]
) -> Callable[[str, str], bool]:
    """Return what tells of a rule and an address whether it is overridden.

    :param entries: ``host-uses-it:0000:5e:00.0``
    :param known: names of rules
    :raises ConfigInvalid: an entry names no rule, or no address
    """
    names = sorted(set(known))
    patterns: dict[str, list[str]] = {}
    for entry in entries:
        name, _colon, text = entry.strip().partition(":")
        if name not in names:
            raise exception.ConfigInvalid(
                option="[agent] offer_anyway",
                reason=f"{entry!r} names none of the rules "
                + ", ".join(names),
            )
        patterns.setdefault(name, []).append(pattern(text))

    def is_overridden(name: str, address: str) -> bool:
        return any(
            fnmatch.fnmatchcase(address, each)
            for each in patterns.get(name, ())
        )

    return is_overridden
