"""Queries, bodies and answers about accelerator requests."""

from cyborg.api import versions
from cyborg.api.schemas import answers
from cyborg.api.schemas import common
from cyborg.common import constants
from cyborg.common import states

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

_ARQ = answers.shown(
    "AcceleratorRequest",
    {
        versions.BASE: {
            "uuid": answers.UUID,
            "state": {"enum": [str(state) for state in states.ARQState]},
            "device_profile_name": answers.TEXT,
            "device_profile_group_id": answers.COUNT,
            "hostname": answers.or_null(answers.TEXT),
            "device_rp_uuid": answers.or_null(answers.UUID),
            "instance_uuid": answers.or_null(answers.UUID),
            "project_id": answers.or_null(answers.TEXT),
            # Empty unless the request is Bound.
            "attach_handle_type": {
                "enum": ["", *map(str, constants.AttachHandleType)]
            },
            "attach_handle_uuid": answers.or_null(answers.UUID),
            "attach_handle_info": {
                "type": "object",
                "additionalProperties": answers.TEXT,
            },
            **answers.links("self"),
            **answers.TIMES,
        }
    },
)
SHOWN = _ARQ
LISTED = answers.listed("arqs", _ARQ)
CREATED = answers.wrapped(
    "arqs",
    {
        version: {"type": "array", "items": schema, "minItems": 1}
        for version, schema in _ARQ.items()
    },
)
