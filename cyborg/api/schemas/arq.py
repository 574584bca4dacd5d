"""Queries and bodies about accelerator requests."""

from cyborg.api import versions
from cyborg.api.schemas import common

SORT_KEYS = (
    "id",
    "uuid",
    "state",
    "device_profile_group_id",
    "hostname",
    "device_rp_uuid",
    "instance_uuid",
    "project_id",
    "created_at",
    "updated_at",
)

_BIND_STATE = {
    "enum": ["resolved", ""],
    "errorMessage": "can only be resolved",
}

INDEX = {
    versions.BASE: common.paged(
        SORT_KEYS, {"instance": common.UUID, "bind_state": _BIND_STATE}
    ),
    versions.LISTS: common.paged(
        SORT_KEYS,
        {
            # Lists of uuids, checked one by one.
            "instance": common.ANY,
            "arqs": common.ANY,
            "bind_state": _BIND_STATE,
            "state": common.ANY,
            "device_profile_name": common.ANY,
            "hostname": common.ANY,
            "project_id": common.ANY,
        },
    ),
}

# Clients send more, device_profile_group_id for one.
CREATE = {
    versions.BASE: common.json_object(
        {"device_profile_name": {"type": "string"}}, closed=False
    )
}


def _value(schema: common.Schema) -> common.Schema:
    return {"properties": {"value": schema}}


_UUID_PATHS = ["/device_rp_uuid", "/instance_uuid"]
_OPERATION = {
    "type": "object",
    "properties": {
        "op": {"enum": ["add", "remove"]},
        "path": {
            "enum": ["/hostname", "/project_id", *_UUID_PATHS],
        },
    },
    "required": ["op", "path"],
    "if": {"properties": {"op": {"const": "add"}}, "required": ["op"]},
    "then": {
        "required": ["value"],
        "if": {"properties": {"path": {"enum": _UUID_PATHS}}},
        "then": _value(common.UUID),
        "else": _value(common.NAME),
    },
}
UPDATE = {
    versions.BASE: {
        "type": "object",
        "minProperties": 1,
        "propertyNames": common.UUID,
        "additionalProperties": {
            "type": "array",
            "minItems": 1,
            "items": _OPERATION,
        },
    }
}

DELETE = {
    versions.BASE: common.query({"arqs": common.ANY, "instance": common.UUID})
}

FAULT = {
    versions.LIFE: common.json_object({"reason": common.NAME}, closed=True)
}
