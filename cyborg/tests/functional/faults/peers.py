"""A database, a broker and an image service that may be killed."""

import hashlib
from http import server as http_server
import json
import os
import pathlib
import shutil
import subprocess
import threading
import urllib.parse

import pymysql
import pytest

from cyborg.tests.fixtures import process

DATABASE = "cyborg"
_DEBIAN_RABBITMQ = "/usr/lib/rabbitmq/bin/rabbitmq-server"


class MariaDB:
    """A server of its own, in a directory; survives kill -9."""

    def __init__(self, directory: pathlib.Path) -> None:
        daemon = shutil.which("mariadbd") or "/usr/sbin/mariadbd"
        if not pathlib.Path(daemon).exists():
            pytest.skip("NO mariadbd on this machine")
        self._data = directory / "mariadb"
        self._port = process.free_port()
        self.url = f"mysql+pymysql://root@127.0.0.1:{self._port}/{DATABASE}"
        subprocess.run(
            [
                "mariadb-install-db",
                "--no-defaults",
                f"--datadir={self._data}",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
                *(["--user=root"] if os.geteuid() == 0 else []),
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.process = process.Process(
            "mariadb",
            [
                daemon,
                "--no-defaults",
                f"--datadir={self._data}",
                f"--port={self._port}",
                f"--socket={self._data}/socket",
                "--bind-address=127.0.0.1",
                "--skip-name-resolve",
                *(["--user=root"] if os.geteuid() == 0 else []),
            ],
            directory,
            ready=lambda _: self._answers(),
        )

    def forget_history(self) -> None:
        """Restart it with nothing left to purge.

        MariaDB 10.11 may crash, at each start, if it was killed with old
        versions of rows of tables left that have been altered since.
        """
        with pymysql.connect(
            host="127.0.0.1", port=self._port, user="root"
        ) as connection:
            connection.cursor().execute("SET GLOBAL innodb_fast_shutdown = 0")
            connection.cursor().execute("SHUTDOWN")
        self.process.wait()
        self.process.start()

    def _answers(self) -> bool:
        try:
            with pymysql.connect(
                host="127.0.0.1", port=self._port, user="root"
            ) as connection:
                connection.cursor().execute(
                    f"CREATE DATABASE IF NOT EXISTS {DATABASE}"
                )
        except pymysql.Error:
            return False
        return True


class RabbitMQ:
    """A broker of its own, in a directory; loses its messages when killed."""

    def __init__(self, directory: pathlib.Path) -> None:
        # Debian's command changes the user; the script behind it does not.
        server = next(
            filter(
                None, map(shutil.which, (_DEBIAN_RABBITMQ, "rabbitmq-server"))
            ),
            None,
        )
        if server is None:
            pytest.skip("NO rabbitmq-server on this machine")
        base = directory / "rabbitmq"
        base.mkdir()
        port = process.free_port()
        self.url = f"rabbit://guest:guest@127.0.0.1:{port}/"
        (base / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{port}\nloopback_users = none\n"
        )
        (base / "plugins").write_text("[].\n")
        self._port = port
        self.process = process.Process(
            "rabbitmq",
            [server],
            directory,
            {
                "HOME": str(base),
                "RABBITMQ_NODENAME": f"faults{port}@localhost",
                "RABBITMQ_NODE_PORT": str(port),
                "RABBITMQ_DIST_PORT": str(process.free_port()),
                "RABBITMQ_MNESIA_BASE": str(base / "mnesia"),
                "RABBITMQ_LOG_BASE": str(base),
                "RABBITMQ_LOGS": "-",
                "RABBITMQ_CONFIG_FILE": str(base / "rabbitmq"),
                "RABBITMQ_ENABLED_PLUGINS_FILE": str(base / "plugins"),
                "RABBITMQ_PID_FILE": str(base / "pid"),
            },
            ready=lambda daemon: "Server startup complete" in daemon.log,
        )


def content(function: str) -> bytes:
    """Return the data of the image with a function."""
    return f"a bitstream with {function}".encode()


def digest(function: str) -> str:
    """Return what a fake card shows that holds the image."""
    return hashlib.sha256(content(function)).hexdigest()


class Glance:
    """An image service with images of one kind: ``function`` names each.

    :ivar images: image id by function id
    """

    def __init__(self, images: dict[str, str]) -> None:
        self.images = images
        self._server = http_server.ThreadingHTTPServer(
            ("127.0.0.1", 0), self._handler()
        )
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, daemon=True
        )
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        if self._thread.is_alive():
            # One that never served would be waited for for ever.
            self._server.shutdown()
        self._server.server_close()

    def _record(self, function: str) -> dict[str, object]:
        return {
            "id": self.images[function],
            "status": "active",
            "visibility": "public",
            "owner": "operators",
            "size": len(content(function)),
            "checksum": "8a3e0a9e0e0d3f5d6c2e9b1d2f6f3c77",
            "os_hash_algo": "sha256",
            "os_hash_value": digest(function),
            "accel:function_id": function,
            "tags": ["FPGA"],
        }

    def _find(self, path: str) -> tuple[int, bytes]:
        parts = urllib.parse.urlsplit(path)
        names = {image: function for function, image in self.images.items()}
        segments = parts.path.strip("/").split("/")
        if segments[-1] == "images":
            query = dict(urllib.parse.parse_qsl(parts.query))
            wanted = query.get("accel:function_id")
            found = [self._record(wanted)] if wanted in self.images else []
            return 200, json.dumps({"images": found}).encode()
        if segments[-1] == "file" and segments[-2] in names:
            return 200, content(names[segments[-2]])
        if segments[-1] in names:
            return 200, json.dumps(self._record(names[segments[-1]])).encode()
        return 404, b"{}"

    def _handler(self) -> type[http_server.BaseHTTPRequestHandler]:
        find = self._find

        class Handler(http_server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                status, body = find(self.path)
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Stay silent."""

        return Handler
