"""Text from clients: what the database can hold, and uuids."""

import json
from typing import Any
import uuid

from oslo_utils import uuidutils

from cyborg.common import exception
from cyborg.common.i18n import _


def canonical_uuid(value: Any) -> str | None:
    """Return ``value`` as uuids are stored, or None if it is none."""
    if not isinstance(value, str) or not uuidutils.is_uuid_like(value):
        return None
    return str(uuid.UUID(value))


def as_uuid(value: str) -> str:
    """Return what a schema has found to be a uuid, as uuids are stored."""
    return str(uuid.UUID(value))


def is_storable(value: str) -> bool:
    """Tell whether every engine holds these characters.

    PostgreSQL has no NUL, MySQL's utf8 nothing beyond the Basic Multilingual
    Plane, and nobody halves of surrogate pairs.
    """
    return all(
        "\0" < character <= "\uffff" and not "\ud800" <= character <= "\udfff"
        for character in value
    )


def check(value: Any, name: str) -> None:
    """Pass if all text in a JSON document can be stored.

    :raises Invalid: naming the member
    """
    if isinstance(value, str):
        if not is_storable(value):
            raise exception.Invalid(
                _("%s holds a character that cannot be stored.") % name
            )
    elif isinstance(value, dict):
        for key, item in value.items():
            check(key, _("A member of %s") % name)
            check(item, f"{name}.{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            check(item, f"{name}[{index}]")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        names = [name for name, _value in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(_("%s is given twice") % twice)
    return members


def _refuse(constant: str) -> None:
    raise ValueError(_("%s is not JSON") % constant)


def parse_json(body: bytes) -> Any:
    """Return the document in ``body``.

    :raises Invalid: it is missing, malformed, names a member twice, or holds
        text that cannot be stored
    """
    if not body:
        raise exception.Invalid(_("The request has no body; JSON is needed."))
    try:
        document = json.loads(
            body, object_pairs_hook=_unique, parse_constant=_refuse
        )
        check(document, "body")
    except (ValueError, RecursionError) as error:
        raise exception.Invalid(
            _("The body is not valid JSON: %s") % error
        ) from error
    return document
