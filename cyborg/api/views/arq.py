"""Accelerator requests as clients see them."""

import json
from typing import Any

from cyborg.api import request as api_request
from cyborg.api.views import common
from cyborg.common import states


def show(request: api_request.Request, arq: Any) -> dict[str, Any]:
    """Return the representation of an ARQ: a row, or an object.

    What it is attached by shows while it is Bound: before that the host may
    still be at work.
    """
    bound = arq.state == states.ARQState.BOUND
    info = arq.attach_handle_info if bound else {}
    return {
        "uuid": arq.uuid,
        "state": arq.state,
        "device_profile_name": arq.device_profile_name,
        "device_profile_group_id": arq.device_profile_group_id,
        "hostname": arq.hostname,
        "device_rp_uuid": arq.device_rp_uuid,
        "instance_uuid": arq.instance_uuid,
        "project_id": arq.project_id,
        "attach_handle_type": (bound and arq.attach_handle_type) or "",
        "attach_handle_uuid": arq.attach_handle_uuid,
        # Text in a row.
        "attach_handle_info": (
            json.loads(info) if isinstance(info, str) else info or {}
        ),
        "links": [request.link("accelerator_requests", arq.uuid)],
        **common.times(arq),
    }
