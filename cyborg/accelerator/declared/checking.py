"""Makes an entry of what a file says, or one sentence of what is wrong."""

from collections.abc import Callable
from collections.abc import Mapping
import difflib
import re
from typing import Any

from cyborg.accelerator import pci
from cyborg.accelerator import whitelist
from cyborg.accelerator.declared import entry
from cyborg.common import constants
from cyborg.common import exception

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_HEX = re.compile(r"(?:0x)?[0-9a-f]{1,4}")
_CLASS = re.compile(r"(?:0x)?([0-9a-f]{2}|[0-9a-f]{4})")
_SUBSYSTEM = re.compile(r"([0-9a-f]{4}):([0-9a-f]{4})")
_SYMBOL = re.compile(r"CUSTOM_[A-Z0-9_]{1,248}")
_TEMPLATE = re.compile(r"CUSTOM_[A-Z0-9_]*(\{\w*\})[A-Z0-9_]*")
# Only below the function's own directory: never up, never from the root.
_FILE = re.compile(r"[\w*?-][\w.*?:-]*(?:/[\w*?-][\w.*?:-]*)*")
_LABEL = re.compile(r"[a-z][a-z0-9_]{0,63}")


class Wrong(Exception):
    """What is wrong with the value of a key, or with a key."""

    def __init__(self, reason: str, *keys: str) -> None:
        super().__init__(reason)
        # The key, and those of the tables around it, from without.
        self.keys = keys

    def within(self, key: str) -> "Wrong":
        return Wrong(str(self), key, *self.keys)


def entry_of(
    item: Any, place: entry.Place, *, is_known: bool = False
) -> entry.Entry:
    """Return the entry that a table ``[[device]]`` makes.

    :raises Wrong: it makes none
    """
    if not isinstance(item, dict):
        raise Wrong(f"device is {_shown(item)}, not a table")
    values = _table(item, _KEYS, "a device")
    for key in ("name", "match", "kind", "type", "resource_class"):
        if key not in values:
            raise Wrong(f"the device has no {key}, which it needs")
    return entry.Entry(place=place, is_known=is_known, **values)


def _table(
    item: Mapping[str, Any], keys: dict[str, Callable[[Any], Any]], what: str
) -> dict[str, Any]:
    values = {}
    for key, value in item.items():
        if key not in keys:
            close = difflib.get_close_matches(key, keys, 1)
            hint = (
                f"did you mean {close[0]}?"
                if close
                else f"those are {', '.join(keys)}"
            )
            raise Wrong(f"{key} is no key of {what}: {hint}", key)
        try:
            values[key] = keys[key](value)
        except Wrong as wrong:
            raise wrong.within(key) from None
    return values


def _shown(value: Any) -> str:
    """Return a value as it is in a file, without its end if it is long."""
    text = (
        str(value).lower() if isinstance(value, bool) else repr(value)
    ).replace("\n", " ")
    return text if len(text) <= 80 else f"{text[:77]}..."


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise Wrong(f"is {_shown(value)}, not a text")
    if len(value) > 255 or not value.isprintable():
        raise Wrong(f"is {_shown(value)}, not a line of at most 255 letters")
    return value


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Wrong(f"is {_shown(value)}, not true or false")
    return value


def _one_of(known: Any) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if not isinstance(value, str) or value not in tuple(known):
            raise Wrong(f"is {_shown(value)}, not one of {', '.join(known)}")
        return known(value)

    return check


def _matching(
    pattern: re.Pattern[str], what: str
) -> Callable[[Any], re.Match[str]]:
    def check(value: Any) -> re.Match[str]:
        found = pattern.fullmatch(value) if isinstance(value, str) else None
        if found is None:
            raise Wrong(f"is {_shown(value)}, not {what}")
        return found

    return check


def _list(check: Callable[[Any], Any], what: str) -> Callable[[Any], Any]:
    def check_all(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise Wrong(f"is {_shown(value)}, not a list of {what}")
        return tuple(check(each) for each in value)

    return check_all


def _one_or_more(check: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def check_all(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            return (check(value),)
        if not value:
            raise Wrong("is an empty list, which matches nothing")
        return tuple(check(each) for each in value)

    return check_all


def _mapping(
    check_key: Callable[[Any], Any], check: Callable[[Any], Any], what: str
) -> Callable[[Any], Any]:
    def check_all(value: Any) -> dict[Any, Any]:
        if not isinstance(value, dict):
            raise Wrong(f"is {_shown(value)}, not a table of {what}")
        found = {}
        for key, each in value.items():
            try:
                found[check_key(key)] = check(each)
            except Wrong as wrong:
                raise wrong.within(key) from None
        return found

    return check_all


_name = _matching(_NAME, "a name of at most 63 small letters, digits and ._-")
_hex = _matching(_HEX, "an id of four small hexadecimal digits as text")
_class = _matching(
    _CLASS, "a PCI class of two or four small hexadecimal digits as text"
)
_subsystem = _matching(_SUBSYSTEM, "a subsystem as vendor:device, 1028:1fe2")
_symbol = _matching(
    _SYMBOL, "a name of CUSTOM_ and then A-Z, 0-9 and _, at most 255"
)
_file = _matching(_FILE, "a file below the directory of the function")
_label = _matching(_LABEL, "a name of small letters, digits and _")


def _id(value: Any) -> str:
    return pci.normalise_id(_hex(value).group())


def _resource_class(value: Any) -> str:
    if value in constants.STANDARD_RESOURCE_CLASSES:
        return str(value)
    return str(_symbol(value).group())


def _address(value: Any) -> entry.Address:
    text = _text(value)
    try:
        parts, exact = whitelist.parse_address(text)
    except (
        exception.PciDeviceWrongAddressFormat,
        exception.PciConfigInvalidWhitelist,
    ) as error:
        raise Wrong(
            f"is {_shown(value)}, not an address or a pattern as 0000:3b:00.*"
        ) from error
    return entry.Address(text, parts, exact)


def _match(value: Any) -> entry.Match:
    if not isinstance(value, dict):
        raise Wrong(f"is {_shown(value)}, not a table")
    values = _table(value, _MATCH_KEYS, "match")
    if "product" in values and "vendor" not in values:
        raise Wrong(
            "has product without vendor, and ids are the vendor's", "product"
        )
    is_about_all = not values or (
        set(values) == {"address"}
        and any(each.is_any for each in values["address"])
    )
    if is_about_all:
        raise Wrong(
            "selects every device of the host, give one of "
            f"{', '.join(_MATCH_KEYS)}"
        )
    if "class" in values:
        values["class_"] = values.pop("class")
    return entry.Match(**values)


def _attribute_traits(value: Any) -> tuple[entry.AttributeTrait, ...]:
    table = _mapping(
        lambda key: _file(key).group(), lambda each: each, "traits by file"
    )(value)
    found = []
    for file, template in table.items():
        match = (
            _TEMPLATE.fullmatch(template)
            if isinstance(template, str)
            else None
        )
        units = [unit.value for unit in entry.Unit]
        if match is None or match.group(1) not in units:
            raise Wrong(
                f"is {_shown(template)}, not a trait CUSTOM_... with one of "
                f"{', '.join(units)} where the content goes",
                file,
            )
        unit = entry.Unit(match.group(1))
        found.append(entry.AttributeTrait(file, template, unit))
    return tuple(found)


_symbols = _list(lambda value: str(_symbol(value).group()), "traits")

_MATCH_KEYS: dict[str, Callable[[Any], Any]] = {
    "vendor": _one_or_more(_id),
    "product": _one_or_more(_id),
    "class": _one_or_more(lambda value: _class(value).group(1)),
    "subsystem": _one_or_more(lambda value: _subsystem(value).group(1, 2)),
    "driver": _one_or_more(_text),
    "address": _one_or_more(_address),
}

_KEYS: dict[str, Callable[[Any], Any]] = {
    "name": lambda value: _name(value).group(),
    "match": _match,
    "kind": _one_of(entry.Kind),
    "type": _one_of(constants.DeviceType),
    "resource_class": _resource_class,
    "traits": _symbols,
    "product_traits": _mapping(_id, _symbols, "lists of traits by product"),
    "attribute_traits": _attribute_traits,
    "model": _text,
    "stats": _mapping(
        lambda key: _label(key).group(),
        lambda value: _file(value).group(),
        "files by name",
    ),
    "one_time_use": _boolean,
    "physical_network": _text,
}
