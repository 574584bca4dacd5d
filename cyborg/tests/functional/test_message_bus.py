"""A message bus that is away keeps nobody waiting, and may come back."""

from collections.abc import Callable
from collections.abc import Iterator
from concurrent import futures
import socket
import threading
import urllib.parse

import oslo_messaging as messaging
import pytest

from cyborg.common import constants
from cyborg.common import exception
from cyborg.common import rpc
from cyborg.conductor import rpcapi
from cyborg.conf import CONF
from cyborg.context import get_admin_context
from cyborg.objects import base
from cyborg.tests.fixtures import process
from cyborg.tests.fixtures import rabbit

# Far more than it takes; without an end it would be for ever.
PATIENCE = 60


class Road:
    """The way to the broker, which can be closed."""

    def __init__(self, broker: tuple[str, int], port: int) -> None:
        self._broker = broker
        self._listener = socket.create_server(("127.0.0.1", port))
        self._ends: list[socket.socket] = []
        self._start(self._accept)

    def _start(
        self, target: Callable[..., None], *ends: socket.socket
    ) -> None:
        threading.Thread(target=target, args=ends, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _address = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(self._broker)
            self._ends += [near, far]
            self._start(self._carry, near, far)
            self._start(self._carry, far, near)

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                target.sendall(data)
        except OSError:
            pass
        self._end([source, target])

    def _end(self, ends: list[socket.socket]) -> None:
        for end in ends:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                # The other end was first.
                continue

    def close(self) -> None:
        self._end([self._listener, *self._ends])
        self._listener.close()


class Conductor:
    """What answers at the other end."""

    target = messaging.Target(version=rpcapi.VERSION)

    def __init__(self) -> None:
        self.woken = threading.Event()

    def placement_sync(self, context: object, hostname: str) -> str:
        return f"{hostname} is in step"

    def wake(self, context: object, works: list[str]) -> None:
        self.woken.set()


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    port = process.free_port()
    monkeypatch.setenv("OS_DEFAULT__RPC_RESPONSE_TIMEOUT", "20")
    CONF([], project="cyborg", default_config_files=[])
    yield port
    rpc.cleanup()
    CONF.reset()


@pytest.fixture
def broker(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[str, int]]:
    """A virtual host, which is reached at ``port``; returns its address."""
    with rabbit.virtual_host() as url:
        parts = urllib.parse.urlsplit(url)
        user = f"{parts.username}:{parts.password}"
        monkeypatch.setenv(
            "OS_DEFAULT__TRANSPORT_URL",
            f"rabbit://{user}@127.0.0.1:{port}{parts.path}",
        )
        yield str(parts.hostname), parts.port or 5672


def ask() -> str:
    """Call the conductor, as the API does."""
    with futures.ThreadPoolExecutor(1) as executor:
        called = executor.submit(
            rpcapi.remote().placement_sync, get_admin_context(), "cn1"
        )
        return str(called.result(PATIENCE))


def test_nothing_waits_for_a_bus_that_was_never_there(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        "OS_DEFAULT__TRANSPORT_URL", f"rabbit://u:p@127.0.0.1:{port}/"
    )
    with pytest.raises(exception.ConductorUnavailable):
        ask()
    # A courtesy: what there is to do is in the database.
    rpcapi.notifier()(["jobs"])


def test_a_bus_goes_and_comes_back(broker: tuple[str, int], port: int) -> None:
    conductor = Conductor()
    road = Road(broker, port)
    server = rpc.get_server(
        messaging.Target(topic=constants.CONDUCTOR_TOPIC, server="c1"),
        [conductor],
        base.CyborgObjectSerializer(),
    )
    server.start()
    try:
        assert ask() == "cn1 is in step"
        road.close()
        for _ in range(2):
            with pytest.raises(exception.ConductorUnavailable):
                ask()
            rpcapi.notifier()(["jobs"])
        road = Road(broker, port)
        assert ask() == "cn1 is in step"
        rpcapi.notifier()(["jobs"])
        assert conductor.woken.wait(PATIENCE)
    finally:
        server.stop()
        server.wait()
        road.close()
