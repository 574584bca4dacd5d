"""The HTTP server, against clients that mean ill and networks that are ill.

A request is asked for on a socket, byte by byte.
"""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import http.client
import json
import pathlib
import socket
import ssl
import subprocess
import threading
import time
from typing import Any

import pytest

from cyborg.api import server as http_server

HOST = "127.0.0.1"
MOST_BODY = 1000
# More than the kernel keeps for a client.
LARGE = b"x" * 20_000_000
GET = b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST /x HTTP/1.1\r\nHost: h\r\n"


class Application:
    """Says what it was asked, as JSON, unless it is told otherwise."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.hold: threading.Event | None = None
        self.has_begun = threading.Event()

    def __call__(
        self, environ: dict[str, Any], start_response: Any
    ) -> list[bytes]:
        self.has_begun.set()
        if self.hold is not None:
            self.hold.wait(10)
        size = int(environ.get("CONTENT_LENGTH") or 0)
        # To the end, as an application that trusts its server may.
        body = environ["wsgi.input"].read()
        seen = {
            key: value
            for key, value in environ.items()
            if isinstance(value, str)
        }
        self.asked.append(seen)
        status = "413 Too large" if max(size, len(body)) > MOST_BODY else "200"
        start_response(status, [("Content-Type", "application/json")])
        if environ["PATH_INFO"] == "/large":
            return [LARGE]
        return [json.dumps(seen | {"body": body.decode()}).encode()]


@pytest.fixture
def application() -> Application:
    return Application()


Serve = Callable[..., int]


@pytest.fixture
def serve(application: Application) -> Iterator[Serve]:
    """Starts a server; returns its port."""
    with contextlib.ExitStack() as stack:

        def start(**options: Any) -> int:
            server = http_server.Server(
                application,
                (HOST, 0),
                threads=2,
                most_body=lambda: MOST_BODY,
                **options,
            )
            port = server.start()
            stack.callback(server.stop)
            return port

        yield start


def connect(port: int) -> socket.socket:
    return socket.create_connection((HOST, port), 10)


def read(client: socket.socket) -> bytes:
    """Return what comes until the server closes."""
    return client.makefile("rb").read()


def ask(port: int, *parts: bytes) -> bytes:
    """Send all of it, and return all that is answered."""
    with connect(port) as client:
        for part in parts:
            client.sendall(part)
        client.shutdown(socket.SHUT_WR)
        return read(client)


def statuses(answer: bytes) -> list[int]:
    """Return the status of each answer."""
    return [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]]


def test_request(serve: Serve, application: Application) -> None:
    port = serve()
    body = b'{"a": 1}'
    connection = http.client.HTTPConnection(HOST, port, timeout=10)
    for _turn in range(2):
        connection.request(
            "PUT",
            "/v2/a%20b?c=%20d",
            body,
            {"X-Twice": "1", "X_Roles": "admin", "Content-Type": "text/x"},
        )
        answer = connection.getresponse()
        assert answer.getheader("Date")
        seen = json.load(answer)
        assert seen["body"] == body.decode()
        assert seen["REQUEST_METHOD"] == "PUT"
        assert (seen["PATH_INFO"], seen["QUERY_STRING"]) == (
            "/v2/a b",
            "c=%20d",
        )
        assert seen["CONTENT_LENGTH"] == str(len(body))
        assert seen["CONTENT_TYPE"] == "text/x"
        assert seen["HTTP_X_TWICE"] == "1"
        assert "HTTP_X_ROLES" not in seen
        assert seen["REMOTE_ADDR"] == HOST
        assert seen["SERVER_PORT"] == str(port)
        assert seen["wsgi.url_scheme"] == "http"
    connection.close()


def test_requests_in_one_piece(serve: Serve) -> None:
    chunked = POST + b"Transfer-Encoding: chunked\r\n\r\n1;x\r\na\r\n0\r\n\r\n"
    head = b"HEAD /x HTTP/1.1\r\nHost: h\r\n\r\n"
    answer = ask(serve(), GET + head + chunked + GET)
    assert statuses(answer) == [200] * 4
    assert answer.count(b'"body": "a"') == 1


@pytest.mark.parametrize(
    "lines",
    [
        b"Content-Length: +5",
        b"Content-Length: -5",
        b"Content-Length: 5_0",
        b"Content-Length: 0x5",
        b"Content-Length: 5, 6",
        b"Content-Length: 5\r\nContent-Length: 6",
        b"Content-Length: \xb2",
        b"Content-Length: " + b"5" * 30,
        b"Content-Length : 5",
        b"Content-Length: 5\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked\r\nContent-Length: 5",
        b"Transfer-Encoding:\r\n chunked\r\nContent-Length: 5",
        b"Transfer-Encoding: chunked, chunked",
        b"Transfer-Encoding: gzip, chunked",
        b"Transfer-Encoding: xchunked",
        b"Transfer-Encoding: \x0bchunked",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        b"Transfer-Encoding : chunked",
        b"Host: other",
        b"X: a\0b",
        b"X\rY: a",
    ],
)
def test_lengths_that_can_be_read_in_two_ways(
    serve: Serve, application: Application, lines: bytes
) -> None:
    """They are refused, and what comes behind is not looked at."""
    answer = ask(serve(), POST + lines + b"\r\n\r\n0\r\n\r\n" + GET)
    assert len(statuses(answer)) == 1
    assert statuses(answer)[0] in (400, 501)
    assert b"connection: close" in answer.lower()
    assert application.asked == []


@pytest.mark.parametrize(
    "chunks",
    [
        b"5\r\nhello0\r\n\r\n",
        b"5\r\nhelloXX0\r\n\r\n",
        b"5\nhello\r\n0\r\n\r\n",
        b"-5\r\nhello\r\n0\r\n\r\n",
        b"0x5\r\nhello\r\n0\r\n\r\n",
        b"+5\r\nhello\r\n0\r\n\r\n",
        b"\r\n0\r\n\r\n",
    ],
)
def test_chunks_that_can_be_read_in_two_ways(
    serve: Serve, application: Application, chunks: bytes
) -> None:
    head = POST + b"Transfer-Encoding: chunked\r\n\r\n"
    answer = ask(serve(), head + chunks + GET)
    assert statuses(answer) == [400]
    assert application.asked == []


def test_header_that_goes_on_in_the_next_line(
    serve: Serve, application: Application
) -> None:
    """It is one header, as RFC 9112 5.2 has it."""
    folded = POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n"
    answer = ask(serve(), folded + b"2\r\nab\r\n0\r\n\r\n" + GET)
    assert statuses(answer) == [200, 200]
    assert b'"body": "ab"' in answer


@pytest.mark.parametrize(
    "line",
    [
        b"GET x HTTP/1.1",
        b"GET /x#y HTTP/1.1",
        b"CONNECT h:80 HTTP/1.1",
        b"OPTIONS * HTTP/1.1",
        b"GET /x",
        b"GET  /x HTTP/1.1",
        b"GET /x HTTP/11",
        b"PRI * HTTP/2.0",
    ],
)
def test_first_lines(
    serve: Serve, application: Application, line: bytes
) -> None:
    answer = ask(serve(), line + b"\r\nHost: h\r\n\r\n")
    assert len(statuses(answer)) == 1
    assert statuses(answer)[0] in (400, 505)
    assert application.asked == []


def test_body_that_nobody_reads_is_no_request(
    serve: Serve, application: Application
) -> None:
    smuggled = b"DELETE /y HTTP/1.1\r\nHost: h\r\n\r\n"
    size = b"%x" % len(smuggled)
    head = POST + b"Transfer-Encoding: chunked\r\n\r\n"
    answer = ask(serve(), head + size + b"\r\n" + smuggled + b"\r\n0\r\n\r\n")
    assert statuses(answer) == [200]
    head = POST + b"Content-Length: %d\r\n\r\n" % (MOST_BODY + 1)
    answer = ask(serve(), head + smuggled * 40)
    assert statuses(answer) == [413]
    assert [asked["REQUEST_METHOD"] for asked in application.asked] == [
        "POST",
        "POST",
    ]


@pytest.mark.parametrize("is_chunked", [False, True])
def test_too_large_body_is_answered_to_who_sends_on(
    serve: Serve, is_chunked: bool
) -> None:
    """Most clients read no answer before they have sent it all."""
    port, size = serve(), 10_000_000
    connection = http.client.HTTPConnection(HOST, port, timeout=10)
    if is_chunked:
        body: Any = iter([b"x" * 10_000] * (size // 10_000))
        connection.request("POST", "/x", body, encode_chunked=True)
    else:
        connection.request("POST", "/x", b"x" * size)
    assert connection.getresponse().status == 413
    connection.close()


def test_who_asks_before_sending_a_body(serve: Serve) -> None:
    expect = b"Expect: 100-continue\r\n"
    with connect(serve()) as client:
        client.sendall(POST + expect + b"Content-Length: 2\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 100 ")
        client.sendall(b"ab")
        assert statuses(client.recv(10000)) == [200]
        client.sendall(POST + expect + b"Content-Length: 2000\r\n\r\n")
        assert statuses(client.recv(10000)) == [413]


@pytest.mark.parametrize(
    "start",
    [
        b"GET /",
        b"GET / HTTP/1.1\r\nX: ",
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 30,
    ],
)
def test_head_is_limited(
    serve: Serve, application: Application, start: bytes
) -> None:
    port = serve()
    with connect(port) as client:
        client.sendall(start)
        with contextlib.suppress(OSError):
            for _turn in range(1000):
                client.sendall(
                    b"x: " + b"x" * 10000 + b"\r\n" * (b"H" in start)
                )
        with contextlib.suppress(OSError):
            assert b" 431 " in client.recv(100)
    big = b"X: %s\r\n" % (b"x" * http_server.MOST_HEAD)
    assert statuses(ask(port, GET[:-2] + big + b"\r\n")) == [431]
    assert application.asked == []


def test_slow_clients_keep_nobody_waiting(serve: Serve) -> None:
    """There are two workers, and many who say little."""
    port = serve()
    with contextlib.ExitStack() as stack:
        for start in (
            b"",
            b"G",
            GET[:20],
            POST + b"Content-Length: 9\r\n\r\nx",
        ):
            for _turn in range(5):
                client = stack.enter_context(connect(port))
                client.sendall(start)
        assert statuses(ask(port, GET)) == [200]


def test_slow_takers_keep_nobody_waiting(serve: Serve) -> None:
    port = serve(patience=http_server.Patience(taking=0.1))
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connect(port)) for _turn in range(5)]
        large = b"GET /large HTTP/1.1\r\nHost: h\r\n"
        for client in clients:
            client.sendall(large + b"\r\n")
        assert statuses(ask(port, GET)) == [200]
        # Who takes it gets it, and who does not is given up.
        with connect(port) as taking:
            taking.sendall(large + b"Connection: close\r\n\r\n")
            assert len(read(taking)) > len(LARGE)
        time.sleep(0.5)
        for client in clients:
            with contextlib.suppress(ConnectionError):
                assert len(read(client)) < len(LARGE)


def test_request_has_to_come_in_time(serve: Serve) -> None:
    port = serve(patience=http_server.Patience(request=0.3, idle=0.3))
    with connect(port) as client, contextlib.suppress(OSError):
        for byte in GET * 100:
            client.sendall(bytes([byte]))
            client.settimeout(0.02)
            with contextlib.suppress(TimeoutError):
                assert b" 408 " in client.recv(1000)
                break
        else:
            pytest.fail("It was waited for.")
    for start in (b"", GET):
        with connect(port) as client:
            client.sendall(start)
            assert statuses(read(client)) == [200] * bool(start)


def test_who_waited_longest_makes_room(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "MOST_CONNECTIONS", 5)
    port = serve()
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connect(port)) for _turn in range(5)]
        for client in clients:
            client.sendall(GET)
            assert statuses(client.recv(10000)) == [200]
        # Now the first is not who has waited longest.
        clients[0].sendall(GET)
        assert statuses(clients[0].recv(10000)) == [200]
        assert statuses(ask(port, GET)) == [200]
        with contextlib.suppress(ConnectionError):
            assert clients[1].recv(1) == b""
        for client in (clients[0], *clients[2:]):
            client.sendall(GET)
            assert statuses(client.recv(10000)) == [200]


def test_stop_answers_what_has_begun(application: Application) -> None:
    server = http_server.Server(
        application, (HOST, 0), threads=1, most_body=lambda: MOST_BODY
    )
    port = server.start()
    application.hold = threading.Event()
    with connect(port) as idle, connect(port) as asking, connect(port) as late:
        late.sendall(GET[:20])
        asking.sendall(GET)
        assert application.has_begun.wait(10)
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        assert idle.recv(1) == b""
        late.sendall(GET[20:])
        application.hold.set()
        for client in (asking, late):
            answer = read(client)
            assert statuses(answer) == [200]
            assert b"connection: close" in answer
        stopping.join(10)
        assert not stopping.is_alive()
    with pytest.raises(OSError, match="refused"):
        connect(port)


def test_application_that_fails(
    serve: Serve, application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Any, environ: Any, start_response: Any) -> list[bytes]:
        raise ValueError("secret")

    monkeypatch.setattr(Application, "__call__", fail)
    answer = ask(serve(), GET)
    assert statuses(answer) == [500]
    assert b"secret" not in answer


def test_port_that_is_taken(serve: Serve, application: Application) -> None:
    port = serve()
    second = http_server.Server(
        application, (HOST, port), threads=1, most_body=lambda: MOST_BODY
    )
    with pytest.raises(OSError, match="in use"):
        second.start()
    second.stop()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """One file with a certificate and its key."""
    directory = tmp_path_factory.mktemp("tls")
    path, key = directory / "cert.pem", directory / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-nodes"),
            *("-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-keyout", str(key), "-out", str(path)),
            *("-subj", f"/CN={HOST}", "-addext", f"subjectAltName=IP:{HOST}"),
        ],
        check=True,
        capture_output=True,
    )
    path.write_text(path.read_text() + key.read_text())
    return path


def test_tls(serve: Serve, certificate: pathlib.Path) -> None:
    """Who connects and says nothing is in nobody's way, and not for long."""
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate)
    port = serve(
        tls=tls, patience=http_server.Patience(handshake=2, leaving=1)
    )
    trusting = ssl.create_default_context(cafile=str(certificate))
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(connect(port)) for _turn in range(20)]
        plain = stack.enter_context(connect(port))
        plain.sendall(GET)
        connection = http.client.HTTPSConnection(
            HOST, port, timeout=10, context=trusting
        )
        for body in (None, b"ab"):
            connection.request("POST", "/x", body)
            answer = connection.getresponse()
            assert json.load(answer)["wsgi.url_scheme"] == "https"
        connection.request("POST", "/x", b"x" * 2_000_000)
        assert connection.getresponse().status == 413
        connection.close()
        for client in (plain, silent[0]):
            with contextlib.suppress(ConnectionError):
                assert b"200" not in client.recv(1000)
