"""Huawei Ascend AI processors."""

from cyborg.accelerator import card as card_driver
from cyborg.accelerator import describe
from cyborg.accelerator import pci
from cyborg.common import constants
from cyborg.objects import report

HUAWEI = "19e5"
# Ascend 310, 310P, 910, 910B and 910C.
PRODUCTS = ("d100", "d500", "d801", "d802", "d803")


class HuaweiAscendDriver(card_driver.CardDriver):
    """Reports each processor whole."""

    VENDOR = "huawei"
    TYPE = constants.DeviceType.AICHIP

    def claims(self, function: pci.Function) -> bool:
        # Virtual functions of a 310P have its ids; a card that is divided
        # cannot be given away whole, and parts are not offered.
        return (
            function.vendor == HUAWEI
            and function.product in PRODUCTS
            and function.physfn is None
        )

    def describe(
        self,
        card: pci.Function,
        deployables: list[report.DriverDeployable],
        *,
        stub: bool,
    ) -> report.DriverDevice:
        # ``class`` is no name Python takes for an argument.
        info = {"device_id": card.product, "class": card.class_name}
        return describe.device(
            card,
            type=self.TYPE,
            vendor=card.vendor,
            model="",
            std_board_info=describe.board_info(**info),
            vendor_board_info="",
            deployables=deployables,
            stub=stub,
        )

    def deployables(
        self, card: pci.Function, functions: dict[str, pci.Function]
    ) -> list[report.DriverDeployable]:
        return [
            describe.deployable(
                self.host,
                card.address,
                resource_class=constants.RC_AICHIP,
                traits=[
                    "CUSTOM_AICHIP_HUAWEI",
                    f"CUSTOM_AICHIP_PRODUCT_ID_{card.product}",
                ],
                handles=[describe.handle(card.address)],
                driver_name=self.VENDOR,
            )
        ]
