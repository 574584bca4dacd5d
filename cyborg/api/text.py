"""Text from clients: what the database can hold, and uuids."""

import collections
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
_SENT = re.compile(f"{_NOWHERE}([0-9a-f]+){_NOWHERE}")

_LONGEST = 300

# Levels of the deepest document that is read; those of clients have five.
_DEEPEST = 32


def to_find(value: str) -> str:
    """Return a text to look for: the same, if it can be found at all.

    Otherwise one that every engine can look for, in vain, and of which
    :func:`as_sent` makes the same again.
    """
    return text.storable(
        value, lambda match: f"{_NOWHERE}{ord(match[0]):x}{_NOWHERE}"
    )


def as_sent(message: str) -> str:
    """Return a message with what clients looked for as they wrote it."""
    return _SENT.sub(lambda match: chr(int(match[1], 16)), message)


def short(message: str) -> str:
    """Return a message without the middle of what a client sent in it."""
    if len(message) <= _LONGEST:
        return message
    half = _LONGEST // 2 - 10
    return f"{message[:half]} … {message[-half:]}"


def check(value: Any, name: str) -> None:
    """Pass if all text in a JSON document can be stored.

    :raises Invalid: naming the member
    """
    place = _unstorable(value)
    if place is not None:
        raise exception.Invalid(
            _("%s holds a character that cannot be stored.")
            % short(name + place)
        )


def _unstorable(value: Any) -> str | None:
    """Return where the first text is that cannot be stored, None if nowhere.

    The way there is written on the way back: to have it ready would take as
    long as the names in it are for every text that is well.
    """
    if isinstance(value, str):
        return None if text.is_storable(value) else ""
    if isinstance(value, dict):
        for key, item in value.items():
            if not text.is_storable(key):
                return _(": the name of a member")
            place = _unstorable(item)
            if place is not None:
                return f".{key}{place}"
    elif isinstance(value, list):
        for index, item in enumerate(value):
            place = _unstorable(item)
            if place is not None:
                return f"[{index}]{place}"
    return None


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
        counts = collections.Counter(name for name, _value in pairs)
        twice = next(name for name, count in counts.items() if count > 1)
        raise ValueError(_("%s is given twice") % short(twice))
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
