"""Queries and bodies about devices."""

from cyborg.api import versions
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
_CLEANING = common.json_object(
    {
        "path": {"const": "/cleaning"},
        "op": {"const": "replace"},
        "value": {"enum": ["clean", "release"]},
    },
    {"reason": {"type": "string", "maxLength": 255}},
    closed=True,
)
_SET_CONDITION = common.json_object(
    {
        "path": {},
        "op": {"enum": ["add", "replace"]},
        "value": common.json_object(
            {},
            {
                "effect": {
                    "enum": [str(e) for e in constants.ConditionEffect]
                },
                "reason": {"type": "string", "maxLength": 255},
                "until": {
                    "type": "string",
                    "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}"
                    "(:[0-9]{2}([.][0-9]{1,9})?)?"
                    "(Z|[+-][0-9]{2}:[0-9]{2})?$",
                    "errorMessage": "has to be a time in ISO 8601",
                },
            },
            closed=True,
        ),
    },
    closed=True,
)
_CLEAR_CONDITION = common.json_object(
    {"path": {}, "op": {"const": "remove"}}, closed=True
)


def _is(name: str, value: str) -> common.Schema:
    return {"properties": {name: {"const": value}}}


UPDATE = {
    versions.RESOURCES: common.list_of(
        "operation",
        {
            "type": "object",
            "properties": {"path": {"enum": ["/status", "/firmware"]}},
            "required": ["path", "op", "value"],
            "if": _is("path", "/firmware"),
            "then": _FIRMWARE,
            "else": _STATUS,
        },
    ),
    versions.LIFE: common.list_of(
        "operation",
        {
            "type": "object",
            "properties": {
                "path": {
                    "type": "string",
                    "pattern": "^/(status|firmware|cleaning|"
                    "conditions/[a-z0-9][a-z0-9_.-]{0,63})$",
                    "errorMessage": "has to be /status, /firmware, "
                    "/cleaning or /conditions/ and a key (a-z, 0-9, _.-)",
                }
            },
            "required": ["path", "op"],
            "if": _is("path", "/firmware"),
            "then": _FIRMWARE,
            "else": {
                "if": _is("path", "/status"),
                "then": _STATUS,
                "else": {
                    "if": _is("path", "/cleaning"),
                    "then": _CLEANING,
                    "else": {
                        "if": _is("op", "remove"),
                        "then": _CLEAR_CONDITION,
                        "else": _SET_CONDITION,
                    },
                },
            },
        },
    ),
}

HISTORY_SORT_KEYS = ("id", "at")
HISTORY = {versions.LIFE: common.paged(HISTORY_SORT_KEYS, {})}
