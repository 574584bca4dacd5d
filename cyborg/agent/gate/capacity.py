"""Cards that are shared: no more is offered than a card has room for."""

from collections.abc import Iterator
import fractions
import json
import math

from cyborg.accelerator import mdev
from cyborg.accelerator import pci
from cyborg.agent.gate import core
from cyborg.common import constants
from cyborg.common import exception
from cyborg.conf import devices as conf_devices

# An offer, one of its handles, and the function that it is made of.
_Part = tuple[core.Offer, str, pci.Function]


@core.rule(
    "card-full",
    "The card that the function is a part of has room for fewer.",
    (
        "max_instance in the description of the type",
        "available_instances and devices of the types",
        "[vgpu_<type>] max_instances",
        "handles in use, and what the agent made",
    ),
    is_expected=True,
)
def card_full(view: core.View) -> Iterator[core.Finding]:
    """Withhold the mdevs that cannot be made of a physical card any more.

    What guests have comes first, then what is made already, then the lowest
    address: what is offered stays the same while mdevs are made.
    """
    for (card, kind), parts in _shared(view).items():
        places = {function.address: function for _, _, function in parts}
        room = _Room(view, card, kind, places)
        count = room.count()
        taken: dict[str, int] = {}
        closed: dict[core.Offer, tuple[pci.Function, set[str]]] = {}
        left = count
        for offer, info, function in sorted(parts, key=room.order):
            here = taken.get(function.address, 0)
            if info in offer.taken or (
                left > 0 and here < room.at(function.address)
            ):
                taken[function.address] = here + 1
                left -= 1
            else:
                closed.setdefault(offer, (function, set()))[1].add(info)
        for offer, (function, infos) in closed.items():
            yield (
                offer,
                function.address,
                f"{card} has room for {count} of {kind}{room.others()}",
                frozenset(infos),
            )


RULES = (card_full,)


def _shared(view: core.View) -> dict[tuple[str, str], list[_Part]]:
    """Return what is made on demand, by physical card and type of mdev."""
    found: dict[tuple[str, str], list[_Part]] = {}
    for offer in view.offers:
        # What does not work is not asked; its records stay as they are.
        if offer.device["stub"]:
            continue
        for handle in offer.deployable["attach_handle_list"] or []:
            info = handle["attach_info"]
            function = view.functions.get(offer.handles.get(info) or "")
            if (
                handle["attach_type"] != constants.AttachHandleType.MDEV
                or function is None
            ):
                continue
            kind = json.loads(info).get("asked_type", "")
            card = function.physfn or function.address
            found.setdefault((card, kind), []).append((offer, info, function))
    return found


class _Room:
    """How much room a card has for a type of mdev.

    :param places: the functions it is made of, by address
    """

    def __init__(
        self,
        view: core.View,
        card: str,
        kind: str,
        places: dict[str, pci.Function],
    ) -> None:
        self._view = view
        self._card = card
        self._kind = kind
        self._types: dict[str, mdev.Type] = {}
        # Mdevs that somebody else made: their types, by address.
        self._foreign: dict[str, list[mdev.Type]] = {}
        self._ours: dict[str, int] = {}
        self._made: dict[str, int] = {}
        for function in self._functions(places):
            self._read(function, is_place=function.address in places)

    def count(self) -> int:
        """Return how many there can be, with those there are."""
        most = [
            item.max_instance
            for item in self._types.values()
            if item.max_instance
        ]
        limit = min(most, default=None)
        configured = self._configured()
        bounds = [sum(map(self.at, self._types))]
        foreign = [one for each in self._foreign.values() for one in each]
        if limit is not None:
            # One of another type takes what its size is of the card.
            share = sum(
                fractions.Fraction(limit, one.max_instance or limit)
                for one in foreign
            )
            bounds.append(limit - math.ceil(share))
        if configured is not None:
            bounds.append(configured - len(foreign))
        if not any(
            item.available and not self._made[address]
            for address, item in self._types.items()
        ):
            # The card makes no more of what has nothing yet.
            bounds.append(
                sum(
                    self.at(address)
                    for address in self._types
                    if self._made[address]
                )
            )
        return max(0, min(bounds))

    def at(self, address: str) -> int:
        """Return how many one function can have, with those it has."""
        item = self._types.get(address)
        if item is None:
            return 0
        function = self._view.functions[address]
        if function.physfn is not None:
            # A virtual function has one, whatever its card has room for now.
            return 0 if self._foreign.get(address) else 1
        return item.available + self._ours[address]

    def others(self) -> str:
        """Return who else takes room, as the end of a sentence."""
        count = sum(map(len, self._foreign.values()))
        return f", beside {count} that the agent did not make" * bool(count)

    def order(self, part: _Part) -> tuple[bool, bool, tuple[int, ...]]:
        """Return what sorts handles: what is to be kept comes first."""
        offer, info, function = part
        return (
            info not in offer.taken,
            not self._made.get(function.address),
            pci.sort_key(function.address),
        )

    def _functions(
        self, places: dict[str, pci.Function]
    ) -> Iterator[pci.Function]:
        """Yield the card and all its parts."""
        functions = self._view.functions
        whole = functions.get(self._card)
        found = dict(places)
        if whole is not None:
            found[whole.address] = whole
            for address in whole.virtfns:
                if address in functions:
                    found[address] = functions[address]
        yield from found.values()

    def _read(self, function: pci.Function, is_place: bool) -> None:
        address = function.address
        for name in mdev.type_names(function) or ():
            try:
                item = mdev.read_type(function, name)
            except (exception.CyborgException, ValueError):
                continue
            ours = sum(map(self._is_ours, item.devices))
            foreign = len(item.devices) - ours
            if foreign:
                self._foreign.setdefault(address, []).extend([item] * foreign)
            if name == self._kind and is_place:
                self._types[address] = item
                self._ours[address] = ours
                self._made[address] = item.existing

    def _is_ours(self, uuid: str) -> bool:
        return self._view.made is None or uuid in self._view.made

    def _configured(self) -> int | None:
        if self._kind not in self._view.conf.gpu_devices.enabled_vgpu_types:
            return None
        group = conf_devices.register_vgpu_type(self._view.conf, self._kind)
        most = self._view.conf[group].max_instances
        return None if most is None else int(most)
