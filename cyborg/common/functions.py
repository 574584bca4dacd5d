"""Functions of FPGAs: how one id is written in traits, profiles and images.

A card reports ``d8424dc4a4a3c413f89e433683f9040b``, an image may have it with
hyphens, and a trait has capitals and underscores.
"""

import re

from cyborg.common import constants

# The second one is the form of the specification of scheduling.
_PREFIXES = (f"{constants.FUNCTION_TRAIT_PREFIX}_", "CUSTOM_FPGA_FUNCTION_")

_UUID = re.compile(r"_[0-9A-F]{8}(_?[0-9A-F]{4}){3}_?[0-9A-F]{12}$")


def trait(driver_name: str | None, function_id: str) -> str:
    """Return the trait of a deployable that runs a function.

    >>> trait("intel", "3afb-01")
    'CUSTOM_FPGA_FUNCTION_ID_INTEL_3AFB_01'
    """
    text = f"{driver_name or ''}_{function_id}".upper()
    text = re.sub(r"[^A-Z0-9_]", "_", text)
    return f"{_PREFIXES[0]}{text}"[:255]


def is_trait(name: str) -> bool:
    """Tell whether a trait says which function a deployable runs."""
    return name.startswith(_PREFIXES[0])


def is_function(name: str) -> bool:
    """Tell whether a text is a trait of a function in either form."""
    return bool(re.fullmatch(rf"{_PREFIXES[1]}[A-Z0-9]+_[A-Z0-9_]+", name))


def is_named(name: str, function_id: str | None) -> bool:
    """Tell whether a trait is that of a function, of whatever vendor.

    >>> is_named("CUSTOM_FPGA_FUNCTION_INTEL_3AFB_01", "3afb01")
    True
    """
    if not function_id:
        return False
    for prefix in _PREFIXES:
        if name.startswith(prefix):
            _vendor, _, rest = name.removeprefix(prefix).partition("_")
            return plain(rest) == plain(function_id)
    return False


def is_same(one: str, other: str) -> bool:
    """Tell whether two traits are of the same function of one vendor."""
    return _bare(one) == _bare(other)


def is_uuid(name: str) -> bool:
    """Tell whether a trait has an id as cards have: 32 hexadecimal digits."""
    return bool(_UUID.search(name))


def plain(function_id: str) -> str:
    """Return an id without what is written now so, now otherwise."""
    return re.sub(r"[^a-z0-9]", "", function_id.lower())


def _bare(name: str) -> str:
    for prefix in _PREFIXES:
        if name.startswith(prefix):
            return plain(name.removeprefix(prefix))
    return plain(name)
