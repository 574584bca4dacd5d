"""``/v2/devices``."""

from collections.abc import Sequence
from typing import Any

from oslo_utils import timeutils

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
from cyborg.db import device_condition as condition_db
from cyborg.db import device_event as event_db
from cyborg.db import device_identity as identity_db
from cyborg.db import job as job_db
from cyborg.policies import device as policies

ENABLED = constants.DeviceStatus.ENABLED.value
MAINTAINING = constants.DeviceStatus.MAINTAINING.value

_CONDITIONS = "/conditions/"


def _show(request: Request, rows: Sequence[Any]) -> list[dict[str, Any]]:
    ids = [row.id for row in rows]
    jobs = {}
    if request.version >= versions.RESOURCES:
        jobs = job_db.last_of_devices(request.context, ids)
    withheld = {}
    conditions: dict[int, list[Any]] = {}
    if request.version >= versions.LIFE:
        withheld = deployable_db.withheld(request.context, ids)
        for row in condition_db.of_devices(request.context, ids):
            conditions.setdefault(row.device_id, []).append(row)
    related = types.Related(jobs, withheld, conditions)
    return base.show_all(types.Device, request, rows, related)


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


def _condition(change: dict[str, Any]) -> dict[str, Any]:
    """Return the condition in an operation, as the conductor takes it."""
    value = change["value"]
    until = value.get("until")
    if until is not None:
        try:
            time = timeutils.normalize_time(timeutils.parse_isotime(until))
        except (ValueError, OverflowError) as error:
            raise exception.Invalid(
                _("body[0].value.until: %s is not a time in ISO 8601.") % until
            ) from error
        until = time.replace(microsecond=0).isoformat()
    return {
        "effect": value.get(
            "effect", constants.ConditionEffect.NO_SCHEDULE.value
        ),
        "reason": value.get("reason"),
        "until": until,
    }


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
        """Set a device's status or conditions, clean it or load firmware."""
        change = body[0]
        if change["path"].startswith(_CONDITIONS):
            request.conductor.device_set_condition(
                request.context,
                _uuid(uuid),
                change["path"].removeprefix(_CONDITIONS),
                None if change["op"] == "remove" else _condition(change),
            )
            return _get(request, uuid)
        if change["path"] == "/cleaning":
            conductor = request.conductor
            change_it = (
                conductor.device_clean
                if change["value"] == "clean"
                else conductor.device_release
            )
            change_it(request.context, _uuid(uuid), change.get("reason"))
            return _get(request, uuid)
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
        "/v2/devices/{uuid}/history",
        rule=policies.GET_HISTORY,
        since=versions.LIFE,
        query=schemas.HISTORY,
        answer=types.HISTORY,
    )
    def history(self, request: Request, uuid: str) -> bytes:
        """List what happened to a device, whether it is still there or not."""
        cards = identity_db.ids_of_device(request.context, _uuid(uuid))
        if not cards and device_db.get(request.context, _uuid(uuid)) is None:
            raise exception.DeviceNotFound(uuid=uuid)
        return lists.respond(
            request,
            "events",
            lists.merge_filters(request.query),
            schemas.HISTORY_SORT_KEYS,
            lambda page: event_db.find(request.context, cards, page),
            lambda rows: base.show_all(types.DeviceEvent, request, rows),
        )

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
