"""Tests of the local flake8 checks."""

import ast
import pathlib

import pytest

from cyborg.hacking import checks

PACKAGE = pathlib.Path(checks.__file__).parents[1]


def check(filename: str, code: str) -> list[str]:
    found = checks.ImportOrder(ast.parse(code), filename).run()
    return [text for _, _, text, _ in found]


@pytest.mark.parametrize(
    ("filename", "code"),
    [
        ("cyborg/api/app.py", "from cyborg.db import device"),
        ("cyborg/api/app.py", "from cyborg.conductor import rpcapi"),
        ("cyborg/conductor/manager.py", "from cyborg.conductor import jobs"),
        ("cyborg/conductor/manager.py", "from cyborg.agent import rpcapi"),
        ("cyborg/accelerator/pci.py", "from cyborg.objects import report"),
        ("cyborg/accelerator/pci.py", "from cyborg.common import exception"),
        ("cyborg/objects/arq.py", "from cyborg.objects import base"),
        ("cyborg/cmd/standalone.py", "from cyborg.conductor import manager"),
        ("cyborg/tests/unit/test_x.py", "from cyborg.db import device"),
        ("./cyborg/db/arq.py", "from cyborg import context"),
        ("cyborg/db/arq.py", "import os"),
        (
            "cyborg/common/policy.py",
            "if TYPE_CHECKING:\n    from cyborg.db import device",
        ),
    ],
)
def test_allowed(filename: str, code: str) -> None:
    assert check(filename, code) == []


@pytest.mark.parametrize(
    ("filename", "code", "message"),
    [
        (
            "cyborg/api/app.py",
            "from cyborg.conductor import manager",
            "CY1 cyborg.api.app may not import cyborg.conductor.manager",
        ),
        (
            "/src/cyborg/cyborg/agent/manager.py",
            "import cyborg.db.device",
            "CY1 cyborg.agent.manager may not import cyborg.db.device",
        ),
        (
            "cyborg/agent/manager.py",
            "from cyborg.objects import arq",
            "CY1 cyborg.agent.manager may not import cyborg.objects.arq",
        ),
        (
            "cyborg/accelerator/drivers/fake.py",
            "from cyborg.common import rpc",
            "CY1 cyborg.accelerator.drivers.fake may not import "
            "cyborg.common.rpc",
        ),
        (
            "cyborg/objects/report.py",
            "def f():\n    from cyborg.db import device",
            "CY1 cyborg.objects.report may not import cyborg.db.device",
        ),
        (
            "cyborg/conf/__init__.py",
            "from cyborg.common import constants",
            "CY1 cyborg.conf may not import cyborg.common.constants",
        ),
        (
            "cyborg/conductor/rpcapi.py",
            "from cyborg.conductor import manager",
            "CY1 cyborg.conductor.rpcapi may not import "
            "cyborg.conductor.manager",
        ),
        (
            "cyborg/cmd/api.py",
            "import eventlet.wsgi",
            "CY2 services run on threads, without eventlet",
        ),
    ],
)
def test_refused(filename: str, code: str, message: str) -> None:
    assert check(filename, code) == [message]


def test_every_rule_names_something_that_exists() -> None:
    named = set(checks.MAY_IMPORT) | set(checks.NEVER)
    for allowed in (*checks.MAY_IMPORT.values(), *checks.NEVER.values()):
        named.update(allowed)
    for name in named:
        path = PACKAGE.joinpath(*name.split(".")[1:])
        assert path.is_dir() or path.with_suffix(".py").is_file(), name
