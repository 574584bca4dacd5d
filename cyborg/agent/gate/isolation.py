"""What the IOMMU keeps apart: a guest gets a whole group or nothing of it."""

from collections.abc import Iterator

from cyborg.accelerator import pci
from cyborg.accelerator import vfio
from cyborg.agent.gate import core

# Documentation/driver-api/vfio.rst: a group may be given away while all its
# functions are bound to these, to VFIO or to nothing. Bridges never matter.
_HARMLESS = (None, "pci-stub", "pcieport", "shpchp")
_BRIDGE = "06"

_AUDIO = ("0401", "0403")
_COMPANIONS = (*_AUDIO, "0c03", "0c80", "0700")
# Base classes that have companions: displays, co-processors, accelerators.
_LEADERS = ("03", "0b", "12")


@core.rule(
    "companion",
    "The function is a companion of another one in its slot.",
    ("class",),
    is_expected=True,
)
def companion(view: core.View) -> Iterator[core.Finding]:
    """Withhold the audio, USB and serial functions of cards."""
    leaders = {
        item.slot: item.address
        for item in view.functions.values()
        if item.class_code.startswith(_LEADERS) and item.physfn is None
    }
    for offer, function in view.free_passed():
        leader = leaders.get(function.slot)
        if leader is None or function.class_code not in _COMPANIONS:
            continue
        # With its leader, it is given as what belongs to that.
        if leader in offer.functions:
            continue
        yield (
            offer,
            function.address,
            f"{function.address} belongs to {leader}, and is no device of "
            "its own",
        )


@core.rule(
    "group-not-viable",
    "Another function of the IOMMU group is bound to a driver of the host.",
    ("iommu_group", "driver"),
)
def group_not_viable(view: core.View) -> Iterator[core.Finding]:
    """Withhold what VFIO would refuse to give; one reason is enough."""
    blocking = {
        group: [item for item in items if _blocks(item)]
        for group, items in view.groups.items()
    }
    for offer, function in view.free_passed():
        for other in blocking.get(function.iommu_group or "", ()):
            if other.address not in offer.functions:
                yield (
                    offer,
                    function.address,
                    f"{other.address}, in IOMMU group "
                    f"{function.iommu_group} with {function.address}, is "
                    f"bound to {other.driver}",
                )
                break


def _blocks(function: pci.Function) -> bool:
    """Return whether a function keeps the others of its group here."""
    return not (
        function.driver in _HARMLESS
        or vfio.is_driver(function.driver)
        or function.class_code.startswith(_BRIDGE)
    )


@core.rule(
    "group-shared",
    "Another function of the IOMMU group is offered.",
    ("iommu_group", "handles in use"),
)
def group_shared(view: core.View) -> Iterator[core.Finding]:
    """Withhold all but one of those that share a group.

    That one is what a guest has, else the lowest address. Last of all rules,
    for what another rule withholds takes nobody's place.
    """
    owners: dict[str, tuple[core.Offer, str]] = {}
    by_address = sorted(
        (
            (address not in offer.held, pci.sort_key(address), offer, address)
            for offer in view.offers
            for address in offer.passed
            if address in view.functions
            if address in offer.held or view.is_open(offer, address)
        ),
        key=lambda item: item[:2],
    )
    for address in sorted(view.used - _offered(view)):
        # A guest has what no driver reports any more.
        function = view.functions.get(address)
        if function is not None and function.iommu_group:
            for _order, _key, offer, other in by_address:
                if view.functions[other].iommu_group == function.iommu_group:
                    yield offer, other, _shared(function, other)
    for _order, _key, offer, address in by_address:
        group = view.functions[address].iommu_group
        if group is None or len(view.groups[group]) < 2:
            continue
        owner, first = owners.setdefault(group, (offer, address))
        if owner is not offer:
            yield offer, address, _shared(view.functions[first], address)


def _shared(owner: pci.Function, address: str) -> str:
    return (
        f"{address} shares IOMMU group {owner.iommu_group} with "
        f"{owner.address}, which is offered"
    )


def _offered(view: core.View) -> frozenset[str]:
    return frozenset(
        address for offer in view.offers for address in offer.functions
    )


RULES = (companion, group_not_viable, group_shared)
