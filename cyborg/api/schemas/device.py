"""Queries and bodies about devices."""

from cyborg.api import versions
from cyborg.api.schemas import common

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
