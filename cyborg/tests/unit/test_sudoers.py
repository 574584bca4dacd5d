"""What the documented lines in sudoers let the agent's user do as root.

The lines are read as sudoers(5) says: the arguments of a command, joined by
blanks, have to match the pattern as a whole, blanks and slashes included.
"""

from collections.abc import Callable
import fnmatch
import pathlib
import shlex
import tempfile

from oslo_config import cfg
from oslo_privsep import priv_context
import pytest

from cyborg import privsep

CONF = cfg.CONF
SOURCE = pathlib.Path(__file__).parents[3]
CONTEXTS = (privsep.sys_admin_pctxt, privsep.sysfs_pctxt)
RULE = "cyborg ALL=(root) NOPASSWD: "


def _rules(name: str, venv: str = "") -> list[str]:
    """Return the commands that the lines of a file allow."""
    text = (SOURCE / name).read_text(encoding="utf-8")
    text = text.replace("{{ cyborg_venv }}", venv).replace("\\\n", " ")
    rules = [
        " ".join(line.strip().removeprefix(RULE).split())
        for line in text.splitlines()
        if line.strip().startswith(RULE)
    ]
    assert rules
    return rules


def _helper(name: str, venv: str = "") -> str:
    """Return the helper's command, as the same file, or its like, sets it."""
    text = (SOURCE / name).read_text(encoding="utf-8")
    text = text.replace("{{ cyborg_venv }}", venv)
    (line,) = {
        line.strip()
        for line in text.splitlines()
        if "helper_command =" in line
    }
    return line.partition("=")[2].strip()


def _is_allowed(rules: list[str], argv: list[str]) -> bool:
    program, *arguments = argv
    for rule in rules:
        path, _blank, pattern = rule.partition(" ")
        if path == program and fnmatch.fnmatchcase(
            " ".join(arguments), pattern
        ):
            return True
    return False


WAYS = [
    (
        _rules("doc/source/install/compute.rst"),
        _helper("doc/source/install/compute.rst"),
    ),
    (
        _rules("setup/site.yml", "/opt/cyborg"),
        _helper("setup/templates/cyborg.conf.j2", "/opt/cyborg"),
    ),
]


Change = Callable[[list[str]], list[str]]


def _command(
    helper: str, context: priv_context.PrivContext, socket: str
) -> list[str]:
    CONF.set_override("helper_command", helper, group="cyborg_sys_admin")
    try:
        sudo, *argv = context.helper_command(socket)
    finally:
        CONF.clear_override("helper_command", group="cyborg_sys_admin")
    assert sudo == "sudo"
    return list(argv)


@pytest.mark.parametrize(("rules", "helper"), WAYS)
@pytest.mark.parametrize("context", CONTEXTS)
def test_the_agent_may_start_its_helpers(
    rules: list[str], helper: str, context: priv_context.PrivContext
) -> None:
    # Where oslo.privsep listens.
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        argv = _command(helper, context, f"{directory}/privsep.sock")
    assert _is_allowed(rules, argv)


SOCKET = "/tmp/tmpabcd_012/privsep.sock"


@pytest.mark.parametrize(("rules", "helper"), WAYS)
@pytest.mark.parametrize(
    "change",
    [
        lambda argv: [*argv, "--log-config-append", "/tmp/evil.ini"],
        lambda argv: [argv[0], "--log-config-append=/tmp/evil.ini", *argv[1:]],
        lambda argv: [
            *argv[:-1],
            f"/tmp/tmpabcd_012 --log-config-append /tmp/x {SOCKET}",
        ],
        lambda argv: [*argv[:-1], "/tmp/x/../tmpabcd_012/privsep.sock"],
        lambda argv: [*argv[:-1], "/home/evil/privsep.sock"],
        lambda argv: [argv[0], "--config-file", "/tmp/evil", *argv[3:]],
        lambda argv: [argv[0], "--config-dir", "/tmp/evil", *argv[1:]],
        lambda argv: [*argv[:4], "os.system", *argv[5:]],
        lambda argv: ["/tmp/privsep-helper", *argv[1:]],
        lambda argv: ["/bin/sh", "-c", *argv],
        lambda argv: argv[:1],
    ],
)
def test_it_may_run_nothing_else(
    rules: list[str], helper: str, change: Change
) -> None:
    argv = _command(helper, CONTEXTS[0], SOCKET)
    assert _is_allowed(rules, argv)
    assert not _is_allowed(rules, change(argv))


def test_the_helper_is_named_once() -> None:
    for rules, helper in WAYS:
        assert {rule.split()[0] for rule in rules} == {shlex.split(helper)[1]}
