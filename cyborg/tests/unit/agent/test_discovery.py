"""Discovery isolates drivers from each other and forgets nothing."""

import json
import pathlib
import threading
from typing import Any

import pytest

from cyborg.agent import discovery
from cyborg.agent import report
from cyborg.common import exception
from cyborg.tests.unit.agent import conftest


def run(
    tmp_path: pathlib.Path, **drivers: Any
) -> tuple[discovery.Discovery, list[report.Found]]:
    found = discovery.Discovery(
        conftest.enabled(**drivers), report.Cache(tmp_path / "cache.json")
    )
    return found, found.run()


def cpids(found: report.Found) -> list[str]:
    return [report.cpid_info(device) for device in found.devices]


def buses(found: report.Found) -> list[str]:
    return [json.loads(text)["bus"] for text in cpids(found)]


def test_one_raising_driver_costs_the_other_nothing(
    tmp_path: pathlib.Path,
) -> None:
    bad = conftest.ListDriver()
    bad.error = OSError("no bus")
    _, (first, second) = run(
        tmp_path, bad=bad, good=conftest.ListDriver(conftest.device("0d"))
    )
    assert (first.devices, first.complete) == ([], False)
    assert first.error == "OSError: no bus"
    assert (buses(second), second.complete) == (["0d"], True)


def test_what_is_odd_is_logged_once(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    odd = ["no card"]

    class Odd(conftest.ListDriver):
        def warnings(self) -> list[str]:
            return list(odd)

    found, _ = run(tmp_path, one=Odd())
    found.run()
    assert caplog.messages.count("Driver one: no card") == 1
    odd.clear()
    found.run()
    odd.append("no card")
    found.run()
    assert caplog.messages.count("Driver one: no card") == 2


def test_failing_driver_resends_what_it_had(tmp_path: pathlib.Path) -> None:
    driver = conftest.ListDriver(conftest.device("0d"))
    found, _ = run(tmp_path, one=driver)
    driver.error = OSError("no bus")
    (again,) = found.run()
    assert (buses(again), again.complete) == (["0d"], False)


def test_restarted_agent_resends_what_is_on_disk(
    tmp_path: pathlib.Path,
) -> None:
    run(tmp_path, one=conftest.ListDriver(conftest.device("0d", handles=3)))
    driver = conftest.ListDriver()
    driver.error = OSError("no bus")
    _, (again,) = run(tmp_path, one=driver)
    assert (buses(again), again.complete) == (["0d"], False)
    sent = report.device_from_plain(again.devices[0])
    assert report.plain(sent) == report.plain(conftest.device("0d", 3))


def test_cache_is_private_and_survives_damage(tmp_path: pathlib.Path) -> None:
    run(tmp_path, one=conftest.ListDriver(conftest.device()))
    path = tmp_path / "cache.json"
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_text("{half")
    assert report.Cache(path).devices("one") is None
    assert (tmp_path / "cache.broken").read_text() == "{half"


def test_disabled_driver_leaves_the_cache(tmp_path: pathlib.Path) -> None:
    run(tmp_path, one=conftest.ListDriver(conftest.device()))
    run(tmp_path, two=conftest.ListDriver())
    cache = report.Cache(tmp_path / "cache.json")
    assert cache.devices("one") is None
    assert cache.devices("two") == []


def test_driver_that_cannot_start_counts_as_unknown(
    tmp_path: pathlib.Path,
) -> None:
    run(tmp_path, one=conftest.ListDriver(conftest.device("0d")))
    _, (found,) = run(tmp_path, one=RuntimeError("no library"))
    assert (buses(found), found.complete) == (["0d"], False)
    assert found.error == "RuntimeError: no library"


def test_driver_that_starts_late_is_used() -> None:
    attempts = []

    def factory() -> conftest.ListDriver:
        attempts.append(1)
        if len(attempts) == 1:
            raise RuntimeError("module not loaded yet")
        return conftest.ListDriver(conftest.device())

    (one,) = discovery.construct([discovery.Enabled("one", factory)])
    assert one.instance is None
    assert len(one.get().discover()) == 1


def test_options_a_driver_refuses_stop_the_agent() -> None:
    with pytest.raises(exception.InvalidvGPUConfig):
        conftest.enabled(one=exception.InvalidvGPUConfig(reason="no type"))


def test_unknown_driver_stops_the_agent() -> None:
    with pytest.raises(exception.InvalidDriver) as error:
        discovery.load(["no_such_driver"])
    assert "no_such_driver" in error.value.faultstring


def test_card_of_two_drivers_goes_to_the_first(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    found, (first, second) = run(
        tmp_path,
        one=conftest.ListDriver(conftest.device("0c", model="first")),
        two=conftest.ListDriver(
            conftest.device("0c", model="second"), conftest.device("0d")
        ),
    )
    found.run()
    assert [each["model"] for each in first.devices] == ["first"]
    assert buses(second) == ["0d"]
    warnings = [r for r in caplog.records if "already" in r.getMessage()]
    assert len(warnings) == 1


def test_card_described_wrongly_becomes_a_stub(tmp_path: pathlib.Path) -> None:
    good = conftest.device("0d")
    driver = conftest.ListDriver(conftest.device("0c"), good)
    found, _ = run(tmp_path, one=driver)
    bad = conftest.device("0c")
    delattr(bad, "_obj_vendor")
    driver.devices = [bad, good]
    (again,) = found.run()
    assert [(d["vendor"], d["stub"]) for d in again.devices] == [
        ("abcd", True),
        ("abcd", False),
    ]
    assert not again.complete


def test_card_described_wrongly_from_the_start_is_left_out(
    tmp_path: pathlib.Path,
) -> None:
    bad = conftest.device("0c")
    delattr(bad, "_obj_vendor")
    _, (found,) = run(
        tmp_path, one=conftest.ListDriver(bad, conftest.device("0d"))
    )
    assert (buses(found), found.complete) == (["0d"], False)


def test_hanging_driver_does_not_hold_the_others(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery, "PATIENCE", 0)
    release = threading.Event()

    class Hanging(conftest.ListDriver):
        def discover(self) -> list[Any]:
            release.wait(60)
            return super().discover()

    hanging = Hanging(conftest.device("0c"))
    found, _ = run(tmp_path, slow=hanging)
    (first,) = found.run()
    assert (first.devices, first.complete) == ([], False)
    assert "too long" in str(first.error)
    release.set()
    found._running["slow"].join(60)
    monkeypatch.setattr(discovery, "PATIENCE", 4)
    (again,) = found.run()
    assert (buses(again), again.complete) == (["0c"], True)


def test_driver_at_work_on_a_card_is_not_asked(tmp_path: pathlib.Path) -> None:
    driver = conftest.ListDriver(conftest.device("0c"))
    found, _ = run(tmp_path, one=driver)
    driver.devices = []
    with found.drivers[0].turns.work("some card", 1):
        (during,) = found.run()
    (after,) = found.run()
    assert (buses(during), during.complete) == (["0c"], True)
    assert after.devices == []


def test_work_on_one_card_waits_for_its_turn_only() -> None:
    (one,) = conftest.enabled(one=conftest.ListDriver())
    with one.turns.work("card 1", 1):
        with one.turns.work("card 2", 1):
            pass
        with (
            pytest.raises(exception.DriverError, match="card 1"),
            one.turns.work("card 1", 0.01),
        ):
            pass
