"""``/v2/devices``."""

from collections.abc import Sequence
from typing import Any

from cyborg.api import lists
from cyborg.api import routing
from cyborg.api import text
from cyborg.api import versions
from cyborg.api.request import Request
from cyborg.api.schemas import device as schemas
from cyborg.api.types import base
from cyborg.api.types import device as types
from cyborg.common import constants
from cyborg.common import exception
from cyborg.common.i18n import _
from cyborg.db import deployable as deployable_db
from cyborg.db import device as device_db
from cyborg.db import job as job_db
from cyborg.policies import device as policies

ENABLED = constants.DeviceStatus.ENABLED.value
MAINTAINING = constants.DeviceStatus.MAINTAINING.value


def _show(request: Request, rows: Sequence[Any]) -> list[dict[str, Any]]:
    jobs = {}
    if request.version >= versions.RESOURCES:
        jobs = job_db.last_of_devices(request.context, [r.id for r in rows])
    withheld = {}
    if request.version >= versions.LIFE:
        withheld = deployable_db.withheld(
            request.context, [r.id for r in rows]
        )
    return base.show_all(
        types.Device, request, rows, types.Related(jobs, withheld)
    )


def _get(request: Request, uuid: str) -> dict[str, Any]:
    row = device_db.get(request.context, _uuid(uuid))
    if row is None:
        raise exception.DeviceNotFound(uuid=uuid)
    return _show(request, [row])[0]


def _uuid(uuid: str) -> str:
    """Return the uuid as stored; what is none names no device."""
    canonical = text.canonical_uuid(uuid)
    if canonical is None:
        raise exception.DeviceNotFound(uuid=uuid)
    return canonical


class DevicesController:
    @routing.operation(
        "GET",
        "/v2/devices",
        rule=policies.GET_ALL,
        query=schemas.INDEX,
        answer=types.LISTED,
    )
    def index(self, request: Request) -> bytes:
        """List devices."""
        query = lists.merge_filters(request.query)
        filters = {
            name: query[name]
            for name in ("type", "vendor", "hostname", "status", "model")
            if query.get(name)
        }
        return lists.respond(
            request,
            "devices",
            query,
            schemas.SORT_KEYS,
            lambda page: device_db.find(request.context, page, **filters),
            lambda rows: _show(request, rows),
        )

    @routing.operation(
        "GET",
        "/v2/devices/{uuid}",
        rule=policies.GET_ONE,
        answer=types.SHOWN,
    )
    def show(self, request: Request, uuid: str) -> dict[str, Any]:
        """Show a device."""
        return _get(request, uuid)

    @routing.operation(
        "POST",
        "/v2/devices/{uuid}/enable",
        "/v2/devices/enable/{uuid}",
        rule=policies.ENABLE,
        answer=types.SHOWN_AFTER,
        refuses=(409,),
    )
    def enable(self, request: Request, uuid: str) -> dict[str, Any] | None:
        """Let the scheduler use a device."""
        return self._set_status(request, uuid, ENABLED)

    @routing.operation(
        "POST",
        "/v2/devices/{uuid}/disable",
        "/v2/devices/disable/{uuid}",
        rule=policies.DISABLE,
        answer=types.SHOWN_AFTER,
        refuses=(409,),
    )
    def disable(self, request: Request, uuid: str) -> dict[str, Any] | None:
        """Keep the scheduler from using a device."""
        return self._set_status(request, uuid, MAINTAINING)

    def _set_status(
        self, request: Request, uuid: str, status: str
    ) -> dict[str, Any] | None:
        request.conductor.device_set_status(
            request.context, _uuid(uuid), status
        )
        if request.version < versions.STRICT:
            return None
        return _get(request, uuid)

    @routing.operation(
        "POST",
        "/v2/devices/enable",
        "/v2/devices/disable",
        rule=policies.ENABLE,
        status=400,
    )
    def set_status_of_none(self, request: Request) -> None:
        """Refuse to enable or disable what is not named."""
        raise exception.Invalid(_("The path has to name a device."))

    @routing.operation(
        "PATCH",
        "/v2/devices/{uuid}",
        rule=policies.UPDATE,
        since=versions.RESOURCES,
        body=schemas.UPDATE,
        answer=types.SHOWN,
        also=(202,),
        refuses=(409,),
    )
    def update(
        self, request: Request, uuid: str, body: list[dict[str, Any]]
    ) -> dict[str, Any] | None:
        """Set the status of a device, or update its firmware."""
        change = body[0]
        if change["path"] == "/firmware":
            request.conductor.device_update(
                request.context,
                _uuid(uuid),
                text.as_uuid(change["value"]),
            )
            request.status = 202
            return None
        enable = change["value"] == ENABLED
        request.conductor.device_set_status(
            request.context,
            _uuid(uuid),
            ENABLED if enable else MAINTAINING,
            None if enable else change.get("reason"),
        )
        return _get(request, uuid)

    @routing.operation(
        "GET",
        "/v2/devices/{uuid}/stats",
        rule=policies.GET_STATS,
        since=versions.RESOURCES,
        answer=types.STATS,
        refuses=(409,),
    )
    def stats(self, request: Request, uuid: str) -> dict[str, Any]:
        """Show what the driver measures on a device."""
        stats: dict[str, Any] = request.conductor.device_get_stats(
            request.context, _uuid(uuid)
        )
        return stats
