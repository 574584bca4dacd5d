"""Local flake8 checks.

``CY1`` keeps the order of packages: each knows only what lies below it, so
that, say, drivers run on hosts without a database. ``CY2`` keeps eventlet
out: every service runs on native threads. ``CY3`` keeps the insides of other
packages as they are.
"""

import ast
from collections.abc import Iterator
from typing import Any

# What a part may import besides itself. The longest matching name decides,
# on both sides; a part that is not listed may import everything.
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "cyborg.conf": (),
    "cyborg.policies": (),
    "cyborg.privsep": (),
    "cyborg.hacking": (),
    "cyborg._compat": (),
    "cyborg.common": (
        "cyborg._compat",
        "cyborg.conf",
        "cyborg.policies",
        "cyborg.context",
    ),
    # Runs managers: the one piece of the floor that knows objects.
    "cyborg.common.service": (
        "cyborg.common",
        "cyborg.conf",
        "cyborg.objects",
    ),
    "cyborg.context": ("cyborg.common",),
    "cyborg.db": (
        "cyborg._compat",
        "cyborg.context",
        "cyborg.common",
        "cyborg.conf",
    ),
    "cyborg.clients": ("cyborg.common", "cyborg.conf", "cyborg.context"),
    "cyborg.objects": ("cyborg.db", "cyborg.common", "cyborg.context"),
    "cyborg.objects.base": ("cyborg.common",),
    "cyborg.objects.fields": ("cyborg.common",),
    "cyborg.objects.report": (
        "cyborg.objects.base",
        "cyborg.objects.fields",
        "cyborg.common",
    ),
    "cyborg.objects.driver_objects": ("cyborg.objects.report",),
    "cyborg.accelerator": (
        "cyborg.objects.report",
        "cyborg.privsep",
        "cyborg.common",
        "cyborg.conf",
    ),
    "cyborg.agent": (
        "cyborg.accelerator",
        "cyborg.clients",
        "cyborg.conductor.rpcapi",
        "cyborg.context",
        "cyborg.common",
        "cyborg.conf",
        "cyborg.objects.base",
        "cyborg.objects.report",
    ),
    "cyborg.agent.rpcapi": (
        "cyborg.common",
        "cyborg.context",
        "cyborg.objects.base",
    ),
    "cyborg.conductor": (
        "cyborg.objects",
        "cyborg.db",
        "cyborg.clients",
        "cyborg.agent.rpcapi",
        "cyborg.context",
        "cyborg.common",
        "cyborg.conf",
    ),
    "cyborg.manage": (
        "cyborg.accelerator",
        "cyborg.conductor",
        "cyborg.objects",
        "cyborg.db",
        "cyborg.clients",
        "cyborg.context",
        "cyborg.common",
        "cyborg.conf",
    ),
    "cyborg.conductor.rpcapi": (
        "cyborg.common",
        "cyborg.context",
        "cyborg.objects.base",
        "cyborg.objects.report",
    ),
    # The read functions of cyborg.db as well: lists are rendered from rows,
    # and objects between the two double the time of a long list.
    "cyborg.api": (
        "cyborg.objects",
        "cyborg.db",
        "cyborg.conductor.rpcapi",
        "cyborg.policies",
        "cyborg.context",
        "cyborg.common",
        "cyborg.conf",
    ),
}

# The wings of the conductor, each closed to those that stand before it.
_WINGS = (
    "cyborg.conductor.requests",
    "cyborg.conductor.inventory",
    "cyborg.conductor.work",
    "cyborg.conductor.placement",
    "cyborg.conductor.life",
    "cyborg.conductor.telling",
)

# Parts that are closed to some of those that stand above or beside them.
NEVER: dict[str, tuple[str, ...]] = {
    **{wing: _WINGS[:i] for i, wing in enumerate(_WINGS) if i},
    "cyborg.conductor.quota": _WINGS,
    "cyborg.accelerator": ("cyborg.common.rpc", "cyborg.common.service"),
    "cyborg.clients": ("cyborg.common.rpc", "cyborg.common.service"),
    "cyborg.db": ("cyborg.common.rpc", "cyborg.common.service"),
    "cyborg.objects": ("cyborg.common.rpc", "cyborg.common.service"),
}


def _within(name: str, part: str) -> bool:
    return name == part or name.startswith(part + ".")


def _part(name: str) -> str | None:
    """Return the longest name in :data:`MAY_IMPORT` that contains a module."""
    found = [part for part in MAY_IMPORT if _within(name, part)]
    return max(found, key=len, default=None)


def module_name(filename: str) -> str:
    """Return ``cyborg.db.arq`` for ``./cyborg/db/arq.py``."""
    parts = filename.replace("\\", "/").removesuffix(".py").split("/")
    if "cyborg" not in parts:
        return ""
    # A clone may itself lie in a directory named cyborg.
    start = len(parts) - 1 - parts[::-1].index("cyborg")
    names = parts[start:]
    if names[-1] == "__init__":
        names.pop()
    return ".".join(names)


def may_import(importer: str, imported: str) -> bool:
    """Tell whether the order of packages allows an import."""
    if not _within(imported, "cyborg") or imported == "cyborg":
        return True
    part = _part(importer)
    if part is None:
        # Entry points and tests; code of theirs is nobody else's.
        return True
    for closed_to, parts in NEVER.items():
        if _within(importer, closed_to) and any(
            _within(imported, closed) for closed in parts
        ):
            return False
    allowed = (part, *MAY_IMPORT[part])
    return any(_within(imported, name) for name in allowed)


def _is_type_checking(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.If)
        and isinstance(node.test, ast.Name)
        and node.test.id == "TYPE_CHECKING"
    )


def _imports(node: ast.AST) -> Iterator[tuple[ast.stmt, str]]:
    """Yield every import that runs, with the full name of what it names."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield child, alias.name
        elif isinstance(child, ast.ImportFrom) and child.module:
            for alias in child.names:
                yield child, f"{child.module}.{alias.name}"
        elif not _is_type_checking(child):
            yield from _imports(child)


class ImportOrder:
    """flake8 plugin of CY1 and CY2."""

    name = "cyborg-imports"
    version = "1"

    def __init__(self, tree: ast.AST, filename: str) -> None:
        self._tree = tree
        self._module = module_name(filename)

    def run(self) -> Iterator[tuple[int, int, str, type]]:
        for node, name in _imports(self._tree):
            text = None
            if not may_import(self._module, name):
                text = f"CY1 {self._module} may not import {name}"
            elif _within(name, "eventlet"):
                text = "CY2 services run on threads, without eventlet"
            if text:
                yield node.lineno, node.col_offset, text, type(self)


def _imported(tree: ast.AST) -> set[str]:
    """Return the names that stand for something of another package."""
    names = set()
    for node, name in _imports(tree):
        if _within(name, "cyborg"):
            continue
        for alias in getattr(node, "names", ()):
            bound = alias.asname or alias.name.partition(".")[0]
            names.add(bound)
    return names


def _assigned(node: ast.AST) -> Iterator[ast.expr]:
    """Yield what a statement gives a value to."""
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, ast.AugAssign | ast.AnnAssign):
        targets = [node.target]
    elif (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "setattr"
        and node.args
    ):
        # As if it had been written out.
        name = node.args[1] if len(node.args) > 1 else None
        text = name.value if isinstance(name, ast.Constant) else "x"
        targets = [ast.Attribute(node.args[0], str(text), ast.Store())]
    else:
        return
    for target in targets:
        yield from target.elts if isinstance(target, ast.Tuple) else (target,)


class Patches:
    """flake8 plugin: nothing is changed inside of another package.

    Neither by the name that a module imports, nor by a private attribute of
    an object that is not its own. Tests do so all the time, and undo it.
    """

    name = "cyborg-patches"
    version = "1"

    # Where each is told of, with what it gains and a test.
    ALLOWED = ("cyborg._compat", "cyborg.tests")

    def __init__(self, tree: ast.AST, filename: str) -> None:
        self._tree = tree
        self._module = module_name(filename)

    def run(self) -> Iterator[tuple[int, int, str, type]]:
        if any(_within(self._module, name) for name in self.ALLOWED):
            return
        imported = _imported(self._tree)
        for node in ast.walk(self._tree):
            for target in _assigned(node):
                text = self._wrong(target, imported)
                if text:
                    place: Any = node
                    yield place.lineno, place.col_offset, text, type(self)

    def _wrong(self, target: ast.expr, imported: set[str]) -> str | None:
        if not isinstance(target, ast.Attribute):
            return None
        owner = target.value
        while isinstance(owner, ast.Attribute):
            owner = owner.value
        if not isinstance(owner, ast.Name):
            return None
        if owner.id in imported:
            return f"CY3 {owner.id} is of a library, which stays as it is"
        if target.attr.startswith("_") and owner.id not in ("self", "cls"):
            return f"CY3 {target.attr} is private to what {owner.id} is"
        return None
