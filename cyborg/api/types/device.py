"""Devices as clients see them."""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import json
from typing import Any

from cyborg.api import versions
from cyborg.api.schemas import common
from cyborg.api.types import base
from cyborg.api.types import job
from cyborg.api.types import withheld as withheld_type
from cyborg.common import constants

# What belongs to an event depends on its kind.
_OBJECT = base.Scalar("object", dict, type="object")


@dataclasses.dataclass
class Related:
    """What is shown of devices besides their rows, by their ids."""

    jobs: Mapping[int, Any]
    withheld: Mapping[int, Sequence[str]]
    conditions: Mapping[int, Sequence[Any]]


class Condition(base.Part):
    """What holds of a device."""

    key = base.member(base.TEXT, "What it is, for programs.")
    effect = base.member(
        base.Choice(*constants.ConditionEffect),
        "``no-schedule``: the scheduler does not use the device; or ``none``.",
    )
    source = base.member(
        base.Choice(*constants.ConditionSource),
        "Who says so: ``driver``, ``gate``, ``operator``, ``tenant`` or "
        "``agent``.",
    )
    reason = base.member(base.TEXT, "Why.", nullable=True)
    since = base.member(base.TIME, "Since when.")
    until = base.member(
        base.TIME,
        "When it ends by itself; null if it does not.",
        nullable=True,
    )


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
    conditions = base.member(
        [Condition],
        "What holds of the device: ``key``, ``effect`` (``no-schedule``: the "
        "scheduler does not use it; or ``none``), ``source``, ``reason``, "
        "``since`` and ``until``.",
        since=versions.LIFE,
        value=lambda device, related: related.conditions.get(device.id, ()),
    )
    links = base.links("devices")
    created_at = base.created_at()
    updated_at = base.updated_at()


SHOWN = base.shown(Device)
LISTED = base.listed("devices", "The devices.", SHOWN)
# Before, nothing is shown of a device whose status is set.
SHOWN_AFTER = base.since(versions.STRICT, SHOWN)


class DeviceEvent(base.Resource):
    """Something that happened to a device."""

    _since = versions.LIFE

    uuid = base.member(base.UUID, "The uuid of the event.")
    device_uuid = base.member(
        base.UUID,
        "The uuid of the device.",
    )
    kind = base.member(
        base.Choice(*constants.DeviceEventKind),
        "What happened: "
        + ", ".join(f"``{kind}``" for kind in constants.DeviceEventKind)
        + ".",
    )
    who = base.member(
        base.TEXT, "The id of a user, the agent of a host, or ``cyborg``."
    )
    why = base.member(base.TEXT, "Why, where that is known.", nullable=True)
    detail = base.member(
        _OBJECT,
        "What belongs to it: for a bind ``arq``, ``instance`` and "
        "``project``, for a condition its ``key``.",
        value=lambda event, related: json.loads(event.detail),
    )
    at = base.member(base.TIME, "When, by the clock of the database.")


HISTORY = base.listed(
    "events", "What happened to the device.", base.shown(DeviceEvent)
)

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
