"""The example package: installed, found, run, and its own tests."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from cyborg.tests.fixtures import machine

SOURCE = pathlib.Path(__file__).parents[3]
EXAMPLE = SOURCE / "examples" / "cyborg-driver-example"


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> dict[str, str]:
    """Return the environment of a Python that has the package installed."""
    source = tmp_path_factory.mktemp("source") / "example"
    shutil.copytree(EXAMPLE, source)
    target = tmp_path_factory.mktemp("site-packages")
    pip = [sys.executable, "-m", "pip", "-q", "install", "--no-index"]
    pip += ["--no-deps", "--no-build-isolation", "--target", str(target)]
    subprocess.run([*pip, str(source)], check=True, timeout=120)
    return {
        **os.environ,
        "PYTHONPATH": f"{target}:{SOURCE}",
        "PYTHONWARNINGS": "ignore",
        # Entry points are kept there between runs.
        "XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache")),
    }


def test_agent_finds_it(environment, tmp_path):
    text = (EXAMPLE / "tests" / "edu.txt").read_text()
    root = machine.unpack_text(text, tmp_path / "root")
    config = tmp_path / "cyborg.conf"
    config.write_text(
        "[DEFAULT]\nhost = cn1\n[edu]\ntrait = CUSTOM_RACK_7\n[agent]\n"
        f"enabled_drivers = edu_driver\nfilesystem_root = {root}\n"
    )
    command = [sys.executable, "-m", "cyborg.cmd.agent", "--dry-run"]
    command += ["--config-file", str(config)]
    text = run(command, environment)
    assert "edu_driver (stats)" in text
    assert "AICHIP 0000:00:04.0: 1234" in text
    assert "CUSTOM_EDU_FACTORIAL, CUSTOM_RACK_7" in text
    document = json.loads(run([*command, "--json"], environment))
    assert document["host"] == "cn1"
    assert document["conflicts"] == []
    (driver,) = document["drivers"]
    assert [device["where"] for device in driver["devices"]] == [
        "0000:00:04.0",
        "0000:00:05.0",
    ]


def run(command: list[str], environment: dict[str, str]) -> str:
    """Return what was printed on standard output by a command that works."""
    result = subprocess.run(
        command,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_its_tests_pass(environment):
    pytest_command = [sys.executable, "-m", "pytest", "-q", "-p"]
    command = [*pytest_command, "no:cacheprovider", str(EXAMPLE / "tests")]
    assert "3 passed" in run(command, environment)
