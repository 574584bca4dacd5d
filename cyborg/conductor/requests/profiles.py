"""Device profiles: stored, changed and removed all or none."""

from collections.abc import Sequence
import json
from typing import Any

from oslo_db import exception as db_exception
from oslo_utils import uuidutils

from cyborg.common import exception
from cyborg.context import RequestContext
from cyborg.db import device_profile as profile_db
from cyborg.db import engine
from cyborg.objects import device_profile as profile_object


def to_object(row: Any) -> profile_object.DeviceProfile:
    """Return a stored profile as the object RPC carries."""
    return profile_object.DeviceProfile(
        id=row.id,
        uuid=row.uuid,
        name=row.name,
        description=row.description,
        groups=json.loads(row.profile_json)["groups"],
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _columns(profile: dict[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {
        name: profile[name]
        for name in ("uuid", "name", "description")
        if name in profile
    }
    if "groups" in profile:
        values["profile_json"] = json.dumps({"groups": profile["groups"]})
    return values


def create(
    context: RequestContext, profiles: Sequence[dict[str, Any]]
) -> list[profile_object.DeviceProfile]:
    """Store profiles; see ``ConductorAPI.device_profiles_create``."""
    rows = []
    for profile in profiles:
        given = profile.get("uuid")
        rows.append(
            {"description": None}
            | _columns(profile)
            | {"uuid": given or uuidutils.generate_uuid()}
        )
    # A repeated attempt must not take its own, committed, rows for others'.
    generated = {
        row["uuid"]
        for row, profile in zip(rows, profiles, strict=True)
        if not profile.get("uuid")
    }
    stored = {row.uuid: row for row in _insert(context, rows, generated)}
    return [to_object(stored[row["uuid"]]) for row in rows]


@engine.use_case
def _insert(
    context: RequestContext, rows: list[dict[str, Any]], generated: set[str]
) -> Sequence[Any]:
    """Return the rows as they are stored, before anybody can delete them."""
    uuids = {row["uuid"] for row in rows}
    names = {row["name"] for row in rows}
    for other in profile_db.find_taken(context, uuids, names):
        if other.uuid in generated:
            break
        field = "uuid" if other.uuid in uuids else "name"
        raise exception.DeviceProfileExists(
            field=field, value=getattr(other, field)
        )
    else:
        profile_db.create(context, rows)
    return profile_db.find(context, uuids=uuids)


@engine.use_case
def update(
    context: RequestContext, uuid: str, values: dict[str, Any]
) -> profile_object.DeviceProfile:
    """Change a profile; see ``ConductorAPI.device_profile_update``."""
    row = profile_db.get(context, uuid)
    if row is None:
        raise exception.DeviceProfileNotFound(name=uuid)
    profile_db.lock(context, [row.id])
    if profile_db.in_use(context, [row.id]):
        raise exception.DeviceProfileInUse(name=row.name)
    name = values.get("name", row.name)
    for other in profile_db.find_taken(context, (), [name]):
        if other.id != row.id:
            raise exception.DeviceProfileExists(field="name", value=other.name)
    profile_db.update(context, row.id, _columns(values))
    changed = profile_db.find(context, uuids=[row.uuid])
    return to_object(changed[0])


@engine.use_case
def delete(context: RequestContext, names: Sequence[str]) -> None:
    """Remove profiles; see ``ConductorAPI.device_profiles_delete``."""
    rows = profile_db.find_taken(context, names, names)
    by_uuid = {row.uuid: row for row in rows}
    by_name = {row.name: row for row in rows}
    found = {}
    missing = []
    for name in names:
        row = by_uuid.get(name) or by_name.get(name)
        if row is None:
            missing.append(name)
        else:
            found[row.id] = row
    if missing:
        raise exception.DeviceProfileNotFound(name=", ".join(missing))
    profile_db.lock(context, list(found))
    used = profile_db.in_use(context, list(found))
    if not used:
        try:
            profile_db.delete(context, list(found))
        except db_exception.DBReferenceError:
            used = set(found)
    if used:
        raise exception.DeviceProfileInUse(
            name=", ".join(found[id_].name for id_ in sorted(used))
        )
