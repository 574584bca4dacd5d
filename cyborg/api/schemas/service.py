"""Queries and bodies about services."""

from cyborg.api import versions
from cyborg.api.schemas import common

SORT_KEYS = ("id", "uuid", "binary", "host")

INDEX = {
    versions.RESOURCES: common.paged(
        SORT_KEYS, {"binary": common.ANY, "host": common.ANY}
    )
}
UPDATE = {
    versions.RESOURCES: common.json_object(
        {"forced_down": {"type": "boolean"}}, closed=True
    )
}
