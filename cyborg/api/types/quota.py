"""Quota usage as clients see it."""

from cyborg.api import versions
from cyborg.api.types import base


class QuotaUsage(base.Resource):
    """How much of a resource a project uses."""

    _since = versions.RESOURCES

    resource = base.member(
        base.TEXT,
        "``accelerator_requests``, or ``class:`` and a resource class.",
    )
    in_use = base.member(base.NUMBER, "How many it has.")
    reserved = base.member(base.NUMBER, "How many are being made.")


LISTED = base.wrapped(
    "quota_usages",
    "What the project uses.",
    base.several(base.shown(QuotaUsage)),
)
