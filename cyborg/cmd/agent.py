"""The console script ``cyborg-agent``."""

import signal
import sys

from oslo_config import cfg
from oslo_privsep import priv_context

from cyborg.agent import dry_run
from cyborg.agent import errands
from cyborg.agent import manager as agent_manager
from cyborg.common import constants
from cyborg.common import rpc
from cyborg.common import service
from cyborg.conductor import rpcapi as conductor_rpcapi

CONF = cfg.CONF

CLI_OPTS = [
    cfg.BoolOpt(
        "dry-run",
        default=False,
        help="Print what the enabled drivers find, and end.",
    ),
    cfg.BoolOpt(
        "json",
        default=False,
        help="Print what --dry-run finds as JSON.",
    ),
    cfg.StrOpt(
        "explain",
        metavar="ADDRESS",
        help="With --dry-run: say why a PCI function is offered, or is not.",
    ),
]


class Daemon:
    """The agent and its RPC servers."""

    def __init__(self) -> None:
        self._service: service.Service | None = None
        self._manager: agent_manager.AgentManager | None = None

    def start(self) -> None:
        if rpc.has_agents_bus():
            self._service = running = self._apart()
        else:
            self._service = running = self._among_services()
        running.start()

    def _apart(self) -> service.Service:
        """Return what runs on the bus that agents have of their own."""
        rpc.be_agent(CONF.host)
        door = conductor_rpcapi.agents_door()
        manager = agent_manager.AgentManager(door, CONF.host)
        manager.load_drivers()
        self._manager = manager
        target = rpc.agent_target(CONF.host)
        return service.Service(
            errands.Errands(door, manager),
            target.topic,
            [target.server],
            target.version,
            target.exchange,
            rpc.AGENTS,
        )

    def _among_services(self) -> service.Service:
        manager = agent_manager.AgentManager(
            conductor_rpcapi.remote(),
            CONF.host,
            listen=lambda name: running.listen(name),
        )
        # Options that drivers refuse end the process before it is reachable.
        manager.load_drivers()
        self._manager = manager
        running = service.Service(
            manager, constants.AGENT_TOPIC, [CONF.host], manager.target.version
        )
        return running

    def discover(self) -> None:
        if self._manager is not None:
            self._manager.discover_now()

    def stop(self) -> None:
        if self._service is not None:
            self._service.stop()


def main() -> int:
    """Run until signalled."""
    CONF.register_cli_opts(CLI_OPTS)
    service.prepare(program="cyborg-agent")
    # Used unless [cyborg_sys_admin] helper_command says otherwise.
    priv_context.init(root_helper=["sudo"])
    if CONF.explain is not None and not CONF.dry_run:
        sys.stderr.write("--explain needs --dry-run\n")
        return 1
    if CONF.dry_run:
        return dry_run.main(as_json=CONF.json, explained=CONF.explain)
    daemon = Daemon()
    return service.serve(
        daemon.start, daemon.stop, {signal.SIGUSR1: daemon.discover}
    )


if __name__ == "__main__":
    sys.exit(main())
