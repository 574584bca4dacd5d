"""What is silent when it is forgotten: each of these names what is missing.

A controller that nobody registers, a machine that no report is compared on or
a driver without a page breaks nothing else.
"""

import configparser
import importlib
import inspect
import pathlib
import pkgutil
import re
import textwrap

import pytest

from cyborg import policies
from cyborg.api import app
from cyborg.api.controllers import v2 as controllers
from cyborg.common import exception
from cyborg.conductor.inventory import checking
from cyborg.objects import base
from cyborg.objects import report
from cyborg.tests.unit.accelerator.drivers import reports
from cyborg.tests.unit.accelerator.drivers import test_entry_points

TREE = pathlib.Path(__file__).parents[3]
FIXTURES = TREE / "cyborg" / "tests" / "fixtures"
GABBITS = TREE / "cyborg" / "tests" / "functional" / "gabbits"
PAGES = TREE / "doc" / "source" / "admin" / "drivers"

# Machines that are there for something else than the report of a driver.
NOT_REPORTED = {
    "busy_host": "what a host itself uses",
    "empty_host": "a host without cards",
}
# Fields of a reported device that are no column of the same name, and what
# becomes of them.
STORED_ELSEWHERE = {
    "controlpath_id": "table control_path_ids",
    "deployable_list": "tables of deployables and what belongs to them",
    "stub": "such a device is left as it is stored",
    "device_state": "follows from the handles; see cyborg.db.device_state",
    "serial": "part of the identity; see cyborg.db.device_identity",
}


def _modules(package) -> list[str]:
    return [module.name for module in pkgutil.iter_modules(package.__path__)]


def _drivers() -> dict[str, str]:
    setup = configparser.ConfigParser()
    setup.read(TREE / "setup.cfg")
    lines = setup["entry_points"]["cyborg.accelerator.driver"].split("\n")
    return {
        name.strip(): path.strip()
        for name, _, path in (line.partition("=") for line in lines if line)
    }


@pytest.mark.parametrize("name", _modules(controllers))
def test_controllers_are_served(name):
    module = importlib.import_module(f"{controllers.__name__}.{name}")
    served = {type(controller) for controller in app.CONTROLLERS}
    own = {
        found
        for _name, found in inspect.getmembers(module, inspect.isclass)
        if found.__module__ == module.__name__
        and found.__name__.endswith("Controller")
    }
    assert own, f"{name} has no controller"
    assert own <= served, "add it to CONTROLLERS in cyborg/api/app.py"


@pytest.mark.parametrize("name", _modules(controllers))
def test_resources_have_a_story(name):
    stories = [path.stem for path in GABBITS.glob("*.yaml")]
    assert any(
        story.startswith(name.replace("_", "-")) for story in stories
    ), f"write {GABBITS.relative_to(TREE)}/{name.replace('_', '-')}.yaml"


@pytest.mark.parametrize("name", _modules(policies))
def test_policies_are_listed(name):
    module = importlib.import_module(f"{policies.__name__}.{name}")
    listed = {rule.name for rule in policies.list_rules()}
    assert {rule.name for rule in module.list_rules()} <= listed, (
        "add it to _MODULES in cyborg/policies/__init__.py"
    )


@pytest.mark.parametrize(
    "machine",
    sorted(path.stem for path in (FIXTURES / "machines").glob("*.txt")),
)
def test_machines_have_reports(machine):
    used = {row[1] for row in reports.REPORTS}
    assert (machine in used) != (machine in NOT_REPORTED), (
        "add it to REPORTS in cyborg/tests/unit/accelerator/drivers/reports.py"
    )


def test_reports_belong_to_a_machine():
    written = {path.stem for path in (FIXTURES / "reports").glob("*.txt")}
    assert written == {row[0] for row in reports.REPORTS}


@pytest.mark.parametrize("name", sorted(_drivers()))
def test_drivers_are_described(name):
    assert name in test_entry_points.NAMES, "add it to NAMES of its tests"
    table = (PAGES / "index.rst").read_text()
    row = re.search(rf"\* - :doc:`[^`]*\b{name}\b[^`]*<([\w-]+)>`", table)
    assert row, "add its row to drivers/index.rst"
    page = PAGES / f"{row[1]}.rst"
    assert name in page.read_text(), (
        f"{page.relative_to(TREE)} is not about it"
    )


def test_fields_of_reported_devices_are_stored():
    fields = set(report.DriverDevice.fields) - set(base.CyborgObject.fields)
    stored = set(checking.DEVICE_FIELDS) | set(STORED_ELSEWHERE)
    assert fields <= stored, (
        "store it by DEVICE_FIELDS in cyborg/conductor/inventory/checking.py, "
        "or say in STORED_ELSEWHERE what becomes of it"
    )


def _tree(error: type[exception.CyborgException], depth: int = 0) -> list[str]:
    lines = [
        "    " * depth + f"{error.__name__:<{40 - 4 * depth}}{error.code}"
    ]
    below = [
        found
        for found in error.__subclasses__()
        if found.__module__ == exception.__name__
    ]
    for found in sorted(below, key=lambda found: found.__name__):
        lines += _tree(found, depth + 1)
    return lines


def test_errors_are_drawn():
    text = "\n".join(_tree(exception.CyborgException))
    page = TREE / "doc" / "source" / "contributor" / "errors.rst"
    assert textwrap.indent(text, "    ") in page.read_text(), (
        f"the tree in {page.relative_to(TREE)} has to be:\n{text}"
    )
