"""When callers are kept from a peer that is away."""

import pytest

from cyborg.clients import breaker


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(breaker.time, "monotonic", clock.monotonic)
    return clock


def test_one_attempt_in_a_while(clock: Clock) -> None:
    guard = breaker.Breaker("Placement")
    assert [guard.enter() for _ in range(3)] == [None] * 3
    guard.failed("refused")
    assert guard.is_open
    attempts = []
    for _ in range(300):
        clock.now += 0.1
        for _caller in range(4):
            if guard.enter() is None:
                attempts.append(round(clock.now - 1000, 1))
                guard.failed("still refused")
    gaps = [b - a for a, b in zip([0.0, *attempts], attempts, strict=False)]
    assert gaps[:3] == pytest.approx([1, 2, 4], abs=0.2)
    assert gaps[3:] == pytest.approx([5] * len(gaps[3:]), abs=0.2)
    assert len(attempts) == 7
    assert guard.enter() == "still refused"


def test_the_others_wait_for_an_attempt(clock: Clock) -> None:
    guard = breaker.Breaker("Placement")
    guard.failed("refused")
    clock.now += 1
    assert guard.enter() is None
    clock.now += 30
    assert guard.enter() == "refused"
    guard.succeeded()
    assert not guard.is_open
    assert [guard.enter() for _ in range(3)] == [None] * 3
    # It begins anew.
    guard.failed("refused")
    clock.now += 1
    assert guard.enter() is None


def test_an_attempt_that_nobody_ended(clock: Clock) -> None:
    guard = breaker.Breaker("Placement")
    guard.failed("refused")
    clock.now += 1
    assert guard.enter() is None
    clock.now += 60
    assert guard.enter() is None
