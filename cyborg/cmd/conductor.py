"""cyborg-conductor: the only writer of Cyborg's state.

With ``[conductor] workers`` above 1 the process only watches over workers,
each of which is a conductor; they share the host's name and its calls.
"""

import sys

from oslo_config import cfg

from cyborg.common import constants
from cyborg.common import rpc
from cyborg.common import service
from cyborg.common import workers
from cyborg.conductor import agents
from cyborg.conductor import manager
from cyborg.conductor import rpcapi
from cyborg.db import engine as db_engine

CONF = cfg.CONF


def _services() -> list[service.Service]:
    conductor = manager.ConductorManager()
    services = [
        service.Service(
            conductor,
            constants.CONDUCTOR_TOPIC,
            [CONF.host],
            rpcapi.VERSION,
        )
    ]
    if rpc.has_agents_bus():
        target = rpc.reports_target(CONF.host)
        services.append(
            service.Service(
                agents.AgentsDoor(conductor),
                target.topic,
                [target.server],
                target.version,
                target.exchange,
                rpc.AGENTS,
            )
        )
    return services


def _serve() -> int:
    services = _services()

    def start() -> None:
        # Waits for the database, as its options say, before anybody calls.
        with db_engine.get_engine().connect():
            pass
        for each in services:
            each.start()

    def stop() -> None:
        # Agents may bring results until the work that waits for them ends.
        for each in services:
            each.stop()

    return service.serve(start, stop)


def main() -> int:
    """Run a conductor until it is told to stop."""
    service.prepare(program="cyborg-conductor")
    count = CONF.conductor.workers
    if count == 1:
        return _serve()
    return workers.Workers(_serve, count).serve()


if __name__ == "__main__":
    sys.exit(main())
