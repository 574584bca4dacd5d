"""One declared device: which functions it means, and what is told of them."""

from collections.abc import Callable
import dataclasses
import enum
import itertools

from cyborg.accelerator import pci
from cyborg.accelerator import whitelist


class Kind(enum.StrEnum):
    """What guests are given of a card."""

    WHOLE = "whole"
    VFS = "vfs"


class Unit(enum.StrEnum):
    """How the content of a file is written into a trait, by placeholder."""

    TEXT = "{}"
    MIB = "{MiB}"
    GIB = "{GiB}"


_BYTES = {Unit.MIB: 1 << 20, Unit.GIB: 1 << 30}


@dataclasses.dataclass(frozen=True)
class Place:
    """Where something is declared."""

    path: str
    line: int | None  # None: the file has it in a form without lines

    def __str__(self) -> str:
        return self.path if self.line is None else f"{self.path}:{self.line}"


@dataclasses.dataclass(frozen=True)
class Address:
    """An address, or a pattern of addresses."""

    text: str
    parts: tuple[Callable[[str], bool], ...] | None  # of a pattern
    exact: str | None  # of an address

    def matches(self, address: str) -> bool:
        if self.parts is None:
            return address == self.exact
        return all(
            part(text)
            for part, text in zip(
                self.parts, pci.parse_address(address), strict=True
            )
        )

    def meets(self, other: "Address") -> bool:
        """Return whether some address is meant by both."""
        if self.exact is not None:
            return other.matches(self.exact)
        if other.exact is not None:
            return self.matches(other.exact)
        return all(
            any(one(text) and two(text) for text in samples)
            for one, two, samples in zip(
                self.parts or (),
                other.parts or (),
                whitelist.SAMPLES,
                strict=True,
            )
        )

    @property
    def is_any(self) -> bool:
        return self.parts is not None and all(
            all(map(part, samples))
            for part, samples in zip(
                self.parts, whitelist.SAMPLES, strict=True
            )
        )


@dataclasses.dataclass(frozen=True)
class Match:
    """What a function has to be; a key that is empty matches all."""

    vendor: tuple[str, ...] = ()
    product: tuple[str, ...] = ()
    class_: tuple[str, ...] = ()  # two or four digits
    subsystem: tuple[tuple[str, str], ...] = ()
    driver: tuple[str, ...] = ()
    address: tuple[Address, ...] = ()

    def miss(self, function: pci.Function, drivers: set[str]) -> str | None:
        """Return why a function is not meant, None if it is.

        :param drivers: the kernel's drivers it has, and had before a guest
            was given it
        """
        if self.vendor and function.vendor not in self.vendor:
            return _not("its vendor", function.vendor, self.vendor)
        if self.product and function.product not in self.product:
            return _not("its product", function.product, self.product)
        if self.class_ and not function.class_code.startswith(self.class_):
            return _not("its class", function.class_code, self.class_)
        if self.subsystem and function.subsystem not in self.subsystem:
            return _not(
                "its subsystem",
                ":".join(function.subsystem or ("none",)),
                [":".join(each) for each in self.subsystem],
            )
        if self.driver and drivers.isdisjoint(self.driver):
            found = " or ".join(sorted(drivers)) or "none"
            return _not("its driver", found, self.driver)
        if self.address and not any(
            each.matches(function.address) for each in self.address
        ):
            texts = [each.text for each in self.address]
            return _not("its address", function.address, texts)
        return None

    def meets(self, other: "Match") -> bool:
        """Return whether some function is sure to be meant by both.

        As far as can be told without a machine: of entries that say nothing
        of one kind, a vendor here and a class there, that is not sure.
        """
        if not any(
            one and two
            for one, two in (
                (self.vendor, other.vendor),
                (self.class_, other.class_),
                (self.subsystem, other.subsystem),
                (self.address, other.address),
            )
        ):
            return False
        pairs = (
            (self.vendor, other.vendor),
            (self.product, other.product),
            (self.subsystem, other.subsystem),
            (self.driver, other.driver),
        )
        if any(one and two and set(one).isdisjoint(two) for one, two in pairs):
            return False
        if (
            self.class_
            and other.class_
            and not any(
                one.startswith(two) or two.startswith(one)
                for one, two in itertools.product(self.class_, other.class_)
            )
        ):
            return False
        return not (self.address and other.address) or any(
            one.meets(two)
            for one, two in itertools.product(self.address, other.address)
        )


def _not(what: str, found: str, wanted: object) -> str:
    texts = wanted if isinstance(wanted, list | tuple) else [wanted]
    return f"{what} is {found}, not {' or '.join(map(str, texts))}"


@dataclasses.dataclass(frozen=True)
class AttributeTrait:
    """A trait made of what a file of the function says."""

    file: str  # below the function's directory, may be a pattern
    template: str  # CUSTOM_VRAM_{GiB}G
    unit: Unit

    def of(self, text: str | None) -> str | None:
        """Return the trait, None if the file says nothing that makes one."""
        value = (text or "").strip()
        if not value:
            return None
        number = None
        try:
            number = int(value, 0)
        except ValueError:
            if self.unit is not Unit.TEXT:
                return None
        # -1 is how the kernel says that it does not know.
        if number is not None and number < 0:
            return None
        if number is not None and self.unit in _BYTES:
            value = str(number // _BYTES[self.unit])
        return self.template.replace(self.unit.value, value)


@dataclasses.dataclass(frozen=True)
class Entry:
    """One ``[[device]]`` of a file."""

    place: Place
    is_known: bool  # one of the package's, and not the operator's
    name: str
    match: Match
    kind: Kind
    type: str
    resource_class: str
    traits: tuple[str, ...] = ()
    product_traits: dict[str, tuple[str, ...]] = dataclasses.field(
        default_factory=dict
    )
    attribute_traits: tuple[AttributeTrait, ...] = ()
    model: str | None = None
    stats: dict[str, str] = dataclasses.field(default_factory=dict)
    one_time_use: bool = False
    physical_network: str | None = None

    def miss(self, function: pci.Function, drivers: set[str]) -> str | None:
        """Return why the entry does not take a function, None if it does."""
        reason = self.match.miss(function, drivers)
        if reason is not None or self.kind is Kind.WHOLE:
            return reason
        if function.physfn is not None:
            return (
                f"it is a virtual function of {function.physfn}, and kind vfs "
                "is about physical ones"
            )
        if not function.sriov_totalvfs and not function.virtfns:
            return "it can have no virtual functions, which kind vfs is about"
        return None

    def __str__(self) -> str:
        return f"{self.name} ({self.place})"
