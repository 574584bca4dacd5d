"""What the documentation names is there."""

import argparse
from importlib import metadata
import pathlib
import pkgutil
import re
from typing import Any

from oslo_config import generator
from oslo_db import options as db_options
import pytest

from cyborg.cmd import dbsync
from cyborg.cmd import manage

TREE = pathlib.Path(__file__).parents[3]
PAGES = sorted((TREE / "doc" / "source").rglob("*.rst"))

# ``cyborg.conductor.requests.binding.bind``
NAME = re.compile(r"``(cyborg(?:\.\w+)+)``")
# ``[conductor] job_lease = 30``, possibly over two lines
OPTION = re.compile(r"``\[(\w+)\]\s+(\w+)\b")
COMMAND = re.compile(r"\bcyborg-(manage|dbsync|status) ((?:[a-z_]+ ?)+)")
ACCELERATOR = re.compile(
    r"\bopenstack (?:--\S+ \S+ )*accelerator ((?:[a-z]+ ?)+)"
)
FILE = re.compile(r"``((?:devstack|doc|etc|setup|tools|cyborg)/[\w./-]+)``")

# Options of Nova's, of releases before, and what deployment tools write for
# nobody.
FOREIGN = {
    ("conductor", "automated_clean"),
    ("compute", "arq_binding_timeout"),
    ("devices", "enabled_mdev_types"),
    ("libvirt", "pmem_namespaces"),
    ("pci", "device_spec"),
    ("keystone_authtoken", "endpoint_type"),
    ("service_catalog", "auth_type"),
}
# Made on demand, or by the tool itself.
UNTRACKED = {"etc/cyborg/cyborg.conf.sample", "etc/cyborg/policy.yaml.sample"}


def found(pattern: re.Pattern[str]) -> set[tuple[str, Any]]:
    """Return page and match, of all pages."""
    return {
        (str(page.relative_to(TREE)), match)
        for page in PAGES
        for match in pattern.findall(page.read_text())
    }


@pytest.fixture(scope="module")
def options() -> set[tuple[str, str]]:
    config = (TREE / "tools/config/cyborg-config-generator.conf").read_text()
    names = re.findall(r"^namespace = (\S+)", config, re.MULTILINE)
    assert "cyborg" in names
    return {
        (str(group or "DEFAULT").split(" ")[0], option.dest)
        for _, listed in generator._list_opts(names)
        for group, opts in listed
        for option in opts
    } | {("database", option.dest) for option in db_options.database_opts}


def test_names_are_importable() -> None:
    named = found(NAME)
    assert len(named) > 30
    wrong = []
    for page, name in sorted(named):
        try:
            pkgutil.resolve_name(name)
        except (ImportError, AttributeError):
            wrong.append(f"{page}: {name}")
    assert wrong == []


def test_options_exist(options: set[tuple[str, str]]) -> None:
    named = found(OPTION)
    assert len(named) > 20
    assert [
        f"{page}: [{group}] {name}"
        for page, (group, name) in sorted(named)
        if (group, name) not in options | FOREIGN
        and not group.startswith(("vgpu_", "x710"))
    ] == []


def commands(handler: Any) -> set[str]:
    """Return the sub-commands of a tool, as they are typed."""

    def walk(parser: argparse.ArgumentParser) -> list[str]:
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                return [
                    f"{name} {rest}".strip()
                    for name, child in action.choices.items()
                    for rest in walk(child)
                ]
        return [""]

    parser = argparse.ArgumentParser()
    handler(parser.add_subparsers())
    return set(walk(parser))


def test_commands_exist() -> None:
    known = {
        "manage": commands(manage.add_commands),
        "dbsync": commands(dbsync.add_commands),
        "status": {"upgrade check", "topology"},
    }
    named = found(COMMAND)
    assert len(named) > 15
    wrong = []
    for page, (tool, typed) in sorted(named):
        if not any(
            f"{typed.strip()} ".startswith(f"{command} ")
            for command in known[tool]
        ):
            wrong.append(f"{page}: cyborg-{tool} {typed}")
    assert wrong == []


def test_commands_of_the_client_exist() -> None:
    known = {
        entry.name.removeprefix("accelerator_").replace("_", " ")
        for entry in metadata.distribution(
            "python-openstackclient"
        ).entry_points
        if entry.group == "openstack.accelerator.v2"
    }
    named = found(ACCELERATOR)
    assert len(named) > 15
    assert [
        f"{page}: {typed}"
        for page, typed in sorted(named)
        if not any(f"{typed} ".startswith(f"{name} ") for name in known)
    ] == []


def test_files_exist() -> None:
    named = found(FILE)
    assert named
    assert [
        f"{page}: {path}"
        for page, path in sorted(named)
        if path not in UNTRACKED and not (TREE / path).exists()
    ] == []
