"""Talks JSON-RPC 2.0 to an SPDK process over its Unix socket.

SPDK sends no delimiter between messages, so an answer ends where its JSON
ends. One connection carries one call: discovery makes one a minute.

The methods and their results are described in SPDK's ``doc/jsonrpc.md``.
"""

from collections.abc import Callable
import json
import pathlib
import socket
from typing import Any

from cyborg.common import exception

# Calls a method with parameters and returns its result.
RPC = Callable[[str, dict[str, Any] | None], Any]

_CHUNK = 65536
# The block devices of a large machine take some hundred kilobytes.
_MAX_ANSWER = 16 * 1024 * 1024


class Client:
    """Calls methods of the SPDK process that listens on ``path``."""

    def __init__(self, path: str | pathlib.Path, timeout: float = 10) -> None:
        self._path = str(path)
        self._timeout = timeout

    def __call__(
        self, method: str, params: dict[str, Any] | None = None
    ) -> Any:
        """Return what the method answered; blocks up to the timeout twice.

        :raises DriverError: nobody listens, the connection was closed, the
            answer makes no sense, or the method reports an error
        """
        request: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "method": method}
        if params:
            request["params"] = params
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(self._timeout)
                connection.connect(self._path)
                connection.sendall(json.dumps(request).encode())
                answer = _receive(connection)
        except (OSError, ValueError) as error:
            raise exception.DriverError(
                reason=f"SPDK at {self._path} did not answer {method}: {error}"
            ) from error
        if "error" in answer:
            raise exception.DriverError(
                reason=f"SPDK at {self._path} refused {method}: "
                f"{answer['error']}"
            )
        return answer.get("result")


def _receive(connection: socket.socket) -> dict[str, Any]:
    """Read until what was read is one JSON object.

    :raises ValueError: the connection ends first, it is something else, or
        it is too long
    """
    received = bytearray()
    while len(received) < _MAX_ANSWER:
        chunk = connection.recv(_CHUNK)
        if not chunk:
            break
        received += chunk
        # An object can only be whole where a brace ends what came so far.
        if not received.rstrip().endswith(b"}"):
            continue
        try:
            answer = json.loads(received)
        except ValueError:
            continue
        if not isinstance(answer, dict):
            break
        return answer
    raise ValueError(f"no JSON object in {len(received)} bytes")
