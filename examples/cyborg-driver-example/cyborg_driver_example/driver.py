"""Offers QEMU's educational PCI device, which computes factorials."""

from typing import Any

from cyborg.accelerator import card as card_driver
from cyborg.accelerator import describe
from cyborg.accelerator import pci
from cyborg.common import constants
from cyborg.common import exception
from cyborg.objects import report
from cyborg_driver_example import conf

# docs/specs/edu.rst of QEMU.
QEMU = "1234"
EDU = "11e8"


class EduDriver(card_driver.CardDriver):
    """Each function is a card, given to a guest whole."""

    VENDOR = "qemu"
    TYPE = constants.DeviceType.AICHIP

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        conf.register_opts(self.conf)
        self._trait = self.conf.edu.trait
        if self._trait and not self._trait.startswith("CUSTOM_"):
            raise exception.ConfigInvalid(
                option="[edu] trait", reason="it must begin with CUSTOM_"
            )

    def claims(self, function: pci.Function) -> bool:
        return (function.vendor, function.product) == (QEMU, EDU)

    def describe(
        self,
        card: pci.Function,
        deployables: list[report.DriverDeployable],
        *,
        stub: bool,
    ) -> report.DriverDevice:
        return describe.device(
            card,
            type=self.TYPE,
            vendor=card.vendor,
            model=self.names.of(card),
            std_board_info=describe.board_info(product_id=card.product),
            vendor_board_info=None,
            deployables=deployables,
            stub=stub,
        )

    def deployables(
        self, card: pci.Function, functions: dict[str, pci.Function]
    ) -> list[report.DriverDeployable]:
        traits = ["CUSTOM_EDU_FACTORIAL"]
        if self._trait:
            traits.append(self._trait)
        return [
            describe.deployable(
                self.host,
                card.address,
                resource_class="CUSTOM_EDU",
                traits=traits,
                handles=[describe.handle(card.address)],
                driver_name=self.VENDOR,
            )
        ]
