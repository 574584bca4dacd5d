"""cyborg-api: serves the REST interface on one port.

With ``[api] api_workers`` above 1 the process only watches over workers,
which listen on the port side by side; one that dies is replaced.
"""

import os
import socket
import ssl
import sys

from oslo_config import cfg
from oslo_log import log as logging

from cyborg.api import server as http
from cyborg.api import wsgi_app
from cyborg.common import exception
from cyborg.common import rpc
from cyborg.common import service
from cyborg.common import workers
from cyborg.common.i18n import _
from cyborg.db import engine as db_engine

CONF = cfg.CONF
LOG = logging.getLogger(__name__)

# A process does not get more done with more: Python runs one at a time.
_THREADS = 10


class Server:
    """One process' HTTP server, as the options say.

    :param shared: others listen on the same port
    """

    def __init__(self, application: http.Application, shared: bool) -> None:
        self._server = http.Server(
            application,
            (CONF.api.host_ip, CONF.api.port),
            threads=_THREADS,
            most_body=lambda: CONF.oslo_middleware.max_request_body_size,
            tls=tls_context() if CONF.api.enable_ssl_api else None,
            shared=shared,
            drain=_drain_time(),
        )

    def start(self) -> None:
        try:
            self._server.start()
        except OSError as error:
            raise _cannot_listen(error) from error
        LOG.info("Listening on %s:%s", CONF.api.host_ip, CONF.api.port)

    def stop(self) -> None:
        """Take no new requests, and answer those that are being worked on."""
        self._server.stop()


def _drain_time() -> int:
    return int(getattr(CONF, "graceful_shutdown_timeout", 0) or 60)


def _cannot_listen(error: OSError) -> exception.ConfigInvalid:
    return exception.ConfigInvalid(
        option="[api] host_ip, port",
        reason=_("cannot listen on %(host)s port %(port)s: %(error)s")
        % {
            "host": CONF.api.host_ip,
            "port": CONF.api.port,
            "error": error,
        },
    )


def tls_context() -> ssl.SSLContext:
    """Return what makes connections encrypted, as ``[ssl]`` says.

    :raises ConfigInvalid: a file is missing or cannot be used
    """
    if not CONF.ssl.cert_file or not CONF.ssl.key_file:
        raise exception.ConfigInvalid(
            option="[api] enable_ssl_api",
            reason=_("[ssl] cert_file and key_file are needed."),
        )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.options |= ssl.OP_NO_RENEGOTIATION
    try:
        context.load_cert_chain(CONF.ssl.cert_file, CONF.ssl.key_file)
        if CONF.ssl.ciphers:
            context.set_ciphers(CONF.ssl.ciphers)
        if CONF.ssl.ca_file:
            context.load_verify_locations(CONF.ssl.ca_file)
            context.verify_mode = ssl.CERT_REQUIRED
    except OSError as error:
        raise exception.ConfigInvalid(
            option="[ssl]", reason=str(error)
        ) from error
    return context


def check_port() -> None:
    """Pass if nobody listens on the port.

    Workers share it, so that none of them would notice a stranger.

    :raises ConfigInvalid: somebody does, or the address is not this host's
    """
    family, kind, protocol, _name, address = socket.getaddrinfo(
        CONF.api.host_ip, CONF.api.port, type=socket.SOCK_STREAM
    )[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
            probe.listen()
        except OSError as error:
            raise _cannot_listen(error) from error


def _serve(shared: bool) -> int:
    server = Server(wsgi_app.load(), shared)
    return service.serve(server.start, server.stop)


def _check() -> None:
    """Pass if workers can be started.

    What is wrong for one is wrong for all: it is said once. What this loads
    is loaded before workers are forked, which share it: of two workers and
    this process that is 134 MiB, where each loads it for itself 217.
    """
    check_port()
    wsgi_app.load()
    if CONF.api.enable_ssl_api:
        tls_context()
    db_engine.configure()
    rpc.get_transport()
    # Not for two processes.
    rpc.cleanup()


def main() -> int:
    """Serve until told to stop; returns the exit status."""
    service.prepare(program="cyborg-api")
    problem = service.attempt(_check)
    if problem is not None:
        LOG.error("%s", problem)
        return 1
    count = CONF.api.api_workers or os.cpu_count() or 1
    if count == 1:
        return _serve(shared=False)
    return workers.Workers(lambda: _serve(shared=True), count).serve()


if __name__ == "__main__":
    sys.exit(main())
