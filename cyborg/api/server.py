"""Serves a WSGI application over HTTP/1.1, also to hostile networks.

One thread reads and writes for all clients, and a worker gets a request only
when all of it is here. So a client that is slow, or silent, costs a
connection and no worker: in its TLS handshake, its headers, its body, or in
taking the answer. h11 says what the bytes mean.
"""

import asyncio
from collections.abc import Callable
from collections.abc import Iterable
from concurrent import futures
import contextlib
import dataclasses
import email.utils
import enum
from http import HTTPStatus
import io
import socket
import ssl
import sys
import threading
from typing import Any
import urllib.parse

import h11
from oslo_log import log as logging

from cyborg.api import errors
from cyborg.common.i18n import _

LOG = logging.getLogger(__name__)

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]

# Bytes of a request's first line and headers. A list of 1000 uuids is 37,000.
MOST_HEAD = 65536
# Connections of one process. A new one beyond takes the place of the one that
# has kept us waiting longest.
MOST_CONNECTIONS = 500
_BACKLOG = 128


@dataclasses.dataclass(frozen=True)
class Patience:
    """How long clients are waited for, in seconds.

    :ivar handshake: for TLS to be agreed upon
    :ivar request: from the first byte of a request to the last
    :ivar idle: between two requests
    :ivar taking: between two looks whether an answer is being taken
    :ivar leaving: for a client that is still sending to see that it was
        refused
    """

    handshake: float = 10
    request: float = 30
    idle: float = 60
    taking: float = 30
    leaving: float = 5


class _Phase(enum.Enum):
    IDLE = enum.auto()
    READING = enum.auto()
    ANSWERING = enum.auto()
    SENDING = enum.auto()
    LEAVING = enum.auto()


class _Refused(Exception):
    """What was sent is no request.

    :ivar status: the answer's
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclasses.dataclass(frozen=True)
class _Answer:
    """What the application said.

    :ivar headers: names and values
    """

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


def _refusal(status: int, text: str) -> _Answer:
    content = errors.body(status, text, {})
    return _Answer(
        status,
        [
            (name.encode(), value.encode())
            for name, value in errors.response_headers(len(content))
        ],
        content,
    )


class _Connection(asyncio.Protocol):
    """One client. All of it runs in the thread of the event loop."""

    def __init__(self, server: "Server") -> None:
        self._server = server
        self._phase = _Phase.IDLE
        self._timer: asyncio.TimerHandle | None = None
        self._request: h11.Request | None = None
        self._body = bytearray()
        self._unsent = 0
        self.transport: Any = None
        self.opening: asyncio.Task[None] | None = None
        self.is_lost = False

    # -- what asyncio says

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        # pause_writing() is called while anything is left to send.
        transport.set_write_buffer_limits(high=0)
        self._http = h11.Connection(h11.SERVER, MOST_HEAD)
        self._wait(_Phase.IDLE, self._server.patience.request)

    def connection_lost(self, error: Exception | None) -> None:
        self.is_lost = True
        self._stop_timer()
        self._server.forget(self)

    def data_received(self, data: bytes) -> None:
        if self._phase is _Phase.LEAVING:
            return
        self._receive(data)

    def eof_received(self) -> bool:
        if self._phase is _Phase.LEAVING:
            self.transport.close()
        else:
            self._receive(b"")
        # A client may say that this was its last request. TLS cannot.
        return not self._server.is_encrypted and not self.is_lost

    def pause_writing(self) -> None:
        pass

    def resume_writing(self) -> None:
        if self._phase is _Phase.SENDING:
            self._go_on()

    # -- requests

    def _receive(self, data: bytes) -> None:
        if data and self._phase is _Phase.IDLE:
            self._wait(_Phase.READING, self._server.patience.request)
        self._http.receive_data(data)
        self._read()

    def _read(self) -> None:
        try:
            while self._phase in (_Phase.IDLE, _Phase.READING):
                event = self._http.next_event()
                if isinstance(event, h11.Request):
                    self._begin(event)
                elif isinstance(event, h11.Data):
                    self._body += event.data
                    if len(self._body) > self._server.most_body():
                        # The application says so, as the client wants it.
                        self._answer()
                elif isinstance(event, h11.EndOfMessage):
                    self._answer()
                elif isinstance(event, h11.ConnectionClosed):
                    self.transport.close()
                    return
                else:
                    return
        except h11.RemoteProtocolError as error:
            self._refuse(error.error_status_hint, f"{error}.")
        except _Refused as error:
            self._refuse(error.status, str(error))

    def _begin(self, request: h11.Request) -> None:
        _check(request)
        self._request, self._body = request, bytearray()
        length = dict(request.headers).get(b"content-length", b"0")
        if int(length) > self._server.most_body():
            self._answer()
        elif self._http.they_are_waiting_for_100_continue:
            go_on = h11.InformationalResponse(status_code=100, headers=[])
            self.transport.write(self._http.send(go_on))

    def _answer(self) -> None:
        """Let a worker answer what is here."""
        self._phase = _Phase.ANSWERING
        self._stop_timer()
        self._server.serve_later(self, self._request, self._body)
        # What else comes has to wait outside.
        self.transport.pause_reading()

    def _refuse(self, status: int, text: str) -> None:
        self._phase = _Phase.ANSWERING
        self.send(_refusal(status, text))

    # -- answers

    def send(self, answer: _Answer) -> None:
        """Send an answer; once for each that a worker was asked for."""
        if self.is_lost or self.transport.is_closing():
            return
        try:
            self.transport.write(self._encode(answer))
        except h11.LocalProtocolError as error:
            LOG.error("The answer is no HTTP: %s", error)
            self.transport.abort()
            return
        if self.transport.get_write_buffer_size():
            self._unsent = sys.maxsize
            self._check_sent()
        else:
            self._go_on()

    def _encode(self, answer: _Answer) -> bytes:
        headers, names = list(answer.headers), dict(answer.headers)
        has_body = answer.status not in (204, 304)
        if has_body and b"content-length" not in names:
            headers.append((b"content-length", b"%d" % len(answer.body)))
        if b"date" not in names:
            date = email.utils.formatdate(usegmt=True)
            headers.append((b"date", date.encode()))
        if self._server.is_stopping or not self._is_read():
            headers.append((b"connection", b"close"))
        reason = HTTPStatus(answer.status).phrase.encode()
        # Typed by h11 as None only for what ends a connection.
        parts = [
            self._http.send(
                h11.Response(
                    status_code=answer.status, headers=headers, reason=reason
                )
            )
        ]
        is_head = self._request is not None and self._request.method == b"HEAD"
        if has_body and not is_head and answer.body:
            parts.append(self._http.send(h11.Data(data=answer.body)))
        parts.append(self._http.send(h11.EndOfMessage()))
        return b"".join(part for part in parts if part)

    def _is_read(self) -> bool:
        """Tell whether the request was read to its end."""
        return self._http.their_state in (h11.DONE, h11.MUST_CLOSE, h11.CLOSED)

    def _check_sent(self) -> None:
        """Give up on a client that takes less than a KiB a second."""
        patience = self._server.patience.taking
        left = self.transport.get_write_buffer_size()
        if left > self._unsent - patience * 1024:
            self.transport.abort()
            return
        self._unsent = left
        self._wait(_Phase.SENDING, patience)

    def _go_on(self) -> None:
        """Take the next request, or let the client go."""
        self._request, self._body = None, bytearray()
        states = (self._http.our_state, self._http.their_state)
        if states != (h11.DONE, h11.DONE) or self._server.is_stopping:
            self._leave()
            return
        self._http.start_next_cycle()
        self.transport.resume_reading()
        if self._http.trailing_data[0]:
            self._wait(_Phase.READING, self._server.patience.request)
            self._read()
        else:
            self._wait(_Phase.IDLE, self._server.patience.idle)

    def _leave(self) -> None:
        """Close, once the client has had the chance to read why.

        To close while something is unread makes TCP throw away what the
        client has not read yet.
        """
        if self._is_read() and (
            self._server.is_encrypted or self._server.is_stopping
        ):
            self.transport.close()
            return
        if self.transport.can_write_eof():
            self.transport.write_eof()
        if self._http.their_state is h11.CLOSED:
            self.transport.close()
            return
        self._wait(_Phase.LEAVING, self._server.patience.leaving)
        self.transport.resume_reading()

    # -- time

    def _wait(self, phase: _Phase, seconds: float) -> None:
        """Wait for the client, who may be turned out for somebody else."""
        self._phase = phase
        self._stop_timer()
        self._server.waits(self)
        self._timer = self._server.later(seconds, self._late)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self) -> None:
        if self._phase is _Phase.READING:
            self._refuse(408, _("The request did not come in time."))
        elif self._phase is _Phase.SENDING:
            self._check_sent()
        else:
            self.transport.close()

    def turn_out(self) -> None:
        """End it at once."""
        if self.transport is not None:
            self.transport.abort()
        elif self.opening is not None:
            self.opening.cancel()

    def stop(self) -> None:
        """End it unless there is something to be answered."""
        if self._phase in (_Phase.IDLE, _Phase.LEAVING):
            self.turn_out()


def _check(request: h11.Request) -> None:
    """Pass if everybody must read the request as we do.

    :raises _Refused: otherwise; RFC 9112 6.1 and 6.3 ask for it
    """
    head = len(request.target)
    head += sum(len(name) + len(value) + 4 for name, value in request.headers)
    if head > MOST_HEAD:
        raise _Refused(
            431, _("The headers are larger than %d bytes.") % MOST_HEAD
        )
    names = {name for name, _value in request.headers}
    if b"transfer-encoding" in names and (
        b"content-length" in names or request.http_version < b"1.1"
    ):
        raise _Refused(
            400, _("Content-Length and Transfer-Encoding contradict.")
        )
    if not request.target.startswith((b"/", b"http://", b"https://")) or (
        b"#" in request.target
    ):
        raise _Refused(400, _("The request names no path."))


class Server:
    """Serves an application on one port, with a pool of threads.

    :param threads: that answer; 1 means one request after the other
    :param most_body: returns the bytes of a body beyond which the application
        is asked without the rest of it
    :param tls: what makes connections encrypted
    :param shared: others may listen on the same port
    :param drain: seconds that :meth:`stop` waits for answers
    """

    def __init__(
        self,
        application: Application,
        address: tuple[str, int],
        *,
        threads: int,
        most_body: Callable[[], int],
        tls: ssl.SSLContext | None = None,
        shared: bool = False,
        drain: float = 5,
        patience: Patience | None = None,
    ) -> None:
        self._application = application
        self._host, self._port = address
        self._tls = tls
        self._shared = shared
        self._drain = drain
        self._loop = asyncio.new_event_loop()
        self._threads = futures.ThreadPoolExecutor(threads, "answer")
        self._thread = threading.Thread(
            target=self._run, name="http", daemon=True
        )
        # In the order in which they began to keep us waiting.
        self._waiting: dict[_Connection, None] = {}
        self._open: set[_Connection] = set()
        self._empty = asyncio.Event()
        self._accepting: asyncio.Task[None] | None = None
        self._listener: socket.socket | None = None
        self.most_body = most_body
        self.patience = patience or Patience()
        self.is_encrypted = tls is not None
        self.is_stopping = False

    def start(self) -> int:
        """Begin to serve; returns the port.

        :raises OSError: the address is taken, or not of this host
        """
        family, *_rest, address = socket.getaddrinfo(
            self._host,
            self._port,
            type=socket.SOCK_STREAM,
            flags=socket.AI_PASSIVE,
        )[0]
        self._listener = socket.create_server(
            address,
            family=family,
            backlog=_BACKLOG,
            reuse_port=self._shared,
            dualstack_ipv6=self._host == "::" and socket.has_dualstack_ipv6(),
        )
        self._listener.setblocking(False)
        self._port = self._listener.getsockname()[1]
        self._thread.start()
        return self._port

    def stop(self) -> None:
        """Take no new requests, and answer those that have begun."""
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
            self._thread.join()
        self._threads.shutdown(wait=False, cancel_futures=True)

    # -- the event loop

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.set_exception_handler(_report)
        self._accepting = self._loop.create_task(self._accept())
        self._loop.run_forever()
        self._loop.close()

    async def _accept(self) -> None:
        assert self._listener is not None
        while True:
            try:
                client, _address = await self._loop.sock_accept(self._listener)
            except OSError as error:
                # There are no more file descriptors, for one.
                LOG.warning("Cannot accept a connection: %s", error)
                self._make_room()
                await asyncio.sleep(0.1)
                continue
            if len(self._open) >= MOST_CONNECTIONS and not self._make_room():
                client.close()
                continue
            connection = _Connection(self)
            self._open.add(connection)
            self._waiting[connection] = None
            connection.opening = self._loop.create_task(
                self._connect(connection, client)
            )

    async def _connect(
        self, connection: _Connection, client: socket.socket
    ) -> None:
        patience = self.patience
        try:
            await self._loop.connect_accepted_socket(
                lambda: connection,
                client,
                ssl=self._tls,
                # Neither may be given without TLS.
                ssl_handshake_timeout=(
                    patience.handshake if self.is_encrypted else None
                ),
                ssl_shutdown_timeout=(
                    patience.leaving if self.is_encrypted else None
                ),
            )
        except OSError as error:
            LOG.debug("Connection lost: %s", error)
        finally:
            if connection.transport is None:
                client.close()
                self.forget(connection)

    def _make_room(self) -> bool:
        """Turn out who has kept us waiting longest; tells if there was one."""
        for connection in self._waiting:
            self.forget(connection)
            connection.turn_out()
            return True
        return False

    async def _end(self) -> None:
        self.is_stopping = True
        assert self._accepting is not None
        assert self._listener is not None
        self._accepting.cancel()
        self._listener.close()
        for connection in list(self._open):
            connection.stop()
        if self._open:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._empty.wait(), self._drain)
        for connection in list(self._open):
            connection.turn_out()
        self._loop.call_soon(self._loop.stop)

    # -- for connections

    def later(
        self, seconds: float, step: Callable[[], None]
    ) -> asyncio.TimerHandle:
        return self._loop.call_later(seconds, step)

    def waits(self, connection: _Connection) -> None:
        """Note that a connection waits for its client from now on."""
        if connection in self._open:
            self._waiting.pop(connection, None)
            self._waiting[connection] = None

    def forget(self, connection: _Connection) -> None:
        self._waiting.pop(connection, None)
        self._open.discard(connection)
        if self.is_stopping and not self._open:
            self._empty.set()

    def serve_later(
        self, connection: _Connection, request: Any, body: bytearray
    ) -> None:
        """Have a worker answer a request."""
        self._waiting.pop(connection, None)
        self._threads.submit(self._serve, connection, request, body)

    # -- in a worker

    def _serve(
        self, connection: _Connection, request: h11.Request, body: bytearray
    ) -> None:
        if connection.is_lost:
            return
        try:
            answer = _call(
                self._application, self._environ(connection, request, body)
            )
        except Exception:
            LOG.exception("Request failed")
            answer = _refusal(500, _("An internal error occurred."))
        # It is closed where the time to drain was too short.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(connection.send, answer)

    def _environ(
        self, connection: _Connection, request: h11.Request, body: bytearray
    ) -> dict[str, Any]:
        """Return what PEP 3333 says about a request."""
        target = request.target.decode("latin-1")
        if not target.startswith("/"):
            # Its absolute form, as for a proxy.
            target = "/" + target.split("//", 1)[1].partition("/")[2]
        path, _mark, query = target.partition("?")
        peer = connection.transport.get_extra_info("peername") or ("", "")
        scheme = "https" if self.is_encrypted else "http"
        environ: dict[str, Any] = {
            "REQUEST_METHOD": request.method.decode("latin-1"),
            "REQUEST_URI": target,
            "SCRIPT_NAME": "",
            "PATH_INFO": urllib.parse.unquote_to_bytes(path).decode("latin-1"),
            "QUERY_STRING": query,
            "SERVER_NAME": self._host,
            "SERVER_PORT": str(self._port),
            "SERVER_PROTOCOL": "HTTP/" + request.http_version.decode(),
            "REMOTE_ADDR": peer[0],
            "REMOTE_PORT": str(peer[1]),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": scheme,
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": self._shared,
            "wsgi.run_once": False,
        }
        for name, value in request.headers:
            # One with an underscore would pass for one with a hyphen.
            if b"_" not in name:
                key = _key(name)
                text = value.decode("latin-1")
                before = environ.get(key)
                environ[key] = text if before is None else f"{before}, {text}"
        if "HTTP_TRANSFER_ENCODING" in environ:
            environ["wsgi.input_terminated"] = True
        return environ


def _key(name: bytes) -> str:
    key = name.decode("latin-1").upper().replace("-", "_")
    if key in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        return key
    return f"HTTP_{key}"


def _call(application: Application, environ: dict[str, Any]) -> _Answer:
    """Return all that the application says."""
    said: list[Any] = []
    parts: list[bytes] = []

    def start_response(
        status: str, headers: list[tuple[str, str]], error: Any = None
    ) -> Callable[[bytes], None]:
        said[:] = [int(status[:3]), headers]
        return parts.append

    iterable = application(environ, start_response)
    try:
        parts += iterable
    finally:
        if hasattr(iterable, "close"):
            iterable.close()
    status, headers = said
    return _Answer(
        status,
        [
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in headers
        ],
        b"".join(parts),
    )


def _report(loop: asyncio.AbstractEventLoop, about: dict[str, Any]) -> None:
    error = about.get("exception")
    if isinstance(error, OSError):
        LOG.debug("%s: %s", about["message"], error)
    else:
        LOG.error("%s", about["message"], exc_info=error)
