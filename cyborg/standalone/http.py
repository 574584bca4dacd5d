"""Serves WSGI applications of this process, each on a port of its own."""

import socket

from cyborg.api import server

ADDRESS = "127.0.0.1"
# Placement's requests are as large as a host's tree.
_MOST_BODY = 1 << 24


def make(
    application: server.Application, port: int, threads: int
) -> server.Server:
    """Return what serves an application on one loopback port.

    :param port: 0 takes a free one
    :param threads: 1 serves requests one after the other
    """
    return server.Server(
        application,
        (ADDRESS, port),
        threads=threads,
        most_body=lambda: _MOST_BODY,
    )


def free_port() -> int:
    """Return a port that nothing listens on right now."""
    with socket.socket() as probe:
        probe.bind((ADDRESS, 0))
        return int(probe.getsockname()[1])
