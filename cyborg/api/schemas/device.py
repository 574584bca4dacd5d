"""Queries, bodies and answers about devices."""

from cyborg.api import versions
from cyborg.api.schemas import answers
from cyborg.api.schemas import common
from cyborg.common import constants

SORT_KEYS = (
    "id",
    "uuid",
    "type",
    "vendor",
    "model",
    "hostname",
    "status",
    "created_at",
    "updated_at",
)

_FILTERS = {
    "type": common.ANY,
    "vendor": common.ANY,
    "hostname": common.ANY,
}
# The array takes the paging arguments of any list; what else it once took
# said nothing of devices and was ignored.
_ARRAY = ("limit", "marker", "sort_key", "sort_dir")

INDEX = {
    versions.BASE: common.with_filter_array(
        common.paged(SORT_KEYS, _FILTERS), _ARRAY
    ),
    versions.LISTS: common.with_filter_array(
        common.paged(
            SORT_KEYS,
            _FILTERS | {"status": common.ANY, "model": common.ANY},
        ),
        _ARRAY,
    ),
}

_STATUS = common.json_object(
    {
        "path": {"const": "/status"},
        "op": {"const": "replace"},
        "value": {"enum": ["enabled", "disabled", "maintaining"]},
    },
    {"reason": {"type": "string", "maxLength": 255}},
    closed=True,
)
_FIRMWARE = common.json_object(
    {
        "path": {"const": "/firmware"},
        "op": {"const": "add"},
        "value": common.IMAGE,
    },
    closed=True,
)
UPDATE = {
    versions.RESOURCES: common.list_of(
        "operation",
        {
            "type": "object",
            "properties": {"path": {"enum": ["/status", "/firmware"]}},
            "required": ["path", "op", "value"],
            "if": {"properties": {"path": {"const": "/firmware"}}},
            "then": _FIRMWARE,
            "else": _STATUS,
        },
    )
}

SHOWN = answers.shown(
    "Device",
    {
        versions.BASE: {
            "uuid": answers.UUID,
            "type": {"enum": [str(type_) for type_ in constants.DeviceType]},
            "vendor": answers.TEXT,
            "model": answers.TEXT,
            "std_board_info": answers.or_null(answers.TEXT),
            "vendor_board_info": answers.or_null(answers.TEXT),
            "hostname": answers.TEXT,
            **answers.links("self"),
            **answers.TIMES,
        },
        versions.DEVICE_STATUS: {
            "status": {"enum": [str(s) for s in constants.DeviceStatus]}
        },
        versions.STRICT: {"is_maintaining": answers.FLAG},
        versions.RESOURCES: {
            "status_reason": answers.or_null(answers.TEXT),
            "last_job": answers.LAST_JOB,
        },
    },
)
LISTED = answers.listed("devices", SHOWN)
# Before, nothing is shown of a device whose status is set.
SHOWN_AFTER = answers.since(versions.STRICT, SHOWN)

# What is measured, and in which unit, is the driver's affair, and so is what
# else it tells.
_PROPERTIES = {"type": "object"}
_ACCELERATOR = common.json_object(
    {"acc_name": answers.TEXT, "properties": _PROPERTIES}, closed=False
)
_PART = common.json_object({"accelerator": _ACCELERATOR}, closed=False)
STATS = {
    versions.RESOURCES: answers.closed(
        {
            "device": common.json_object(
                {
                    "device_name": answers.TEXT,
                    "device_number": answers.TEXT,
                    "properties": _PROPERTIES,
                },
                {"deploy": {"type": "array", "items": _PART}},
                closed=False,
            )
        }
    )
}
