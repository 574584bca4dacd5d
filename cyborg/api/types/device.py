"""Devices as clients see them."""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
from typing import Any

from cyborg.api import versions
from cyborg.api.schemas import common
from cyborg.api.types import base
from cyborg.api.types import job
from cyborg.api.types import withheld as withheld_type
from cyborg.common import constants


@dataclasses.dataclass
class Related:
    """What is shown of devices besides their rows, by their ids."""

    jobs: Mapping[int, Any]
    withheld: Mapping[int, Sequence[str]]


class Device(base.Resource):
    """A physical card in a host."""

    uuid = base.member(base.UUID, "The uuid of the device.")
    type = base.member(
        base.Label(*constants.DeviceType),
        "``GPU``, ``FPGA``, ``AICHIP``, ``QAT``, ``NIC``, ``SSD``, ``MDEV``, "
        "``PCI``, ``NVME`` or ``PMEM``.",
    )
    vendor = base.member(
        base.TEXT,
        "The vendor, as the driver reports it; mostly the PCI vendor id.",
    )
    model = base.member(base.TEXT, "The model, as the driver reports it.")
    std_board_info = base.member(
        base.TEXT,
        "What the driver knows of any such card; mostly a JSON object as "
        "text.",
        nullable=True,
    )
    vendor_board_info = base.member(
        base.TEXT, "What only cards of this vendor have.", nullable=True
    )
    hostname = base.member(
        base.TEXT,
        "The host of the card: the name of its root resource provider, which "
        "is Nova's node.",
    )
    status = base.member(
        base.Label(*constants.DeviceStatus),
        "``enabled``, or ``maintaining``: the scheduler does not use it.",
        since=versions.DEVICE_STATUS,
    )
    is_maintaining = base.member(
        base.FLAG,
        "Whether the status is ``maintaining``.",
        since=versions.STRICT,
        value=lambda device, related: (
            device.status == constants.DeviceStatus.MAINTAINING
        ),
    )
    status_reason = base.member(
        base.TEXT,
        "Why the device is disabled, as whoever did so wrote it. Enabling "
        "takes it away.",
        since=versions.RESOURCES,
        nullable=True,
    )
    last_job = job.last_job()
    withheld = withheld_type.member(
        withheld_type.of_device,
        "Why nobody is given its deployables, those of all of them: objects "
        "with ``rule`` and ``text``.",
    )
    links = base.links("devices")
    created_at = base.created_at()
    updated_at = base.updated_at()


SHOWN = base.shown(Device)
LISTED = base.listed("devices", "The devices.", SHOWN)
# Before, nothing is shown of a device whose status is set.
SHOWN_AFTER = base.since(versions.STRICT, SHOWN)

# What is measured, and in which unit, is the driver's affair, and so is what
# else it tells; WSME knows no such object.
_PROPERTIES = {"type": "object"}
_ACCELERATOR = common.json_object(
    {"acc_name": base.TEXT.schema, "properties": _PROPERTIES}, closed=False
)
_PART = common.json_object({"accelerator": _ACCELERATOR}, closed=False)
STATS = base.wrapped(
    "device",
    "What the driver measures: ``device_name``, ``device_number``, "
    "``properties``, and ``deploy``, a list with the same of each part. What "
    "is in ``properties``, and in which unit, is the driver's affair; without "
    "such a driver they are empty.",
    {
        versions.RESOURCES: common.json_object(
            {
                "device_name": base.TEXT.schema,
                "device_number": base.TEXT.schema,
                "properties": _PROPERTIES,
            },
            {"deploy": {"type": "array", "items": _PART}},
            closed=False,
        )
    },
)
