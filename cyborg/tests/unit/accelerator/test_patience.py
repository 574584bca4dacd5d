"""Calls that never return, and those that do."""

import threading

import pytest

from cyborg.accelerator import patience
from cyborg.common import exception


@pytest.fixture(autouse=True)
def limit(monkeypatch):
    monkeypatch.setattr(patience, "LIMIT", 0.05)


def test_answers_and_errors():
    def call(key):
        return 12 // key

    patient: patience.Patience[int, int] = patience.Patience("dividing")
    found = patient.each(call, [3, 0, 4])
    assert isinstance(found.pop(0), ZeroDivisionError)
    assert found == {3: 4, 4: 3}


def test_nothing():
    patient: patience.Patience[int, int] = patience.Patience("dividing")
    assert patient.each(lambda key: key, []) == {}


@pytest.mark.parametrize("stuck", [["a"], ["c"], ["a", "b"], ["a", "b", "c"]])
def test_what_does_not_return_stops_nobody(stuck):
    gate = threading.Event()
    asked = []

    def call(key):
        asked.append(key)
        if key in stuck:
            gate.wait()
        return key.upper()

    patient: patience.Patience[str, str] = patience.Patience("reading")
    for _time in range(2):
        found = patient.each(call, "abc")
        assert sorted(found) == ["a", "b", "c"]
        for key, answer in found.items():
            if key in stuck:
                assert isinstance(answer, exception.HardwareFailed)
                assert answer.faultstring == f"reading {key} does not return"
            else:
                assert answer == key.upper()
    # What did not return was asked once.
    assert sorted(asked) == sorted("abc" + "".join(set("abc") - set(stuck)))
    threads = list(patient._stuck.values())
    gate.set()
    for thread in threads:
        thread.join()
    assert patient.each(call, "abc") == {"a": "A", "b": "B", "c": "C"}
