"""Whether who says that it is the agent of a host is it.

An agent shows a key, of which the host's row has the hash from the first
report that comes with one on. From then on nobody without it speaks for the
host.
"""

import hashlib
import hmac
from typing import Any

from oslo_config import cfg
from oslo_log import log as logging

from cyborg.common import exception
from cyborg.conductor.inventory import registration
from cyborg.context import RequestContext
from cyborg.db import host as host_db

CONF = cfg.CONF
LOG = logging.getLogger(__name__)

# Characters of a key; an agent's own has 43.
SHORTEST = 32
LONGEST = 255


def hash_of(key: str) -> str:
    """Return what is stored of a key.

    A key is long and random: there is nothing to guess, and no need for a
    hash that takes its time.
    """
    return hashlib.sha256(key.encode()).hexdigest()


def shown_by(agent: dict[str, Any] | None) -> str | None:
    """Return the hash of the key that an agent shows, or None.

    :raises Invalid: what it shows is no key
    """
    key = agent.get("key") if isinstance(agent, dict) else None
    if key is None:
        return None
    if (
        not isinstance(key, str)
        or not SHORTEST <= len(key) <= LONGEST
        or not (key.isascii() and key.isprintable())
    ):
        raise exception.Invalid(
            f"The key of a host is a text of {SHORTEST} to {LONGEST} "
            "characters of ASCII."
        )
    return hash_of(key)


def require(agent: dict[str, Any] | None) -> None:
    """Pass if an agent shows a key, be it the right one or not.

    :raises HostKeyRefused: it shows none
    """
    if shown_by(agent) is None:
        raise exception.HostKeyRefused(host="?", how="no key")


def may_be(shown: str | None, apart: bool) -> bool:
    """Tell whether agents that show this may speak where no key is known."""
    return shown is not None or (
        not apart and CONF.conductor.accept_unkeyed_reports
    )


def check(
    context: RequestContext,
    hostname: str,
    agent: dict[str, Any] | None,
    apart: bool,
) -> bool:
    """Pass if an agent may speak for a host, and note how it does.

    :param apart: it speaks on the bus that agents have of their own
    :returns: whether the host is known in another way since
    :raises HostKeyRefused: it may not; that is noted, too
    """
    row = host_db.get(context, hostname)
    try:
        _check_key(hostname, row, agent, apart)
    except exception.HostKeyRefused:
        host_db.note_refusal(context, hostname)
        raise
    if row is None or registration.is_other_machine(row, agent):
        # Whether it becomes the host, its report will show; so will its key.
        return False
    if (row.key_hash, bool(row.apart)) == (shown_by(agent), apart):
        return False
    if not _note(context, row, agent, apart):
        # Another came first.
        return check(context, hostname, agent, apart)
    return True


def check_locked(
    context: RequestContext,
    row: Any,
    agent: dict[str, Any] | None,
    apart: bool,
) -> None:
    """Do what :func:`check` does for a report; the host's row is locked.

    A host that has no key yet has this one once its report is stored.
    """
    _check_key(row.hostname, row, agent, apart)
    if (row.key_hash, bool(row.apart)) != (shown_by(agent), apart):
        _note(context, row, agent, apart)


def _check_key(
    hostname: str, row: Any, agent: dict[str, Any] | None, apart: bool
) -> None:
    shown = shown_by(agent)
    known = None if row is None else row.key_hash
    if known is not None and shown is not None:
        refused = not hmac.compare_digest(known, shown)
    else:
        refused = known is not None or not may_be(shown, apart)
    if refused:
        how = "another key" if shown else "no key"
        LOG.error("Refused: a report for host %s with %s", hostname, how)
        raise exception.HostKeyRefused(host=hostname, how=how)


def _note(
    context: RequestContext,
    row: Any,
    agent: dict[str, Any] | None,
    apart: bool,
) -> bool:
    """Store how a host is known now; False if another came first."""
    shown = shown_by(agent)
    if not host_db.set_key(context, row.hostname, row.key_hash, shown, apart):
        return False
    if row.key_hash is None and shown is not None:
        LOG.info("From now on host %s is known by its key", row.hostname)
    return True
