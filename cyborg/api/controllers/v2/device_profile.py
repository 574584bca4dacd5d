"""``/v2/device_profiles``."""

from http import HTTPStatus
from typing import Any

from cyborg.api import errors
from cyborg.api import groups
from cyborg.api import lists
from cyborg.api import routing
from cyborg.api import text
from cyborg.api import versions
from cyborg.api.request import Request
from cyborg.api.schemas import device_profile as schemas
from cyborg.api.types import base
from cyborg.api.types import device_profile as types
from cyborg.common import exception
from cyborg.common.i18n import _
from cyborg.db import device_profile as profile_db
from cyborg.policies import device_profile as policies

_NAME_LENGTH = 255


def _to_store(
    request: Request, profile: dict[str, Any], where: str
) -> dict[str, Any]:
    """Return a valid profile of a client as the conductor takes it."""
    name = profile["name"]
    if not 1 <= len(name) <= _NAME_LENGTH:
        # Only up to 2.3 does the schema let it pass.
        raise _pinned(_("%s.name: has to have 1 to 255 characters.") % where)
    return {
        "uuid": text.canonical_uuid(profile.get("uuid")),
        "name": name,
        "description": profile.get("description"),
        "groups": groups.normalise(
            profile["groups"], request.version, f"{where}.groups"
        ),
    }


def _pinned(message: str) -> errors.Explained:
    """Return the server error that clients up to 2.3 expect."""
    return errors.Explained(message, HTTPStatus.INTERNAL_SERVER_ERROR)


def _names(request: Request) -> list[str]:
    """Return the names in the query of a DELETE."""
    value, name = request.argument("value"), request.argument("name")
    if value is not None and name is not None:
        raise exception.Invalid(_("Either value or name can be given."))
    if value is not None:
        names = lists.split(value, "value")
    else:
        names = lists.split(name, "name")
    if not names:
        raise exception.Invalid(
            _("Which profiles to delete has to be in the path or in value.")
        )
    return names


def _shown(request: Request, profile: Any) -> dict[str, Any]:
    return {"device_profile": base.show(types.DeviceProfile, request, profile)}


def _as_stored(request: Request, names: list[str]) -> list[str]:
    """Return names, with uuids written as they are stored.

    Unless a profile has what looks like a uuid for its name.
    """
    canonical = {name: text.canonical_uuid(name) or name for name in names}
    odd = [name for name in names if canonical[name] != name]
    if odd:
        for row in profile_db.find(request.context, names=odd):
            canonical[row.name] = row.name
    return list(canonical.values())


class DeviceProfilesController:
    @routing.operation(
        "GET",
        "/v2/device_profiles",
        rule=policies.GET_ALL,
        query=schemas.INDEX,
        answer=types.LISTED,
    )
    def index(self, request: Request) -> bytes:
        """List device profiles."""
        query = lists.merge_filters(request.query)
        uuids = lists.split(query.get("uuid"), "uuid")
        if uuids is not None:
            uuids = [text.canonical_uuid(uuid) or uuid for uuid in uuids]
        names = lists.split(query.get("name"), "name")
        return lists.respond(
            request,
            "device_profiles",
            query,
            schemas.SORT_KEYS,
            lambda page: profile_db.find(
                request.context, page, names=names, uuids=uuids
            ),
            lambda rows: base.show_all(types.DeviceProfile, request, rows),
        )

    @routing.operation(
        "GET",
        "/v2/device_profiles/{uuid_or_name}",
        rule=policies.GET_ONE,
        answer=types.SHOWN,
    )
    def show(self, request: Request, name: str) -> dict[str, Any]:
        """Show a device profile."""
        uuid = text.canonical_uuid(name)
        if uuid is None and request.version < versions.PROFILE_BY_NAME:
            raise versions.TooOld(
                what=_("Showing a device profile by name"),
                minimum=versions.PROFILE_BY_NAME,
            )
        row = None
        if uuid is not None:
            row = profile_db.get(request.context, uuid)
        if row is None:
            # A name may look like a uuid.
            row = profile_db.get(request.context, name)
        if row is None:
            raise exception.DeviceProfileNotFound(name=name)
        return _shown(request, row)

    @routing.operation(
        "POST",
        "/v2/device_profiles",
        rule=policies.CREATE,
        status=201,
        body=schemas.CREATE,
        answer=types.CREATED,
        refuses=(409, 500),
    )
    def create(
        self, request: Request, body: list[dict[str, Any]]
    ) -> dict[str, Any]:
        """Create device profiles."""
        profiles = [
            _to_store(request, profile, f"body[{index}]")
            for index, profile in enumerate(body)
        ]
        for field in ("name", "uuid"):
            # To MySQL names are the same that differ in case only.
            values = [p[field].lower() for p in profiles if p[field]]
            if len(set(values)) < len(values):
                raise exception.Invalid(
                    _("body: two profiles have the same %s.") % field
                )
        try:
            created = request.conductor.device_profiles_create(
                request.context, profiles
            )
        except exception.DeviceProfileExists as error:
            if (
                request.version < versions.STRICT
                and error.kwargs.get("field") == "uuid"
            ):
                raise _pinned(error.faultstring) from error
            raise
        shown = base.show_all(types.DeviceProfile, request, created)
        return shown[0] if len(shown) == 1 else {"device_profiles": shown}

    @routing.operation(
        "PUT",
        "/v2/device_profiles/{uuid_or_name}",
        rule=policies.UPDATE,
        since=versions.RESOURCES,
        body=schemas.UPDATE,
        answer=types.SHOWN,
        refuses=(409,),
    )
    def update(
        self, request: Request, name: str, body: dict[str, Any]
    ) -> dict[str, Any]:
        """Change a device profile that is not in use."""
        values = _to_store(request, body, "body")
        del values["uuid"]
        (stored,) = _as_stored(request, [name])
        profile = request.conductor.device_profile_update(
            request.context, stored, values
        )
        return _shown(request, profile)

    @routing.operation(
        "DELETE",
        "/v2/device_profiles",
        rule=policies.DELETE,
        status=204,
        query=schemas.DELETE,
        refuses=(404, 409),
    )
    def delete_many(self, request: Request) -> None:
        """Delete device profiles."""
        self._delete(request, _names(request))

    @routing.operation(
        "DELETE",
        "/v2/device_profiles/{uuid_or_name}",
        rule=policies.DELETE,
        status=204,
        refuses=(409,),
    )
    def delete(self, request: Request, name: str) -> None:
        """Delete a device profile."""
        self._delete(request, [name])

    def _delete(self, request: Request, names: list[str]) -> None:
        request.conductor.device_profiles_delete(
            request.context, _as_stored(request, names)
        )
