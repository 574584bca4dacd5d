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


def patches(code: str, filename: str = "cyborg/common/policy.py") -> list[str]:
    found = checks.Patches(ast.parse(code), filename).run()
    return [text for _, _, text, _ in found]


@pytest.mark.parametrize(
    "code",
    [
        "import pecan.util\npecan.util.getargspec = None",
        "from oslo_policy import _checks\n_checks.inspect = None",
        "from oslo_upgradecheck import upgradecheck as u\nu.CONF = 1",
        "import webob\nsetattr(webob.Request, 'json', None)",
        "import os\nx, os.sep = 1, '/'",
        "def f(pool):\n    pool._pre_ping = False",
        "from cyborg.conf import CONF\nCONF._mutable_ns = None",
    ],
)
def test_patches_are_found(code: str) -> None:
    assert len(patches(code)) == 1
    assert patches(code, "cyborg/_compat.py") == []
    assert patches(code, "cyborg/tests/unit/test_x.py") == []


@pytest.mark.parametrize(
    "code",
    [
        "import os\nos.environ['A'] = 'b'",
        "class C:\n    def f(self):\n        self._x = 1",
        "def f(request):\n    request.status = 1",
        "import os\nseparator = os.sep",
        "from cyborg.common import policy\npolicy.x = 1",
    ],
)
def test_what_patches_nothing_is_not_found(code: str) -> None:
    assert patches(code) == []
