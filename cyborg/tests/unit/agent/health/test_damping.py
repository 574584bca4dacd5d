"""What is told, when, and how often."""

import threading
from typing import Any

from cyborg.agent.health import core
from cyborg.tests.unit.agent.health import conftest
from cyborg.tests.unit.agent.health.conftest import Machine


def test_a_thousand_flaps_make_a_handful_of_calls(here: Machine) -> None:
    before = here.calls
    for _flap in range(1000):
        here.write("current_link_width", "8")
        assert here.signs(wait=1) == ["link-width"]
        here.write("current_link_width", "16")
        assert here.signs(wait=1) == ["link-width"]
    assert here.calls - before <= 2
    assert here.signs(wait=300) == []


def test_slow_flaps_take_longer_each_time(here: Machine) -> None:
    before = here.calls
    for _flap in range(200):
        here.write("current_link_width", "8")
        assert here.signs(wait=310) == ["link-width"]
        here.write("current_link_width", "16")
        here.signs(wait=310)
    assert here.calls - before <= 10
    # It has to be well for 64 times as long, and for a day to be trusted.
    assert here.signs(wait=64 * 300) == []
    here.signs(wait=200000)
    here.write("current_link_width", "8")
    assert here.signs() == ["link-width"]
    here.write("current_link_width", "16")
    assert here.signs(wait=300) == []


def test_numbers_that_change_are_told_now_and_then(here: Machine) -> None:
    before = here.calls
    for number in range(1, 301):
        here.write("aer_dev_fatal", f"TOTAL_ERR_FATAL {number * number}")
        here.signs(wait=2)
    assert here.calls - before <= 4


def test_nothing_new_is_no_call(here: Machine) -> None:
    before = here.calls
    for _look in range(10):
        here.signs(wait=60)
    assert here.calls == before


def test_what_the_conductor_does_not_hear_is_told_again(
    here: Machine,
) -> None:
    here.say("NVRM: Xid (PCI:0000:3b:00): 48, pid=1, DBE")
    assert here.monitor.look(here.devices).bad
    # The conductor is away for an hour, and the agent starts again.
    here.now += 3600
    here.monitor.look(here.devices)
    here.start()
    assert here.signs() == ["xid-48"]


def test_a_second_time_is_told_after_it_was_cleared(here: Machine) -> None:
    here.say("NVRM: Xid (PCI:0000:3b:00): 48, pid=1, DBE")
    assert here.signs() == ["xid-48"]
    assert here.signs(wait=300) == ["xid-48"]
    # The operator has reset it.
    here.holds.clear()
    assert here.signs(wait=300) == []
    here.say("NVRM: Xid (PCI:0000:3b:00): 48, pid=1, DBE")
    assert here.signs() == ["xid-48"]


def test_all_is_told_when_asked_for(here: Machine) -> None:
    here.write("current_link_width", "8")
    assert here.signs() == ["link-width"]
    here.holds.clear()
    assert here.signs() == []
    here.monitor.ask_again()
    assert here.signs() == ["link-width"]


def test_a_card_that_is_gone_says_nothing(here: Machine) -> None:
    here.write("current_link_width", "8")
    assert here.signs() == ["link-width"]
    here.devices = []
    calls = here.calls
    here.look()
    assert here.calls == calls


# -- sensors that fail


def _give(here: Machine, read: Any) -> None:
    """Have a sensor read so in place of the one that it is named after."""
    sensor = core.Sensor("hwmon", ("hwmon-critical",), read)
    here.sensors = (
        *(each for each in here.sensors if each.name != sensor.name),
        sensor,
    )
    here.start()


def test_a_sensor_that_fails_costs_itself(here: Machine) -> None:
    state = {"error": False, "bad": True}

    def read(view: Any, card: Any, memory: Any) -> Any:
        if state["error"]:
            raise OSError(5, "broken")
        if state["bad"]:
            yield "hwmon-critical", "hot"

    _give(here, read)
    assert here.signs() == ["hwmon-critical"]
    assert here.unknown == set()
    state["error"] = True
    here.write("current_link_width", "8")
    assert here.signs() == ["hwmon-critical", "link-width"]
    assert here.unknown == {"hwmon-critical"}
    state["error"] = state["bad"] = False
    here.signs(wait=100)
    assert here.signs(wait=200) == ["link-width"]


def test_a_sensor_that_hangs_costs_itself(here: Machine, config: Any) -> None:
    config.config(group="health", sensor_timeout=0.5)
    started, end = [], threading.Event()

    def read(view: Any, card: Any, memory: Any) -> Any:
        started.append(card.place)
        if len(started) == 2:
            end.wait(60)
        yield "hwmon-critical", "hot"

    _give(here, read)
    assert here.signs() == ["hwmon-critical"]
    here.write("current_link_width", "8")
    try:
        assert here.signs() == ["hwmon-critical", "link-width"]
        assert here.unknown == {"hwmon-critical"}
        # It is not asked again before it answers.
        config.config(group="health", sensor_timeout=0.1)
        here.look()
        assert len(started) == 2
    finally:
        end.set()


def test_a_sensor_can_be_left_out(here: Machine, config: Any) -> None:
    config.config(group="health", disabled_sensors=["pcie"])
    here.write("current_link_width", "8")
    assert here.signs() == []


def test_devices_that_are_not_on_the_bus(here: Machine) -> None:
    here.devices += [
        conftest.plain("0000:99:00.0"),
        {"controlpath_id": {"cpid_type": "PMEM", "cpid_info": '"x"'}},
        {"controlpath_id": {"cpid_type": "PCI", "cpid_info": "{"}},
    ]
    here.write("current_link_width", "8")
    assert here.signs() == ["link-width"]
