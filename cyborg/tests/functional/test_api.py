"""Runs the stories in ``gabbits/``: requests to the API and its answers."""

import pathlib
from typing import Any

from gabbi import driver
from gabbi.driver import test_pytest

from cyborg.tests.functional import gabbi_fixtures

__all__ = ["test_pytest"]

DIRECTORY = str(pathlib.Path(__file__).parent / "gabbits")


def pytest_generate_tests(metafunc: Any) -> None:
    driver.py_test_generator(
        DIRECTORY,
        intercept=gabbi_fixtures.application,
        fixture_module=gabbi_fixtures,
        test_loader_name="api",
        metafunc=metafunc,
    )
