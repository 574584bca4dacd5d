"""Intel QuickAssist cards and chipsets."""

from typing import Any

from cyborg.accelerator import card as card_driver
from cyborg.accelerator import describe
from cyborg.accelerator import pci
from cyborg.common import constants
from cyborg.objects import report

INTEL = "8086"


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
                ],
                handles=[describe.handle(function.address)],
                driver_name=self.VENDOR,
            )
            for function in card_driver.attachable(card, functions)
        ]
