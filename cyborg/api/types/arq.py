"""Accelerator requests as clients see them.

What one is attached by shows while it is Bound: before that the host may
still be at work.
"""

import json
from typing import Any

from cyborg.api import versions
from cyborg.api.types import base
from cyborg.common import constants
from cyborg.common import states
from cyborg.policies import arq as policies


def _handle_type(arq: Any, related: base.Related) -> str:
    bound = arq.state == states.ARQState.BOUND
    return (bound and arq.attach_handle_type) or ""


def _handle_info(arq: Any, related: base.Related) -> dict[str, str]:
    info = arq.attach_handle_info
    if arq.state != states.ARQState.BOUND or not info:
        return {}
    # Text in a row.
    found: dict[str, str] = json.loads(info) if isinstance(info, str) else info
    return found


class AcceleratorRequest(base.Resource):
    """A request for one accelerator, of a server or of one to be."""

    uuid = base.member(base.UUID, "The uuid of the accelerator request.")
    state = base.member(
        base.Label(*states.ARQState),
        "``Initial``, ``BindStarted``, ``Bound``, ``Unbound``, "
        "``BindFailed``, ``UnbindFailed`` or ``Deleting``.",
    )
    device_profile_name = base.member(
        base.TEXT, "The name of the device profile."
    )
    device_profile_group_id = base.member(
        base.COUNT, "Which group of the profile it stands for, counted from 0."
    )
    hostname = base.member(
        base.TEXT, "The host it is bound on.", nullable=True
    )
    device_rp_uuid = base.member(
        base.UUID, "The resource provider it was bound to.", nullable=True
    )
    instance_uuid = base.member(
        base.UUID, "The server it is bound to.", nullable=True
    )
    project_id = base.member(
        base.TEXT, "The project that owns it.", nullable=True
    )
    attach_handle_type = base.member(
        base.Label("", *constants.AttachHandleType),
        "How the server gets the accelerator: ``PCI``, ``MDEV``, "
        "``TEST_PCI`` or ``PMEM``. Empty unless the state is Bound.",
        value=_handle_type,
    )
    attach_handle_uuid = base.member(
        base.UUID,
        "The uuid of what the server gets. That of an mdev, if it is one.",
        nullable=True,
    )
    attach_handle_info = base.member(
        {str: base.TEXT},
        "Where it is on the host: ``domain``, ``bus``, ``device`` and "
        "``function`` of a PCI address in hexadecimal digits, and what else "
        "its type has. Empty unless the state is Bound.",
        value=_handle_info,
    )
    links = base.links("accelerator_requests")
    # One that was just made is an object, and has no reason yet.
    state_reason = base.member(
        base.TEXT,
        "Why the state is BindFailed or UnbindFailed, in words that tell "
        "nothing of the host. Null in other states.",
        since=versions.LIFE,
        nullable=True,
        value=lambda arq, related: getattr(arq, "state_reason", None),
    )
    state_detail = base.member(
        base.TEXT,
        "What is known of that: what the host's agent said.",
        since=versions.LIFE,
        nullable=True,
        value=lambda arq, related: getattr(arq, "state_detail", None),
        seen_by=policies.ALL_PROJECTS,
    )
    created_at = base.created_at()
    updated_at = base.updated_at()


SHOWN = base.shown(AcceleratorRequest)
LISTED = base.listed("arqs", "The accelerator requests.", SHOWN)
CREATED = base.wrapped(
    "arqs", "The accelerator requests.", base.several(SHOWN, least=1)
)
