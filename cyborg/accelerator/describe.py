"""Turns PCI functions into what an agent reports, once for all drivers.

Every text made here is compared to the byte with what was reported before,
or is the name of something in Placement, so its form is part of the
interface: see :mod:`cyborg.objects.report`.
"""

from collections.abc import Iterable
from collections.abc import Sequence
import json
import re

from cyborg.accelerator import pci
from cyborg.common import constants
from cyborg.objects import report

_NOT_IN_TRAITS = re.compile(r"[^A-Z0-9_]")
_LONGEST_TRAIT = 255

# What ``vendor_board_info`` says where a driver has nothing to say.
NO_BOARD_INFO = "miss_vb_info"
NO_MODEL = "miss_model_info"


def trait(text: str) -> str:
    """Return text as Placement takes it: ``physnet-1`` is ``PHYSNET_1``."""
    return _NOT_IN_TRAITS.sub("_", text.upper())[:_LONGEST_TRAIT]


def name(host: str, address: str) -> str:
    """Return the name of a deployable: ``cn1_0000:3b:00.0``."""
    return f"{host}_{address}"


def attributes(
    resource_class: str, traits: Iterable[str] = ()
) -> list[report.DriverAttribute]:
    """Return ``rc``, and the traits numbered ``trait0``, ``trait1`` ...

    Traits are made legal; one that comes twice is kept where it came first.
    """
    legal = dict.fromkeys(trait(text) for text in traits)
    pairs = [(constants.ATTR_RESOURCE_CLASS, resource_class)]
    pairs += [
        (f"{constants.ATTR_TRAIT_PREFIX}{number}", value)
        for number, value in enumerate(legal)
    ]
    return [
        report.DriverAttribute(key=key, value=value) for key, value in pairs
    ]


def handle(
    address: str,
    attach_type: str = constants.AttachHandleType.PCI,
    **extra: str,
) -> report.DriverAttachHandle:
    """Return a handle on a PCI function.

    :param extra: more keys of ``attach_info``: ``physical_network``
    """
    return report.DriverAttachHandle(
        attach_type=str(attach_type),
        attach_info=pci.address_info(address, **extra),
        in_use=False,
    )


def mdev_handles(
    address: str, mdev_type: str, count: int
) -> list[report.DriverAttachHandle]:
    """Return one handle for each mdev of a type that a function can have."""
    return [
        handle(
            address,
            constants.AttachHandleType.MDEV,
            asked_type=mdev_type,
            vgpu_mark=f"{mdev_type}_{index}",
        )
        for index in range(count)
    ]


def control_path_id(address: str) -> report.DriverControlPathID:
    """Return where the host manages a card."""
    return report.DriverControlPathID(
        cpid_type=str(constants.ControlPathIDType.PCI),
        cpid_info=pci.address_info(address),
    )


def deployable(
    host: str,
    address: str,
    *,
    resource_class: str,
    traits: Iterable[str],
    handles: Sequence[report.DriverAttachHandle],
    driver_name: str,
    count: int = 1,
) -> report.DriverDeployable:
    """Return what Placement is to count at one address.

    :param count: how many accelerators; Xilinx cards have two handles for
        one, so this is not the number of handles
    """
    return report.DriverDeployable(
        name=name(host, address),
        num_accelerators=count,
        attribute_list=attributes(resource_class, traits),
        attach_handle_list=list(handles),
        driver_name=driver_name,
    )


def device(
    card: pci.Function,
    *,
    type: str,
    vendor: str,
    model: str,
    std_board_info: str | None,
    vendor_board_info: str | None,
    deployables: Sequence[report.DriverDeployable] = (),
    stub: bool = False,
) -> report.DriverDevice:
    """Return one card.

    :param vendor: the text this driver has always used, with or without 0x
    :param stub: the card is there, but what was reported of it before is to
        stay as it is
    """
    return report.DriverDevice(
        vendor=vendor,
        model=model,
        type=str(type),
        std_board_info=std_board_info,
        vendor_board_info=vendor_board_info,
        controlpath_id=control_path_id(card.address),
        deployable_list=list(deployables),
        stub=stub,
    )


def board_info(**fields: str | None) -> str:
    """Return the JSON text of ``std_board_info``, keys in the order given.

    ``{"product_id": "15f7", "controller": "3D controller"}``
    """
    return json.dumps(fields)


def vendor_info(text: str) -> str:
    """Return ``{"vendor_info": "gpu_vb_info"}``."""
    return json.dumps({"vendor_info": text})
