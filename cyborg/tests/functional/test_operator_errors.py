"""What is wrong with an installation is said in one line, by every command."""

import pathlib
import subprocess
import sys
from typing import Any

import pytest

from cyborg.cmd import manage
from cyborg.tests.fixtures import process

# What a test changes of a configuration that works.
SOUND = {
    "transport_url": ("DEFAULT", "fake://"),
    "connection": ("database", "sqlite:///{directory}/cyborg.sqlite"),
    "max_retries": ("database", "0"),
    "port": ("api", "0"),
    "api_workers": ("api", "1"),
    "auth_type": ("keystone_authtoken", "password"),
    "auth_url": ("keystone_authtoken", "http://127.0.0.1:1"),
}
AWAY = "mysql+pymysql://root@127.0.0.1:1/cyborg"


def _run(
    directory: pathlib.Path,
    command: str,
    *arguments: str,
    **changes: tuple[str, str],
) -> subprocess.CompletedProcess[str]:
    config = directory / "cyborg.conf"
    config.write_text(
        f"[DEFAULT]\nstate_path = {directory}\n"
        + "".join(
            f"[{group}]\n{name} = {value.format(directory=directory)}\n"
            for name, (group, value) in (SOUND | changes).items()
        )
    )
    return process.call(
        process.cyborg(command, "--config-file", str(config), *arguments),
        directory,
    )


@pytest.mark.parametrize(
    ("command", "name", "group", "value", "says"),
    [
        (
            "conductor",
            "connection",
            "database",
            AWAY,
            "The database does not answer, or refuses; see [database] "
            "connection: ",
        ),
        (
            "conductor",
            "connection",
            "database",
            "nosuch://root@127.0.0.1/cyborg",
            "[database] connection is not valid: ",
        ),
        (
            "conductor",
            "state_path",
            "DEFAULT",
            "{directory}",
            "run 'cyborg-dbsync upgrade'",
        ),
        *(
            (
                command,
                "transport_url",
                "DEFAULT",
                "rabbit://a:b@127.0.0.1:nonsense/",
                "[DEFAULT] transport_url is not valid: ",
            )
            for command in ("conductor", "agent", "api")
        ),
        (
            "conductor",
            "transport_url",
            "DEFAULT",
            "nosuch://127.0.0.1/",
            "[DEFAULT] transport_url is not valid: ",
        ),
        (
            "conductor",
            "job_lease",
            "conductor",
            "soon",
            "Configuration: Value for option job_lease",
        ),
        (
            "agent",
            "conductor",
            "upgrade_levels",
            "train",
            "Configuration: Value for option conductor",
        ),
        (
            "agent",
            "log_dir",
            "DEFAULT",
            "/proc/nowhere",
            "Configuration: log_dir or log_file: ",
        ),
        (
            "api",
            "connection",
            "database",
            "nosuch://root@127.0.0.1/cyborg",
            "[database] connection is not valid: ",
        ),
        (
            "api",
            "auth_type",
            "keystone_authtoken",
            "",
            "[keystone_authtoken] auth_type is not valid: It is not set.",
        ),
        (
            "api",
            "auth_type",
            "keystone_authtoken",
            "passwrd",
            "[keystone_authtoken] is not valid: ",
        ),
        (
            "api",
            "auth_url",
            "DEFAULT",
            "",
            "[keystone_authtoken] is not valid: ",
        ),
        (
            "api",
            "api_paste_config",
            "api",
            "/dev/null",
            "[api] api_paste_config is not valid: /dev/null: No section ",
        ),
        (
            "api",
            "policy_file",
            "oslo_policy",
            # Text, and no rules.
            "/proc/version",
            "[oslo_policy] policy_file is not valid: /proc/version: ",
        ),
    ],
)
def test_daemons(
    tmp_path: pathlib.Path,
    command: str,
    name: str,
    group: str,
    value: str,
    says: str,
) -> None:
    done = _run(tmp_path, command, **{name: (group, value)})
    assert done.returncode == 1
    # Where logs go if nobody says where.
    output = done.stdout + done.stderr
    assert output.count(says) == 1, output
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("command", "arguments", "status"),
    [
        ("dbsync", ["online_data_migrations"], 2),
        ("manage", ["host", "list"], 2),
        ("status", ["topology"], 2),
    ],
)
@pytest.mark.parametrize(
    ("value", "says"),
    [
        (AWAY, "The database does not answer, or refuses; see [database]"),
        ("nosuch://a/b", "[database] connection is not valid: "),
    ],
)
def test_tools(
    tmp_path: pathlib.Path,
    command: str,
    arguments: list[str],
    status: int,
    value: str,
    says: str,
) -> None:
    done = _run(tmp_path, command, *arguments, connection=("database", value))
    assert done.returncode == status
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("command", "arguments", "status"),
    [("dbsync", ["version"], 1), ("status", ["upgrade", "check"], 2)],
)
def test_option_that_is_no_number(
    tmp_path: pathlib.Path, command: str, arguments: list[str], status: int
) -> None:
    done = _run(
        tmp_path, command, *arguments, bind_timeout=("DEFAULT", "long")
    )
    assert done.returncode == status
    assert "Configuration: Value for option bind_timeout" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_workers_are_not_started_in_vain(tmp_path: pathlib.Path) -> None:
    done = _run(
        tmp_path,
        "api",
        api_workers=("api", "2"),
        auth_type=("keystone_authtoken", "passwrd"),
    )
    assert done.returncode == 1
    output = done.stdout + done.stderr
    assert output.count("[keystone_authtoken] is not valid: ") == 1, output
    assert "Traceback" not in output


def test_file_that_is_not_there(tmp_path: pathlib.Path) -> None:
    done = _run(tmp_path, "status", "--config-file", "nosuch", "topology")
    assert done.returncode == 2
    assert done.stderr.startswith("Configuration: Failed to find some config")
    assert len(done.stderr.splitlines()) == 1


def test_wsgi_server(tmp_path: pathlib.Path) -> None:
    # One of the places where the configuration is looked for.
    (tmp_path / "cyborg.conf").write_text("[oslo_policy]\n")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", "import cyborg.wsgi.api"],
        env=process.environment() | {"HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    # What uwsgi takes for the end.
    assert done.returncode == 22
    assert "[keystone_authtoken] auth_type is not valid: " in done.stderr
    assert "Traceback" not in done.stderr


class _Commands:
    """Takes for a parser what add_commands() declares."""

    def __init__(self, words: list[str], found: list[list[str]]) -> None:
        self.words, self.found = words, found

    def add_parser(self, name: str, **_about: Any) -> "_Commands":
        return _Commands([*self.words, name], self.found)

    def add_subparsers(self, **_about: Any) -> "_Commands":
        return self

    def add_argument(self, name: str, **about: Any) -> None:
        if not name.startswith("-"):
            any_ = ["6f0bd3c1-9d2a-4a77-8f0e-0c7c0d7f6a11"]
            self.words.append(about.get("choices", any_)[0])

    def set_defaults(self, **_defaults: Any) -> None:
        self.found.append(self.words)


def _commands() -> list[list[str]]:
    found: list[list[str]] = []
    manage.add_commands(_Commands([], found))
    return found


def test_every_tool_says_at_once_that_the_database_is_away(
    tmp_path: pathlib.Path,
) -> None:
    """And does not try it for as long as a daemon would."""
    # What to type for the bus is in no database.
    commands = [words for words in _commands() if words[0] != "bus"]
    assert len(commands) > 12
    away = "sqlite:////nowhere/x.sqlite"
    for command, words, url in [
        ("status", ["topology"], AWAY),
        ("manage", ["profile", "repair"], AWAY),
        *(("manage", words, away) for words in commands),
    ]:
        done = _run(
            tmp_path,
            command,
            *words,
            connection=("database", url),
            max_retries=("database", "10"),
        )
        (line,) = done.stderr.splitlines()
        assert line.startswith("The database does not answer"), words
        assert (done.returncode, done.stdout) == (2, ""), words
