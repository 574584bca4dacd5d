"""Device profiles as clients see them."""

import json
from typing import Any

from cyborg.api import versions
from cyborg.api.types import base


def _groups(profile: Any, related: base.Related) -> list[dict[str, str]]:
    # Text in a row.
    stored = getattr(profile, "profile_json", None)
    groups: list[dict[str, str]] = (
        profile.groups if stored is None else json.loads(stored)["groups"]
    )
    return groups


class DeviceProfile(base.Resource):
    """A named request for accelerators."""

    uuid = base.member(base.UUID, "The uuid of the device profile.")
    name = base.member(
        base.TEXT,
        "The name: letters, digits, hyphens and underscores, up to 255. No "
        "two profiles have the same.",
    )
    description = base.member(base.TEXT, "What it is for.", nullable=True)
    groups = base.member(
        [{str: base.TEXT}],
        "What is asked for: a list of objects whose keys begin with "
        "``resources:`` (a resource class, with how many), ``trait:`` (a "
        "trait, ``required`` or ``forbidden``) or ``accel:`` "
        "(``bitstream_id``, ``bitstream_name``, ``function_id`` or "
        "``function_name`` of the image to load). Custom names are translated "
        "to what Placement takes; amounts may be numbers and are stored as "
        "text.",
        value=_groups,
    )
    created_at = base.created_at()
    updated_at = base.updated_at()
    links = base.links("device_profiles")


_PROFILE = base.shown(DeviceProfile)
SHOWN = base.wrapped("device_profile", "The device profile.", _PROFILE)
LISTED = base.listed("device_profiles", "The device profiles.", _PROFILE)
_SEVERAL = base.wrapped(
    "device_profiles",
    "The device profiles, if more than one was to be created; the other "
    "members are theirs.",
    base.several(_PROFILE, least=2),
)
# The one that was asked for is not wrapped.
CREATED = {
    **_PROFILE,
    versions.RESOURCES: {
        "oneOf": [_PROFILE[versions.BASE], _SEVERAL[versions.BASE]]
    },
}
