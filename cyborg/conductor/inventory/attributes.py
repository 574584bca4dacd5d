"""Attributes that users add to deployables; reports leave them alone."""

from collections.abc import Sequence
import re
from typing import Any

from oslo_utils import uuidutils

from cyborg.common import constants
from cyborg.common import exception
from cyborg.common.i18n import _
from cyborg.context import RequestContext
from cyborg.db import attribute as attribute_db
from cyborg.db import deployable as deployable_db
from cyborg.db import engine
from cyborg.db import host as host_db
from cyborg.db import host_sync as sync_db
from cyborg.objects import device as device_objects

# What Placement lets anybody make; another would keep it from the rest.
_CUSTOM = re.compile(r"CUSTOM_[A-Z0-9_]{1,248}\Z")


def _check(key: str, value: str) -> None:
    """Pass if Placement can hold what it is told of an attribute."""
    if _CUSTOM.match(value):
        return
    if key.startswith(constants.ATTR_TRAIT_PREFIX):
        text = _(
            "value of %(key)s becomes a trait: it has to be CUSTOM_ and "
            "then A-Z, 0-9 and _, not %(value)s"
        )
    elif (
        key == constants.ATTR_RESOURCE_CLASS
        and value not in constants.STANDARD_RESOURCE_CLASSES
    ):
        text = _(
            "value of %(key)s is a resource class: it has to be %(known)s, "
            "or CUSTOM_ and then A-Z, 0-9 and _, not %(value)s"
        )
    else:
        return
    known = ", ".join(constants.STANDARD_RESOURCE_CLASSES)
    raise exception.Invalid(
        text % {"key": key, "known": known, "value": value}
    )


def _is_published(key: str) -> bool:
    """Tell whether Placement is told of attributes with this key."""
    return key == constants.ATTR_RESOURCE_CLASS or key.startswith(
        constants.ATTR_TRAIT_PREFIX
    )


def create(
    context: RequestContext,
    deployable_uuid: str,
    attributes: Sequence[dict[str, Any]],
    unique_keys: bool,
) -> list[device_objects.Attribute]:
    """Add attributes; see ``ConductorAPI.attributes_create``."""
    for attribute in attributes:
        _check(attribute["key"], attribute["value"])
    rows = [
        {
            "uuid": attribute.get("uuid") or uuidutils.generate_uuid(),
            "key": attribute["key"],
            "value": attribute["value"],
            "origin": constants.AttributeOrigin.API.value,
        }
        for attribute in attributes
    ]
    given: set[str] = set()
    for attribute in attributes:
        uuid = attribute.get("uuid")
        if uuid in given:
            raise exception.DuplicateUUID(uuid=uuid)
        if uuid:
            given.add(uuid)
    stored = {
        row.uuid: row
        for row in _insert(context, deployable_uuid, rows, given, unique_keys)
    }
    return [
        device_objects.Attribute.from_row(stored[row["uuid"]]) for row in rows
    ]


@engine.use_case
def _insert(
    context: RequestContext,
    deployable_uuid: str,
    rows: list[dict[str, Any]],
    given: set[str],
    unique_keys: bool,
) -> Sequence[Any]:
    """Return the rows as they are stored, before anybody can delete them."""
    uuids = [row["uuid"] for row in rows]
    deployable = deployable_db.get(context, deployable_uuid)
    if deployable is None:
        raise exception.DeployableNotFound(uuid=deployable_uuid)
    # Two that add the same key wait for each other here.
    deployable_db.lock_for_programming(context, [deployable.id])
    there = attribute_db.find_by_uuids(context, uuids)
    if there:
        if there[0].uuid in given:
            raise exception.DuplicateUUID(uuid=there[0].uuid)
        # Our own, of an attempt whose answer was lost.
        return there
    if unique_keys:
        used = {
            row.key for row in attribute_db.find_of(context, [deployable.id])
        }
        for row in rows:
            if row["key"] in used:
                raise exception.AttributeExists(key=row["key"])
            used.add(row["key"])
    attribute_db.create(
        context, [row | {"deployable_id": deployable.id} for row in rows]
    )
    _mark(context, deployable, [row["key"] for row in rows])
    return attribute_db.find_by_uuids(context, uuids)


def _mark(context: RequestContext, deployable: Any, keys: list[str]) -> None:
    """Have Placement told if it knows of one of the attributes."""
    if any(map(_is_published, keys)):
        host_db.lock_or_create(context, deployable.hostname)
        sync_db.mark(context, deployable.hostname)


@engine.use_case
def update(context: RequestContext, uuid: str, value: str) -> None:
    """Change a value; see ``ConductorAPI.attribute_update``."""
    row = attribute_db.get(context, uuid)
    if row is None:
        raise exception.AttributeNotFound(uuid=uuid)
    _check(row.key, value)
    deployable = deployable_db.get(context, row.deployable_uuid)
    if deployable is None:
        # It has gone just now, with all it had.
        raise exception.AttributeNotFound(uuid=uuid)
    attribute_db.set_value(context, uuid, value)
    _mark(context, deployable, [row.key])


@engine.use_case
def delete(
    context: RequestContext,
    uuids: Sequence[str] | None,
    deployable_uuid: str | None,
) -> None:
    """Remove attributes; see ``ConductorAPI.attributes_delete``."""
    if deployable_uuid is not None:
        if deployable_db.get(context, deployable_uuid) is None:
            raise exception.DeployableNotFound(uuid=deployable_uuid)
        rows = attribute_db.find(context, deployable_uuid=deployable_uuid)
    else:
        rows = attribute_db.find_by_uuids(context, uuids or [])
        missing = set(uuids or []) - {row.uuid for row in rows}
        if missing:
            raise exception.AttributeNotFound(uuid=", ".join(sorted(missing)))
    attribute_db.delete(context, [row.id for row in rows])
    keys: dict[str, list[str]] = {}
    for row in rows:
        keys.setdefault(row.deployable_uuid, []).append(row.key)
    for uuid, of_deployable in keys.items():
        deployable = deployable_db.get(context, uuid)
        if deployable is None:
            continue
        host_db.lock_or_create(context, deployable.hostname)
        # What the driver says of a deployable is there again after the next
        # report, which unchanged hardware would not cause.
        host_db.ask_for_report(context, deployable.hostname)
        _mark(context, deployable, of_deployable)
