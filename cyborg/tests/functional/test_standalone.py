"""cyborg-standalone as its user meets it: demo, serving, Ctrl-C, mistakes."""

import pathlib
import signal
import socket
import sys

from cyborg.tests.fixtures import process

COMMAND = [sys.executable, "-m", "cyborg.cmd.standalone"]


def test_the_demo_holds_twice_over_one_directory(
    tmp_path: pathlib.Path,
) -> None:
    argv = [*COMMAND, "--demo", "--state-dir", str(tmp_path / "state")]
    for _run in range(2):
        text = process.run(argv, tmp_path)
        assert "Every step held." in text
        assert text.count("FPGA 1 of 16 in use") == 1
        assert "accelerator-request-bound completed" in text


def test_it_serves_and_keeps_its_data(tmp_path: pathlib.Path) -> None:
    port = process.free_port()
    url = f"http://127.0.0.1:{port}/accelerator"
    daemon = process.Process(
        "standalone",
        [*COMMAND, "--state-dir", str(tmp_path / "s"), "--port", str(port)],
        tmp_path,
        ready=lambda daemon: "Ctrl-C stops it." in daemon.log,
    )
    client = [
        *(sys.executable, "-m", "openstackclient.shell"),
        *("--os-auth-type", "none", "--os-endpoint", url, "accelerator"),
    ]
    daemon.start()
    line = f"openstack --os-auth-type none --os-endpoint {url} accelerator"
    assert line in daemon.log
    process.run(
        [
            *client,
            "device",
            "profile",
            "create",
            "kept",
            "--group",
            "resources:FPGA=1",
        ],
        tmp_path,
    )
    daemon.signal(signal.SIGINT)
    assert daemon.wait(30) == 0
    daemon.start()
    text = process.run([*client, "device", "profile", "list"], tmp_path)
    assert "kept" in text
    process.wait_until(
        lambda: "0xABCD" in process.run([*client, "device", "list"], tmp_path),
        "the fake device",
    )
    files = [path for path in (tmp_path / "s").iterdir() if path.is_file()]
    assert {"cyborg.conf", "cyborg.log", "cyborg.sqlite"} <= {
        path.name for path in files
    }
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert daemon.terminate() == 0


def test_a_port_that_is_taken_is_one_line(tmp_path: pathlib.Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        daemon = process.Process(
            "standalone",
            [*COMMAND, "--state-dir", str(tmp_path), "--port", str(port)],
            tmp_path,
        )
        daemon.start()
        assert daemon.wait(60) == 1
    assert f"--port {port} is not valid" in daemon.log
    assert "Traceback" not in daemon.log
