"""Whether an API process says that it can work."""

import pathlib
import socket

import pytest
import webob

from cyborg.api.middleware import healthcheck
from cyborg.conf import CONF
from cyborg.db import engine
from cyborg.tests.fixtures import api as api_fixture


def ask(path: str = "/healthcheck", **conf: str) -> webob.Response:
    application = webob.Response("behind it")
    factory = healthcheck.HealthcheckMiddleware.factory({}, **conf)
    middleware = factory(application)
    return webob.Request.blank(path).get_response(middleware)


@pytest.fixture
def bus(
    api: api_fixture.Api, monkeypatch: pytest.MonkeyPatch
) -> socket.socket:
    """What listens where the message bus should."""
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"rabbit://u:p@127.0.0.1:{listener.getsockname()[1]}/"
    monkeypatch.setenv("OS_DEFAULT__TRANSPORT_URL", url)
    return listener


def test_healthy(bus: socket.socket) -> None:
    assert ask().status_int == 200
    assert ask("/v2").text == "behind it"


def test_message_bus_is_away(bus: socket.socket) -> None:
    bus.close()
    response = ask()
    assert response.status_int == 503
    assert "message bus" in api_fixture.fault(response)
    CONF.set_override("mode", "local", "conductor")
    assert ask().status_int == 200


def test_database_is_away(bus: socket.socket, tmp_path: pathlib.Path) -> None:
    engine.reset()
    missing = tmp_path / "none" / "cyborg.sqlite"
    engine.configure(connection=f"sqlite:///{missing}", max_retries=0)
    response = ask()
    assert response.status_int == 503
    assert "database" in api_fixture.fault(response)


def test_database_is_read_only(
    bus: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    # SQLite is never asked; this is what another server answers.
    monkeypatch.setitem(healthcheck._IS_READ_ONLY, "sqlite", "SELECT 'on'")
    response = ask()
    assert response.status_int == 503
    assert response.headers["Retry-After"] == "10"
    assert "database" in api_fixture.fault(response)


def test_operator_takes_the_node_out(
    bus: socket.socket, tmp_path: pathlib.Path
) -> None:
    switch = tmp_path / "out"
    conf = {
        "backends": "disable_by_file",
        "disable_by_file_path": str(switch),
    }
    assert ask(**conf).status_int == 200
    switch.touch()
    assert ask(**conf).status_int == 503
