"""Two claims on one function: the driver that is enabled first has it."""

from collections.abc import Iterator

from cyborg.agent.gate import core


@core.rule(
    "claimed-twice",
    "Two drivers describe the function; the one that is enabled first has it.",
    ("what the drivers found",),
)
def claimed_twice(view: core.View) -> Iterator[core.Finding]:
    """Withhold what an earlier driver describes.

    A deployable without handles is a claim as well: SPDK's drives are shown
    so. What guests have stays with the driver that gave it.
    """
    order = {driver.name: index for index, driver in enumerate(view.found)}
    stubs: dict[str, str] = {}
    for driver, address in view.stubs:
        stubs.setdefault(address, driver)
    owners: dict[str, core.Offer] = {}
    for offer in view.offers:
        for address in offer.held:
            owners.setdefault(address, offer)
    for offer in view.offers:
        for address in offer.addresses:
            owner = owners.setdefault(address, offer)
            stub = stubs.get(address, offer.driver)
            if owner is not offer and _is_conflict(owner, offer, address):
                first = owner.driver
            elif order[stub] < order[offer.driver]:
                first = stub
            else:
                continue
            yield (
                offer,
                address,
                f"{first} reports {address} already; what comes first in "
                "[agent] enabled_drivers counts",
            )


def _is_conflict(owner: core.Offer, offer: core.Offer, address: str) -> bool:
    """Return whether two deployables are about one thing.

    Those of one card that have nothing to give are not.
    """
    return owner.driver != offer.driver or (
        address in owner.functions and address in offer.functions
    )


@core.rule(
    "host-uses-it",
    "A driver of the host's own programs has the device.",
    ("what the drivers found",),
)
def shown_only(view: core.View) -> Iterator[core.Finding]:
    """Withhold what another driver shows as not to be had, in any order."""
    shown = {
        offer.card: offer.driver
        for offer in view.offers
        if offer.card
        and not offer.functions
        and not offer.deployable["num_accelerators"]
    }
    for offer, function in view.free_functions():
        driver = shown.get(function.address)
        if driver is not None and driver != offer.driver:
            yield (
                offer,
                function.address,
                f"{function.address} is used by the host, says {driver}",
            )


RULES = (claimed_twice, shown_only)
