"""The services, put together in one process and stopped in order."""

import dataclasses
import pathlib
import socket
from typing import Any

from keystoneauth1 import adapter
from keystoneauth1 import session as ks_session
from keystoneauth1 import token_endpoint
from oslo_config import cfg
from oslo_log import log as logging

from cyborg.agent import manager as agent_manager
from cyborg.api import app as api_app
from cyborg.api.middleware import auth_token
from cyborg.common import constants
from cyborg.common import exception
from cyborg.common import service
from cyborg.conductor import manager as conductor_manager
from cyborg.conductor import rpcapi
from cyborg.db import migration
from cyborg.standalone import http
from cyborg.standalone import nova
from cyborg.standalone import placement

CONF = cfg.CONF
LOG = logging.getLogger(__name__)

# Whose every request is, without other headers.
PROJECT_ID = auth_token.NOAUTH_PROJECT

# What is in the directory.
_FILES = ("cyborg.conf", "cyborg.log", "*.sqlite", "*.sqlite-*")

_CONFIG = """\
# Written at every start of cyborg-standalone; changes here are lost.
[DEFAULT]
host = {host}
auth_strategy = noauth2
state_path = {state}
transport_url = fake://
log_file = {state}/cyborg.log
use_stderr = False

[api]
host_ip = {address}
port = {api_port}

[agent]
enabled_drivers = fake_driver
resource_provider_name = {host}

[conductor]
mode = local

[database]
connection = sqlite:///{state}/cyborg.sqlite

[placement]
auth_type = admin_token
endpoint = {placement_url}
token = {token}
endpoint_override = {placement_url}

[nova]
auth_type = none
endpoint = {nova_url}
endpoint_override = {nova_url}

[oslo_concurrency]
lock_path = {state}/locks
"""


@dataclasses.dataclass
class Cloud:
    """A running cloud of one host.

    :ivar endpoint: of the accelerator API
    :ivar placement: a client of Placement
    :ivar events: what Nova was told
    """

    state: pathlib.Path
    api_port: int
    host: str = dataclasses.field(default_factory=socket.gethostname)
    endpoint: str = ""
    placement_url: str = ""
    placement: Any = None
    events: nova.EventRecorder = dataclasses.field(
        default_factory=lambda: nova.EventRecorder(PROJECT_ID)
    )
    _stoppable: list[Any] = dataclasses.field(default_factory=list)

    def start(self) -> None:
        """Start everything.

        :raises ConfigInvalid: the port is taken, or the directory cannot be
            written
        """
        self._make_directory()
        # Kept from one start to the next: providers are found by it.
        placement_port = self._serve(placement.load(self.state), 0, 1)
        nova_port = self._serve(self.events, 0, 2)
        self.placement_url = f"http://{http.ADDRESS}:{placement_port}"
        self._configure(f"http://{http.ADDRESS}:{nova_port}")
        self.placement = adapter.Adapter(
            ks_session.Session(
                token_endpoint.Token(self.placement_url, placement.TOKEN)
            ),
            service_type="placement",
            default_microversion="1.36",
        )
        self._add_root_provider()
        migration.upgrade()
        conductor = conductor_manager.ConductorManager()
        client = rpcapi.local(conductor)
        conductor.init_host()
        self._stoppable.append(conductor)
        agent = self._start_agent(client)
        self._stoppable.append(agent)
        self._serve(
            api_app.make_application(conductor=client), self.api_port, 4
        )
        self.endpoint = f"http://{http.ADDRESS}:{self.api_port}/accelerator"
        LOG.info("Serving %s", self.endpoint)

    def stop(self) -> None:
        """Stop what runs, last started first."""
        while self._stoppable:
            self._stoppable.pop().stop()

    def _make_directory(self) -> None:
        try:
            self.state.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Made by releases that left them to all to read.
            for pattern in _FILES:
                for path in self.state.glob(pattern):
                    path.chmod(0o600)
        except OSError as error:
            raise exception.ConfigInvalid(
                option="--state-dir", reason=str(error)
            ) from error

    def _serve(self, application: Any, port: int, threads: int) -> int:
        server = http.make(application, port, threads)
        try:
            taken = server.start()
        except OSError as error:
            raise exception.ConfigInvalid(
                option=f"--port {port}", reason=str(error)
            ) from error
        self._stoppable.append(server)
        return taken

    def _configure(self, nova_url: str) -> None:
        path = self.state / "cyborg.conf"
        path.write_text(
            _CONFIG.format(
                host=self.host,
                state=self.state,
                address=http.ADDRESS,
                api_port=self.api_port,
                placement_url=self.placement_url,
                nova_url=nova_url,
                token=placement.TOKEN,
            )
        )
        service.prepare([], [str(path)])

    def _add_root_provider(self) -> None:
        """Do what nova-compute would: tell Placement of the host."""
        answer = self.placement.get(
            "/resource_providers", params={"name": self.host}
        )
        if not answer.json()["resource_providers"]:
            self.placement.post(
                "/resource_providers", json={"name": self.host}
            )

    def _start_agent(self, client: rpcapi.ConductorAPI) -> Any:
        agent = agent_manager.AgentManager(client, CONF.host)
        daemon = service.Service(
            agent,
            constants.AGENT_TOPIC,
            [CONF.host],
            agent_manager.rpcapi.VERSION,
        )
        daemon.start()
        return daemon
