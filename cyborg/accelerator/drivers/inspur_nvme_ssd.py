"""Inspur NVMe solid state drives."""

from cyborg.accelerator import card as card_driver
from cyborg.accelerator import describe
from cyborg.accelerator import pci
from cyborg.common import constants
from cyborg.common import exception
from cyborg.objects import report

INSPUR = "1bd4"
NVME_CLASS = "0108"
# Of the host, and of a guest that has the drive.
DRIVERS = ("nvme", "vfio-pci")


class InspurNVMeSSDDriver(card_driver.CardDriver):
    """Reports each drive whole."""

    VENDOR = "inspur"
    TYPE = constants.DeviceType.SSD
    VENDOR_INFO = "ssd_vb_info"

    def claims(self, function: pci.Function) -> bool:
        return function.vendor == INSPUR and function.class_code == NVME_CLASS

    def deployables(
        self, card: pci.Function, functions: dict[str, pci.Function]
    ) -> list[report.DriverDeployable]:
        if card.driver not in DRIVERS:
            # So it is for a moment while a guest is given the drive; who
            # else uses it with another driver is not known.
            raise exception.DriverError(
                reason=f"{card.address} is bound to "
                f"{card.driver or 'no driver'}, not to nvme or vfio-pci"
            )
        return [
            describe.deployable(
                self.host,
                card.address,
                resource_class=constants.RC_SSD,
                traits=[
                    "CUSTOM_SSD_INSPUR",
                    f"CUSTOM_SSD_PRODUCT_ID_{card.product}",
                ],
                handles=[describe.handle(card.address)],
                driver_name="INSPUR",
            )
        ]
