"""A command that is forked is like one that is started."""

import os
import pathlib
import re
import signal
import subprocess
import sys

import pytest

from cyborg.tests.fixtures import process


@pytest.mark.parametrize(
    ("command", "arguments", "status"),
    [
        ("dbsync", ["--config-file", "cyborg.conf", "version"], 0),
        ("dbsync", ["--config-file", "cyborg.conf", "check_schema"], 1),
        ("dbsync", [], 2),
        ("status", ["--config-file", "nosuch", "upgrade", "check"], 2),
        # Says what is wrong by sys.exit(text).
        ("agent", ["--config-file", "nosuch"], 1),
    ],
)
def test_same_answer_as_a_process(
    tmp_path: pathlib.Path, command: str, arguments: list[str], status: int
) -> None:
    config = tmp_path / "cyborg.conf"
    config.write_text("[database]\nconnection = sqlite:///cyborg.sqlite\n")
    forked = process.call(process.cyborg(command, *arguments), tmp_path)
    code = f"from cyborg.cmd import {command}; sys.exit({command}.main())"
    argv = [sys.executable, "-W", "ignore", "-c"]
    argv.append(f"import sys; sys.argv[0] = 'cyborg-{command}'; {code}")
    started = process.call([*argv, *arguments], tmp_path)
    assert forked.returncode == started.returncode == status
    assert forked.stdout == started.stdout
    assert said(forked.stderr) == said(started.stderr)


def said(log: str) -> str:
    """Return it without the time and the process of each line."""
    return re.sub(r"^[-\d]+ [:.\d]+ \d+ ", "", log, flags=re.MULTILINE)


@pytest.fixture
def agent(tmp_path: pathlib.Path) -> process.Process:
    config = tmp_path / "agent.conf"
    config.write_text(
        f"[DEFAULT]\nstate_path = {tmp_path}\ntransport_url = fake://\n"
        "rpc_response_timeout = 1\n"
        "[agent]\nenabled_drivers = fake_driver\n"
    )
    return process.Process(
        "agent",
        process.cyborg("agent", "--config-file", str(config)),
        tmp_path,
        ready=lambda started: "Listening" in started.log,
    )


def test_signals(agent: process.Process) -> None:
    agent.start()
    first = agent.pid
    assert os.getpgid(first) == os.getsid(first) == first
    assert pathlib.Path(f"/proc/{first}/cwd").readlink() == agent.directory
    with pytest.raises(subprocess.TimeoutExpired):
        agent.wait(0.01)
    agent.signal(signal.SIGHUP)
    agent.wait_log("Reloading options")
    agent.kill()
    assert not agent.running
    assert agent.wait() == -signal.SIGKILL
    agent.start()
    assert agent.pid != first
    assert agent.terminate() == 0
    assert agent.terminate() == 0


def test_a_traceback_is_shown(tmp_path: pathlib.Path) -> None:
    done = process.call(process.cyborg("nosuch"), tmp_path)
    assert done.returncode == 1
    assert done.stderr.endswith("No module named 'cyborg.cmd.nosuch'\n")
