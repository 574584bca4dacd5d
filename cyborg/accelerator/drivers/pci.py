"""Any PCI device the operator lists in ``[pci] passthrough_whitelist``."""

from collections.abc import Iterable
from collections.abc import Iterator
from typing import Any

from oslo_log import log
from stevedore import extension

from cyborg.accelerator import card as card_driver
from cyborg.accelerator import describe
from cyborg.accelerator import netdevs
from cyborg.accelerator import pci
from cyborg.accelerator import sysfs
from cyborg.accelerator import whitelist
from cyborg.common import constants
from cyborg.objects import report

LOG = log.getLogger(__name__)

NAMESPACE = "cyborg.accelerator.driver"

VENDOR_NAMES = {
    "10de": "NVIDIA",
    "102b": "MATROX",
    "10ee": "XILINX",
    "19e5": "HUAWEI",
    "1bd4": "INSPUR",
    "8086": "INTEL",
}

# Type by class code, for [pci] type_from_class; of two digits the whole base
# class. What is missing is a GPU, as it is without that option.
CLASS_TYPES = {
    "01": constants.DeviceType.SSD,
    "02": constants.DeviceType.NIC,
    "03": constants.DeviceType.GPU,
    "0b40": constants.DeviceType.QAT,
    "1200": constants.DeviceType.AICHIP,
}
# "Processing accelerators" of these are FPGAs: Altera, Inspur, Xilinx.
FPGA_VENDORS = ("1172", "1bd4", "10ee")


class PCIDriver(card_driver.CardDriver):
    """Reports what is listed, except what a driver of its own reports."""

    TYPE = constants.DeviceType.GPU

    def __init__(self, **kwargs: Any) -> None:
        """Read the configuration once.

        :raises ConfigInvalid: the list is not valid
        """
        super().__init__(**kwargs)
        self._entries = whitelist.parse(self.conf.pci.passthrough_whitelist)
        self._memory = netdevs.Memory(self.conf, "pci")
        self._others: list[card_driver.CardDriver] | None = None
        # Entry by address, as of the last discovery.
        self._listed: dict[str, whitelist.Entry] = {}
        self._odd: list[str] = []

    def claims(self, function: pci.Function) -> bool:
        if function.address in self._listed:
            return True
        physical = None
        if function.physfn is not None:
            path = sysfs.resolve(self.root, pci.DEVICES, function.physfn)
            physical = pci.read_function(function.physfn, path)
        return self._entry(function, physical) is not None

    def functions(self) -> dict[str, pci.Function]:
        """Return every function; what a guest has as it was before."""
        return self._memory.complete(super().functions())

    def cards(self, functions: dict[str, pci.Function]) -> list[pci.Function]:
        """Return what is listed and not claimed by another driver.

        A function whose virtual functions are listed too is left out: who
        got it would take them from everybody else.
        """
        if not self._entries:
            return []
        self._odd = list(self._idle(functions))
        listed = {}
        for address, function in functions.items():
            entry = self._entry(function, functions.get(function.physfn or ""))
            if entry and not self._is_claimed(function, functions):
                listed[address] = entry
        self._listed = listed
        return [
            functions[address]
            for address in listed
            if listed.keys().isdisjoint(functions[address].virtfns)
        ]

    def describe(
        self,
        card: pci.Function,
        deployables: list[report.DriverDeployable],
        *,
        stub: bool,
    ) -> report.DriverDevice:
        return describe.device(
            card,
            type=self._type(card),
            vendor=card.vendor,
            model=card.product,
            std_board_info=describe.board_info(
                product_id=card.product, controller=None
            ),
            vendor_board_info=describe.NO_BOARD_INFO,
            deployables=deployables,
            stub=stub,
        )

    def deployables(
        self, card: pci.Function, functions: dict[str, pci.Function]
    ) -> list[report.DriverDeployable]:
        entry = self._listed[card.address]
        vendor = VENDOR_NAMES.get(card.vendor)
        traits = [constants.OWNER_TRAIT]
        if vendor:
            traits.append(f"CUSTOM_PCI_{vendor}")
        traits.append(f"CUSTOM_PCI_PRODUCT_ID_{card.product}")
        traits += entry.traits
        # Product ids mean something only together with the vendor's.
        traits.append(f"CUSTOM_PCI_VENDOR_ID_{card.vendor}")
        return [
            describe.deployable(
                self.host,
                card.address,
                resource_class=entry.resource_class or constants.RC_PCI,
                traits=traits,
                handles=[describe.handle(card.address, **entry.tags)],
                driver_name=vendor or card.vendor.upper(),
            )
        ]

    def warnings(self) -> list[str]:
        return self._odd

    def _idle(self, functions: dict[str, pci.Function]) -> Iterator[str]:
        """Yield a sentence for each entry that means no function."""
        for entry in self._entries:
            if not any(
                entry.matches(each, functions.get(each.physfn or ""))
                for each in functions.values()
            ):
                yield (
                    "[pci] passthrough_whitelist: no device of this host is "
                    f"meant by {entry.text}"
                )

    def _entry(
        self, function: pci.Function, physical: pci.Function | None
    ) -> whitelist.Entry | None:
        """Return the first entry of the list that means a function."""
        if function.error:
            return None
        for entry in self._entries:
            if entry.matches(function, physical):
                return entry
        return None

    def _type(self, card: pci.Function) -> str:
        entry = self._listed[card.address]
        if entry.type is not None:
            return entry.type
        if not self.conf.pci.type_from_class:
            return self.TYPE
        if card.class_code == "1200" and card.vendor in FPGA_VENDORS:
            return constants.DeviceType.FPGA
        return CLASS_TYPES.get(
            card.class_code, CLASS_TYPES.get(card.class_code[:2], self.TYPE)
        )

    def _is_claimed(
        self, function: pci.Function, functions: dict[str, pci.Function]
    ) -> bool:
        """Return whether another enabled driver reports a function.

        Or its physical function, whose parts are that driver's, too.
        """
        whole = functions.get(function.physfn or "")
        return any(
            other.claims(function)
            or (other.HAS_PARTS and whole is not None and other.claims(whole))
            for other in self._other_drivers()
        )

    def _other_drivers(self) -> list[card_driver.CardDriver]:
        """Return the enabled drivers of PCI cards, without this one."""
        if self._others is None:
            self._others = []
            enabled = self.conf.agent.enabled_drivers
            plugins: Iterable[extension.Extension] = (
                extension.ExtensionManager(NAMESPACE)
            )
            for plugin in plugins:
                if plugin.name not in enabled or plugin.plugin is type(self):
                    continue
                if not issubclass(plugin.plugin, card_driver.CardDriver):
                    continue
                try:
                    other = plugin.plugin(
                        root=self.root,
                        run=self.run,
                        host=self.host,
                        conf=self.conf,
                    )
                except Exception as error:
                    # The agent has said so, and reports nothing of it.
                    LOG.warning("%s claims no card: %s", plugin.name, error)
                    continue
                self._others.append(other)
        return self._others
