"""Agents and conductors as clients see them."""

import json
from typing import Any

from cyborg.api import versions
from cyborg.api.types import base
from cyborg.common import liveness


class Driver(base.Part):
    """A driver of an agent."""

    _from_dict = True

    name = base.member(base.TEXT, "The name.")
    state = base.member(base.Choice("ok", "failed"), "Whether it worked.")
    error = base.member(base.TEXT, "What went wrong.", nullable=True)
    capabilities = base.member([base.TEXT], "What else it can do.")


def _state(service: Any, related: base.Related) -> str:
    silent = liveness.is_silent(service.last_seen_at)
    return "down" if service.forced_down or silent else "up"


class Service(base.Resource):
    """An agent or a conductor."""

    _since = versions.RESOURCES

    id = base.member(
        base.UUID,
        "The id of the service.",
        value=lambda service, related: service.uuid,
    )
    binary = base.member(
        base.Choice("cyborg-agent", "cyborg-conductor"),
        "``cyborg-agent`` or ``cyborg-conductor``.",
    )
    host = base.member(base.TEXT, "The host it runs on.")
    state = base.member(
        base.Choice("up", "down"),
        "``up``, or ``down``: forced down, or not heard of for ``[conductor] "
        "service_down_time``.",
        value=_state,
    )
    forced_down = base.member(
        base.FLAG,
        "Whether the host was forced down: the scheduler uses none of its "
        "devices. Only agents' hosts can be.",
        value=lambda service, related: bool(service.forced_down),
    )
    updated_at = base.member(
        base.TIME,
        "When it was last heard of.",
        nullable=True,
        value=lambda service, related: service.last_seen_at,
    )
    drivers = base.member(
        [Driver],
        "The drivers of an agent: ``name``, ``state`` (``ok`` or ``failed``), "
        "``error`` (null if ok) and ``capabilities``, what else they can do.",
        value=lambda service, related: json.loads(service.drivers or "[]"),
    )
    last_error = base.member(
        base.TEXT,
        "What went wrong last when Placement was told of the host's devices.",
        nullable=True,
    )


SHOWN = base.shown(Service)
LISTED = base.listed("services", "The services.", SHOWN)
