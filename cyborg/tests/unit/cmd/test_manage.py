"""The command line of cyborg-manage, as a process."""

import contextlib
import hashlib
import pathlib
import sqlite3
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


@pytest.fixture
def host(tmp_path: pathlib.Path) -> None:
    """A database in which there is one host, cn1."""
    assert _run(tmp_path, "create_schema", command="dbsync").returncode == 0
    connection = sqlite3.connect(tmp_path / "cyborg.sqlite")
    with contextlib.closing(connection), connection:
        connection.execute(
            "INSERT INTO hosts (uuid, hostname, rpc_host, refused_at)"
            " VALUES ('u1', 'cn1', 'cn1.example.org', '2030-01-02 03:04:05')"
        )


@pytest.mark.usefixtures("host")
def test_host_rekey(tmp_path: pathlib.Path) -> None:
    def known() -> object:
        with contextlib.closing(
            sqlite3.connect(tmp_path / "cyborg.sqlite")
        ) as connection:
            return connection.execute(
                "SELECT key_hash, refused_at FROM hosts"
            ).fetchone()

    file = tmp_path / "key"
    file.write_text("k" * 43 + "\n")
    done = _run(tmp_path, "host", "rekey", "cn1", "--key-file", str(file))
    assert (done.returncode, done.stdout) == (
        0,
        f"cn1: known by the key in {file}\n",
    )
    expected = hashlib.sha256(b"k" * 43).hexdigest()
    assert known() == (expected, None)
    wrong = {"nothing": None, "short": b"k\n", "bytes": b"\xff" * 43}
    for name, content in wrong.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
        done = _run(
            tmp_path,
            "host",
            "rekey",
            "cn1",
            "--key-file",
            f"{tmp_path}/{name}",
        )
        assert (done.returncode, done.stdout) == (2, ""), name
        assert len(done.stderr.splitlines()) == 1, done.stderr
        assert known() == (expected, None)
    done = _run(tmp_path, "host", "rekey", "cn2")
    assert done.returncode == 2
    assert "cn2" in done.stderr
    done = _run(tmp_path, "host", "rekey", "cn1")
    assert done.returncode == 0
    assert known() == (None, None)


@pytest.mark.usefixtures("host")
def test_bus_permissions(tmp_path: pathlib.Path) -> None:
    """Hosts are named as their agents are, not as their providers."""
    done = _run(
        tmp_path,
        "bus",
        "permissions",
        "--conductor-user",
        "it is",
        "--no-users",
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[:2] == [
        "rabbitmqctl add_vhost cyborg-agents",
        "rabbitmqctl set_permissions -p cyborg-agents 'it is' '.*' '.*' '.*'",
    ]
    user = "cyborg-agent-cn1.example.org"
    assert [line.split()[:5] for line in lines[2:]] == [
        ["rabbitmqctl", command, "-p", "cyborg-agents", user]
        for command in ("set_permissions", "set_topic_permissions")
    ]
    done = _run(tmp_path, "bus", "permissions", "--vhost", "v", "a", "b", "a")
    words = [line.split() for line in done.stdout.splitlines()]
    added = {line[2]: line[3] for line in words if line[1] == "add_user"}
    assert list(added) == ["cyborg-agent-a", "cyborg-agent-b"]
    assert len(set(added.values())) == 2
    for name, password in added.items():
        assert f"rabbit://{name}:{password}@<broker>:5672/v" in done.stdout
