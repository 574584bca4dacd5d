"""Answers about versions."""

from cyborg.api import versions
from cyborg.api.types import base

_NUMBER = base.Scalar("version", str, type="string", pattern=r"^\d+\.\d+$")
_ID = "The major version: ``v2``, and ``v2.0`` in the answer to ``GET /v2``."


def _only(value: str) -> base.Scalar:
    return base.Scalar(value, str, const=value)


class MajorVersion(base.Resource):
    """A major version, as the list of them has it."""

    _from_dict = True

    id = base.member(_only("v2"), _ID)
    status = base.member(_only("CURRENT"), "``CURRENT``.")
    max_version = base.member(_NUMBER, "The newest microversion.")
    min_version = base.member(_NUMBER, "The oldest microversion.")
    links = base.links()


class Version(MajorVersion):
    """The same, as its own document has it."""

    id = base.member(_only("v2.0"), _ID)


class Versions(base.Part):
    """All major versions."""

    _from_dict = True

    name = base.member(base.TEXT, "The name of the API.")
    description = base.member(base.TEXT, "What it is about.")
    versions = base.member([MajorVersion], "The major versions.", minItems=1)
    default_version = base.member(
        MajorVersion, "The major version that is meant where none is named."
    )


V2 = base.shown(Version)
INDEX = {versions.BASE: base.schema(Versions)}
