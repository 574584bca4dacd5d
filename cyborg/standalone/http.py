"""Serves WSGI applications of this process, each on a port of its own."""

import socket
import threading
from typing import Any

from cheroot import wsgi

ADDRESS = "127.0.0.1"


class Server:
    """One application on one loopback port.

    :param port: 0 takes a free one
    :param threads: 1 serves requests one after the other
    """

    def __init__(self, application: Any, port: int, threads: int) -> None:
        self._server = wsgi.Server(
            (ADDRESS, port),
            application,
            numthreads=threads,
            server_name=ADDRESS,
        )
        self._server.shutdown_timeout = 5
        self._thread: threading.Thread | None = None

    def start(self) -> int:
        """Begin to serve; returns the port.

        :raises OSError: the port is taken
        """
        self._server.prepare()
        port: int = self._server.bind_addr[1]
        self._thread = threading.Thread(
            target=self._server.serve, name=f"http {port}", daemon=True
        )
        self._thread.start()
        return port

    def stop(self) -> None:
        self._server.stop()
        if self._thread is not None:
            self._thread.join()


def free_port() -> int:
    """Return a port that nothing listens on right now."""
    with socket.socket() as probe:
        probe.bind((ADDRESS, 0))
        return int(probe.getsockname()[1])
