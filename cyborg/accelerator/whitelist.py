"""Parses ``[pci] passthrough_whitelist`` and matches functions with it.

Each value of the option is a JSON object or a list of objects::

    {"vendor_id": "1d55", "product_id": "1001"}
    {"address": "*:0a:00.*", "physical_network": "physnet1"}
    {"address": {"domain": ".*", "bus": "0a", "slot": "0[01]"}}
    {"devname": "eth3", "managed": "false"}

What selects nothing, or everything there is, is refused, and so is what has
a key that nobody reads: a misspelt one would select more than is meant.
"""

from collections.abc import Callable
from collections.abc import Iterable
import dataclasses
import fnmatch
import json
import re
from typing import Any

from cyborg.accelerator import pci
from cyborg.common import constants
from cyborg.common import exception

ANY = "*"
_FIELDS = ("domain", "bus", "slot", "function")
_MOST = {"domain": 0xFFFFFFFF, "bus": 0xFF, "slot": 0x1F, "function": 0x7}
_DIGITS = {"domain": 4, "bus": 2, "slot": 2, "function": 1}
_ID_KEYS = ("vendor_id", "product_id")
_SELECTING = (*_ID_KEYS, "address", "devname")
_KEYS = (
    *_SELECTING,
    "type",
    "class",
    "traits",
    "physical_network",
    "managed",
)
# Keys of Nova's [pci] device_spec, and what is to be said here.
_OF_NOVA = {
    "resource_class": "write class",
    "live_migratable": "leave it out, guests with a device do not migrate",
    "one_time_use": "leave it out, devices are given again",
    "remote_managed": "leave it out, ports are not managed by the card",
    "trusted": "leave it out, it has no effect here",
}
_RESOURCE_CLASS = re.compile(r"[A-Z0-9_]{1,255}")

# What the parts of addresses may be, to find out what matches all of them.
SAMPLES = (
    ("0000", "0001", "ffff", "10000", "ffffffff"),
    tuple(f"{number:02x}" for number in range(256)),
    tuple(f"{number:02x}" for number in range(32)),
    tuple(f"{number:x}" for number in range(8)),
)

# Says of one part of an address whether it is meant.
Part = Callable[[str], bool]


@dataclasses.dataclass(frozen=True)
class Entry:
    """One object of the option."""

    text: str  # as it is written, for people
    ids: tuple[str, str]  # vendor and product, or "*"
    parts: tuple[Part, ...] | None  # None: any address
    exact: str | None  # the one address meant, if it is spelled out
    devname: str | None
    type: str | None
    resource_class: str | None
    traits: tuple[str, ...]
    tags: dict[str, str]  # what goes into attach_info

    def matches(
        self, function: pci.Function, physical: pci.Function | None
    ) -> bool:
        """Return whether a function is meant.

        An address, or network device, that is a physical function able to
        have virtual ones means those, and not itself.

        :param physical: the physical function of a virtual one
        """
        for wanted, actual in zip(
            self.ids, (function.vendor, function.product), strict=True
        ):
            if wanted not in (ANY, actual):
                return False
        if self.devname is not None:
            return self._picks(
                function, physical, lambda item: self.devname in item.netdevs
            )
        if self.exact is not None:
            return self._picks(
                function, physical, lambda item: item.address == self.exact
            )
        return self.parts is None or all(
            part(text)
            for part, text in zip(
                self.parts, pci.parse_address(function.address), strict=True
            )
        )

    @property
    def is_about_everything(self) -> bool:
        """Return whether every function there could be is meant."""
        if self.ids != (ANY, ANY) or self.devname or self.exact:
            return False
        return self.parts is None or all(
            all(map(part, samples))
            for part, samples in zip(self.parts, SAMPLES, strict=True)
        )

    @staticmethod
    def _picks(
        function: pci.Function,
        physical: pci.Function | None,
        named: Callable[[pci.Function], bool],
    ) -> bool:
        if physical is not None and named(physical):
            return True
        return named(function) and not function.virtfns


def parse(values: Iterable[str]) -> list[Entry]:
    """Return the entries of the option, in order.

    :raises PciConfigInvalidWhitelist: not JSON, not objects, not an id ...
    :raises PciDeviceWrongAddressFormat: not an address
    :raises PciDeviceInvalidDeviceName: both devname and address
    """
    entries = []
    for value in values:
        try:
            content = json.loads(value)
        except ValueError as error:
            raise _invalid(value, f"no JSON: {error}") from error
        items = content if isinstance(content, list) else [content]
        if not items:
            raise _invalid(value, "it selects nothing, leave it out")
        for item in items:
            if not isinstance(item, dict):
                raise _invalid(item, "it is not an object")
            entries.append(_entry(item))
    return entries


def _entry(item: dict[str, Any]) -> Entry:
    for key in item:
        if key in _OF_NOVA:
            raise _invalid(item, f"{key} is a key of Nova's: {_OF_NOVA[key]}")
        if key not in _KEYS:
            raise _invalid(
                item, f"{key} is none of the keys {', '.join(_KEYS)}"
            )
    ids = [parse_id(key, item.get(key, ANY)) for key in _ID_KEYS]
    address = item.get("address")
    devname = item.get("devname")
    if address is not None and devname is not None:
        raise exception.PciDeviceInvalidDeviceName()
    if devname is not None and not (isinstance(devname, str) and devname):
        raise _invalid(item, f"devname {devname!r} is no name of a device")
    parts, exact = parse_address(address)
    entry = Entry(
        text=json.dumps(item),
        ids=(ids[0], ids[1]),
        parts=parts,
        exact=exact,
        devname=devname,
        type=_type(item.get("type")),
        resource_class=_resource_class(item.get("class")),
        traits=_traits(item.get("traits", [])),
        tags=_tags(item),
    )
    if entry.is_about_everything:
        raise _invalid(
            item,
            "it selects every device of the host, give one of "
            + ", ".join(_SELECTING),
        )
    return entry


def _invalid(item: Any, reason: str) -> exception.PciConfigInvalidWhitelist:
    return exception.PciConfigInvalidWhitelist(
        reason=f"{item if isinstance(item, str) else json.dumps(item)}: "
        f"{reason}"
    )


def parse_id(key: str, value: Any) -> str:
    """Return an id as four hex digits, or :data:`ANY`.

    :raises PciConfigInvalidWhitelist: it is neither
    """
    if value == ANY:
        return ANY
    try:
        number = int(str(value), 16)
    except ValueError as error:
        raise exception.PciConfigInvalidWhitelist(
            reason=f"{key} {value!r} is not hexadecimal"
        ) from error
    if not 0 <= number <= 0xFFFF:
        raise exception.PciConfigInvalidWhitelist(
            reason=f"{key} {value!r} is larger than ffff"
        )
    return f"{number:04x}"


def parse_address(address: Any) -> tuple[tuple[Part, ...] | None, str | None]:
    """Return what matches the parts, or the one address that is meant.

    :param address: a pattern, an object of regular expressions, or None: any
    :raises PciDeviceWrongAddressFormat: it is none of these
    :raises PciConfigInvalidWhitelist: a part is too large
    """
    if address is None:
        return None, None
    if isinstance(address, dict):
        return _regexes(address), None
    if not isinstance(address, str):
        raise exception.PciDeviceWrongAddressFormat(address=address)
    try:
        return None, pci.normalise_address(address.strip())
    except exception.PciDeviceWrongAddressFormat:
        return _globs(address), None


def _regexes(address: dict[str, Any]) -> tuple[Part, ...]:
    unknown = address.keys() - set(_FIELDS)
    if unknown:
        raise exception.PciDeviceWrongAddressFormat(address=address)
    parts = []
    for field in _FIELDS:
        try:
            regex = re.compile(address.get(field, ".*"), re.IGNORECASE)
        except (re.error, TypeError) as error:
            raise exception.PciDeviceWrongAddressFormat(
                address=address
            ) from error
        parts.append(_matcher(regex))
    return tuple(parts)


def _matcher(regex: re.Pattern[str]) -> Part:
    return lambda text: regex.fullmatch(text) is not None


def _globs(address: str) -> tuple[Part, ...]:
    """Return what matches ``*:0a:00.*``, ``:00.`` or ``0a:00.1``.

    Domain and bus may be left off; an empty field is any.
    """
    front, _dot, function = address.lower().partition(".")
    fields = front.split(":")
    if len(fields) > 3:
        raise exception.PciDeviceWrongAddressFormat(address=address)
    # On the left is what was left off.
    fields = [""] * (3 - len(fields)) + fields
    parts = []
    for name, text in zip(_FIELDS, [*fields, function], strict=True):
        pattern = text.strip() or ANY
        if not set(pattern) & set("*?["):
            pattern = _number(name, pattern, address)
        parts.append(_globber(pattern))
    return tuple(parts)


def _globber(pattern: str) -> Part:
    return lambda text: fnmatch.fnmatchcase(text, pattern)


def _number(field: str, text: str, address: str) -> str:
    """Return a field as sysfs writes it: bus ``a`` is ``0a``."""
    try:
        number = int(text, 16)
    except ValueError as error:
        raise exception.PciDeviceWrongAddressFormat(address=address) from error
    if not 0 <= number <= _MOST[field]:
        raise exception.PciConfigInvalidWhitelist(
            reason=f"{field} {text!r} of {address!r} is larger than "
            f"{_MOST[field]:x}"
        )
    return f"{number:0{_DIGITS[field]}x}"


def _type(value: Any) -> str | None:
    if value is None:
        return None
    try:
        return str(constants.DeviceType(value))
    except ValueError as error:
        known = ", ".join(constants.DeviceType)
        raise exception.PciConfigInvalidWhitelist(
            reason=f"type {value!r} is not one of {known}"
        ) from error


def _resource_class(value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not _RESOURCE_CLASS.fullmatch(value):
        raise exception.PciConfigInvalidWhitelist(
            reason=f"class {value!r} is not a resource class"
        )
    known = constants.STANDARD_RESOURCE_CLASSES
    if value not in known and not value.startswith("CUSTOM_"):
        raise exception.PciConfigInvalidWhitelist(
            reason=f"class {value!r} does not begin with CUSTOM_"
        )
    return value


def _traits(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(
        isinstance(text, str) and text.upper().startswith("CUSTOM_")
        for text in value
    ):
        raise exception.PciConfigInvalidWhitelist(
            reason=f"traits {value!r} is not a list of CUSTOM_ names"
        )
    return tuple(value)


def _tags(item: dict[str, Any]) -> dict[str, str]:
    """Return what a guest's host is told."""
    tags = {}
    if item.get("physical_network") is not None:
        tags["physical_network"] = str(item["physical_network"])
    if "managed" in item:
        text = str(item["managed"]).lower()
        if text not in ("true", "false", "yes", "no"):
            raise exception.PciConfigInvalidWhitelist(
                reason=f"managed {item['managed']!r} is not true or false"
            )
        tags["managed"] = "true" if text in ("true", "yes") else "false"
    return tags
