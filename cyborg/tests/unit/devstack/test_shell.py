"""The shell code is what shellcheck and bashate like."""

import pathlib
import shutil
import subprocess
import sys

import pytest

from cyborg.tests.unit.devstack import test_plugin

TREE = test_plugin.TREE


def _is_shell(path: pathlib.Path) -> bool:
    return path.is_file() and (
        path.suffix == ".sh" or path.read_bytes().startswith(b"#!/bin/sh")
    )


FILES = sorted(
    str(path.relative_to(TREE))
    for path in (
        *(path for path in test_plugin.PLUGIN.rglob("*") if path.is_file()),
        *filter(_is_shell, (TREE / "tools").iterdir()),
        TREE / ".ci" / "run",
    )
)


def run(name: str, *arguments: str) -> str:
    beside = pathlib.Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if not found:
        pytest.skip(f"no {name} on this machine")
    ended = subprocess.run(
        [found, *arguments, *FILES],
        cwd=TREE,
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
