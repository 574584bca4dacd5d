"""The example package: installed, found, run, and its own tests."""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from cyborg.tests.fixtures import machine

SOURCE = pathlib.Path(__file__).parents[3]
EXAMPLE = SOURCE / "examples" / "cyborg-driver-example"

DRY_RUN = """
import sys
from cyborg import conf
from cyborg.agent import dry_run
conf.CONF(["--config-file", sys.argv[1]], project="cyborg")
sys.exit(dry_run.main())
"""


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
    result = subprocess.run(
        [sys.executable, "-c", DRY_RUN, str(config)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    assert "edu_driver (stats)" in result.stdout
    assert "AICHIP 0000:00:04.0: 1234" in result.stdout
    assert "CUSTOM_EDU_FACTORIAL, CUSTOM_RACK_7" in result.stdout


def test_its_tests_pass(environment):
    pytest_command = [sys.executable, "-m", "pytest", "-q", "-p"]
    result = subprocess.run(
        [*pytest_command, "no:cacheprovider", str(EXAMPLE / "tests")],
        env=environment,
        cwd=EXAMPLE,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stdout
    assert "3 passed" in result.stdout
