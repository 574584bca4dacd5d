"""A daemon as a process: what it tells of itself."""

import functools
from importlib import metadata
import json
import pathlib
import signal
import socket
import subprocess
import sys
import time
from typing import Any

from oslo_config import cfg
import pytest

from cyborg.tests.fixtures import driver as driver_fixture
from cyborg.tests.fixtures import process

# A daemon that does nothing, and says when it listens to signals.
IDLE = """
import sys
from cyborg.common import service
service.prepare()
sys.exit(service.serve(lambda: print("ready", flush=True), lambda: None))
"""

# One that does something else at a signal of its own.
ASKED = """
import signal, sys
from cyborg.common import service
service.prepare()
sys.exit(service.serve(
    lambda: print("ready", flush=True),
    lambda: None,
    {signal.SIGUSR1: lambda: print("asked", flush=True)},
))
"""

# One that says what an option is when it ends.
TELLING = """
import sys
from cyborg.common import service
from cyborg.conf import CONF
service.prepare()
sys.exit(service.serve(
    lambda: print("ready", flush=True),
    lambda: print(
        CONF.conductor.service_down_time,
        CONF.conductor.removal_grace,
        flush=True,
    ),
))
"""

# One where the kernel gives the signal to a thread that is not the main one.
ELSEWHERE = """
import signal, sys, threading
from cyborg.common import service

service.prepare()
threading.Thread(target=threading.Event().wait, daemon=True).start()
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
sys.exit(service.serve(lambda: print("ready", flush=True), lambda: None))
"""

# One that waits for what never comes.
WAITING = """
import sys, threading
from cyborg.common import service

def start():
    print("ready", flush=True)
    threading.Event().wait()

service.prepare()
sys.exit(service.serve(start, lambda: print("stopped", flush=True)))
"""

# One whose call never ends, and that has work of its own to leave to others.
HANGING = """
import sys, threading
import oslo_messaging as messaging
from cyborg.common import rpc, service
from cyborg.context import get_admin_context
from cyborg.objects import base

class Manager:
    target = messaging.Target(version="1.0")

    def init_host(self):
        target = messaging.Target(topic="t", server="here", version="1.0")
        rpc.get_client(target, base.CyborgObjectSerializer(), None).cast(
            get_admin_context(), "hang"
        )

    def hang(self, context):
        print("ready", flush=True)
        threading.Event().wait()

    def stop(self):
        print("left to others", flush=True)

service.prepare()
daemon = service.Service(Manager(), "t", ["here"], "1.0")
sys.exit(service.serve(daemon.start, daemon.stop))
"""

# A process that calls itself.
CALLER = """
import oslo_messaging as messaging
from cyborg.common import rpc, service
from cyborg.context import get_admin_context

class Endpoint:
    target = messaging.Target(version="1.1")

    def agent_register(self, context, names):
        return names

service.prepare()
serializer = messaging.NoOpSerializer()
target = messaging.Target(topic="cyborg-conductor", server="c1")
server = rpc.get_server(target, [Endpoint()], serializer)
server.start()
client = rpc.get_client(target(version="1.1"), serializer, None)
assert client.call(get_admin_context(), "agent_register", names=["a"]) == ["a"]
server.stop()
server.wait()
"""


def _start(
    directory: pathlib.Path, code: str, options: str
) -> subprocess.Popen[str]:
    config = directory / "cyborg.conf"
    config.write_text(options)
    main = directory / "cyborg-daemon"
    main.write_text(code)
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", main, "--config-file", config],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=process.environment(),
    )


@pytest.mark.parametrize(
    "command",
    ["api", "conductor", "agent", "dbsync", "status", "manage", "standalone"],
)
def test_version(command: str) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-W", "ignore"),
            *("-m", f"cyborg.cmd.{command}", "--version"),
        ],
        capture_output=True,
        text=True,
        env=process.environment(),
        check=True,
    )
    assert done.stdout.strip() == metadata.version("openstack-cyborg")


def test_sigusr2_makes_a_report(tmp_path: pathlib.Path) -> None:
    reports = tmp_path / "reports"
    reports.mkdir()
    daemon = _start(
        tmp_path,
        IDLE,
        f"""
[DEFAULT]
transport_url = fake://
[database]
connection = mysql+pymysql://root:hush@db/cyborg
[oslo_reports]
log_dir = {reports}
""",
    )
    try:
        assert daemon.stdout is not None
        assert daemon.stdout.readline() == "ready\n"
        daemon.send_signal(signal.SIGUSR2)
        deadline = time.monotonic() + 60
        found: list[pathlib.Path] = []
        while not (found and found[0].read_text()):
            assert time.monotonic() < deadline
            time.sleep(0.05)
            found = list(
                reports.glob(f"cyborg-daemon-{daemon.pid}_gurumeditation_*")
            )
        # It goes on as if nothing had been.
        assert daemon.poll() is None
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(60) == 0
    finally:
        daemon.kill()
        daemon.communicate()
    text = found[0].read_text()
    for part in ("OpenStack Cyborg", "Threads", "service_down_time"):
        assert part in text
    assert "hush" not in text


def test_a_signal_of_a_daemon_s_own(tmp_path: pathlib.Path) -> None:
    daemon = _start(tmp_path, ASKED, "[DEFAULT]\ntransport_url = fake://\n")
    try:
        assert daemon.stdout is not None
        assert daemon.stdout.readline() == "ready\n"
        for _again in range(2):
            daemon.send_signal(signal.SIGUSR1)
            assert daemon.stdout.readline() == "asked\n"
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(60) == 0
    finally:
        daemon.kill()
        daemon.communicate()


def _says(log: pathlib.Path, text: str, times: int) -> bool:
    """Tell whether the log has the text more often than that."""
    return log.read_text().count(text) > times


def test_sighup_with_a_file_that_is_not_valid(tmp_path: pathlib.Path) -> None:
    log = tmp_path / "log"
    options = f"[DEFAULT]\nlog_file = {log}\n[conductor]\n"
    daemon = _start(tmp_path, TELLING, f"{options}service_down_time = 7\n")
    try:
        assert daemon.stdout is not None
        assert daemon.stdout.readline() == "ready\n"
        config = tmp_path / "cyborg.conf"
        wrong = f"{options}service_down_time = soon\nremoval_grace = 9\n"
        for text, says in (
            (wrong, "stay as they are"),
            ("no section\n", "stay as they are"),
            (f"{options}service_down_time = 8\n", "from [7] to [8]"),
            (wrong, "stay as they are"),
        ):
            config.write_text(text)
            before = log.read_text().count(says)
            daemon.send_signal(signal.SIGHUP)
            process.wait_until(
                functools.partial(_says, log, says, before), says
            )
            assert daemon.poll() is None
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(60) == 0
        assert daemon.stdout.readline() == "8 600\n"
    finally:
        daemon.kill()
        daemon.communicate()


@pytest.mark.parametrize("program", [IDLE, ELSEWHERE, WAITING])
def test_sigterm_ends_it_whoever_gets_it(
    tmp_path: pathlib.Path, program: str
) -> None:
    daemon = _start(tmp_path, program, "[DEFAULT]\ntransport_url = fake://\n")
    try:
        assert daemon.stdout is not None
        assert daemon.stdout.readline() == "ready\n"
        # Others that come in between are none of its business.
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(60) == 0
    finally:
        daemon.kill()
        daemon.communicate()


def test_a_call_that_hangs_holds_up_nothing_else(
    tmp_path: pathlib.Path,
) -> None:
    daemon = _start(
        tmp_path,
        HANGING,
        "[DEFAULT]\ntransport_url = fake://\ngraceful_shutdown_timeout = 2\n",
    )
    try:
        assert daemon.stdout is not None
        lines = iter(daemon.stdout)
        assert "ready\n" in lines
        daemon.send_signal(signal.SIGTERM)
        assert "left to others\n" in lines
        assert daemon.wait(60) == 1
    finally:
        daemon.kill()
        daemon.communicate()


def test_calls_are_measured(
    tmp_path: pathlib.Path, socket_dir: pathlib.Path
) -> None:
    name = str(socket_dir / "metrics")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as metrics:
        metrics.bind(name)
        metrics.settimeout(30)
        daemon = _start(
            tmp_path,
            CALLER,
            f"""
[DEFAULT]
transport_url = fake://
[oslo_messaging_metrics]
metrics_enabled = true
metrics_socket_file = {name}
metrics_thread_stop_timeout = 1
""",
        )
        try:
            _output, error = daemon.communicate(timeout=60)
            assert daemon.returncode == 0, error
            measured: dict[str, Any] = {}
            wanted = {
                "rpc_client_invocation_end_total",
                "rpc_client_processing_seconds",
            }
            while not wanted <= measured.keys():
                told = json.loads(metrics.recv(65536))
                measured[told["name"]] = told["labels"]
        finally:
            daemon.kill()
    for metric in wanted:
        assert measured[metric]["process"] == "cyborg-daemon"
        assert measured[metric]["method"] == "agent_register"


# One that says what it is called, on a machine of a name that is no host's.
NAMED = """
import socket
socket.gethostname = lambda: "compute_01"
from cyborg.common import service
from cyborg.conf import CONF
service.prepare([])
print(CONF.host)
"""


def test_any_name_of_a_machine() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", NAMED],
        env=process.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.returncode) == ("compute_01\n", 0), done.stderr


@pytest.mark.parametrize("host", ["gpu_7.rack-2", "-", "größe"])
def test_any_name_that_is_given(host: str) -> None:
    assert driver_fixture.conf(DEFAULT={"host": host}).host == host


@pytest.mark.parametrize("host", ["", "x" * 256])
def test_host_has_to_have_a_name(host: str) -> None:
    with pytest.raises(cfg.ConfigFileValueError, match="option host"):
        _ = driver_fixture.conf(DEFAULT={"host": host}).host
