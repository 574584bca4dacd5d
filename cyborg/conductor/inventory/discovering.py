"""Has agents look at their hosts' hardware without waiting for the time."""

from typing import Any

from oslo_log import log as logging

from cyborg.agent import rpcapi as agent_rpcapi
from cyborg.common import constants
from cyborg.common import exception
from cyborg.common.i18n import _
from cyborg.conductor.work import errands
from cyborg.conductor.work import programming
from cyborg.context import RequestContext
from cyborg.db import host as host_db
from cyborg.db import service as service_db

LOG = logging.getLogger(__name__)


def discover(context: RequestContext, agent: Any, uuid: str) -> None:
    """Ask the agent that a service is.

    See ``ConductorAPI.service_discover``.

    :param agent: how agents are called
    """
    service: Any = service_db.get(context, uuid)
    if service is None:
        raise exception.ServiceNotFound(uuid=uuid)
    if service.binary != constants.AGENT_TOPIC:
        raise exception.Conflict(
            _("Only an agent looks at hardware; %s is a conductor.") % uuid
        )
    discover_host(context, agent, service.host)


def ask(context: RequestContext, hostname: str) -> None:
    """Ask the agent of a host, from a process that is no conductor.

    See :func:`discover_host`.
    """
    discover_host(context, agent_rpcapi.AgentAPI(), hostname)


def discover_host(context: RequestContext, agent: Any, hostname: str) -> None:
    """Ask the agent of a host.

    :raises HostNotFound: nobody has reported the host
    :raises AgentNotResponding: the agent is silent or down
    """
    host = host_db.get(context, hostname)
    if host is None:
        raise exception.HostNotFound(host=hostname)
    programming.check_host(host)
    way = errands.way_to(hostname, host.apart, agent)
    way.discover(context, host.rpc_host or host.hostname)
    LOG.info("The agent of %s looks at its hardware", hostname)
