"""Microversions: what each changed, and which one a request asks for."""

import functools
import re
from typing import Any
from typing import NamedTuple

import microversion_parse

from cyborg.common import exception
from cyborg.common.i18n import _

SERVICE_TYPE = "accelerator"
HEADER = "OpenStack-API-Version"
_ENVIRON_KEY = "HTTP_OPENSTACK_API_VERSION"
MINIMUM_HEADER = "OpenStack-API-Minimum-Version"
MAXIMUM_HEADER = "OpenStack-API-Maximum-Version"


class Version(NamedTuple):
    """A microversion; compares as expected."""

    major: int
    minor: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


BASE = Version(2, 0)
# The owner of an ARQ can be named when it is bound.
PROJECT_ID = Version(2, 1)
# Device profiles can be shown by name.
PROFILE_BY_NAME = Version(2, 2)
# Devices have a status.
DEVICE_STATUS = Version(2, 3)
# Stricter checks, better status codes, uuids instead of internal ids.
STRICT = Version(2, 4)
# More filters; lists are cut and say where they go on.
LISTS = Version(2, 5)
# New resources; work on hosts in the background.
RESOURCES = Version(2, 6)
# What is known of hosts: why a card is not offered, its life, what is left.
LIFE = Version(2, 7)

MINIMUM = BASE
MAXIMUM = LIFE

_NUMBER = re.compile(r"(-?(?:0|[1-9]\d*))\.(0|[1-9]\d*)")


class UnknownVersion(exception.NotAcceptable):
    template = _("Invalid value for OpenStack-API-Version header: %(value)s.")


class UnsupportedVersion(exception.NotAcceptable):
    template = _(
        "Version %(value)s was requested but the minor version is not "
        "supported. The supported version range is: [%(minimum)s, "
        "%(maximum)s]."
    )


class UnsupportedMajor(exception.NotAcceptable):
    template = _(
        "Version %(value)s was requested but the major version is not "
        "served here. The supported version range is: [%(minimum)s, "
        "%(maximum)s]."
    )


class TooOld(exception.NotAcceptable):
    template = _("%(what)s needs microversion %(minimum)s or later.")


@functools.lru_cache(maxsize=64)
def requested(header: str | None) -> Version:
    """Return the version that the value of ``OpenStack-API-Version`` names.

    ``accelerator 2.1``, ``compute 2.82, accelerator latest``, ``2.1``. A
    value for other services only, or none, means the minimum.

    :raises UnknownVersion: it is malformed
    :raises UnsupportedVersion, UnsupportedMajor: it is not served
    """
    value = _own_value(header or "")
    if value is None:
        return MINIMUM
    if value.lower() == "latest":
        return MAXIMUM
    match = _NUMBER.fullmatch(value)
    if match is None:
        raise UnknownVersion(value=header)
    # A number of that many digits is out of range whatever it is.
    version = Version(*(int(digits[:9]) for digits in match.groups()))
    if version.major != MINIMUM.major:
        raise UnsupportedMajor(value=value, minimum=MINIMUM, maximum=MAXIMUM)
    if not MINIMUM <= version <= MAXIMUM:
        raise UnsupportedVersion(value=value, minimum=MINIMUM, maximum=MAXIMUM)
    return version


def of_errors(environ: dict[str, Any]) -> Version:
    """Return the version whose form the errors of a request have.

    That is the oldest one where none can be read from it.
    """
    try:
        return requested(environ.get(_ENVIRON_KEY))
    except exception.NotAcceptable:
        return MINIMUM


def _own_value(header: str) -> str | None:
    """Return what the header says for this service, None if nothing."""
    parts = [part for part in header.split(",") if part.strip()]
    # Of several the first holds; the library takes the last.
    named: str | None = microversion_parse.get_version(
        {HEADER: ",".join(reversed(parts))}, SERVICE_TYPE
    )
    if named is not None:
        return named
    # Older clients leave the service type out.
    return next((p.strip() for p in parts if len(p.split()) == 1), None)
