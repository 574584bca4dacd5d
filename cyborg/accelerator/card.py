"""Base of the drivers whose devices are PCI cards."""

import abc
from typing import Any
from typing import ClassVar

from oslo_log import log

from cyborg.accelerator import describe
from cyborg.accelerator import driver
from cyborg.accelerator import nvme
from cyborg.accelerator import nvme_spec
from cyborg.accelerator import patience
from cyborg.accelerator import pci
from cyborg.accelerator import reset
from cyborg.accelerator import stats
from cyborg.accelerator import sysfs
from cyborg.common import constants
from cyborg.common import exception
from cyborg.objects import report

LOG = log.getLogger(__name__)


class CardDriver(driver.Driver, driver.Cleanable):
    """Reports the cards it claims; one bad card does not hide the others.

    A driver says which functions are its own (:meth:`claims`), and what to
    report of one (:meth:`describe`, :meth:`deployables`). A card that is
    there and cannot be looked into is reported as a stub.
    """

    # What the vendor's part of the board information says of all cards.
    VENDOR_INFO: ClassVar[str] = ""
    # Whether the virtual functions of its cards are this driver's as well.
    HAS_PARTS: ClassVar[bool] = True

    def __init__(self, **kwargs: Any) -> None:
        """Take what :class:`.driver.Driver` takes."""
        super().__init__(**kwargs)
        self.names = pci.Names(self.run)
        # What was said of a card before its ids became unreadable.
        self._known: dict[str, report.DriverDevice] = {}
        # Why a card cannot be described, to say each reason once.
        self._troubles: dict[str, str] = {}
        self._broken: dict[str, str] = {}
        self._looking: patience.Patience[
            str, list[report.DriverDeployable]
        ] = patience.Patience("looking into")

    @abc.abstractmethod
    def claims(self, function: pci.Function) -> bool:
        """Return whether this driver knows this kind of function.

        Judged by ids, class and configuration, not by how the card is now.
        """

    def describe(
        self,
        card: pci.Function,
        deployables: list[report.DriverDeployable],
        *,
        stub: bool,
    ) -> report.DriverDevice:
        """Return the device; reads nothing, so that it cannot fail.

        Here by its names, in the texts of drivers that once parsed lspci.
        """
        return describe.device(
            card,
            type=self.TYPE,
            vendor=card.vendor,
            model=self.names.of(card),
            std_board_info=describe.board_info(
                product_id=card.product, controller=card.class_name
            ),
            vendor_board_info=describe.vendor_info(self.VENDOR_INFO),
            deployables=deployables,
            stub=stub,
        )

    @abc.abstractmethod
    def deployables(
        self, card: pci.Function, functions: dict[str, pci.Function]
    ) -> list[report.DriverDeployable]:
        """Return what of a card can be scheduled.

        :param functions: every function of the machine
        :raises Exception: the card cannot be looked into; it is reported as
            a stub, so that its records stay as they are
        """

    def cards(self, functions: dict[str, pci.Function]) -> list[pci.Function]:
        """Return the functions that are devices of this driver, sorted.

        All it claims; a driver that takes several functions for one card,
        or leaves out some, says so here.
        """
        return [item for item in functions.values() if self.claims(item)]

    def functions(self) -> dict[str, pci.Function]:
        """Return every function of the machine by address, sorted.

        :raises DriverError: the machine cannot be looked through
        """
        return pci.read_functions(self.root)

    def discover(self) -> list[report.DriverDevice]:
        """Return every card, sorted by address."""
        self._broken = {}
        functions = self.functions()
        cards = self.cards(functions)
        self.names.learn(cards)
        by_address = {card.address: card for card in cards}

        def look(address: str) -> list[report.DriverDeployable]:
            return self.deployables(by_address[address], functions)

        found = {}
        for address, answer in self._looking.each(look, by_address).items():
            device = self._device(by_address[address], answer)
            if device is not None:
                found[address] = device
        unreadable = [
            address for address, item in functions.items() if item.error
        ]
        for address in unreadable:
            if address in self._known:
                found[address] = _as_stub(self._known[address])
        self._known = found
        return [found[address] for address in sorted(found, key=pci.sort_key)]

    def broken(self) -> dict[str, str]:
        return self._broken

    def get_stats(self, controlpath_id: dict[str, Any]) -> dict[str, Any]:
        """Return temperature, power, link and error counters of a card.

        Whatever the kernel shows of it; see :mod:`.stats`.
        """
        card = self.card(controlpath_id)
        return stats.document(
            card, pci.read_functions(self.root), self.stats_targets(card)
        )

    # -- cleaning

    def cleaning_steps(
        self, controlpath_id: dict[str, Any], handle: dict[str, Any]
    ) -> list[driver.Step]:
        """Have a drive erased, and anything else reset."""
        drive = self._drive(handle)
        if drive is not None:
            return drive.steps()
        return [reset.step(self.root, self.had(handle))]

    def clean(
        self,
        controlpath_id: dict[str, Any],
        handle: dict[str, Any],
        step: driver.Step,
    ) -> None:
        """Do one of these steps."""
        drive = self._drive(handle)
        if drive is not None:
            drive.do(step)
            return
        reset.reset(self.root, self.had(handle), step.timeout)

    def holder(
        self, controlpath_id: dict[str, Any], handle: dict[str, Any]
    ) -> str | None:
        """Return who has the function open, a guest or the host."""
        return reset.holder(self.root, self.had(handle))

    def _drive(self, handle: dict[str, Any]) -> nvme.Drive | None:
        """Return the drive that a guest had, None if it was none."""
        address = self.had(handle)
        path = sysfs.resolve(self.root, pci.DEVICES, address)
        try:
            function = pci.read_function(address, path)
        except OSError as error:
            raise exception.PciDeviceNotFoundById(id=address) from error
        if function.class_code != nvme.CLASS:
            return None
        options = self.conf.nvme
        return nvme.Drive(
            self.root,
            function,
            spec=nvme_spec.find(
                nvme_spec.parse(options.device_spec), function
            ),
            timeout=float(options.cleanup_timeout),
            max_wear=options.max_wear,
        )

    def had(self, handle: dict[str, Any]) -> str:
        """Return the address of the function that a guest had."""
        return pci.format_address(handle["attach_info"])

    def stats_targets(self, card: pci.Function) -> list[str]:
        """Return the addresses listed as accelerators in the statistics."""
        return list(card.virtfns) or [card.address]

    def card(self, controlpath_id: dict[str, Any]) -> pci.Function:
        """Return the card a control path ID is about.

        :raises InvalidType: the ID is no PCI address
        :raises PciDeviceNotFoundById: there is no such card, or it is not
            this driver's
        """
        expected = constants.ControlPathIDType.PCI
        if controlpath_id["cpid_type"] != expected:
            raise exception.InvalidType(
                actual=controlpath_id["cpid_type"], expected=str(expected)
            )
        address = pci.format_address(controlpath_id["cpid_info"])
        path = sysfs.resolve(self.root, pci.DEVICES, address)
        try:
            card = pci.read_function(address, path)
        except OSError as error:
            raise exception.PciDeviceNotFoundById(id=address) from error
        if not self.claims(card):
            raise exception.PciDeviceNotFoundById(id=address)
        return card

    def _device(
        self,
        card: pci.Function,
        answer: list[report.DriverDeployable] | Exception,
    ) -> report.DriverDevice | None:
        if isinstance(answer, Exception):
            error = answer
            if not sysfs.is_directory(card.path):
                LOG.info("%s vanished while it was being read", card.address)
                return None
            if self._troubles.get(card.address) != str(error):
                LOG.warning(
                    "%s cannot be described and keeps its records: %s",
                    card.address,
                    error,
                    exc_info=None
                    if isinstance(error, exception.CyborgException)
                    else error,
                )
            self._troubles[card.address] = str(error)
            if isinstance(error, exception.HardwareFailed):
                info = pci.address_info(card.address)
                self._broken[info] = error.faultstring
            return self.describe(card, [], stub=True)
        if self._troubles.pop(card.address, None):
            LOG.info("%s can be described again", card.address)
        return self.describe(card, answer, stub=False)


class IdCardDriver(CardDriver):
    """Describes cards by their ids, in the texts of drivers over sysfs."""

    def describe(
        self,
        card: pci.Function,
        deployables: list[report.DriverDeployable],
        *,
        stub: bool,
    ) -> report.DriverDevice:
        """Return the device; reads nothing, so that it cannot fail."""
        return describe.device(
            card,
            type=self.TYPE,
            vendor=f"0x{card.vendor}",
            model=describe.NO_MODEL,
            std_board_info=describe.board_info(product_id=f"0x{card.product}"),
            vendor_board_info=describe.NO_BOARD_INFO,
            deployables=deployables,
            stub=stub,
        )


def attachable(
    card: pci.Function, functions: dict[str, pci.Function]
) -> list[pci.Function]:
    """Return what guests may own: the virtual functions, or the card."""
    if not card.virtfns:
        return [card]
    return [
        functions[address] for address in card.virtfns if address in functions
    ]


def _as_stub(device: report.DriverDevice) -> report.DriverDevice:
    stub = device.obj_clone()
    stub.stub = True
    return stub
