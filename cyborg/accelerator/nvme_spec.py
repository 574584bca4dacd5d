"""Parses ``[nvme] device_spec`` and matches drives with it.

Each value of the option is a JSON object; a key that is absent matches all::

    {"vendor_id": "144d", "product_id": "a808", "clear_action": "sanitize"}
    {"address": "0000:0a:00.*", "clear_strategy": "crypto"}
    {"address": {"domain": ".*", "bus": "0[ab]"}}
"""

from collections.abc import Iterable
import dataclasses
import enum
import json
from typing import Any

from cyborg.accelerator import pci
from cyborg.accelerator import whitelist
from cyborg.common import exception

OPTION = "[nvme] device_spec"
_KEYS = (
    "vendor_id",
    "product_id",
    "address",
    "clear_action",
    "clear_strategy",
)


class ClearAction(enum.StrEnum):
    """How a drive is cleaned."""

    AUTO = "auto"
    SANITIZE = "sanitize"
    ZERO = "zero"


class ClearStrategy(enum.StrEnum):
    """How a drive that cleans itself does so."""

    AUTO = "auto"
    CRYPTO = "crypto"
    BLOCK = "block"


@dataclasses.dataclass(frozen=True)
class Spec:
    """One object of the option."""

    vendor: str  # four hex digits, or "*"
    product: str  # four hex digits, or "*"
    parts: tuple[whitelist.Part, ...] | None  # None: any address, or exact
    exact: str | None  # the one address meant, if it is spelled out
    clear_action: ClearAction
    clear_strategy: ClearStrategy

    def matches(self, function: pci.Function) -> bool:
        """Return whether a drive is meant."""
        ids = (self.vendor, function.vendor), (self.product, function.product)
        if any(wanted not in (whitelist.ANY, has) for wanted, has in ids):
            return False
        if self.exact is not None:
            return self.exact == function.address
        return self.parts is None or all(
            part(text)
            for part, text in zip(
                self.parts, pci.parse_address(function.address), strict=True
            )
        )


def parse(values: Iterable[str]) -> list[Spec]:
    """Return the objects of the option, in order.

    :raises ConfigInvalid: not JSON, no object, an unknown key or value
    """
    return [_spec(value) for value in values]


def find(specs: Iterable[Spec], function: pci.Function) -> Spec | None:
    """Return the first that means a drive, None if it is not managed."""
    return next((spec for spec in specs if spec.matches(function)), None)


def _spec(value: str) -> Spec:
    try:
        item = json.loads(value)
    except ValueError as error:
        raise _invalid(f"{value!r} is not JSON: {error}") from error
    if not isinstance(item, dict):
        raise _invalid(f"{value!r} is not an object")
    unknown = sorted(item.keys() - set(_KEYS))
    if unknown:
        raise _invalid(
            f"{unknown[0]!r} is none of the keys {', '.join(_KEYS)}"
        )
    try:
        vendor, product = (
            whitelist.parse_id(key, item.get(key, whitelist.ANY))
            for key in _KEYS[:2]
        )
        parts, exact = whitelist.parse_address(item.get("address"))
    except exception.PciConfigInvalidWhitelist as error:
        raise _invalid(str(error.kwargs["reason"])) from error
    except exception.PciDeviceWrongAddressFormat as error:
        raise _invalid(error.faultstring) from error
    return Spec(
        vendor,
        product,
        parts,
        exact,
        ClearAction(_choice(item, "clear_action", ClearAction)),
        ClearStrategy(_choice(item, "clear_strategy", ClearStrategy)),
    )


def _choice(item: dict[str, Any], key: str, known: type[enum.StrEnum]) -> str:
    value = item.get(key, "auto")
    if value not in list(known):
        raise _invalid(f"{key} {value!r} is not one of {', '.join(known)}")
    return str(value)


def _invalid(reason: str) -> exception.ConfigInvalid:
    return exception.ConfigInvalid(option=OPTION, reason=reason)
