"""Deployables as clients see them."""

from collections.abc import Mapping
from collections.abc import Sequence
import json
from typing import Any

from cyborg.api import request as api_request
from cyborg.api import versions
from cyborg.api.views import common


def show(
    request: api_request.Request,
    deployable: Any,
    attributes: Mapping[int, Sequence[Any]],
    jobs: Mapping[int, Any],
) -> dict[str, Any]:
    """Return the representation of a deployable.

    :param attributes: those of each deployable id
    :param jobs: the last job of each deployable id, with what is loaded
    """
    version = request.version
    pairs = [
        {attribute.key: attribute.value}
        for attribute in attributes.get(deployable.id, ())
    ]
    view: dict[str, Any] = {
        "uuid": deployable.uuid,
        "parent_id": deployable.parent_id,
        "root_id": deployable.root_id,
        "name": deployable.name,
        "num_accelerators": deployable.num_accelerators,
        "device_id": deployable.device_id,
        "attributes_list": json.dumps(pairs),
        "rp_uuid": deployable.rp_uuid,
        "driver_name": deployable.driver_name,
        "bitstream_id": deployable.bitstream_id,
    }
    if version >= versions.STRICT:
        view |= {
            "device_uuid": deployable.device_uuid,
            "parent_uuid": deployable.parent_uuid,
            "root_uuid": deployable.root_uuid,
            "attributes": pairs,
        }
    if version >= versions.RESOURCES:
        job = jobs.get(deployable.id)
        view["last_job"] = common.last_job(job)
        if job is not None:
            # As of when the job was read, which may have ended just then.
            view["bitstream_id"] = job.bitstream_id
    bookmark = f"{request.base_url}/deployables/{deployable.uuid}"
    view["links"] = [
        request.link("deployables", deployable.uuid),
        {"href": bookmark, "rel": "bookmark"},
    ]
    return view | common.times(deployable)
