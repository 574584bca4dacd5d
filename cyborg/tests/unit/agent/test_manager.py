"""The agent as a whole: its threads, its answers on the message bus."""

from collections.abc import Callable
from collections.abc import Iterator
import errno
import hashlib
import json
import pathlib
import queue
import threading
import time
from types import SimpleNamespace
from typing import Any

from oslo_config import cfg
import oslo_messaging as messaging
from oslo_utils import uuidutils
import pytest

from cyborg import context as cyborg_context
from cyborg.accelerator.drivers import fake as fake_driver
from cyborg.agent import hotplug
from cyborg.agent import manager as agent_manager
from cyborg.agent import rpcapi
from cyborg.common import constants
from cyborg.common import exception
from cyborg.common import rpc
from cyborg.common import service
from cyborg.objects import base
from cyborg.objects import register_all
from cyborg.tests.fixtures import machine
from cyborg.tests.unit.agent import conftest
from cyborg.tests.unit.agent import test_images

CONF = cfg.CONF

Start = Callable[..., agent_manager.AgentManager]


@pytest.fixture
def start(conductor: conftest.Conductor) -> Iterator[Start]:
    """Starts agents with these drivers, and stops them after the test."""
    register_all()
    started = []

    def start_one(**drivers: Any) -> agent_manager.AgentManager:
        agent = agent_manager.AgentManager(
            conductor.api(), "cn1", monitor=lambda: None
        )
        agent.load_drivers(conftest.enabled(**drivers))
        started.append(agent)
        agent.init_host()
        return agent

    yield start_one
    for agent in started:
        agent.stop()


def test_agent_registers_discovers_and_reports(
    conductor: conftest.Conductor, start: Start, config: Any
) -> None:
    config.config(group="agent", resource_provider_name="cn1.example.org")
    start(one=conftest.ListDriver(conftest.device("0c", handles=2)))
    conductor.wait_for(conductor.reports, 1)
    assert conductor.registrations == [["cn1.example.org", "cn1"]]
    (report,) = conductor.reports
    assert report["hostname"] == "cn1.example.org"
    assert report["devices"][0].vendor == "abcd"
    assert report["drivers"][0]["complete"] is True


def test_registration_goes_on_until_the_provider_is_known(
    conductor: conftest.Conductor, start: Start, config: Any
) -> None:
    config.config(
        group="agent",
        resource_provider_startup_retries=0,
        resource_provider_name="cn1",
    )
    config.config(periodic_interval=1)
    conductor.hostname = None
    agent = start(one=conftest.ListDriver(conftest.device()))
    conductor.wait_for(conductor.registrations, 1)
    assert conductor.reports == []
    conductor.hostname = "cn1"
    conductor.wait_for(conductor.reports, 1)
    assert len(conductor.registrations) > 1
    assert all(names == ["cn1"] for names in conductor.registrations)
    agent.stop()


def test_pauses_of_registration(
    conductor: conftest.Conductor, tmp_path: pathlib.Path, config: Any
) -> None:
    config.config(group="agent", resource_provider_startup_retries=3)
    conductor.error = conftest.UNAVAILABLE
    pauses: list[float] = []

    class Ended(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            pauses.append(timeout or 0.0)
            if len(pauses) == 5:
                self.set()
            return self.is_set()

    told = conftest.reporter_of(conductor.api(), tmp_path)
    assert told.register(Ended()) is None
    assert pauses == [1, 2, 4, 60, 60]


def test_agent_outlives_a_conductor_that_is_away(
    conductor: conftest.Conductor, start: Start, config: Any
) -> None:
    config.config(periodic_interval=1)
    config.config(group="agent", heartbeat_interval=1)
    start(one=conftest.ListDriver(conftest.device()))
    conductor.wait_for(conductor.reports, 1)
    driver_seen = len(conductor.heartbeats)
    conductor.error = conftest.UNAVAILABLE
    conductor.digests.clear()
    with conductor.told:
        conductor.told.wait(1.5)
    conductor.error = None
    conductor.wait_for(conductor.reports, 2)
    assert len(conductor.heartbeats) > driver_seen


def test_agent_without_drivers_lives_and_reports_nothing(
    conductor: conftest.Conductor, start: Start
) -> None:
    start()
    conductor.wait_for(conductor.heartbeats, 1)
    assert conductor.heartbeats[0] is None
    assert conductor.reports == []


def test_heartbeats_go_on_while_a_driver_hangs(
    conductor: conftest.Conductor, start: Start, config: Any
) -> None:
    config.config(group="agent", heartbeat_interval=1)
    release = threading.Event()

    class Hanging(conftest.ListDriver):
        def discover(self) -> list[Any]:
            release.wait(120)
            return []

    start(one=Hanging())
    conductor.wait_for(conductor.heartbeats, 2)
    assert conductor.reports == []
    release.set()
    conductor.wait_for(conductor.reports, 1)


class Monitor:
    """Kernel events a test puts in."""

    def __init__(self) -> None:
        self.events: queue.Queue[Any] = queue.Queue()

    def poll(self, timeout: float) -> Any:
        try:
            return self.events.get(timeout=timeout)
        except queue.Empty:
            return None


def test_hotplug_is_seen_at_once(
    conductor: conftest.Conductor, config: Any
) -> None:
    config.config(group="agent", filesystem_root="/")
    config.config(periodic_interval=3600)
    monitor = Monitor()
    driver = conftest.ListDriver(conftest.device("0c"))
    agent = agent_manager.AgentManager(
        conductor.api(), "cn1", monitor=lambda: monitor
    )
    agent.load_drivers(conftest.enabled(one=driver))
    agent.init_host()
    try:
        conductor.wait_for(conductor.reports, 1)
        driver.devices.append(conftest.device("0d"))
        for action in ("bind", "add", "add"):
            monitor.events.put(SimpleNamespace(action=action))
        conductor.wait_for(conductor.reports, 2)
        assert len(conductor.reports[1]["devices"]) == 2
    finally:
        agent.stop()


def test_events_that_change_nothing_wake_nobody() -> None:
    woken: list[int] = []
    monitor = Monitor()
    watcher = hotplug.Watcher(monitor, lambda: woken.append(1))
    watcher.start()
    monitor.events.put(SimpleNamespace(action="bind"))
    monitor.events.put(SimpleNamespace(action="remove"))
    while not woken:
        time.sleep(0.01)
    watcher.stop()
    assert woken == [1]


def test_events_without_end_wake_all_the_same() -> None:
    woken = threading.Event()

    def poll(timeout: float) -> Any:
        time.sleep(0.01)
        return SimpleNamespace(action="change")

    watcher = hotplug.Watcher(SimpleNamespace(poll=poll), woken.set)
    watcher.start()
    try:
        assert woken.wait(30)
    finally:
        watcher.stop()


def test_broken_monitor_leaves_polling(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def poll(timeout: float) -> Any:
        raise OSError("netlink is gone")

    watcher = hotplug.Watcher(SimpleNamespace(poll=poll), lambda: None)
    watcher.start()
    watcher.stop()
    assert "no longer watched" in caplog.text


def test_monitor_that_lost_events_is_replaced() -> None:
    """A burst that overruns the socket is itself a change."""
    woken: queue.Queue[int] = queue.Queue()
    monitor = Monitor()

    def poll(timeout: float) -> Any:
        raise OSError(errno.ENOBUFS, "No buffer space available")

    watcher = hotplug.Watcher(
        SimpleNamespace(poll=poll), lambda: woken.put(1), lambda: monitor
    )
    watcher.start()
    try:
        assert woken.get(timeout=30) == 1
        monitor.events.put(SimpleNamespace(action="add"))
        assert woken.get(timeout=30) == 1
    finally:
        watcher.stop()
    assert woken.empty()


def test_monitor_that_fails_always_is_given_up(
    caplog: pytest.LogCaptureFixture,
) -> None:
    woken = []

    def poll(timeout: float) -> Any:
        raise OSError(errno.ENOBUFS, "No buffer space available")

    watcher = hotplug.Watcher(
        SimpleNamespace(poll=poll),
        lambda: woken.append(1),
        lambda: SimpleNamespace(poll=poll),
    )
    watcher.start()
    while "no longer watched" not in caplog.text:
        time.sleep(0.01)
    watcher.stop()
    assert woken == [1]


# -- over a message bus


@pytest.fixture
def fake(config: Any) -> fake_driver.FakeDriver:
    """The fake driver, with one card that makes mdevs."""
    pathlib.Path(CONF.state_path).mkdir()
    pathlib.Path(CONF.state_path, "fake-driver.json").write_text(
        json.dumps({"attach_type": "MDEV", "handles": 2})
    )
    return fake_driver.FakeDriver(host="cn1")


@pytest.fixture
def glance() -> test_images.Glance:
    return test_images.Glance()


@pytest.fixture
def served(
    conductor: conftest.Conductor,
    fake: fake_driver.FakeDriver,
    glance: test_images.Glance,
) -> Iterator[fake_driver.FakeDriver]:
    """An agent that answers on the bus under both of its names."""
    register_all()
    agent = agent_manager.AgentManager(
        conductor.api(),
        "cn1",
        listen=lambda name: daemon.listen(name),
        source=glance,
        monitor=lambda: None,
    )
    agent.load_drivers(conftest.enabled(fake_driver=fake))
    daemon = service.Service(
        agent, constants.AGENT_TOPIC, ["cn1"], rpcapi.VERSION
    )
    daemon.start()
    conductor.wait_for(conductor.reports, 1)
    yield fake
    daemon.stop()
    rpc.cleanup()


@pytest.fixture
def context() -> Any:
    return cyborg_context.get_admin_context()


def test_hardware_is_looked_at_when_somebody_asks(
    conductor: conftest.Conductor,
    served: fake_driver.FakeDriver,
    context: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked = threading.Event()

    def discover() -> list[Any]:
        looked.set()
        return []

    monkeypatch.setattr(served, "discover", discover)
    rpcapi.AgentAPI().discover(context, "cn1")
    assert looked.wait(60)


CPID: dict[str, Any] = {
    "cpid_type": "PCI",
    "cpid_info": {
        "domain": "0000",
        "bus": "0c",
        "device": "00",
        "function": "0",
    },
}


def mdev_handle() -> dict[str, Any]:
    return {
        "uuid": uuidutils.generate_uuid(),
        "attach_type": "MDEV",
        "attach_info": {**CPID["cpid_info"], "asked_type": "fake-1"},
    }


def mdevs(driver: fake_driver.FakeDriver) -> list[str]:
    return [path.name for path in driver._mdevs("0000:0c:00.0")]


@pytest.mark.parametrize("name", ["cn1", "cn1.example.org"])
def test_handles_are_prepared_under_either_name(
    served: fake_driver.FakeDriver, context: Any, name: str
) -> None:
    handle = mdev_handle()
    agent = rpcapi.AgentAPI()
    agent.prepare_handle(context, name, handle=handle, sequence=1, timeout=60)
    assert mdevs(served) == [handle["uuid"]]
    agent.cleanup_handle(
        context,
        name,
        handle=handle,
        sequence=2,
        controlpath_id=None,
        timeout=60,
    )
    assert mdevs(served) == []


def test_handle_that_needs_nothing_gets_nothing(
    served: fake_driver.FakeDriver, context: Any
) -> None:
    handle = {
        "uuid": uuidutils.generate_uuid(),
        "attach_type": "PCI",
        "attach_info": CPID["cpid_info"],
    }
    rpcapi.AgentAPI().prepare_handle(
        context, "cn1", handle=handle, sequence=1, timeout=60
    )
    assert mdevs(served) == []


def test_mdevs_can_be_left_to_nova(
    served: fake_driver.FakeDriver, context: Any, config: Any
) -> None:
    config.config(group="gpu_devices", precreate_mdev=False)
    handle = mdev_handle()
    agent = rpcapi.AgentAPI()
    agent.prepare_handle(context, "cn1", handle=handle, sequence=1, timeout=60)
    assert mdevs(served) == []
    served.create_mdev("0000:0c:00.0", "fake-1", handle["uuid"])
    agent.cleanup_handle(
        context,
        "cn1",
        handle=handle,
        sequence=2,
        controlpath_id=None,
        timeout=60,
    )
    assert mdevs(served) == []


def test_any_failure_reaches_the_conductor_as_an_error_it_knows(
    served: fake_driver.FakeDriver,
    context: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*args: Any) -> None:
        raise PermissionError("no privilege")

    monkeypatch.setattr(served, "create_mdev", fail)
    handle = mdev_handle()
    with pytest.raises(exception.DriverError) as error:
        rpcapi.AgentAPI().prepare_handle(
            context, "cn1", handle=handle, sequence=1, timeout=60
        )
    assert error.value.faultstring == "PermissionError: no privilege"


def test_late_work_is_refused_by_name(
    served: fake_driver.FakeDriver, context: Any
) -> None:
    handle = mdev_handle()
    agent = rpcapi.AgentAPI()
    agent.cleanup_handle(
        context,
        "cn1",
        handle=handle,
        sequence=6,
        controlpath_id=None,
        timeout=60,
    )
    with pytest.raises(exception.Overtaken):
        agent.prepare_handle(
            context, "cn1", handle=handle, sequence=5, timeout=60
        )
    assert mdevs(served) == []


def test_late_image_is_refused_by_name(
    served: fake_driver.FakeDriver, context: Any, glance: Any
) -> None:
    handle = mdev_handle()
    agent = rpcapi.AgentAPI()
    agent.cleanup_handle(
        context,
        "cn1",
        handle=handle,
        sequence=2,
        controlpath_id=CPID,
        timeout=60,
    )
    with pytest.raises(exception.Overtaken):
        program(context, glance.add())
    agent.fence(context, "cn1", controlpath_id=CPID, sequence=3, timeout=60)
    with pytest.raises(exception.Overtaken):
        program(context, glance.add(), sequence=2)
    assert loaded(served) == ""


def program(context: Any, image: dict[str, Any], **changes: Any) -> Any:
    values = {
        "job_uuid": uuidutils.generate_uuid(),
        "controlpath_id": CPID,
        "driver_name": "FAKE",
        "sequence": 1,
        **changes,
    }
    return rpcapi.AgentAPI().program(
        context, "cn1", image=image, timeout=60, **values
    )


def loaded(driver: fake_driver.FakeDriver) -> str:
    return driver.get_stats(CPID)["device"]["properties"]["image"]


def test_image_is_programmed(
    served: fake_driver.FakeDriver, glance: test_images.Glance, context: Any
) -> None:
    answer = program(context, glance.add())
    assert answer == {"code": 0, "detail": ""}
    assert loaded(served) == hashlib.sha256(test_images.DATA).hexdigest()
    stats = rpcapi.AgentAPI().device_get_stats(
        context, "cn1", controlpath_id=CPID, driver="fake_driver"
    )
    assert stats["device"]["properties"]["image"] == loaded(served)


def test_statistics_of_what_is_not_there(
    served: fake_driver.FakeDriver, context: Any
) -> None:
    """The conductor gets the reason, and nothing of the agent's traceback."""
    ask = rpcapi.AgentAPI().device_get_stats
    with pytest.raises(LookupError) as caught:
        ask(context, "cn1", controlpath_id=CPID, driver="no_driver")
    assert caught.value.args == ("Driver no_driver is not enabled.",)
    elsewhere = {**CPID, "cpid_info": {**CPID["cpid_info"], "bus": "ff"}}
    with pytest.raises(LookupError) as caught:
        ask(context, "cn1", controlpath_id=elsewhere, driver="fake_driver")
    assert "has no device" in caught.value.args[0]


def test_programming_says_what_went_wrong(
    served: fake_driver.FakeDriver, glance: test_images.Glance, context: Any
) -> None:
    image = glance.add()
    wrong = {**image, "hash_value": "0" * 128}
    assert program(context, wrong)["code"] == 3
    assert program(context, image, driver_name="xilinx")["code"] == 2
    elsewhere = {**CPID, "cpid_info": {**CPID["cpid_info"], "bus": "ff"}}
    assert program(context, image, controlpath_id=elsewhere)["code"] == 2
    control = pathlib.Path(CONF.state_path, "fake-driver.json")
    for outcome, text in (
        ({"result": False}, "refused"),
        ({"fail": "bad region"}, "bad region"),
    ):
        control.write_text(json.dumps({"program": outcome}))
        answer = program(context, image)
        assert answer["code"] == 1
        assert text in answer["detail"]
    assert loaded(served) == ""


def test_firmware_is_updated(
    served: fake_driver.FakeDriver, glance: test_images.Glance, context: Any
) -> None:
    agent = rpcapi.AgentAPI()
    image = glance.add()
    for name, code in (("fake_driver", 0), ("other_driver", 2)):
        answer = agent.device_update(
            context,
            "cn1",
            job_uuid=uuidutils.generate_uuid(),
            controlpath_id=CPID,
            image=image,
            driver=name,
            sequence=1,
            timeout=60,
        )
        assert answer["code"] == code
    assert loaded(served) == hashlib.sha256(test_images.DATA).hexdigest()


@pytest.mark.parametrize(
    "method", ["stop", "init_host", "load_drivers", "discover_once", "_answer"]
)
def test_only_use_cases_can_be_called(
    served: fake_driver.FakeDriver, context: Any, method: str
) -> None:
    with pytest.raises(messaging.NoSuchMethod):
        call_old(context, "cn1", method)


# -- RPC 1.0


def call_old(context: Any, name: str, method: str, **kwargs: Any) -> Any:
    """Call as a conductor of an earlier release does."""
    client = rpc.get_client(
        messaging.Target(topic=constants.AGENT_TOPIC, version="1.0"),
        base.CyborgObjectSerializer(),
        "1.0",
    )
    return client.prepare(server=name).call(context, method, **kwargs)


@pytest.mark.parametrize("name", ["cn1", "cn1.example.org"])
def test_old_conductor_programs_and_makes_mdevs(
    served: fake_driver.FakeDriver,
    glance: test_images.Glance,
    context: Any,
    name: str,
) -> None:
    values = {
        # Every column of the row travels.
        "controlpath_id": {**CPID, "id": 1, "device_id": 1},
        "bitstream_uuid": glance.add()["id"],
        "driver_name": "fake",
    }
    assert call_old(context, name, "fpga_program", **values) is True
    assert loaded(served) == hashlib.sha256(test_images.DATA).hexdigest()
    mdev = {
        "pci_addr": "0000:0c:00.0",
        "asked_type": "fake-1",
        "ah_uuid": uuidutils.generate_uuid(),
    }
    call_old(context, name, "create_vgpu_mdev", **mdev)
    assert mdevs(served) == [mdev["ah_uuid"]]
    call_old(context, name, "remove_vgpu_mdev", **mdev)
    assert mdevs(served) == []


def test_old_conductor_is_told_what_went_wrong(
    served: fake_driver.FakeDriver, glance: test_images.Glance, context: Any
) -> None:
    values = {
        "controlpath_id": CPID,
        "bitstream_uuid": glance.add()["id"],
        "driver_name": "fake",
    }

    def fails(error: type[Exception], **changes: Any) -> None:
        with pytest.raises(error):
            call_old(context, "cn1", "fpga_program", **{**values, **changes})

    fails(exception.InvalidUUID, bitstream_uuid="http://glance/v2/images/1")
    fails(LookupError, driver_name="xilinx")
    fails(exception.InvalidType, controlpath_id={**CPID, "cpid_type": "USB"})
    glance.error = exception.ImageNotFound(image="x")
    fails(exception.ImageNotFound)
    glance.error = None
    control = pathlib.Path(CONF.state_path, "fake-driver.json")
    control.write_text(json.dumps({"program": {"result": False}}))
    assert call_old(context, "cn1", "fpga_program", **values) is False
    with pytest.raises(exception.AttachHandleUUIDNeeded):
        call_old(
            context,
            "cn1",
            "create_vgpu_mdev",
            pci_addr="0000:0c:00.0",
            asked_type="fake-1",
            ah_uuid=None,
        )


def test_agent_tells_of_health(
    conductor: conftest.Conductor, start: Start, config: Any
) -> None:
    root = pathlib.Path(CONF.agent.filesystem_root)
    machine.unpack_text(
        "[sys/bus/pci/devices/0000:0c:00.0]\n"
        "vendor = 0xabcd\ndevice = 0x0001\nclass = 0x120000\n",
        root,
    )
    registers = root / "sys/bus/pci/devices/0000:0c:00.0/config"
    agent = start(one=conftest.ListDriver(conftest.device("0c")))
    conductor.wait_for(conductor.health, 1)
    assert conductor.health == [{"whole": True, "bad": [], "well": []}]
    registers.write_bytes(b"\xff" * 64)
    agent.discover_now()
    conductor.wait_for(conductor.health, 2)
    (bad,) = conductor.health[1]["bad"]
    assert bad["key"] == "config-unreadable"
    assert json.loads(bad["place"])["bus"] == "0c"
