"""Inspur FPGA cards.

Inspur's NVMe drives have the same vendor id and another class.
"""

from cyborg.accelerator import card as card_driver
from cyborg.accelerator import describe
from cyborg.accelerator import pci
from cyborg.common import constants
from cyborg.objects import report

VENDOR_ID = "1bd4"
CLASS = "1200"  # processing accelerators


class InspurFPGADriver(card_driver.CardDriver):
    """Reports each function as a card of its own."""

    VENDOR = "inspur"
    TYPE = constants.DeviceType.FPGA
    VENDOR_INFO = "fpga_vb_info"

    def claims(self, function: pci.Function) -> bool:
        return function.vendor == VENDOR_ID and function.class_code == CLASS

    def deployables(
        self, card: pci.Function, functions: dict[str, pci.Function]
    ) -> list[report.DriverDeployable]:
        return [
            describe.deployable(
                self.host,
                card.address,
                resource_class=constants.RC_FPGA,
                traits=[
                    "CUSTOM_FPGA_INSPUR",
                    f"CUSTOM_FPGA_PRODUCT_ID_{card.product}",
                ],
                handles=[describe.handle(card.address)],
                driver_name=self.VENDOR.upper(),
            )
        ]
