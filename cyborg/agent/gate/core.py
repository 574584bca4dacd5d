"""Applies the rules to what the drivers found.

The gate only marks. A deployable that is withheld stays in the report with
its reasons, so that nothing a guest has is taken away; the conductor sees to
it that it is given to nobody else.
"""

from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
import dataclasses
import functools
import json
from typing import Any

from oslo_log import log as logging

from cyborg.accelerator import pci
from cyborg.accelerator import sysfs
from cyborg.accelerator import usage
from cyborg.accelerator import vfio
from cyborg.agent import report
from cyborg.common import constants
from cyborg.common import exception

LOG = logging.getLogger(__name__)

# Kinds of functions that rules protect, by the base class of a PCI function.
DISK = "01"
NETWORK = "02"

_PCI = (constants.AttachHandleType.PCI, constants.AttachHandleType.MDEV)


@dataclasses.dataclass(frozen=True, eq=False)
class Offer:
    """One deployable, as a driver describes it.

    :ivar functions: addresses that guests are given, or a part of
    :ivar passed: those of them that guests are given themselves, with the
        help of VFIO, and not something made of them
    :ivar held: those that guests have; all that is withheld of them is what
        nobody has
    :ivar handles: address of each handle by its ``attach_info`` text
    :ivar taken: those texts of handles that guests have
    """

    driver: str
    device: dict[str, Any]
    deployable: dict[str, Any]
    card: str | None
    functions: tuple[str, ...]
    passed: frozenset[str]
    held: frozenset[str]
    handles: dict[str, str | None]
    taken: frozenset[str]

    @property
    def info(self) -> str:
        """The card's ``cpid_info``."""
        return report.cpid_info(self.device)

    @property
    def name(self) -> str:
        return str(self.deployable["name"])

    @property
    def resource_class(self) -> str | None:
        for attribute in self.deployable["attribute_list"] or []:
            if attribute["key"] == constants.ATTR_RESOURCE_CLASS:
                return str(attribute["value"])
        return None

    @property
    def free(self) -> tuple[str, ...]:
        """The functions that no guest has."""
        return tuple(each for each in self.functions if each not in self.held)

    @property
    def is_divisible(self) -> bool:
        """Return whether each handle is an accelerator of its own.

        Not where guests are given several for one.
        """
        count = self.deployable["num_accelerators"]
        return bool(count == len(self.handles) > 1)

    @property
    def addresses(self) -> tuple[str, ...]:
        """The functions, or the card of a deployable without any."""
        return self.functions or ((self.card,) if self.card else ())


@dataclasses.dataclass(frozen=True)
class Mark:
    """Why a deployable is withheld.

    :ivar address: the function that is the reason
    :ivar handles: the handles it is about; None for all of the function
    :ivar is_expected: it is what the configuration asks for, so nobody has
        to look at it
    """

    rule: str
    text: str
    address: str
    is_expected: bool = False
    handles: frozenset[str] | None = None

    def to_dict(self) -> dict[str, str]:
        """Return what is reported."""
        return {"rule": self.rule, "text": self.text}


# What a rule finds: the offer, the address that is the reason, and a
# sentence; also the handles it is about, where it is not about all that
# nobody has of the function.
Finding = tuple[Offer, str, str] | tuple[Offer, str, str, frozenset[str]]


@dataclasses.dataclass(frozen=True)
class Rule:
    """A reason to withhold things.

    :ivar name: as reported, and as the operator overrides it
    :ivar sentence: what it is about, for the operator
    :ivar sources: what it is judged by
    :ivar find: yields what is to be withheld
    :ivar is_expected: see :class:`Mark`
    """

    name: str
    sentence: str
    sources: tuple[str, ...]
    find: Callable[["View"], Iterable[Finding]]
    is_expected: bool = False


def rule(
    name: str,
    sentence: str,
    sources: Sequence[str] = (),
    is_expected: bool = False,
) -> Callable[[Callable[["View"], Iterable[Finding]]], Rule]:
    """Make a rule of a function."""

    def decorate(find: Callable[["View"], Iterable[Finding]]) -> Rule:
        return Rule(name, sentence, tuple(sources), find, is_expected)

    return decorate


class View:
    """What rules judge by: the machine and everything that is found on it.

    :param root: directory taken for ``/``
    :param conf: configuration
    :param found: what the drivers found, in the order they are enabled
    :param in_use: ``attach_info`` texts of the handles that guests have;
        None if that is not known
    :param was_given: tells of an address whether a guest ever had it
    :param made: uuids of the mdevs that this agent made; None if that is not
        known
    """

    def __init__(
        self,
        root: sysfs.Path,
        conf: Any,
        found: Sequence[report.Found],
        in_use: Collection[str] | None = None,
        was_given: Callable[[str], bool] = lambda address: False,
        made: Collection[str] | None = None,
    ) -> None:
        self.root = root
        self.conf = conf
        self.found = found
        self.in_use = in_use
        self.was_given = was_given
        self.made = made
        self.marks: dict[Offer, list[Mark]] = {}
        # Says of a rule and an address what the operator offers anyway.
        self.overridden: Callable[[str, str], bool] = lambda name, at: False

    @functools.cached_property
    def functions(self) -> dict[str, pci.Function]:
        """Every function of the machine, by address."""
        try:
            return pci.read_functions(self.root)
        except exception.DriverError as error:
            LOG.debug("There is no PCI bus to look at: %s", error)
            return {}

    @functools.cached_property
    def host(self) -> usage.Host:
        return usage.Host(self.root)

    @functools.cached_property
    def used(self) -> frozenset[str]:
        """The addresses of functions that guests have, or a part of."""
        found = (_address(info) for info in self.in_use or ())
        return frozenset(each for each in found if each)

    @functools.cached_property
    def used_whole(self) -> frozenset[str]:
        """Those of which guests have all, not something made of them."""
        found = (
            _address(info)
            for info in self.in_use or ()
            if "asked_type" not in info
        )
        return frozenset(each for each in found if each)

    @functools.cached_property
    def offers(self) -> list[Offer]:
        """Every deployable, those of the first driver first."""
        return list(self._read_offers())

    def closed(self, offer: Offer) -> frozenset[str]:
        """Return the handles that nobody has and nobody is to get.

        A reason that is about one function of several closes the handles on
        that function only, where each is an accelerator of its own.
        """
        marks = self.marks.get(offer)
        if not marks:
            return frozenset()
        free = offer.handles.keys() - offer.taken
        found: set[str] = set()
        for mark in marks:
            if mark.handles is not None:
                found |= mark.handles
            elif offer.is_divisible and mark.address in offer.functions:
                found |= {
                    info
                    for info, address in offer.handles.items()
                    if address == mark.address
                }
            else:
                return frozenset(free)
        return frozenset(found & free)

    def is_open(self, offer: Offer, address: str) -> bool:
        """Return whether a function of a deployable can be given."""
        if offer not in self.marks:
            return address in offer.functions
        closed = self.closed(offer)
        return any(
            info not in closed
            for info, at in offer.handles.items()
            if at == address
        )

    def free_functions(self) -> Iterator[tuple[Offer, pci.Function]]:
        """Yield the functions on the machine that no guest has."""
        for offer in self.offers:
            for address in offer.free:
                function = self.functions.get(address)
                if function is not None:
                    yield offer, function

    def free_passed(self) -> Iterator[tuple[Offer, pci.Function]]:
        """Yield those of them that guests would be given themselves."""
        for offer, function in self.free_functions():
            if function.address in offer.passed:
                yield offer, function

    @functools.cached_property
    def groups(self) -> dict[str, list[pci.Function]]:
        """The functions of each IOMMU group."""
        found: dict[str, list[pci.Function]] = {}
        for item in self.functions.values():
            if item.iommu_group is not None:
                found.setdefault(item.iommu_group, []).append(item)
        return found

    def apply(self, each: Rule) -> None:
        """Mark what a rule finds, as long as no guest has it."""
        for offer, address, text, *rest in each.find(self):
            if address in offer.held or _is_whole(offer):
                continue
            if self.overridden(each.name, address):
                continue
            mark = Mark(each.name, text, address, each.is_expected, *rest)
            marks = self.marks.setdefault(offer, [])
            if mark not in marks:
                marks.append(mark)

    @functools.cached_property
    def stubs(self) -> list[tuple[str, str]]:
        """Driver and address of cards that are there and not described."""
        found = []
        for driver in self.found:
            for device in driver.devices:
                card = _address(report.cpid_info(device))
                if device["stub"] and card is not None:
                    found.append((driver.name, card))
        return found

    def _read_offers(self) -> Iterator[Offer]:
        for driver in self.found:
            for device in driver.devices:
                card = _address(report.cpid_info(device))
                # What is stored of a stub is left as it is; what does not
                # work is withheld, as it was described last.
                if device["stub"] and not self._is_failing(
                    driver.name, device, card
                ):
                    continue
                for deployable in device["deployable_list"]:
                    yield self._offer(driver.name, device, card, deployable)

    def broken(self, driver: str, info: str) -> str | None:
        """Return why a driver says that a card, or a handle, must not go."""
        return self._broken.get((driver, info))

    @functools.cached_property
    def _broken(self) -> dict[tuple[str, str], str]:
        return {
            (driver.name, info): why
            for driver in self.found
            for info, why in driver.broken.items()
        }

    def _is_failing(
        self, driver: str, device: dict[str, Any], card: str | None
    ) -> bool:
        function = self.functions.get(card or "")
        return self.broken(driver, report.cpid_info(device)) is not None or (
            function is not None and function.error is not None
        )

    def _offer(
        self,
        driver: str,
        device: dict[str, Any],
        card: str | None,
        deployable: dict[str, Any],
    ) -> Offer:
        places: dict[str, bool] = {}
        handles: dict[str, str | None] = {}
        taken = set()
        passed = set()
        used = self._used_places
        for handle in deployable["attach_handle_list"] or []:
            info = handle["attach_info"]
            if handle["attach_type"] not in _PCI:
                handles[info] = None
                if _place(info) in used:
                    taken.add(info)
                continue
            address = _address(info)
            handles[info] = address
            if address is not None:
                if not is_made(handle):
                    passed.add(address)
                # All that is made of a function is held, or some is free.
                is_held = _place(info) in used or self._is_open_in_guest(
                    address
                )
                if is_held:
                    taken.add(info)
                places[address] = is_held and places.get(address, True)
        return Offer(
            driver=driver,
            device=device,
            deployable=deployable,
            card=card,
            functions=tuple(places),
            passed=frozenset(passed),
            held=frozenset(each for each, held in places.items() if held),
            handles=handles,
            taken=frozenset(taken),
        )

    def _is_open_in_guest(self, address: str) -> bool:
        """Return whether a guest has a function, for all that can be seen.

        Nobody's word but the conductor's says which guests are ours; as long
        as that is not known, a hypervisor's process stands for one.
        """
        function = self.functions.get(address)
        if self.in_use is not None or function is None:
            return False
        if not vfio.is_driver(function.driver):
            return False
        holder = self.host.processes.holder(function)
        return holder is not None and holder.is_hypervisor

    @functools.cached_property
    def _used_places(self) -> frozenset[str]:
        return frozenset(_place(info) for info in self.in_use or ())


def given(devices: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Yield the addresses of the functions that plain devices offer."""
    for device in devices:
        for deployable in device["deployable_list"]:
            for handle in deployable["attach_handle_list"] or []:
                address = _address(handle["attach_info"])
                if address is not None:
                    yield address


def is_made(handle: dict[str, Any]) -> bool:
    """Return whether a handle is something made of a function on demand."""
    return (
        handle["attach_type"] == constants.AttachHandleType.MDEV
        or "asked_type" in handle["attach_info"]
    )


def _is_whole(offer: Offer) -> bool:
    """Return whether guests have all of an offer."""
    return bool(offer.handles) and offer.taken >= offer.handles.keys()


@functools.lru_cache(maxsize=4096)
def _address(info: str) -> str | None:
    """Return the PCI address in a JSON text, None if there is none."""
    try:
        return pci.format_address(json.loads(info))
    except (exception.PciDeviceWrongAddressFormat, AttributeError, ValueError):
        return None


@functools.lru_cache(maxsize=4096)
def _place(info: str) -> str:
    """Return what tells a handle from the others of its host.

    A function is one thing, whatever is said of it besides. What is made of
    it on demand is not: there every handle has its own text.
    """
    if "asked_type" not in info:
        return _address(info) or info
    try:
        return json.dumps(json.loads(info), sort_keys=True)
    except ValueError:
        return info


def judge(view: View, rules: Iterable[Rule]) -> dict[Offer, list[Mark]]:
    """Return why deployables are withheld; those that are not are not in it.

    A rule that fails is logged, and costs its own findings only.
    """
    for each in rules:
        try:
            view.apply(each)
        except Exception:
            LOG.exception("The rule %s cannot be judged", each.name)
    return view.marks
