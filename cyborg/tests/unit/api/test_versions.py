"""Microversions: the history page tells of each one that is served."""

import pathlib
import re

import pytest

from cyborg.api import versions

PAGE = (
    pathlib.Path(__file__).parents[4]
    / "doc/source/reference/api-microversion-history.rst"
)


def test_history_has_every_version() -> None:
    if not PAGE.exists():
        pytest.skip("not a source tree")
    told = re.findall(r"^(\d+\.\d+)\n---$", PAGE.read_text(), re.MULTILINE)
    assert told == [
        f"{versions.MINIMUM.major}.{minor}"
        for minor in range(versions.MINIMUM.minor, versions.MAXIMUM.minor + 1)
    ]
    named = {
        str(value)
        for value in vars(versions).values()
        if isinstance(value, versions.Version)
    }
    assert set(told) == named
