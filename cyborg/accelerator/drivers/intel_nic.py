"""Intel X710 and XXV710 network cards, and others by configuration."""

from collections.abc import Iterable
import dataclasses
from typing import Any

from cyborg.accelerator import card as card_driver
from cyborg.accelerator import describe
from cyborg.accelerator import netdevs
from cyborg.accelerator import pci
from cyborg.common import constants
from cyborg.common import exception
from cyborg.conf import devices as conf_devices
from cyborg.objects import report

INTEL = "8086"
# XXV710 25GbE backplane and SFP28, and X710 10GbE SFP+.
PRODUCTS = ("158a", "158b", "1572")


@dataclasses.dataclass(frozen=True)
class Profile:
    """One group of ``[nic_devices] enabled_nic_types``, parsed."""

    group: str  # of the configuration
    products: frozenset[str]  # empty: every card the driver knows
    physnets: dict[str, str]  # physical network by network device
    functions: dict[str, str]  # function by network device
    addresses: frozenset[str]  # what may be offered; empty: everything

    def is_about(self, card: pci.Function) -> bool:
        """Return whether the group's mappings hold for a card."""
        return not self.products or card.product in self.products


class IntelNICDriver(card_driver.IdCardDriver):
    """Reports a card's virtual functions, or the card if it has none.

    Each is a deployable of its own. Its traits tell what the card is loaded
    with and connected to, as mapped by the card's network device.
    """

    VENDOR = "intel"
    TYPE = constants.DeviceType.NIC

    def __init__(self, **kwargs: Any) -> None:
        """Read the configuration once.

        :raises ConfigInvalid: a mapping or an address is not
        """
        super().__init__(**kwargs)
        self._profiles = [
            self._profile(name)
            for name in self.conf.nic_devices.enabled_nic_types
        ]
        self._memory = netdevs.Memory(self.conf, "intel_nic")
        self._products = set(PRODUCTS).union(
            *(profile.products for profile in self._profiles)
        )
        # What the last discovery found no card for, as a warning.
        self._missing: list[str] = []

    def claims(self, function: pci.Function) -> bool:
        return (
            function.vendor == INTEL
            and function.product in self._products
            and function.physfn is None
        )

    def cards(self, functions: dict[str, pci.Function]) -> list[pci.Function]:
        """Return the cards of which something may be offered."""
        cards = super().cards(functions)
        known = {each for card in cards for each in _addresses(card)}
        self._missing = [
            f"[{profile.group}] device_addresses: no card of this driver has "
            f"{address}"
            for profile in self._profiles
            for address in sorted(profile.addresses - known, key=pci.sort_key)
        ]
        return [card for card in cards if self._is_listed(card)]

    def warnings(self) -> list[str]:
        return self._missing

    def functions(self) -> dict[str, pci.Function]:
        """Return every function; what a guest has as it was before."""
        return self._memory.complete(super().functions())

    def deployables(
        self, card: pci.Function, functions: dict[str, pci.Function]
    ) -> list[report.DriverDeployable]:
        kind = "CUSTOM_VF" if card.virtfns else "CUSTOM_PF"
        function, physnet = self._mapped(card)
        traits = [kind]
        extra = {}
        if function:
            traits.append(f"CUSTOM_{function}")
        if physnet:
            # The second is what Nova's specification of smart NICs asks for.
            traits += [f"CUSTOM_{physnet}", f"CUSTOM_PHYSNET_{physnet}"]
            extra["physical_network"] = physnet
        return [
            describe.deployable(
                self.host,
                owned.address,
                resource_class=constants.RC_NIC,
                traits=traits,
                handles=[describe.handle(owned.address, **extra)],
                driver_name=self.VENDOR,
            )
            for owned in self._offered(card, functions)
        ]

    def _listed(self, card: pci.Function) -> frozenset[str]:
        """Return the addresses that bound what is offered; empty: nothing."""
        return frozenset().union(
            *(
                profile.addresses
                for profile in self._profiles
                if profile.is_about(card)
            )
        )

    def _is_listed(self, card: pci.Function) -> bool:
        listed = self._listed(card)
        return not listed or not listed.isdisjoint(_addresses(card))

    def _offered(
        self, card: pci.Function, functions: dict[str, pci.Function]
    ) -> list[pci.Function]:
        """Return what guests may own of a card.

        A card that is listed, or its virtual functions; of one that is not,
        those virtual functions that are.
        """
        owned = card_driver.attachable(card, functions)
        listed = self._listed(card)
        if not listed or card.address in listed:
            return owned
        return [function for function in owned if function.address in listed]

    def _mapped(self, card: pci.Function) -> tuple[str | None, str | None]:
        """Return function and physical network of a card, None if unknown.

        A card that was always bound to vfio-pci has no network device, and
        no mapping.
        """
        function = physnet = None
        for profile in self._profiles:
            if not profile.is_about(card):
                continue
            for device in card.netdevs:
                function = function or profile.functions.get(device)
                physnet = physnet or profile.physnets.get(device)
        return function, physnet

    def _profile(self, name: str) -> Profile:
        group = conf_devices.register_nic_type(self.conf, name)
        options = self.conf[group]
        return Profile(
            group=group,
            products=frozenset(
                pci.normalise_id(text) for text in options.product_ids
            ),
            physnets=parse_mappings(
                options.physical_device_mappings,
                f"[{group}] physical_device_mappings",
            ),
            functions=parse_mappings(
                options.function_device_mappings,
                f"[{group}] function_device_mappings",
            ),
            addresses=parse_addresses(
                options.device_addresses, f"[{group}] device_addresses"
            ),
        )


def _addresses(card: pci.Function) -> tuple[str, ...]:
    """Return by which addresses a card can be listed."""
    return card.address, *card.virtfns


def parse_addresses(entries: Iterable[str], option: str) -> frozenset[str]:
    """Return addresses as the kernel writes them.

    :raises ConfigInvalid: one is no PCI address
    """
    try:
        return frozenset(pci.normalise_address(entry) for entry in entries)
    except exception.PciDeviceWrongAddressFormat as error:
        raise exception.ConfigInvalid(
            option=option, reason=error.faultstring
        ) from error


def parse_mappings(entries: Iterable[str], option: str) -> dict[str, str]:
    """Return names by network device.

    :param entries: ``physnet1:eth2|eth3``
    :raises ConfigInvalid: no colon, an empty or a repeated name, or a
        network device with two names
    """
    found: dict[str, str] = {}
    names = set()
    for entry in entries:
        name, colon, devices = (part.strip() for part in entry.partition(":"))
        reason = None
        if not colon:
            reason = f"{entry!r} has no colon"
        elif not name:
            reason = f"{entry!r} has no name"
        elif name in names:
            reason = f"{name!r} is there twice"
        if reason:
            raise exception.ConfigInvalid(option=option, reason=reason)
        names.add(name)
        for device in filter(None, map(str.strip, devices.split("|"))):
            if device in found:
                raise exception.ConfigInvalid(
                    option=option, reason=f"{device!r} is there twice"
                )
            found[device] = name
    return found
