"""Intel FPGA cards, as Intel's own kernel driver or the kernel's DFL shows.

::

    <card>/fpga/intel-fpga-dev.0/intel-fpga-fme.0/pr/interface_id
    <card>/fpga/intel-fpga-dev.0/intel-fpga-port.0/afu_id
    <card>/fpga_region/region0/dfl-fme.0/
        dfl-fme-region.0/fpga_region/region1/compat_id
    <card>/fpga_region/region0/dfl-port.0/afu_id

Documentation/fpga/dfl.rst of the kernel; each id is 32 hex digits. A card
without any of these has no kernel driver, or is given to a guest whole.
"""

import os
from typing import Any

from cyborg.accelerator import card as card_driver
from cyborg.accelerator import describe
from cyborg.accelerator import driver
from cyborg.accelerator import pci
from cyborg.accelerator import privileged
from cyborg.accelerator import state
from cyborg.accelerator import sysfs
from cyborg.common import constants
from cyborg.common import exception
from cyborg.objects import report

VENDOR_ID = "8086"
# What a product is called in traits.
PRODUCTS = {"09c4": "PAC_ARRIA10"}
# Known from the kernel's driver, dfl-pci: integrated FPGAs of Xeons, N3000,
# D5005, N6000 and N6001. A card of another product is known once it had its
# driver.
_DFL_PRODUCTS = ("bcbd", "bcc0", "0b30", "0b2b", "bcce")

_CLASSES = ("fpga", "fpga_region")
_REGIONS = (
    "fpga/intel-fpga-dev.*/intel-fpga-fme.*/pr/interface_id",
    "fpga_region/region*/dfl-fme.*/dfl-fme-region.*/fpga_region/*/compat_id",
)
_FUNCTIONS = (
    "fpga/intel-fpga-dev.*/intel-fpga-port.*/afu_id",
    "fpga_region/region*/dfl-port.*/afu_id",
)


class IntelFPGADriver(card_driver.IdCardDriver, driver.Programmable):
    """Reports physical functions; their virtual functions are the handles."""

    VENDOR = "intel"
    TYPE = constants.DeviceType.FPGA

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # What functions had loaded before guests got them: then no kernel
        # driver of the host can tell, and the others' trait must stay.
        self._loaded: dict[str, list[str]] = {}
        # Products by address of what had its driver, here or in an agent
        # that ran before: {"0000:3b:00.0": "bcce"}.
        self._file = state.File(self.conf, "intel_fpga")
        self._had_driver: dict[str, str] = self._file.load()

    def claims(self, function: pci.Function) -> bool:
        # Only physical functions have the file; the virtual functions of a
        # programmed card have the directories of _CLASSES as well.
        return (
            function.vendor == VENDOR_ID
            and (
                function.product in PRODUCTS
                or function.product in _DFL_PRODUCTS
                or self._is_known(function)
            )
            and os.path.exists(os.path.join(function.path, "sriov_totalvfs"))
        )

    def _is_known(self, function: pci.Function) -> bool:
        """Return whether a function has its driver, or ever had."""
        known = self._had_driver.get(function.address) == function.product
        if not known and _has_driver(function):
            self._had_driver[function.address] = function.product
            self._file.save(self._had_driver)
            known = True
        return known

    def deployables(
        self, card: pci.Function, functions: dict[str, pci.Function]
    ) -> list[report.DriverDeployable]:
        if not _has_driver(card):
            raise exception.DriverError(
                reason="no kernel driver shows what the FPGA has loaded"
            )
        virtual = [functions[vf] for vf in card.virtfns if vf in functions]
        given = card.virtfns or (card.address,)
        return [
            describe.deployable(
                self.host,
                card.address,
                resource_class=constants.RC_FPGA,
                traits=self._traits(card, virtual),
                handles=[describe.handle(address) for address in given],
                driver_name=self.VENDOR,
                count=len(given),
            )
        ]

    def program(
        self, controlpath_id: dict[str, Any], image_file_path: str
    ) -> bool:
        """Load a green bitstream with ``fpgaconf``.

        :raises CommandFailed: it did not; with what the tool said
        """
        card = self.card(controlpath_id)
        for address in card.virtfns:
            self._loaded.pop(address, None)
        privileged.fpgaconf(
            card.address, image_file_path, self.conf.program_timeout
        )
        return True

    def _traits(
        self, card: pci.Function, virtual: list[pci.Function]
    ) -> list[str]:
        """Return the traits of a card; some come twice."""
        traits = ["CUSTOM_FPGA_INTEL"]
        if card.product in PRODUCTS:
            traits.append(f"CUSTOM_FPGA_INTEL_{PRODUCTS[card.product]}")
        traits += self._function_traits(card)
        traits += [
            f"CUSTOM_FPGA_REGION_INTEL_{value}"
            for value in _values(card, _REGIONS)
        ]
        for function in virtual:
            traits += self._function_traits(function)
        traits.append(constants.PROGRAMMABLE_TRAIT)
        return traits

    def _function_traits(self, function: pci.Function) -> list[str]:
        if _has_driver(function):
            self._loaded[function.address] = _values(function, _FUNCTIONS)
        return [
            f"{constants.FUNCTION_TRAIT_PREFIX}_INTEL_{value}"
            for value in self._loaded.get(function.address, [])
        ]


def _has_driver(function: pci.Function) -> bool:
    return any(sysfs.names_optional(function.path, name) for name in _CLASSES)


def _values(function: pci.Function, patterns: tuple[str, ...]) -> list[str]:
    """Return the ids in the files that match; a port in reset has none.

    :raises HardwareFailed: the card does not answer
    """
    texts = [
        sysfs.read_optional(path)
        for pattern in patterns
        for path in sysfs.glob(function.path, pattern)
    ]
    for text in texts:
        if text and not text.lower().strip("f"):
            raise exception.HardwareFailed(
                reason=f"{function.address} has ids that read as all ones"
            )
    return [text for text in texts if text]
