"""A whole cloud whose every part can be killed and started again."""

import json
import pathlib
import sys
import threading
from typing import Any
import uuid

import sqlalchemy as sa

from cyborg.tests.fixtures import nova_events
from cyborg.tests.fixtures import placement as placement_fixture
from cyborg.tests.fixtures import process
from cyborg.tests.functional.faults import peers

MAIN = "import sys; from cyborg.cmd import {0}; sys.exit({0}.main())"
# Seconds: short, so that a storm meets them.
BIND_TIMEOUT = 8
PROGRAM_TIMEOUT = 8
LEASE = 3
HANDLES = 6
# Host: what its card offers.
HOSTS = {"fpga-host": "TEST_PCI", "gpu-host": "MDEV"}
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
rpc_response_timeout = 6
[api]
port = {port}
api_workers = 1
[agent]
resource_provider_name = {host}
heartbeat_interval = 1
[conductor]
job_lease = {lease}
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
        self.lock = threading.Lock()
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

    def _config(self, host: str) -> str:
        path = self.directory / f"{host}.conf"
        self._state(host).mkdir(exist_ok=True)
        path.write_text(
            CONFIG.format(
                host=host,
                state=self._state(host),
                transport=self.broker.url,
                bind=BIND_TIMEOUT,
                program=PROGRAM_TIMEOUT,
                lease=LEASE,
                port=self.port,
                database=self.database.url,
                placement=self.placement.url,
                nova=self.nova.url,
                glance=self.glance.url,
            )
        )
        return str(path)

    def _daemon(self, command: str, host: str) -> process.Process:
        def ready(daemon: process.Process) -> bool:
            if command == "api":
                return process.answers(self.url)
            return f"cyborg-{command} as {host}" in daemon.log

        return process.Process(
            f"{command}-{host}",
            [
                *(sys.executable, "-W", "ignore", "-c", MAIN.format(command)),
                *("--config-file", str(self.directory / f"{host}.conf")),
            ],
            self.directory,
            ready=ready,
        )

    def start(self) -> None:
        self.nova.start()
        self.glance.start()
        self.broker.process.launch()
        self.database.process.start()
        self.placement.start()
        self.broker.process.wait_ready()
        for host in ("tool", "api", "control-1", "control-2", *HOSTS):
            self._config(host)
        self.tool("dbsync", "upgrade")
        for host in HOSTS:
            self.placement.create_provider(host)
            self.steer(host)
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
            [
                *(sys.executable, "-W", "ignore", "-c", MAIN.format(command)),
                *("--config-file", str(self.directory / "tool.conf")),
                *arguments,
            ],
            self.directory,
        )

    def all_up(self) -> None:
        """Start whatever does not run, and let every card behave."""
        for host in HOSTS:
            self.steer(host)
        for peer in (
            self.database.process,
            self.broker.process,
            self.placement.process,
        ):
            if not peer.running:
                peer.start()
        for daemon in (*self.conductors, *self.agents.values(), self.api):
            if not daemon.running:
                daemon.start()

    def steer(self, host: str, **operations: dict[str, Any]) -> None:
        """Tell a host's fake card how its operations go."""
        control = {"handles": HANDLES, "attach_type": HOSTS[host]}
        path = self._state(host) / "fake-driver.json"
        draft = path.with_suffix(".new")
        draft.write_text(json.dumps(control | operations))
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
            "WHERE d.rp_uuid IS NOT NULL"
        )
        return {row.hostname: row.rp_uuid for row in rows}

    def mdevs(self) -> set[str]:
        """Return the uuids of the mediated devices that exist."""
        return {
            path.name
            for host in HOSTS
            for path in self._state(host).glob("fake-driver/mdev/*/*/*")
        }


def new_uuid() -> str:
    return str(uuid.uuid4())
