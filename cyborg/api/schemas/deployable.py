"""Queries and bodies about deployables."""

from cyborg.api import versions
from cyborg.api.schemas import common

SORT_KEYS = (
    "id",
    "uuid",
    "name",
    "num_accelerators",
    "device_id",
    "rp_uuid",
    "driver_name",
    "bitstream_id",
    "created_at",
    "updated_at",
)

_ARRAY = (
    "name",
    "parent_uuid",
    "root_uuid",
    "limit",
    "marker",
    "sort_key",
    "sort_dir",
)
_FILTERS = {
    "name": common.ANY,
    "device_uuid": common.ANY,
    "rp_uuid": common.ANY,
    "driver_name": common.ANY,
    "bitstream_id": common.ANY,
    "type": common.ANY,
    "parent_uuid": common.ANY,
    "root_uuid": common.ANY,
}

_LISTS = common.with_filter_array(common.paged(SORT_KEYS, _FILTERS), _ARRAY)
_LISTS["properties"]["attribute"] = {
    "type": "array",
    # Each is one more condition of the query.
    "maxItems": 32,
    "errorMessage": "can be given 32 times at most",
    "items": {
        "type": "string",
        "pattern": "^[^:]+:",
        "errorMessage": "has to be key:value",
    },
}
INDEX = {
    versions.BASE: common.with_filter_array(
        common.paged(SORT_KEYS, {}), _ARRAY
    ),
    versions.LISTS: _LISTS,
}

# Clients send the path /program and the operation replace; earlier releases
# looked at neither, only refused what these patterns refuse.
PROGRAM = {
    versions.BASE: common.list_of(
        "operation",
        common.json_object(
            {
                "op": {"enum": ["add", "replace"]},
                "path": {
                    "type": "string",
                    "pattern": r"^(/[\w-]+)+\Z",
                    "not": {"enum": ["/name", "/num_accelerators"]},
                },
                "value": common.list_of(
                    "image",
                    common.json_object(
                        {"image_uuid": common.IMAGE}, closed=False
                    ),
                ),
            },
            closed=False,
        ),
    )
}

UPDATE = {
    versions.RESOURCES: common.list_of(
        "operation",
        common.json_object(
            {
                "path": {"const": "/bitstream"},
                "op": {"const": "add"},
                "value": common.IMAGE,
            },
            closed=True,
        ),
    )
}
