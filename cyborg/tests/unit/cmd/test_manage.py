"""The command line of cyborg-manage, as a process."""

import pathlib
import subprocess

import pytest

from cyborg.tests.fixtures import process


def _run(
    tmp_path: pathlib.Path, *arguments: str, command: str = "manage"
) -> subprocess.CompletedProcess[str]:
    config = tmp_path / "cyborg.conf"
    config.write_text(
        f"[database]\nconnection = sqlite:///{tmp_path}/cyborg.sqlite\n"
    )
    return process.call(
        process.cyborg(command, "--config-file", str(config), *arguments),
        tmp_path,
    )


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["arq", "list", "--state", "Lost"], "invalid choice"),
        (["placement"], "required"),
        (["arq", "audit"], "run 'cyborg-dbsync upgrade'"),
        (["handle", "audit"], "The database has no table"),
        (["profile", "repair"], "The database has no table"),
    ],
)
def test_errors_are_2(
    tmp_path: pathlib.Path, arguments: list[str], text: str
) -> None:
    done = _run(tmp_path, *arguments)
    assert done.returncode == 2
    assert text in done.stderr
    assert done.stdout == ""


def test_answers_are_all_of_standard_output(tmp_path: pathlib.Path) -> None:
    assert _run(tmp_path, "create_schema", command="dbsync").returncode == 0
    done = _run(tmp_path, "placement", "audit", "--json")
    assert (done.returncode, done.stdout) == (0, "{}\n")
    done = _run(tmp_path, "placement", "heal", "--host", "cn1", "--dry-run")
    assert done.returncode == 2
    assert "cn1" in done.stderr
