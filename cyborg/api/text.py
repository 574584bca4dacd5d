"""Text from clients: what the database can hold, and uuids."""

import json
import re
from typing import Any
import uuid

from oslo_utils import uuidutils

from cyborg.common import exception
from cyborg.common import text
from cyborg.common.i18n import _

_AS_STORED = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def canonical_uuid(value: Any) -> str | None:
    """Return ``value`` as uuids are stored, or None if it is none."""
    if isinstance(value, str) and _AS_STORED.fullmatch(value):
        return value
    if not isinstance(value, str) or not uuidutils.is_uuid_like(value):
        return None
    return str(uuid.UUID(value))


def as_uuid(value: str) -> str:
    """Return what a schema has found to be a uuid, as uuids are stored."""
    return str(uuid.UUID(value))


# A noncharacter, so that nothing that is stored has it.
_NOWHERE = "\uffff"

# Levels of the deepest document that is read; those of clients have five.
_DEEPEST = 32


def to_find(value: str) -> str:
    """Return a text to look for: the same, if it can be found at all.

    Otherwise one that every engine can look for, in vain.
    """
    return text.storable(value, _NOWHERE)


def check(value: Any, name: str) -> None:
    """Pass if all text in a JSON document can be stored.

    :raises Invalid: naming the member
    """
    if isinstance(value, str):
        if not text.is_storable(value):
            raise exception.Invalid(
                _("%s holds a character that cannot be stored.") % name
            )
    elif isinstance(value, dict):
        for key, item in value.items():
            if not text.is_storable(key):
                check(key, _("A member of %s") % name)
            check(item, f"{name}.{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            check(item, f"{name}[{index}]")


def _check_depth(value: Any, left: int = _DEEPEST) -> None:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        if left == 0:
            raise ValueError(_("it is nested too deep"))
        for item in value:
            _check_depth(item, left - 1)


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

    :raises Invalid: it is missing, malformed, too deep, or names a member
        twice
    """
    if not body:
        raise exception.Invalid(_("The request has no body; JSON is needed."))
    try:
        document = json.loads(
            body, object_pairs_hook=_unique, parse_constant=_refuse
        )
        _check_depth(document)
    except (ValueError, RecursionError) as error:
        raise exception.Invalid(
            _("The body is not valid JSON: %s") % error
        ) from error
    return document
