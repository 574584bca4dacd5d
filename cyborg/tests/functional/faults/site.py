"""A whole cloud whose every part can be killed and started again."""

from collections.abc import Callable
import json
import pathlib
import threading
from typing import Any
import uuid

import sqlalchemy as sa

from cyborg.tests.fixtures import nova_events
from cyborg.tests.fixtures import placement as placement_fixture
from cyborg.tests.fixtures import process
from cyborg.tests.functional.faults import peers

# Seconds: short, so that a storm meets them.
BIND_TIMEOUT = 8
PROGRAM_TIMEOUT = 8
LEASE = 2
HANDLES = 6
# That a card ever has.
MOST_HANDLES = 8
# Host: what its card offers.
HOSTS = {"fpga-host": "TEST_PCI", "gpu-host": "MDEV"}
# Its agent has no bus of its own; the other one is asked by errands.
ON_THE_BUS_OF_ALL = ("fpga-host",)
# Address of the first card of each host.
FIRST_CARD = "0000:0c:00.0"
FUNCTIONS = {
    "function-a": "aaaaaaaa-0000-4000-8000-000000000001",
    "function-b": "bbbbbbbb-0000-4000-8000-000000000002",
}

CONFIG = """\
[DEFAULT]
host = {host}
auth_strategy = noauth2
state_path = {state}
transport_url = {transport}
debug = True
periodic_interval = 1
bind_timeout = {bind}
program_timeout = {program}
rpc_response_timeout = 4
[api]
port = {port}
api_workers = 1
[agent]
resource_provider_name = {host}
heartbeat_interval = 1
[conductor]
job_lease = {lease}
{conductor}
service_down_time = 20
reconcile_interval = 30
removal_grace = 5
[database]
connection = {database}
max_retries = -1
retry_interval = 1
[placement]
auth_type = admin_token
endpoint = {placement}
token = admin
endpoint_override = {placement}
connect_retries = 0
provider_layout = device
[nova]
auth_type = none
endpoint = {nova}
endpoint_override = {nova}
[glance]
auth_type = none
endpoint = {glance}
endpoint_override = {glance}
[oslo_messaging_rabbit]
heartbeat_timeout_threshold = 10
kombu_reconnect_delay = 0.2
rabbit_retry_interval = 1
rabbit_interval_max = 1
[cleaning]
policy = FPGA:required
[agent_transport]
{agents}
[oslo_concurrency]
lock_path = {state}/locks
"""


class Site:
    """The processes, and what a test asks of what they left behind."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = directory
        self.database = peers.MariaDB(directory)
        self.broker = peers.RabbitMQ(directory)
        self.placement = placement_fixture.Placement(directory)
        self.nova = nova_events.NovaEvents()
        self.glance = peers.Glance(FUNCTIONS)
        self.port = process.free_port()
        self.url = f"http://127.0.0.1:{self.port}/accelerator/v2"
        # Placement's uuid of each host.
        self.roots: dict[str, str] = {}
        self._hardware: dict[str, dict[str, Any]] = {}
        self._operations: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()
        self.conductors = [
            self._daemon("conductor", f"control-{number}") for number in (1, 2)
        ]
        self.agents = {host: self._daemon("agent", host) for host in HOSTS}
        self.api = self._daemon("api", "api")
        self.engine = sa.create_engine(
            self.database.url, poolclass=sa.NullPool
        )

    # -- starting and stopping

    def _state(self, host: str) -> pathlib.Path:
        return self.directory / f"state-{host}"

    def configure(self, host: str, *conductor: str) -> None:
        """Write the options of one daemon.

        :param conductor: lines of its section ``[conductor]``
        """
        path = self.directory / f"{host}.conf"
        self._state(host).mkdir(exist_ok=True)
        path.write_text(
            CONFIG.format(
                host=host,
                state=self._state(host),
                transport=self.broker.url,
                agents=""
                if host in ON_THE_BUS_OF_ALL
                else f"transport_url = {self.broker.url}",
                bind=BIND_TIMEOUT,
                program=PROGRAM_TIMEOUT,
                lease=LEASE,
                conductor="\n".join(conductor),
                port=self.port,
                database=self.database.url,
                placement=self.placement.url,
                nova=self.nova.url,
                glance=self.glance.url,
            )
        )

    def _daemon(self, command: str, host: str) -> process.Process:
        def ready(daemon: process.Process) -> bool:
            if command == "api":
                return process.answers(self.url)
            return any(
                f"{topic} as {host}" in daemon.log
                for topic in (f"cyborg-{command}", f"cyborg-agent-{host}")
            )

        return process.Process(
            f"{command}-{host}",
            process.cyborg(
                command, "--config-file", str(self.directory / f"{host}.conf")
            ),
            self.directory,
            {"CYBORG_DIE_AT": f"@{self._point(f'{command}-{host}')}"},
            ready=ready,
        )

    def _point(self, name: str) -> pathlib.Path:
        return self.directory / f"die-{name}"

    def arm(self, daemons: list[process.Process], point: str) -> None:
        """Make daemons die when they come to a point of faults.point()."""
        for daemon in daemons:
            path = self._point(daemon.name)
            draft = path.with_suffix(".new")
            draft.write_text(point)
            draft.rename(path)

    def disarm(self, daemons: list[process.Process]) -> None:
        for daemon in daemons:
            self._point(daemon.name).unlink(missing_ok=True)

    def start(self) -> None:
        self.nova.start()
        self.glance.start()
        self.broker.process.launch()
        self.database.process.start()
        self.placement.start()
        self.broker.process.wait_ready()
        for host in ("tool", "api", "control-1", "control-2", *HOSTS):
            self.configure(host)
        self.tool("dbsync", "upgrade")
        self.database.forget_history()
        for host in HOSTS:
            self.roots[host] = self.placement.create_provider(host)
            self.equip(host)
        for daemon in (*self.conductors, *self.agents.values(), self.api):
            daemon.launch()
        for daemon in (*self.conductors, *self.agents.values(), self.api):
            daemon.wait_ready()
        process.wait_until(
            lambda: len(self.providers()) == len(HOSTS), "both cards known"
        )

    def stop(self) -> None:
        for daemon in (self.api, *self.agents.values(), *self.conductors):
            daemon.kill()
        for peer in (
            self.placement.process,
            self.broker.process,
            self.database.process,
        ):
            peer.kill()
        self.nova.stop()
        self.glance.stop()

    def tool(self, command: str, *arguments: str) -> str:
        return process.run(
            process.cyborg(
                command,
                "--config-file",
                str(self.directory / "tool.conf"),
                *arguments,
            ),
            self.directory,
        )

    def all_up(self) -> None:
        """Start whatever does not run, and let every card behave."""
        for host in HOSTS:
            self.steer(host)
            self.equip(host)
        self.disarm([*self.conductors, *self.agents.values()])
        for peer in (
            self.database.process,
            self.broker.process,
            self.placement.process,
        ):
            if not peer.running:
                peer.launch()
            peer.wait_ready()
        daemons = (*self.conductors, *self.agents.values(), self.api)
        for daemon in daemons:
            if not daemon.running:
                daemon.launch()
        for daemon in daemons:
            daemon.wait_ready()

    def steer(self, host: str, **operations: dict[str, Any]) -> None:
        """Tell a host's fake cards how their operations go."""
        with self._lock:
            self._operations[host] = operations
            self._control(host)

    def equip(self, host: str, devices: int = 1, handles: int = 0) -> None:
        """Give a host this many cards of so many handles (0 = as usual)."""
        with self._lock:
            self._hardware[host] = {
                "devices": devices,
                "handles": handles or HANDLES,
                "attach_type": HOSTS[host],
            }
            self._control(host)

    def _control(self, host: str) -> None:
        path = self._state(host) / "fake-driver.json"
        draft = path.with_suffix(".new")
        hardware = self._hardware.get(host, {})
        operations = self._operations.get(host, {})
        draft.write_text(json.dumps(hardware | operations))
        draft.rename(path)

    # -- what there is

    def query(self, statement: str) -> list[Any]:
        with self.engine.connect() as connection:
            return list(connection.execute(sa.text(statement)))

    def providers(self) -> dict[str, str]:
        """Return the provider of each host's card, once it is published."""
        rows = self.query(
            "SELECT v.hostname, d.rp_uuid FROM deployables d "
            "JOIN devices v ON v.id = d.device_id "
            "WHERE d.rp_uuid IS NOT NULL ORDER BY d.id DESC"
        )
        # The first card of each host, which is always there.
        return {row.hostname: row.rp_uuid for row in rows}

    def mdevs(self) -> set[str]:
        """Return the uuids of the mediated devices that exist."""
        return {path.name for host in HOSTS for path in self._mdevs(host)}

    def _mdevs(self, host: str) -> list[pathlib.Path]:
        return list(self._state(host).glob("fake-driver/mdev/*/*/*"))

    def reload_driver(self, host: str) -> None:
        """Take away a host's mediated devices, as a kernel driver does."""
        for path in self._mdevs(host):
            path.unlink()

    def remember(self, host: str) -> Callable[[], None]:
        """Return what makes the agent's state, and its mdevs, of today."""
        log = self._state(host) / "agent" / "intents.json"
        text = log.read_text()
        paths = self._mdevs(host)

        def recall() -> None:
            log.write_text(text)
            for path in paths:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()

        return recall

    def loaded(self, host: str) -> str:
        """Return the digest of the image that a host's first card holds."""
        path = self._state(host) / "fake-driver" / "images" / FIRST_CARD
        return path.read_text() if path.exists() else ""

    def images_in_use(self) -> set[str]:
        """Return the directories in which agents have an image for a card."""
        return {
            str(path.relative_to(self.directory))
            for host in HOSTS
            for path in self._state(host).glob("agent/images/run-*")
        }


def new_uuid() -> str:
    return str(uuid.uuid4())
