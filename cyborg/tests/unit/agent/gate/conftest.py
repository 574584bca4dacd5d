"""Machines for whole agents."""

from collections.abc import Callable
import pathlib

import pytest

from cyborg.tests.fixtures import machine


@pytest.fixture
def unpack(tmp_path: pathlib.Path) -> Callable[[str], pathlib.Path]:
    """Return what makes a recorded machine."""

    def unpack(name: str) -> pathlib.Path:
        return machine.unpack(f"gate/{name}", tmp_path / name)

    return unpack


@pytest.fixture
def build(tmp_path: pathlib.Path) -> Callable[..., pathlib.Path]:
    """Return what makes a machine of texts."""

    def build(*texts: str) -> pathlib.Path:
        return machine.unpack_text("".join(texts), tmp_path / "built")

    return build
