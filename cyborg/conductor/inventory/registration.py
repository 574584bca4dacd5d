"""Finds the provider of a host that an agent runs on; lets in one machine.

Under one name there is one machine. Two that have the same say, each for its
part, that the other's cards are gone, and both would be given its guests.
"""

from collections.abc import Sequence
from typing import Any

from oslo_log import log as logging

from cyborg.clients import placement
from cyborg.common import exception
from cyborg.common import liveness
from cyborg.common.i18n import _
from cyborg.context import RequestContext
from cyborg.db import clock
from cyborg.db import host as host_db

LOG = logging.getLogger(__name__)


def find_host(context: RequestContext, names: Sequence[str]) -> str | None:
    """Return the first of ``names`` that is a resource provider, or None.

    While Placement does not answer, a host that has reported before keeps
    its name.
    """
    try:
        for name in names:
            provider = placement.Client().find_provider(name)
            if provider is not None:
                if name != names[0]:
                    LOG.warning(
                        "No resource provider is named %s; %s is used",
                        names[0],
                        name,
                    )
                return name
    except (exception.ServiceUnavailable, exception.ConfigInvalid) as error:
        LOG.warning("Looking hosts up where known: %s", error.faultstring)
        for name in names:
            if host_db.get(context, name) is not None:
                return name
    return None


def is_other_machine(host: Any, agent: dict[str, Any] | None) -> bool:
    """Tell whether an agent is surely not on the machine that a host is.

    :param host: its row, None if nobody has reported it
    :param agent: who speaks; None = one that does not tell
    """
    if host is None or agent is None or host.boot_id == agent["boot_id"]:
        return False
    known, now = host.machine_id, agent["machine_id"]
    return bool(known and now and known != now)


def check_machine(
    context: RequestContext, host: Any, agent: dict[str, Any] | None
) -> None:
    """Let an agent speak for a host, unless another machine does.

    :raises HostTaken: it has spoken lately
    """
    if not is_other_machine(host, agent):
        return
    assert agent is not None
    now = clock.read(context)
    if not liveness.is_silent(host.last_seen_at, now):
        raise _taken(
            host,
            agent,
            _("it has spoken %d s ago")
            % max(0, int((now - host.last_seen_at).total_seconds())),
        )


def check_cards(
    host: Any, agent: dict[str, Any] | None, held: set[str], there: set[str]
) -> None:
    """Let another machine take a host's place, if it has what guests own.

    :param held: places of the handles that are in use
    :param there: places of what it reports
    :raises HostTaken: something is not there
    """
    if not is_other_machine(host, agent):
        return
    assert agent is not None
    if held - there:
        raise _taken(
            host,
            agent,
            _("%d devices that servers have are not in the other one")
            % len(held - there),
        )
    LOG.warning(
        "Host %s was machine %s and is machine %s now",
        host.hostname,
        host.machine_id,
        agent["machine_id"],
    )


def _taken(
    host: Any, agent: dict[str, Any], reason: str
) -> exception.HostTaken:
    error = exception.HostTaken(
        machine=agent["machine_id"],
        host=host.hostname,
        known=host.machine_id,
        reason=reason,
    )
    LOG.error("%s", error.faultstring)
    return error
