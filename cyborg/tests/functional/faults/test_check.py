"""The checks of a storm see what they are for."""

import math

import pytest

from cyborg.tests.functional.faults.clients import Holding


@pytest.mark.parametrize(
    ("handle", "arq", "since", "until", "collides"),
    [
        ("h1", "b", 15, 30, True),
        ("h1", "b", 5, math.inf, True),
        ("h1", "b", 12, 13, True),
        ("h1", "b", 20, math.inf, False),
        ("h1", "b", 1, 10, False),
        ("h2", "b", 15, 30, False),
        ("h1", "a", 15, 30, False),
    ],
)
def test_a_handle_that_two_had_at_once(
    handle: str, arq: str, since: float, until: float, collides: bool
) -> None:
    one = Holding("h1", "server", "a", 10, 20)
    other = Holding(handle, "server", arq, since, until)
    assert one.collides(other) is collides
    assert other.collides(one) is collides
