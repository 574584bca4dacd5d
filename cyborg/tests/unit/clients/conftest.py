"""A peer that answers what a test wants, and remembers what it was asked."""

from collections.abc import Iterator
import dataclasses
from email import message
from http import server
import json
import pathlib
import threading
from typing import Any

import pytest

from cyborg.clients import auth
from cyborg.clients import placement
from cyborg.conf import CONF


@dataclasses.dataclass
class Request:
    method: str
    path: str
    headers: message.Message
    body: Any


class Peer:
    """An HTTP server.

    :ivar answers: status and body of each answer to come; a body is JSON, or
        bytes as they are; a status of 0 closes the connection instead
    :ivar content_type: what answers are said to be
    :ivar location: where an answer says that its asker has to go
    :ivar token: the token that an answer gives its asker
    :ivar requests: what came
    """

    def __init__(self) -> None:
        self.answers: list[tuple[int, Any]] = []
        self.content_type = "application/json"
        self.location: str | None = None
        self.token: str | None = None
        self.requests: list[Request] = []
        self._server = server.ThreadingHTTPServer(
            ("127.0.0.1", 0), _handler(self)
        )
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(
            target=self._server.serve_forever,
            kwargs={"poll_interval": 0.02},
            daemon=True,
        ).start()

    def answer(self, status: int, body: Any = None) -> None:
        self.answers.append((status, body))

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler(peer: Peer) -> type[server.BaseHTTPRequestHandler]:
    class Handler(server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _handle(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length) or b"null")
            peer.requests.append(
                Request(self.command, self.path, self.headers, body)
            )
            status, answer = peer.answers.pop(0)
            if status == 0:
                self.close_connection = True
                return
            declared = None
            if isinstance(answer, tuple):
                # Fewer bytes than were announced.
                answer, declared = answer
                self.close_connection = True
            data = (
                answer
                if isinstance(answer, bytes)
                else json.dumps(answer).encode()
            )
            self.send_response(status)
            for name, value in (
                ("Location", peer.location),
                ("X-Subject-Token", peer.token),
            ):
                if value is not None:
                    self.send_header(name, value)
            if status != 204:
                self.send_header("Content-Type", peer.content_type)
                self.send_header("Content-Length", str(declared or len(data)))
            self.end_headers()
            if status != 204:
                self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_DELETE = _handle

        def log_message(self, format: str, *args: Any) -> None:
            """Stay silent; tests look at what was recorded."""

    return Handler


@pytest.fixture
def peer(tmp_path: pathlib.Path) -> Iterator[Peer]:
    """The server that all three services are configured to be."""
    peer = Peer()
    lines = []
    for group in ("placement", "nova", "glance"):
        lines += [
            f"[{group}]",
            "auth_type = admin_token",
            f"endpoint = {peer.url}",
            "token = secret",
            "connect_retries = 0",
        ]
    path = tmp_path / "cyborg.conf"
    path.write_text("\n".join(lines))
    CONF([], default_config_files=[str(path)])
    auth.reset()
    placement.forget()
    yield peer
    CONF.clear_override("num_retries", group="glance")
    for group in ("placement", "nova", "glance"):
        CONF.clear_override("endpoint_override", group=group)
    auth.reset()
    placement.forget()
    peer.stop()
