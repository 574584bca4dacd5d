"""cyborg-api as a process: workers, signals, TLS, refusals."""

from collections.abc import Iterator
import json
import pathlib
import signal
import socket
import ssl
import subprocess
import sys
import time
from typing import Any
import urllib.error
import urllib.request

import pytest

from cyborg.db import migration
from cyborg.tests.fixtures import database
from cyborg.tests.fixtures import process

HOST = "127.0.0.1"


class Daemon:
    """A cyborg-api that is started and ended by a test."""

    def __init__(self, directory: pathlib.Path, database_url: str) -> None:
        self.port = process.free_port()
        self.directory = directory
        self._database_url = database_url
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, more: str = "", workers: int = 1) -> None:
        config = self.directory / "cyborg.conf"
        config.write_text(
            "[DEFAULT]\nauth_strategy = noauth2\n"
            f"[api]\nport = {self.port}\napi_workers = {workers}\n"
            "[conductor]\nmode = local\n"
            f"[database]\nconnection = {self._database_url}\n" + more
        )
        self.log = self.directory / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "cyborg.cmd.api"),
                    *("--config-file", str(config)),
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
                env=process.environment(),
            )

    def wait_for(self, text: str, count: int = 1) -> None:
        deadline = time.monotonic() + 60
        while self.log.read_text().count(text) < count:
            assert self.process is not None
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)

    def get(self, path: str, **arguments: Any) -> Any:
        scheme = "https" if arguments else "http"
        url = f"{scheme}://{HOST}:{self.port}{path}"
        with urllib.request.urlopen(url, timeout=30, **arguments) as answer:
            return json.load(answer)

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def ended(self) -> int:
        assert self.process is not None
        return self.process.wait(timeout=60)


@pytest.fixture
def daemon(tmp_path: pathlib.Path) -> Iterator[Daemon]:
    with database.database("sqlite") as url:
        with database.configured(url):
            migration.create_schema()
        made = Daemon(tmp_path, url)
        yield made
        if made.process is not None and made.process.poll() is None:
            made.process.kill()
            made.process.wait()


def children(pid: int) -> list[int]:
    path = pathlib.Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in path.read_text().split()]


def test_workers_share_a_port_and_are_replaced(daemon: Daemon) -> None:
    daemon.start(workers=2)
    daemon.wait_for("Listening", 2)
    assert daemon.get("/v2/devices") == {"devices": []}
    assert daemon.process is not None
    first, second = children(daemon.process.pid)
    subprocess.run(["kill", "-9", str(first)], check=True)
    daemon.wait_for("Listening", 3)
    assert daemon.get("/v2/devices") == {"devices": []}
    now = children(daemon.process.pid)
    assert len(now) == 2
    assert second in now
    daemon.signal(signal.SIGHUP)
    daemon.wait_for("Reloading", 2)
    daemon.signal(signal.SIGTERM)
    assert daemon.ended() == 0


def test_workers_end_with_the_process_that_watches_them(
    daemon: Daemon,
) -> None:
    daemon.start(workers=2)
    daemon.wait_for("Listening", 2)
    daemon.signal(signal.SIGKILL)
    daemon.ended()
    process.wait_until(
        lambda: daemon.log.read_text().count("Stopping") == 2, "the end"
    )
    process.wait_until(
        lambda: not process.answers(f"http://{HOST}:{daemon.port}/"),
        "a free port",
    )


def test_what_has_begun_is_answered_before_the_end(daemon: Daemon) -> None:
    daemon.start()
    daemon.wait_for("Listening")
    body = b'{"device_profile_name": "none"}'
    with socket.create_connection((HOST, daemon.port), 30) as connection:
        connection.sendall(
            b"POST /v2/accelerator_requests HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: application/json\r\nConnection: close\r\n"
            b"Content-Length: %d\r\n\r\n" % len(body)
        )
        time.sleep(1)
        daemon.signal(signal.SIGTERM)
        daemon.wait_for("Stopping")
        connection.sendall(body)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    assert b" 404 Not Found" in answer
    assert daemon.ended() == 0


def test_bodies_that_are_not_what_their_headers_say(daemon: Daemon) -> None:
    """They are the client's mistakes, and leave no traceback in the log."""
    daemon.start()
    daemon.wait_for("Listening")

    def post(headers: bytes, body: bytes) -> bytes:
        with socket.create_connection((HOST, daemon.port), 30) as connection:
            connection.sendall(
                b"POST /v2/accelerator_requests HTTP/1.1\r\n"
                b"Host: localhost\r\n"
                b"Content-Type: application/json\r\nConnection: close\r\n"
                + headers
                + b"\r\n\r\n"
                + body
            )
            connection.shutdown(socket.SHUT_WR)
            return connection.makefile("rb").read()

    body = b'{"device_profile_name": "none"}'
    for headers, content, status in (
        (b"Content-Length: 31", body, b"404"),
        (b"Content-Length: 99", body, b"400"),
        (b"Content-Length: 9", body, b"400"),
        (b"Content-Length: -9", body, b"400"),
        (
            b"Transfer-Encoding: chunked",
            b"1f\r\n%s\r\n0\r\n\r\n" % body,
            b"404",
        ),
        (b"Transfer-Encoding: chunked", b"nine\r\n%s\r\n" % body, b"400"),
        (b"Transfer-Encoding: chunked", b"ff\r\n%s\r\n" % body, b"400"),
        (
            b"Transfer-Encoding: chunked\r\nContent-Length: 9",
            b"0\r\n\r\n",
            b"400",
        ),
    ):
        answer = post(headers, content)
        assert answer.startswith(b"HTTP/1.1 " + status), (headers, answer)
    assert "Traceback" not in daemon.log.read_text()


def test_port_that_is_taken(daemon: Daemon) -> None:
    with socket.create_server((HOST, daemon.port)):
        daemon.start(workers=2)
        assert daemon.ended() == 1
    assert "cannot listen" in daemon.log.read_text()
    assert "Traceback" not in daemon.log.read_text()


def test_noauth2_on_an_address_that_others_reach(daemon: Daemon) -> None:
    daemon.start("[api]\nhost_ip = 0.0.0.0\n")
    assert daemon.ended() == 1
    assert "noauth2" in daemon.log.read_text()


def test_tls(daemon: Daemon) -> None:
    certificate = daemon.directory / "cert.pem"
    key = daemon.directory / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes"),
            *("-keyout", str(key), "-out", str(certificate)),
            *("-subj", f"/CN={HOST}", "-addext", f"subjectAltName=IP:{HOST}"),
        ],
        check=True,
        capture_output=True,
    )
    daemon.start(
        "[api]\nenable_ssl_api = true\n"
        f"[ssl]\ncert_file = {certificate}\nkey_file = {key}\n"
    )
    daemon.wait_for("Listening")
    context = ssl.create_default_context(cafile=str(certificate))
    versions = daemon.get("/", context=context)
    href = versions["versions"][0]["links"][0]["href"]
    assert href == f"https://{HOST}:{daemon.port}/accelerator/v2"
    with pytest.raises((urllib.error.URLError, ConnectionError)):
        daemon.get("/")


def test_tls_without_a_certificate(daemon: Daemon) -> None:
    daemon.start("[api]\nenable_ssl_api = true\n")
    assert daemon.ended() == 1
    assert "cert_file" in daemon.log.read_text()
