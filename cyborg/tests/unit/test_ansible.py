"""The playbook of setup/ and the units it installs agree with the code."""

import configparser
import pathlib
import subprocess
import sys
from typing import Any

import jinja2
import pytest
import yaml

TREE = pathlib.Path(__file__).parents[3]
SETUP = TREE / "setup"
SERVICES = ("api", "conductor", "agent")


def unit(service: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(TREE / f"etc/systemd/openstack-cyborg-{service}.service")
    return parser


@pytest.mark.parametrize("service", SERVICES)
def test_unit(service: str) -> None:
    section = unit(service)["Service"]
    assert section["Type"] == "simple"
    assert section["User"] == "cyborg"
    assert section["ExecStart"].startswith(f"/usr/bin/cyborg-{service} ")
    assert section["PrivateTmp"] == "true"
    assert unit(service)["Install"]["WantedBy"] == "multi-user.target"


def test_agent_may_use_sudo() -> None:
    assert unit("agent")["Service"].get("NoNewPrivileges", "false") == "false"


def test_commands_exist() -> None:
    setup_cfg = configparser.ConfigParser(interpolation=None)
    setup_cfg.read(TREE / "setup.cfg")
    scripts = setup_cfg["entry_points"]["console_scripts"]
    for service in SERVICES:
        assert f"cyborg-{service} = cyborg.cmd.{service}:main" in scripts


def test_playbook_names_files_that_exist() -> None:
    plays = yaml.safe_load((SETUP / "site.yml").read_text())
    sources = [
        (directory, task[module]["src"])
        for play in plays
        for task in play["tasks"]
        for module, directory in (
            ("ansible.builtin.copy", SETUP),
            ("ansible.builtin.template", SETUP / "templates"),
        )
        if "src" in task.get(module, {})
    ]
    assert sources
    for directory, source in sources:
        assert (directory / source).is_file(), source


@pytest.mark.parametrize("groups", [["controller"], ["compute"]])
def test_configuration_is_valid(
    groups: list[str], tmp_path: pathlib.Path
) -> None:
    variables: dict[str, Any] = yaml.safe_load(
        (SETUP / "group_vars/all.yml").read_text()
    )
    variables |= {"group_names": groups, "cyborg_api_host_ip": "192.0.2.1"}
    template = (SETUP / "templates/cyborg.conf.j2").read_text()
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined)
    rendered = tmp_path / "cyborg.conf"
    rendered.write_text(environment.from_string(template).render(variables))
    assert ("[database]" in rendered.read_text()) == (groups == ["controller"])
    ended = subprocess.run(
        [
            *(sys.executable, "-m", "oslo_config.validator"),
            "--config-file",
            str(TREE / "tools/config/cyborg-config-generator.conf"),
            *("--input-file", str(rendered)),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
