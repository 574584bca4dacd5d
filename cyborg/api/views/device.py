"""Devices as clients see them."""

from collections.abc import Mapping
from typing import Any

from cyborg.api import request as api_request
from cyborg.api import versions
from cyborg.api.views import common
from cyborg.common import constants


def show(
    request: api_request.Request,
    device: Any,
    jobs: Mapping[int, Any],
) -> dict[str, Any]:
    """Return the representation of a device.

    :param jobs: the last job of each device id
    """
    version = request.version
    view = {
        "uuid": device.uuid,
        "type": device.type,
        "vendor": device.vendor,
        "model": device.model,
        "std_board_info": device.std_board_info,
        "vendor_board_info": device.vendor_board_info,
        "hostname": device.hostname,
    }
    if version >= versions.DEVICE_STATUS:
        view["status"] = device.status
    if version >= versions.STRICT:
        view["is_maintaining"] = (
            device.status == constants.DeviceStatus.MAINTAINING
        )
    if version >= versions.RESOURCES:
        view["status_reason"] = device.status_reason
        view["last_job"] = common.last_job(jobs.get(device.id))
    view["links"] = [request.link("devices", device.uuid)]
    return view | common.times(device)
