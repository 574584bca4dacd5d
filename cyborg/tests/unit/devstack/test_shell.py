"""The shell code is what shellcheck and bashate like."""

import pathlib
import shutil
import subprocess
import sys

import pytest

from cyborg.tests.unit.devstack import test_plugin

FILES = sorted(
    str(path.relative_to(test_plugin.TREE))
    for path in test_plugin.PLUGIN.rglob("*")
    if path.is_file()
)


def run(name: str, *arguments: str) -> str:
    beside = pathlib.Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if not found:
        pytest.skip(f"no {name} on this machine")
    ended = subprocess.run(
        [found, *arguments, *FILES],
        cwd=test_plugin.TREE,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_shellcheck() -> None:
    assert run("shellcheck", "-x") == ""


def test_bashate() -> None:
    # Warnings count, too.
    assert run("bashate", "-e", "E0") == ""
