"""Device profiles as clients see them."""

import json
from typing import Any

from cyborg.api import request as api_request
from cyborg.api.views import common


def show(request: api_request.Request, profile: Any) -> dict[str, Any]:
    """Return the representation of a profile: a row, or an object."""
    stored = getattr(profile, "profile_json", None)
    return {
        "uuid": profile.uuid,
        "name": profile.name,
        "description": profile.description,
        "groups": (
            profile.groups if stored is None else json.loads(stored)["groups"]
        ),
        **common.times(profile),
        "links": [request.link("device_profiles", profile.uuid)],
    }
