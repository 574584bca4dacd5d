"""Attributes as clients see them."""

from typing import Any

from cyborg.api import request as api_request
from cyborg.api import versions
from cyborg.api.views import common


def show(
    request: api_request.Request, attribute: Any, deployable_uuid: str
) -> dict[str, Any]:
    """Return the representation of an attribute: a row, or an object."""
    view = {
        "uuid": attribute.uuid,
        "deployable_id": attribute.deployable_id,
        "key": attribute.key,
        "value": attribute.value,
        **common.times(attribute),
        "links": [request.link("attributes", attribute.uuid)],
    }
    if request.version >= versions.STRICT:
        view["deployable_uuid"] = deployable_uuid
    return view
