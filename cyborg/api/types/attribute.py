"""Attributes as clients see them."""

from typing import Any

from cyborg.api import versions
from cyborg.api.types import base


def _deployable_uuid(attribute: Any, uuid: str | None) -> str:
    # An attribute that was just made knows only the number.
    return attribute.deployable_uuid if uuid is None else uuid


class Attribute(base.Resource):
    """What is said of a deployable; the deployable's uuid may be related."""

    uuid = base.member(base.UUID, "The uuid of the attribute.")
    deployable_id = base.member(
        base.NUMBER, "The number of the deployable; use ``deployable_uuid``."
    )
    key = base.member(base.TEXT, "The key.")
    value = base.member(base.TEXT, "The value.")
    created_at = base.created_at()
    updated_at = base.updated_at()
    links = base.links("attributes")
    deployable_uuid = base.member(
        base.UUID,
        "The uuid of the deployable.",
        since=versions.STRICT,
        value=_deployable_uuid,
    )


SHOWN = base.shown(Attribute)
LISTED = base.listed("attributes", "The attributes.", SHOWN)

_NESTED = base.since(versions.RESOURCES, SHOWN)
LISTED_OF_DEPLOYABLE = base.since(versions.RESOURCES, LISTED)
SHOWN_OF_DEPLOYABLE = base.wrapped("attribute", "The attribute.", _NESTED)
CREATED_OF_DEPLOYABLE = base.wrapped(
    "attributes", "The attributes.", base.several(_NESTED, least=1)
)
