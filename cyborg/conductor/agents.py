"""RPC endpoints for agents that have a bus of their own.

Whoever has the credentials of a compute host there can call these and
nothing else, so each asks for the host's key first, and what a caller says of
itself besides counts for nothing.
"""

import json
from typing import Any

import oslo_messaging as messaging

from cyborg.conductor import manager
from cyborg.conductor.inventory import checking
from cyborg.conductor.inventory import keys
from cyborg.conductor.work import errands
from cyborg.context import get_admin_context
from cyborg.context import RequestContext
from cyborg.db import errand as errand_db


class AgentsDoor:
    """What an agent may ask, see :class:`cyborg.conductor.rpcapi.Reports`.

    :param conductor: answers
    """

    target = messaging.Target(version="1.0")

    def __init__(self, conductor: manager.ConductorManager) -> None:
        self._conductor = conductor

    def init_host(self) -> None:
        """Its manager does the work in the background."""

    def stop(self) -> None:
        """Nothing was started."""

    @manager.endpoint
    def agent_register(
        self, context: RequestContext, agent: dict[str, Any], **said: Any
    ) -> dict[str, Any]:
        keys.require(agent)
        return self._conductor.agent_register(
            get_admin_context(), agent=agent, **said | {"apart": True}
        )

    @manager.endpoint
    def report_heartbeat(
        self, context: RequestContext, agent: dict[str, Any], **said: Any
    ) -> dict[str, Any]:
        keys.require(agent)
        return self._conductor.report_heartbeat(
            get_admin_context(), agent=agent, **said | {"apart": True}
        )

    @manager.endpoint
    def report_data(
        self, context: RequestContext, agent: dict[str, Any], **said: Any
    ) -> None:
        keys.require(agent)
        self._conductor.report_data(
            get_admin_context(), agent=agent, **said | {"apart": True}
        )

    @manager.endpoint
    def report_guests(
        self, context: RequestContext, agent: dict[str, Any], **said: Any
    ) -> None:
        keys.require(agent)
        self._conductor.report_guests(
            get_admin_context(), agent=agent, **said | {"apart": True}
        )

    @manager.endpoint
    def report_health(
        self, context: RequestContext, agent: dict[str, Any], **said: Any
    ) -> dict[str, bool]:
        keys.require(agent)
        return self._conductor.report_health(
            get_admin_context(), agent=agent, **said | {"apart": True}
        )

    @manager.endpoint
    def cleaning_ended(
        self, context: RequestContext, agent: dict[str, Any], **said: Any
    ) -> None:
        keys.require(agent)
        self._conductor.cleaning_ended(
            get_admin_context(), agent=agent, **said | {"apart": True}
        )

    @manager.endpoint
    def errands(
        self, context: RequestContext, hostname: str, agent: dict[str, Any]
    ) -> list[dict[str, Any]]:
        context = self._check(hostname, agent)
        return [
            {
                "uuid": row.uuid,
                "method": row.method,
                "arguments": json.loads(row.arguments),
            }
            for row in errand_db.take(context, hostname)
        ]

    @manager.endpoint
    def errand_done(
        self,
        context: RequestContext,
        hostname: str,
        agent: dict[str, Any],
        uuid: str,
        result: dict[str, Any],
    ) -> None:
        context = self._check(hostname, agent)
        checking.check_uuid(uuid)
        errands.finish(context, hostname, uuid, result)

    @staticmethod
    def _check(hostname: str, agent: dict[str, Any]) -> RequestContext:
        checking.check_host(hostname)
        checking.check_agent(agent)
        keys.require(agent)
        context = get_admin_context()
        keys.check(context, hostname, agent, apart=True)
        return context
