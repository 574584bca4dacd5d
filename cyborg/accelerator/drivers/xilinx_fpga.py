"""Xilinx Alveo cards: a management and a user function make one device."""

from collections.abc import Mapping
import re
import struct
from typing import Any
from typing import BinaryIO

from cyborg.accelerator import card as card_driver
from cyborg.accelerator import describe
from cyborg.accelerator import driver
from cyborg.accelerator import pci
from cyborg.accelerator import privileged
from cyborg.accelerator import sysfs
from cyborg.common import constants
from cyborg.common import exception
from cyborg.objects import report

VENDOR_ID = "10ee"
CLASS = "1200"  # processing accelerators

# Kernel driver of the management function; that of the other is xocl.
MANAGEMENT_DRIVER = "xclmgmt"

# xclbin.h of the Xilinx Runtime. The format of images for the user region
# serves for shells as well, so only its sections tell them apart.
_AXLF_MAGIC = b"xclbin2\0"
_AXLF_SECTIONS_AT = 448  # number of sections, then 4 bytes, their headers
_AXLF_HEADER_SIZE = 40
_IP_LAYOUT = 8  # kernels: what user images are made of
_FLASH = {12, 24}  # MCS, ASK_FLASH: what is written to the card's flash
_MOST_SECTIONS = 1000


# Versal cards, as the V80, are loaded with a tool of their own.
_WITHOUT_XBMGMT = ("50b4", "50b5", "50b6")
# What Alveo cards have: shells, golden images. Others are Alveo cards if they
# have two functions, and else designs of somebody's own.
_ALVEO = re.compile(r"(5|d0)[0-9a-f]+")


class XilinxFPGADriver(card_driver.CardDriver, driver.Programmable):
    """Reports a card under its first function, with a handle for each."""

    VENDOR = "xilinx"
    TYPE = constants.DeviceType.FPGA
    VENDOR_INFO = "fpga_vb_info"
    # xbmgmt wants it of a shell; a user image may have any.
    IMAGE_SUFFIX = ".xsabin"
    HAS_PARTS = False

    def claims(self, function: pci.Function) -> bool:
        """Return whether it is a physical function of an Alveo card."""
        return (
            function.vendor == VENDOR_ID
            and function.class_code == CLASS
            and function.physfn is None
            and (
                _ALVEO.fullmatch(function.product) is not None
                or self._has_neighbour(function)
            )
        )

    def _has_neighbour(self, function: pci.Function) -> bool:
        """Return whether there is another physical function in the slot."""
        for number in range(8):
            address = f"{function.slot}.{number}"
            path = sysfs.resolve(self.root, pci.DEVICES, address)
            if (
                address != function.address
                and sysfs.is_directory(path)
                and sysfs.link_name(path, "physfn") is None
            ):
                return True
        return False

    def cards(self, functions: dict[str, pci.Function]) -> list[pci.Function]:
        first: dict[str, pci.Function] = {}
        for function in functions.values():
            if self.claims(function):
                first.setdefault(function.slot, function)
        return list(first.values())

    def deployables(
        self, card: pci.Function, functions: dict[str, pci.Function]
    ) -> list[report.DriverDeployable]:
        members = self._members(card, functions)
        if len(members) < 2:
            raise exception.DriverError(
                reason="only one function is to be seen, and guests need two"
            )
        traits = [
            constants.XILINX_TRAIT,
            f"CUSTOM_FPGA_PRODUCT_ID_{card.product}",
        ]
        if card.product not in _WITHOUT_XBMGMT:
            traits.append(constants.PROGRAMMABLE_TRAIT)
        # A guest asks for two functions; a third would be somebody else's.
        first = management(members)
        user = next(item for item in members if item is not first)
        given = {first.address, user.address}
        return [
            describe.deployable(
                self.host,
                card.address,
                resource_class=constants.RC_FPGA,
                traits=traits,
                handles=[
                    describe.handle(function.address)
                    for function in members
                    if function.address in given
                ],
                driver_name=self.VENDOR.upper(),
                count=1,
            )
        ]

    def stats_targets(self, card: pci.Function) -> list[str]:
        functions = pci.read_functions(self.root)
        return [item.address for item in self._members(card, functions)]

    def program(
        self, controlpath_id: dict[str, Any], image_file_path: str
    ) -> bool:
        """Load an image with ``xbmgmt``, into the region it is made for.

        :raises CommandFailed: it did not; with what the tool said
        :raises DriverError: the card takes nothing from that tool
        """
        card = self.card(controlpath_id)
        if card.product in _WITHOUT_XBMGMT:
            raise exception.DriverError(
                reason=f"{card.address} (10ee:{card.product}) is not loaded "
                "with xbmgmt"
            )
        members = self._members(card, pci.read_functions(self.root))
        with open(image_file_path, "rb") as image:
            user = is_user_image(image)
        privileged.xbmgmt_program(
            management(members).address,
            image_file_path,
            user,
            self.conf.program_timeout,
        )
        return True

    def _members(
        self, card: pci.Function, functions: Mapping[str, pci.Function]
    ) -> list[pci.Function]:
        """Return the functions of a card, in the order of their numbers."""
        return [
            function
            for function in functions.values()
            if function.slot == card.slot and self.claims(function)
        ]


def management(members: list[pci.Function]) -> pci.Function:
    """Return the function that manages a card: the first, if none is bound."""
    for function in members:
        if function.driver == MANAGEMENT_DRIVER:
            return function
    return members[0]


def is_user_image(image: BinaryIO) -> bool:
    """Return whether an image is an xclbin for the user region.

    Everything else, also what cannot be understood, is left to ``xbmgmt`` as
    a shell, and refused there if it is none.
    """
    start = image.read(_AXLF_SECTIONS_AT + 8)
    if len(start) < _AXLF_SECTIONS_AT + 8 or not start.startswith(_AXLF_MAGIC):
        return False
    (count,) = struct.unpack_from("<I", start, _AXLF_SECTIONS_AT)
    headers = image.read(min(count, _MOST_SECTIONS) * _AXLF_HEADER_SIZE)
    kinds = {
        struct.unpack_from("<I", headers, offset)[0]
        for offset in range(0, len(headers) - 3, _AXLF_HEADER_SIZE)
    }
    return _IP_LAYOUT in kinds and not kinds & _FLASH
