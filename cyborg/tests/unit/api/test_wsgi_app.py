"""The application as WSGI servers load it."""

import pathlib
import subprocess
import sys

import pytest

from cyborg.api import wsgi_app
from cyborg.tests.fixtures import process


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--config-file", "{config}"],
        ["--config-dir={directory}", "--debug"],
        # To be complained about.
        ["--config-file", "{directory}/nosuch"],
    ],
)
def test_options_of_the_application(
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
) -> None:
    config = tmp_path / "cyborg.conf"
    config.write_text("[api]\nport = 1\n")
    given = [
        each.format(config=config, directory=tmp_path) for each in arguments
    ]
    monkeypatch.setattr(sys, "argv", ["uwsgi", *given])
    assert wsgi_app._arguments() == given


@pytest.mark.parametrize(
    "command_line",
    [
        "gunicorn -w 4 -b 127.0.0.1:6666 cyborg.wsgi.api:application",
        "gunicorn --log-file - cyborg.wsgi.api:application",
        "gunicorn --config gunicorn.py cyborg.wsgi.api",
        "waitress-serve --port=6666 cyborg.wsgi.api:application",
        "server --version",
        "server --help",
    ],
)
def test_command_line_of_a_server(
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    command_line: str,
) -> None:
    monkeypatch.setattr(sys, "argv", command_line.split())
    assert wsgi_app._arguments() == []
    assert capfd.readouterr() == ("", "")


# As Apache's module does, which goes on after a failure.
TWICE = """
import os, runpy
from oslo_service import backend
for _attempt in range(2):
    try:
        runpy.run_path(os.environ["SCRIPT"])
    except SystemExit as error:
        print(error.code)
print(backend.get_backend_type())
from cyborg.conf import CONF
print(CONF.oslo_messaging_rabbit.processname)
"""


def test_file_that_is_run_twice_says_twice_what_is_wrong(
    tmp_path: pathlib.Path,
) -> None:
    (tmp_path / "cyborg.conf").write_text("[oslo_policy]\n")
    path = process.REPOSITORY / "cyborg/wsgi/api.py"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", TWICE],
        env=process.environment(HOME=str(tmp_path), SCRIPT=str(path)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines() == [
        "22",
        "22",
        "BackendType.THREADING",
        # Not the server, whose other applications may be on the bus, too.
        "cyborg-api",
    ], done.stderr
    reason = "[keystone_authtoken] auth_type is not valid: It is not set."
    assert done.stderr.count(reason) == 2
    assert "Traceback" not in done.stderr
