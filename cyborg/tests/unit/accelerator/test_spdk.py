"""The JSON-RPC client, against a server in a thread."""

import contextlib
import json
import pathlib
import socket
import threading
from typing import Any

import pytest

from cyborg.accelerator import spdk
from cyborg.common import exception


@contextlib.contextmanager
def serve(path: pathlib.Path, *pieces: bytes):
    """Answer one connection with ``pieces``; yields what was asked."""
    asked: list[dict[str, Any]] = []
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(1)

    def answer() -> None:
        connection, _peer = listener.accept()
        with connection:
            asked.append(json.loads(connection.recv(65536)))
            for piece in pieces:
                connection.sendall(piece)

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    try:
        yield asked
    finally:
        thread.join(10)
        listener.close()


@pytest.fixture
def path(socket_dir) -> pathlib.Path:
    return socket_dir / "spdk.sock"


def test_returns_result(path):
    answer = b'{"jsonrpc": "2.0", "id": 1, "result": [{"name": "Nvme0n1"}]}'
    with serve(path, answer) as asked:
        result = spdk.Client(path)("bdev_get_bdevs")
    assert result == [{"name": "Nvme0n1"}]
    assert asked == [{"jsonrpc": "2.0", "id": 1, "method": "bdev_get_bdevs"}]


def test_sends_parameters(path):
    with serve(path, b'{"result": []}') as asked:
        spdk.Client(path)("bdev_get_bdevs", {"name": "Nvme0n1"})
    assert asked[0]["params"] == {"name": "Nvme0n1"}


def test_answer_in_pieces(path):
    # The second piece ends with a brace, and the object does not.
    pieces = (b'{"result": [{"a"', b': "}"}', b"]", b"}\n")
    with serve(path, *pieces):
        assert spdk.Client(path)("bdev_get_bdevs") == [{"a": "}"}]


def test_large_answer(path):
    result = [{"name": f"Nvme{number}n1"} for number in range(20000)]
    with serve(path, json.dumps({"result": result}).encode()):
        assert spdk.Client(path)("bdev_get_bdevs") == result


def test_method_unknown(path):
    answer = b'{"error": {"code": -32601, "message": "Method not found"}}'
    with serve(path, answer), pytest.raises(exception.DriverError) as error:
        spdk.Client(path)("get_bdevs")
    assert "-32601" in str(error.value)


def test_connection_closed(path):
    with serve(path), pytest.raises(exception.DriverError):
        spdk.Client(path)("bdev_get_bdevs")


def test_answer_cut_off(path):
    with serve(path, b'{"result": ['), pytest.raises(exception.DriverError):
        spdk.Client(path)("bdev_get_bdevs")


def test_nobody_listens(path):
    with pytest.raises(exception.DriverError) as error:
        spdk.Client(path)("bdev_get_bdevs")
    assert str(path) in str(error.value)


def test_answer_never_comes(path):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(1)
    with (
        contextlib.closing(listener),
        pytest.raises(exception.DriverError) as error,
    ):
        spdk.Client(path, timeout=0.05)("bdev_get_bdevs")
    assert "timed out" in str(error.value)
