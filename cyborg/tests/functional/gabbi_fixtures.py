"""Fixtures that the gabbi files name."""

from collections.abc import Iterator
import contextlib
import json
import pathlib
import tempfile
import threading
from typing import Any
from wsgiref import simple_server

from gabbi import fixture

from cyborg.clients import auth
from cyborg.clients import placement as placement_client
from cyborg.tests.fixtures import api
from cyborg.tests.fixtures import placement

_running: api.Api | None = None


def application() -> Any:
    """Return the application that the tests of a file speak to."""

    def call(environ: Any, start_response: Any) -> Any:
        assert _running is not None
        return _running.application(environ, start_response)

    return call


class _Quiet(simple_server.WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextlib.contextmanager
def glance() -> Iterator[str]:
    """Serve an image service with one image; provides its URL."""

    def call(environ: Any, start_response: Any) -> list[bytes]:
        path = environ["PATH_INFO"]
        found = path == f"/v2/images/{api.IMAGE}"
        start_response(
            "200 OK" if found else "404 Not Found",
            [("Content-Type", "application/json")],
        )
        image = {
            "id": api.IMAGE,
            "status": "active",
            "visibility": "public",
            "tags": [],
        }
        return [json.dumps(image if found else {}).encode()]

    server = simple_server.make_server(
        "127.0.0.1", 0, call, handler_class=_Quiet
    )
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class API(fixture.GabbiFixture):
    """The API over the records of :func:`cyborg.tests.fixtures.api.fill`.

    With an image service, but no Placement.
    """

    def start_fixture(self) -> None:
        global _running
        self._stack = contextlib.ExitStack()
        directory = pathlib.Path(
            self._stack.enter_context(tempfile.TemporaryDirectory())
        )
        config = directory / "cyborg.conf"
        url = self._stack.enter_context(glance())
        config.write_text(
            f"[glance]\nauth_type = none\nendpoint_override = {url}\n"
            + self._configure(directory)
        )
        for forget in (auth.reset, placement_client.forget):
            forget()
            self._stack.callback(forget)
        self.running = self._stack.enter_context(api.running([str(config)]))
        _running = self.running

    def stop_fixture(self) -> None:
        global _running
        _running = None
        self._stack.close()

    def _configure(self, directory: pathlib.Path) -> str:
        """Start other peers and return the options that name them."""
        return ""


class APIWithPlacement(API):
    """The same with a real Placement, which has the hosts of the records."""

    def _configure(self, directory: pathlib.Path) -> str:
        peer = placement.Placement(directory)
        peer.start()
        self._stack.callback(peer.stop)
        for number in range(1, 6):
            peer.create_provider(f"cn{number}")
        return (
            "[placement]\nauth_type = admin_token\ntoken = admin\n"
            f"endpoint = {peer.url}\n"
        )
