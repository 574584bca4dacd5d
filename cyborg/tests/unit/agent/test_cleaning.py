"""Cleaning may be asked for twice, and cut short anywhere."""

from collections.abc import Iterator
import pathlib
import threading
from typing import Any

from oslo_utils import uuidutils
import pytest

from cyborg.accelerator import driver as driver_api
from cyborg.agent import cleaning
from cyborg.agent import discovery
from cyborg.agent import intents
from cyborg.agent import report
from cyborg.common import exception
from cyborg.tests.unit.agent import conftest

JOB = uuidutils.generate_uuid()
HANDLE = {
    "uuid": uuidutils.generate_uuid(),
    "attach_type": "PCI",
    "attach_info": conftest.cpid()["cpid_info"],
}


class Crash(BaseException):
    """The agent dies here."""


class Card(conftest.ListDriver, driver_api.Cleanable):
    """A card that notes the steps by which it was cleaned."""

    def __init__(self, *devices: Any) -> None:
        super().__init__(*devices)
        self.steps = [
            driver_api.Step("erase", "data", 60),
            driver_api.Step("reset", "registers", 60, lasts=False),
        ]
        self.done: list[str] = []
        self.errors: dict[str, BaseException] = {}
        self.has: str | None = None
        # A step after which somebody opens it.
        self.grabbed_after: str | None = None
        self.entered = threading.Event()
        self.release = threading.Event()
        self.release.set()

    def cleaning_steps(
        self, controlpath_id: dict[str, Any], handle: dict[str, Any]
    ) -> list[driver_api.Step]:
        if not self.steps:
            raise driver_api.CannotClean(reason="nvme is not installed")
        return self.steps

    def clean(
        self,
        controlpath_id: dict[str, Any],
        handle: dict[str, Any],
        step: driver_api.Step,
    ) -> None:
        assert (controlpath_id, handle) == (conftest.cpid(), HANDLE)
        self.entered.set()
        assert self.release.wait(60)
        if step.name in self.errors:
            raise self.errors[step.name]
        self.done.append(step.name)
        if step.name == self.grabbed_after:
            self.has = "somebody"

    def holder(
        self, controlpath_id: dict[str, Any], handle: dict[str, Any]
    ) -> str | None:
        return self.has


class Host:
    """A machine with a card: its agent restarts, it boots."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = directory
        self.card = Card(conftest.device(), conftest.device("0d"))
        self.boots = 0
        self.restart()

    def restart(self) -> None:
        found = discovery.Discovery(
            conftest.enabled(one=self.card),
            report.Cache(self.directory / "cache.json"),
        )
        found.run()
        self.ended: list[str] = []
        self.told = threading.Event()
        self.cleaner = cleaning.Cleaner(
            found,
            intents.IntentLog(
                self.directory / "intents.json", f"boot {self.boots}"
            ),
            self._note,
        )

    def _note(self, job: str) -> None:
        self.ended.append(job)
        self.told.set()

    def boot(self) -> None:
        self.boots += 1
        self.restart()

    def clean(
        self,
        attempt: int = 0,
        name: str = "one",
        job: str = JOB,
        sequence: int | None = None,
    ) -> tuple[str, Any]:
        answer = self.cleaner.clean(
            job, attempt, HANDLE, conftest.cpid(), name, sequence
        )
        if answer["state"] != "done":
            return answer["state"], answer["reason"]
        return "done", [step["name"] for step in answer["steps"]]


@pytest.fixture
def host(tmp_path: pathlib.Path) -> Iterator[Host]:
    result = Host(tmp_path)
    yield result
    result.card.release.set()


BOTH = ("done", ["erase", "reset"])


def test_steps_are_done_once(host: Host) -> None:
    assert host.clean() == BOTH
    assert host.clean() == BOTH
    host.restart()
    # A message that was long on its way: a guest may have the card by now.
    assert host.clean() == BOTH
    assert host.card.done == ["erase", "reset"]
    assert host.clean(job=uuidutils.generate_uuid()) == BOTH
    assert host.card.done == ["erase", "reset"] * 2


def test_what_takes_long_is_asked_for_and_told(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleaning, "_PATIENCE", 0.01)
    host.card.release.clear()
    assert host.clean()[0] == "running"
    assert host.card.entered.wait(10)
    assert host.clean() == ("running", "erase goes on")
    assert host.ended == []
    host.card.release.set()
    assert host.told.wait(10)
    assert host.ended == [JOB]
    assert host.clean() == BOTH
    assert host.card.done == ["erase", "reset"]


def test_what_failed_goes_on_at_the_next_attempt(host: Host) -> None:
    error = exception.DriverError(reason="no answer")
    host.card.errors["reset"] = error
    failure = ("failed", error.faultstring)
    assert host.clean() == failure
    host.card.errors.clear()
    # The same question again is no attempt.
    assert host.clean() == failure
    host.restart()
    assert host.clean() == failure
    assert host.clean(attempt=1) == BOTH
    assert host.card.done == ["erase", "reset"]


@pytest.mark.parametrize("boots", (False, True))
@pytest.mark.parametrize("at", ("erase", "reset"))
def test_cut_short_in_a_step(host: Host, at: str, boots: bool) -> None:
    host.card.errors[at] = Crash()
    with pytest.raises(Crash):
        host.clean()
    before = list(host.card.done)
    host.card.errors.clear()
    if boots:
        host.boot()
    else:
        host.restart()
    assert host.clean() == BOTH
    # What lasts is not done again.
    assert host.card.done == ["erase", "reset"]
    assert before == host.card.done[: len(before)]


def test_a_boot_undoes_what_does_not_last(host: Host) -> None:
    host.card.steps.append(driver_api.Step("check", "nothing", 60))
    host.card.errors["check"] = Crash()
    with pytest.raises(Crash):
        host.clean()
    host.card.errors.clear()
    host.boot()
    assert host.clean() == ("done", ["erase", "reset", "check"])
    assert host.card.done == ["erase", "reset", "reset", "check"]


def test_what_is_open_is_not_touched(host: Host) -> None:
    host.card.has = "0000:0c:00.0 is open in process 7, qemu-kvm"
    assert host.clean() == ("busy", host.card.has)
    assert host.card.done == []
    host.card.has = None
    assert host.clean() == BOTH


def test_it_is_looked_before_every_step(host: Host) -> None:
    host.card.grabbed_after = "erase"
    assert host.clean() == ("busy", "somebody")
    assert host.card.done == ["erase"]
    host.card.grabbed_after = host.card.has = None
    assert host.clean() == BOTH
    assert host.card.done == ["erase", "reset"]


@pytest.mark.parametrize("name", ("one", "other"))
def test_another_attempt_would_not_help(host: Host, name: str) -> None:
    host.card.steps = []
    answer = host.cleaner.clean(JOB, 0, HANDLE, conftest.cpid(), name)
    assert (answer["state"], answer["is_final"]) == ("failed", True)
    expected = {
        "one": "nvme is not installed",
        "other": "driver other is not enabled",
    }
    assert expected[name] in answer["reason"]


def test_late_message_is_refused(host: Host) -> None:
    assert host.clean(sequence=7) == BOTH
    with pytest.raises(exception.Overtaken):
        host.clean(job=uuidutils.generate_uuid(), sequence=6)
    assert host.card.done == ["erase", "reset"]
