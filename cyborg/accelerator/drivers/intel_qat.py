"""Intel QuickAssist cards and chipsets."""

from typing import Any

from cyborg.accelerator import card as card_driver
from cyborg.accelerator import describe
from cyborg.accelerator import pci
from cyborg.common import constants
from cyborg.objects import report

INTEL = "8086"
# Physical functions that the kernel's drivers know.
KNOWN = {
    "37c8": "C62x",
    "0435": "DH895xCC",
    "19e2": "C3xxx",
    "6f54": "D15xx",
    "4940": "4xxx",
    "4942": "401xx",
    "4944": "402xx",
    "4946": "420xx",
}


class IntelQATDriver(card_driver.IdCardDriver):
    """Reports a card's virtual functions, or the card if it has none.

    Each is a deployable of its own. Which cards is told by ``[qat_devices]
    product_ids``; C62x has 37c8, and its virtual functions 37c9.
    """

    VENDOR = "intel"
    TYPE = constants.DeviceType.QAT

    def __init__(self, **kwargs: Any) -> None:
        """Read the configuration once."""
        super().__init__(**kwargs)
        self._products = {
            pci.normalise_id(text)
            for text in self.conf.qat_devices.product_ids
        }
        self._odd: list[str] = []

    def warnings(self) -> list[str]:
        return self._odd

    def cards(self, functions: dict[str, pci.Function]) -> list[pci.Function]:
        self._odd = [
            f"{item.address} is a QuickAssist card that is not offered: "
            f"{item.product} is not in [qat_devices] product_ids"
            for item in functions.values()
            if item.vendor == INTEL
            and item.product in KNOWN.keys() - self._products
            and item.physfn is None
        ]
        return super().cards(functions)

    def claims(self, function: pci.Function) -> bool:
        return (
            function.vendor == INTEL
            and function.product in self._products
            and function.physfn is None
        )

    def deployables(
        self, card: pci.Function, functions: dict[str, pci.Function]
    ) -> list[report.DriverDeployable]:
        return [
            describe.deployable(
                self.host,
                function.address,
                resource_class=constants.RC_QAT,
                traits=[
                    "CUSTOM_QAT_INTEL",
                    f"CUSTOM_QAT_PRODUCT_ID_{card.product}",
                    "CUSTOM_QAT_VF" if function.physfn else "CUSTOM_QAT_PF",
                ],
                handles=[describe.handle(function.address)],
                driver_name=self.VENDOR,
            )
            for function in card_driver.attachable(card, functions)
        ]
