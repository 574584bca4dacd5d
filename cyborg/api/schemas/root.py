"""Answers about versions."""

from cyborg.api import versions
from cyborg.api.schemas import answers

_NUMBER = {"type": "string", "pattern": r"^\d+\.\d+$"}


def _version(title: str, id_: str) -> answers.Schemas:
    return answers.shown(
        title,
        {
            versions.BASE: {
                "id": {"const": id_},
                "status": {"const": "CURRENT"},
                "max_version": _NUMBER,
                "min_version": _NUMBER,
                **answers.links("self"),
            }
        },
    )


_MAJOR = _version("MajorVersion", "v2")[versions.BASE]
V2 = _version("Version", "v2.0")
INDEX = {
    versions.BASE: answers.closed(
        {
            "name": answers.TEXT,
            "description": answers.TEXT,
            "versions": {"type": "array", "items": _MAJOR, "minItems": 1},
            "default_version": _MAJOR,
        }
    )
}
