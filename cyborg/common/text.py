"""Text from others: what the database can hold, and what people are shown."""

from collections.abc import Callable
import re

_NOT_STORABLE = re.compile("[\0\ud800-\udfff\uffff-\U0010ffff]")


def is_storable(value: str) -> bool:
    """Tell whether every engine holds these characters.

    PostgreSQL has no NUL, MySQL's utf8 nothing beyond the Basic Multilingual
    Plane, and nobody halves of surrogate pairs.
    """
    return _NOT_STORABLE.search(value) is None


def storable(value: str, instead: str | Callable[[re.Match[str]], str]) -> str:
    """Return a text with ``instead`` for what not every engine holds.

    :param instead: the same for all, or returns it for a character
    """
    return _NOT_STORABLE.sub(instead, value)


def is_printable(value: str) -> bool:
    """Tell whether a name is what it looks like.

    What moves a cursor, begins a line or turns the direction of writing can
    make one name look like another, or like a line of a log.
    """
    return value.isprintable()


def visible(value: str) -> str:
    r"""Return a text for a terminal or a log, on one line: ESC is ``\x1b``."""
    if value.isprintable():
        return value
    return "".join(
        character
        if character.isprintable()
        else character.encode("unicode_escape").decode("ascii")
        for character in value
    )
