"""What the agent of a host is told in answer to what it says."""

import hashlib
import json
from typing import Any

from cyborg.context import RequestContext
from cyborg.db import attach_handle as handle_db
from cyborg.db import host as host_db


def in_use(
    context: RequestContext, hostname: str, known: str
) -> dict[str, Any] | None:
    """Return which attach handles of a host are in use, and by whom.

    Read anew each time, on one index: whatever changes a handle need not
    remember to change something else, on the row where reports queue.

    :param known: the digest of what the agent was told last
    :returns: ``{"digest", "handles": [...]}`` with the fields that
        :class:`cyborg.agent.in_use.Handle` has; None if that is what it knows
    """
    handles = [
        {**row._mapping, "attach_info": _decoded(row.attach_info)}
        for row in handle_db.in_use(context, hostname)
    ]
    text = json.dumps(handles, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(text.encode()).hexdigest()
    if digest == known:
        return None
    return {"digest": digest, "handles": handles}


def has_to_look_again(context: RequestContext, hostname: str) -> bool:
    """Tell whether a host has to report again as something was given back.

    A report left a device as it was because somebody held it; if that is so
    no longer, the next one applies. Call it when what is in use has changed.
    """
    if not host_db.has_seen_other(context, hostname):
        return False
    # Also if the answer gets lost.
    host_db.ask_for_report(context, hostname)
    return True


def _decoded(attach_info: str) -> dict[str, str]:
    """Return an attach_info; nothing of what an agent wrote otherwise."""
    try:
        info = json.loads(attach_info)
    except ValueError:
        return {}
    return info if isinstance(info, dict) else {}
