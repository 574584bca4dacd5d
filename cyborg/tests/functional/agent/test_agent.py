"""The daemon cyborg-agent over RabbitMQ, with a conductor in the test."""

from collections.abc import Iterator
import json
import pathlib
import sys
from typing import Any

from oslo_config import cfg
from oslo_messaging import conffixture
from oslo_messaging import Target
from oslo_utils import uuidutils
import pytest

from cyborg import context as cyborg_context
from cyborg.agent import rpcapi
from cyborg.common import constants
from cyborg.common import exception
from cyborg.common import rpc
from cyborg.conductor import rpcapi as conductor_rpcapi
from cyborg.objects import base
from cyborg.objects import register_all
from cyborg.tests.fixtures import process
from cyborg.tests.unit.agent import conftest

ADDRESS = "0000:0c:00.0"
TYPE = "fake-1"


class Conductor(conftest.Conductor):
    """The conductor in memory, as an RPC endpoint."""

    target = Target(version=conductor_rpcapi.VERSION)


class Machine:
    """A host with an agent, whose fake card makes mdevs."""

    def __init__(self, directory: pathlib.Path, transport_url: str) -> None:
        self.directory = directory
        # Queues outlive a test, and the broker is the whole run's.
        self.host = f"host-{uuidutils.generate_uuid(dashed=False)[:8]}"
        self.control(attach_type="MDEV", mdev_type=TYPE, handles=2)
        config = directory / "agent.conf"
        config.write_text(
            f"""
[DEFAULT]
host = {self.host}
transport_url = {transport_url}
state_path = {directory}
periodic_interval = 1
rpc_response_timeout = 3
[agent]
enabled_drivers = fake_driver
resource_provider_name = {self.host}.example.org
heartbeat_interval = 1
"""
        )
        self.agent = process.Process(
            "agent",
            process.cyborg("agent", "--config-file", str(config)),
            directory,
        )

    def control(self, **values: Any) -> None:
        """Tell the fake driver what it finds."""
        path = self.directory / "fake-driver.json"
        new = path.with_suffix(".new")
        new.write_text(json.dumps(values))
        new.replace(path)

    @property
    def mdevs(self) -> set[str]:
        made = self.directory / "fake-driver" / "mdev" / ADDRESS / TYPE
        return {path.name for path in made.glob("*")}

    @property
    def intents(self) -> dict[str, Any]:
        path = self.directory / "agent" / "intents.json"
        return dict(json.loads(path.read_text()))

    def forget_boot(self) -> None:
        """Do to the host what a boot would."""
        path = self.directory / "agent" / "intents.json"
        content = self.intents
        for entry in content["mdevs"].values():
            entry["done"] = "the boot before"
        path.write_text(json.dumps(content))
        made = self.directory / "fake-driver" / "mdev" / ADDRESS / TYPE
        for mdev in made.glob("*"):
            mdev.unlink()


@pytest.fixture
def bus(transport_url: str) -> Iterator[None]:
    register_all()
    with conffixture.ConfFixture(cfg.CONF, transport_url=transport_url):
        cfg.CONF.set_override("control_exchange", rpc.EXCHANGE)
        rpc.cleanup()
        yield
        rpc.cleanup()


@pytest.fixture
def machine(
    tmp_path: pathlib.Path, transport_url: str, bus: None
) -> Iterator[Machine]:
    made = Machine(tmp_path, transport_url)
    yield made
    made.agent.kill()


@pytest.fixture
def conductor(machine: Machine) -> Iterator[Conductor]:
    made = Conductor()
    made.hostname = f"{machine.host}.example.org"
    server = rpc.get_server(
        Target(topic=constants.CONDUCTOR_TOPIC, server="conductor"),
        [made],
        base.CyborgObjectSerializer(),
    )
    server.start()
    yield made
    server.stop()
    server.wait()


@pytest.fixture
def context() -> cyborg_context.RequestContext:
    return cyborg_context.get_admin_context()


def handle() -> dict[str, Any]:
    return {
        "uuid": uuidutils.generate_uuid(),
        "attach_type": "MDEV",
        "attach_info": {
            "domain": "0000",
            "bus": "0c",
            "device": "00",
            "function": "0",
            "asked_type": TYPE,
        },
    }


def wait_for(conductor: Conductor, notes: list[Any], count: int) -> None:
    process.wait_until(lambda: len(notes) >= count, f"{count} notes")


def test_agent_reports_answers_and_ends(
    machine: Machine,
    conductor: Conductor,
    context: cyborg_context.RequestContext,
) -> None:
    machine.agent.start()
    wait_for(conductor, conductor.reports, 1)
    (report,) = conductor.reports
    assert report["hostname"] == conductor.hostname
    (device,) = report["devices"]
    assert len(device.deployable_list[0].attach_handle_list) == 2
    assert set(report["drivers"][0]["capabilities"]) == {
        "mdev",
        "program",
        "stats",
        "update",
    }

    # Both names answer.
    wanted = handle()
    agent = rpcapi.AgentAPI()
    machine.agent.wait_log(f"as {conductor.hostname}")
    agent.prepare_handle(
        context, str(conductor.hostname), handle=wanted, sequence=1, timeout=20
    )
    assert machine.mdevs == {wanted["uuid"]}
    agent.cleanup_handle(
        context,
        machine.host,
        handle=wanted,
        sequence=2,
        controlpath_id=None,
        timeout=20,
    )
    assert machine.mdevs == set()

    # Unchanged hardware costs heartbeats, changed hardware one report.
    wait_for(conductor, conductor.heartbeats, 2)
    assert len(conductor.reports) == 1
    machine.control(attach_type="MDEV", mdev_type=TYPE, devices=2)
    wait_for(conductor, conductor.reports, 2)
    assert len(conductor.reports[1]["devices"]) == 2

    # An agent that starts again does not report what is known.
    machine.agent.restart()
    beats = len(conductor.heartbeats)
    wait_for(conductor, conductor.heartbeats, beats + 2)
    assert len(conductor.reports) == 2
    assert machine.agent.terminate() == 0


def test_agent_waits_for_a_conductor(
    machine: Machine, request: pytest.FixtureRequest
) -> None:
    machine.agent.start()
    machine.agent.wait_log("No conductor answered")
    assert machine.agent.running
    conductor = request.getfixturevalue("conductor")
    wait_for(conductor, conductor.reports, 1)


@pytest.mark.parametrize("point", ["agent-mdev-intended", "agent-mdev-made"])
def test_power_cut_while_an_mdev_is_made(
    machine: Machine,
    conductor: Conductor,
    context: cyborg_context.RequestContext,
    point: str,
) -> None:
    machine.agent.start(CYBORG_DIE_AT=point)
    wait_for(conductor, conductor.reports, 1)
    wanted = handle()
    agent = rpcapi.AgentAPI()
    with pytest.raises(exception.AgentNotResponding):
        agent.prepare_handle(
            context, machine.host, handle=wanted, sequence=1, timeout=3
        )
    assert not machine.agent.running
    assert machine.intents["mdevs"][wanted["uuid"]]["done"] is None

    machine.agent.start()
    process.wait_until(
        lambda: machine.intents["mdevs"][wanted["uuid"]]["done"],
        "the mdev recovered",
    )
    assert machine.mdevs == {wanted["uuid"]}

    machine.agent.kill()
    machine.forget_boot()
    assert machine.mdevs == set()
    machine.agent.start()
    process.wait_until(lambda: machine.mdevs, "the mdev made again")
    agent.cleanup_handle(
        context,
        machine.host,
        handle=wanted,
        sequence=2,
        controlpath_id=None,
        timeout=20,
    )
    assert machine.mdevs == set()
    assert machine.intents["mdevs"] == {}


@pytest.mark.parametrize(
    "point", ["agent-cleanup-intended", "agent-mdev-removed"]
)
def test_power_cut_while_an_mdev_is_removed(
    machine: Machine,
    conductor: Conductor,
    context: cyborg_context.RequestContext,
    point: str,
) -> None:
    machine.agent.start(CYBORG_DIE_AT=point)
    wait_for(conductor, conductor.reports, 1)
    wanted = handle()
    agent = rpcapi.AgentAPI()
    agent.prepare_handle(
        context, machine.host, handle=wanted, sequence=1, timeout=20
    )
    with pytest.raises(exception.AgentNotResponding):
        agent.cleanup_handle(
            context,
            machine.host,
            handle=wanted,
            sequence=2,
            controlpath_id=None,
            timeout=3,
        )
    machine.agent.start()
    process.wait_until(
        lambda: not machine.intents["mdevs"], "the mdev's removal finished"
    )
    assert machine.mdevs == set()
    # The conductor, which had no answer, asks again.
    agent.cleanup_handle(
        context,
        machine.host,
        handle=wanted,
        sequence=2,
        controlpath_id=None,
        timeout=20,
    )


def test_unknown_driver_ends_the_agent(machine: Machine) -> None:
    config = machine.directory / "agent.conf"
    config.write_text(config.read_text().replace("fake_driver", "no_driver"))
    machine.agent.launch()
    assert machine.agent.wait() == 1
    assert "enabled_drivers names no_driver" in machine.agent.log


def test_dry_run_shows_what_would_be_reported(tmp_path: pathlib.Path) -> None:
    config = tmp_path / "agent.conf"
    config.write_text(
        f"[DEFAULT]\nhost = cn1\nstate_path = {tmp_path}\n"
        "[agent]\nenabled_drivers = fake_driver\n"
    )
    command = [sys.executable, "-m", "cyborg.cmd.agent"]
    command += ["--config-file", str(config), "--dry-run"]
    text = process.run(command, tmp_path)
    assert "cn1_FakeDevice: 16 x FPGA" in text
    text = process.run([*command, "--json"], tmp_path)
    document = json.loads(text[text.index("{") :])
    (driver,) = document["drivers"]
    assert len(driver["devices"][0]["deployables"][0]["handles"]) == 16
