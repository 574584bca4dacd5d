"""Options whose values of before have to be taken."""

import pytest

from cyborg.tests.fixtures import driver as driver_fixture


@pytest.mark.parametrize(
    ("name", "default"),
    [
        ("periodic_interval", 60),
        ("thread_pool_size", 10),
        ("bind_timeout", 60),
    ],
)
def test_number_below_one_is_the_default(name: str, default: int) -> None:
    for given, taken in (("0", default), ("-5", default), ("1", 1)):
        conf = driver_fixture.conf(DEFAULT={name: given})
        assert conf[name] == taken


def test_workers_below_one_are_as_many_as_processors() -> None:
    for given, taken in (("0", None), ("-1", None), ("3", 3)):
        conf = driver_fixture.conf(api={"api_workers": given})
        assert conf.api.api_workers == taken
