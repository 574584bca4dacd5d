"""Any PCI device that a file declares."""

from collections.abc import Iterator
from typing import Any

from cyborg.accelerator import card as card_driver
from cyborg.accelerator import describe
from cyborg.accelerator import pci
from cyborg.accelerator import state
from cyborg.accelerator import sysfs
from cyborg.accelerator.declared import entry as declared
from cyborg.accelerator.declared import reader
from cyborg.common import constants
from cyborg.common import exception
from cyborg.objects import report

# What a function has while a guest has it.
_OF_GUESTS = (None, "vfio-pci")


class Drivers:
    """The kernel's driver each function had before a guest was given it."""

    def __init__(self, conf: Any) -> None:
        self._file = state.File(conf, "declared")
        self._last: dict[str, dict[str, str]] | None = None

    def learn(self, functions: dict[str, pci.Function]) -> None:
        """Keep what the functions have now."""
        last = self._file.load() if self._last is None else self._last
        seen = {
            address: {"ids": _ids(item), "driver": item.driver}
            for address, item in functions.items()
            if item.driver is not None and item.driver not in _OF_GUESTS
        }
        if any(last.get(address) != each for address, each in seen.items()):
            self._file.save(last | seen)
        self._last = last | seen

    def of(self, function: pci.Function) -> set[str]:
        """Return the driver a function has, and the one it had."""
        if self._last is None:
            self._last = self._file.load()
        if function.driver not in _OF_GUESTS:
            return {str(function.driver)}
        found = {function.driver} if function.driver else set()
        last = self._last.get(function.address)
        if last is not None and last["ids"] == _ids(function):
            found.add(last["driver"])
        return found


def _ids(function: pci.Function) -> str:
    return f"{function.vendor}:{function.product}"


class DeclaredDriver(card_driver.CardDriver):
    """Reports what the files of ``[declared]`` declare, and nothing else."""

    def __init__(self, **kwargs: Any) -> None:
        """Read the files once.

        :raises ConfigInvalid: one is not valid
        """
        super().__init__(**kwargs)
        self._entries = reader.read(self.conf)
        self._drivers = Drivers(self.conf)
        self._odd: list[str] = []

    def claims(self, function: pci.Function) -> bool:
        return self._entry(function) is not None

    def cards(self, functions: dict[str, pci.Function]) -> list[pci.Function]:
        """Return what is declared, without the parts of what is.

        Whatever is declared of a virtual function, its card's entry counts:
        it already offers it.
        """
        if any(entry.match.driver for entry in self._entries):
            self._drivers.learn(functions)
        found = {
            address: entry
            for address, function in functions.items()
            if (entry := self._entry(function)) is not None
        }
        self._odd = list(self._remarks(functions, found))
        return [
            functions[address]
            for address in found
            if not self._is_part(functions[address], found)
            and found.keys().isdisjoint(
                ()
                if found[address].kind is declared.Kind.VFS
                else functions[address].virtfns
            )
        ]

    def describe(
        self,
        card: pci.Function,
        deployables: list[report.DriverDeployable],
        *,
        stub: bool,
    ) -> report.DriverDevice:
        entry = self._of(card)
        return describe.device(
            card,
            type=entry.type,
            vendor=card.vendor,
            model=entry.model or self.names.of(card),
            std_board_info=describe.board_info(
                product_id=card.product, controller=card.class_name
            ),
            vendor_board_info=describe.NO_BOARD_INFO,
            deployables=deployables,
            stub=stub,
        )

    def deployables(
        self, card: pci.Function, functions: dict[str, pci.Function]
    ) -> list[report.DriverDeployable]:
        entry = self._of(card)
        rival = self._rival(card, entry)
        if rival is not None:
            raise exception.DriverError(
                reason=f"{card.address} is meant by both {entry} and {rival}: "
                "tell their match apart"
            )
        offered = [card]
        if entry.kind is declared.Kind.VFS:
            offered = [
                functions[address]
                for address in card.virtfns
                if address in functions
            ]
        extra = {}
        if entry.physical_network is not None:
            extra["physical_network"] = entry.physical_network
        return [
            describe.deployable(
                self.host,
                function.address,
                resource_class=entry.resource_class,
                traits=_traits(entry, card),
                handles=[describe.handle(function.address, **extra)],
                driver_name=card.vendor.upper(),
            )
            for function in offered
        ]

    def warnings(self) -> list[str]:
        return self._odd

    def explain(self, address: str) -> list[str]:
        """Say which entry takes a function, or why none does."""
        functions = self.functions()
        function = functions[address]
        if function.error:
            return [f"it cannot be read: {function.error}"]
        whole = functions.get(function.physfn or "")
        if whole is not None:
            over = self._entry(whole)
            if over is not None and over.kind is declared.Kind.VFS:
                return [f"{over} takes it, as a part of {whole.address}"]
        entry = self._entry(function)
        if entry is not None:
            rival = self._rival(function, entry)
            if rival is not None:
                return [f"{entry} and {rival} both mean it, so none offers it"]
            return [f"{entry} takes it"]
        if not self._entries:
            return ["no device is declared"]
        return [
            f"{each} does not take it: "
            f"{each.miss(function, self._drivers.of(function))}"
            for each in self._entries
        ]

    def get_stats(self, controlpath_id: dict[str, Any]) -> dict[str, Any]:
        """Return what every card has, and what the entry's files say."""
        document = super().get_stats(controlpath_id)
        card = self.card(controlpath_id)
        for label, pattern in self._of(card).stats.items():
            text = _content(card, pattern)
            if text is not None:
                document["device"]["properties"][label] = text
        return document

    def _entry(self, function: pci.Function) -> declared.Entry | None:
        """Return the first entry that takes a function, the operator's."""
        if function.error:
            return None
        drivers = self._drivers.of(function)
        for entry in self._entries:
            if entry.miss(function, drivers) is None:
                return entry
        return None

    def _rival(
        self, function: pci.Function, entry: declared.Entry
    ) -> declared.Entry | None:
        """Return another entry of the same origin that means a function."""
        drivers = self._drivers.of(function)
        for other in self._entries:
            if (
                other is not entry
                and other.is_known == entry.is_known
                and other.miss(function, drivers) is None
            ):
                return other
        return None

    def _of(self, card: pci.Function) -> declared.Entry:
        entry = self._entry(card)
        if entry is None:
            raise LookupError(f"{card.address} is not declared")
        return entry

    @staticmethod
    def _is_part(
        function: pci.Function, found: dict[str, declared.Entry]
    ) -> bool:
        over = found.get(function.physfn or "")
        return over is not None and over.kind is declared.Kind.VFS

    def _remarks(
        self,
        functions: dict[str, pci.Function],
        found: dict[str, declared.Entry],
    ) -> Iterator[str]:
        """Yield a sentence for what the operator may not have meant."""
        for entry in self._entries:
            if not entry.is_known and entry not in found.values():
                yield f"no device of this host is meant by {entry}"
        for address, entry in found.items():
            if (
                entry.kind is declared.Kind.VFS
                and not functions[address].virtfns
            ):
                yield (
                    f"{address} has no virtual functions yet, and {entry} "
                    "offers nothing else of it"
                )


def _traits(entry: declared.Entry, card: pci.Function) -> list[str]:
    traits = [*entry.traits, *entry.product_traits.get(card.product, ())]
    for attribute in entry.attribute_traits:
        trait = attribute.of(_content(card, attribute.file))
        if trait is not None:
            traits.append(trait)
    if entry.one_time_use:
        traits.append(constants.ONE_TIME_TRAIT)
    return traits


def _content(card: pci.Function, pattern: str) -> str | None:
    """Return what the first file says that matches, None if none does."""
    for path in sysfs.glob(card.path, pattern):
        return sysfs.read_optional(path)
    return None
