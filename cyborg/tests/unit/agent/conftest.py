"""A host for the agent's tests: a state directory, drivers, a conductor."""

from collections.abc import Iterator
import json
import pathlib
import threading
from typing import Any

from oslo_config import cfg
from oslo_config import fixture as config_fixture
from oslo_messaging import conffixture
import pytest

from cyborg import conf as cyborg_conf
from cyborg.accelerator import driver as driver_api
from cyborg.agent import discovery
from cyborg.agent import in_use
from cyborg.agent import machine
from cyborg.agent import report
from cyborg.agent import reporter
from cyborg.common import exception
from cyborg.conductor import rpcapi
from cyborg.objects import report as objects


def device(
    bus: str = "0c",
    handles: int = 1,
    attach_type: str = "PCI",
    **values: Any,
) -> objects.DriverDevice:
    """A card on a bus of its own, with so many handles."""
    info = {"domain": "0000", "bus": bus, "device": "00", "function": "0"}
    values = {
        "vendor": "abcd",
        "model": "a card",
        "type": "FPGA",
        "std_board_info": None,
        **values,
    }
    return objects.DriverDevice(
        controlpath_id=objects.DriverControlPathID(
            cpid_type="PCI", cpid_info=json.dumps(info)
        ),
        deployable_list=[
            objects.DriverDeployable(
                name=f"cn1_0000:{bus}:00.0",
                num_accelerators=handles,
                driver_name="ABCD",
                attribute_list=[
                    objects.DriverAttribute(key="rc", value="FPGA"),
                    objects.DriverAttribute(key="trait0", value="CUSTOM_A"),
                ],
                attach_handle_list=[
                    objects.DriverAttachHandle(
                        attach_type=attach_type,
                        attach_info=json.dumps({**info, "mark": str(index)}),
                    )
                    for index in range(handles)
                ],
            )
        ],
        **values,
    )


def cpid(bus: str = "0c") -> dict[str, Any]:
    """The control path ID of such a card, as an agent is called with."""
    return {
        "cpid_type": "PCI",
        "cpid_info": {
            "domain": "0000",
            "bus": bus,
            "device": "00",
            "function": "0",
        },
    }


class ListDriver(driver_api.Driver):
    """Finds what a test puts into ``devices``, or fails with ``error``."""

    VENDOR = "abcd"

    def __init__(self, *devices: objects.DriverDevice) -> None:
        super().__init__(host="cn1")
        self.devices: list[Any] = list(devices)
        self.error: BaseException | None = None
        self.calls = 0

    def discover(self) -> list[objects.DriverDevice]:
        self.calls += 1
        if self.error is not None:
            raise self.error
        return list(self.devices)


class Conductor:
    """A conductor in memory: knows digests, keeps what it was told."""

    def __init__(self) -> None:
        self.hostname: str | None = "cn1.example.org"
        self.digests: dict[str, str] = {}
        self.reports: list[dict[str, Any]] = []
        self.heartbeats: list[str | None] = []
        self.registrations: list[list[str]] = []
        self.health: list[dict[str, Any]] = []
        # Who spoke, and what it knew to be in use; what it is answered.
        self.speakers: list[dict[str, Any] | None] = []
        self.in_use: dict[str, Any] | None = None
        self.error: Exception | None = None
        self.told = threading.Condition()

    def _note(self, notes: list[Any], note: Any) -> None:
        with self.told:
            if self.error is not None:
                raise self.error
            notes.append(note)
            self.told.notify_all()

    def _what_is_new(self, known: str | None) -> dict[str, Any] | None:
        new = self.in_use is not None and self.in_use["digest"] != known
        return self.in_use if new else None

    def agent_register(
        self,
        context: Any,
        names: list[str],
        rpc_host: str,
        agent: dict[str, Any] | None = None,
        in_use: str | None = None,
    ) -> dict[str, Any]:
        self.speakers.append(agent)
        self._note(self.registrations, names)
        return {
            "hostname": self.hostname,
            "in_use": self._what_is_new(in_use),
        }

    def report_heartbeat(
        self,
        context: Any,
        hostname: str,
        rpc_host: str,
        digest: str | None,
        agent: dict[str, Any] | None = None,
        in_use: str | None = None,
    ) -> dict[str, Any]:
        self.speakers.append(agent)
        self._note(self.heartbeats, digest)
        return {
            "need_full_report": self.digests.get(hostname) != digest,
            "in_use": self._what_is_new(in_use),
        }

    def report_data(
        self,
        context: Any,
        hostname: str,
        driver_device_list: list[Any],
        rpc_host: str,
        digest: str,
        drivers: list[dict[str, Any]],
        agent: dict[str, Any] | None = None,
    ) -> None:
        self.speakers.append(agent)
        self._note(
            self.reports,
            {
                "hostname": hostname,
                "devices": driver_device_list,
                "digest": digest,
                "drivers": drivers,
            },
        )
        self.digests[hostname] = digest

    def report_health(
        self, context: Any, hostname: str, agent: Any, **changes: Any
    ) -> dict[str, bool]:
        self._note(self.health, changes)
        return {"stored": True, "again": False}

    def wait_for(self, notes: list[Any], count: int) -> None:
        """Block until so many notes came."""
        with self.told:
            assert self.told.wait_for(lambda: len(notes) >= count, 60)

    def api(self) -> rpcapi.ConductorAPI:
        return rpcapi.local(self)


MACHINE = machine.Machine("dmi:4c4c4544", "boot-1")


def reporter_of(
    api: rpcapi.ConductorAPI, directory: pathlib.Path
) -> reporter.Reporter:
    """The reporter of an agent called cn1, with what it left on the disk."""
    return reporter.Reporter(
        api,
        "cn1",
        report.Cache(directory / "cache.json"),
        MACHINE,
        in_use.InUse(directory / "in_use.json"),
    )


@pytest.fixture
def conductor() -> Conductor:
    return Conductor()


@pytest.fixture(autouse=True)
def config(tmp_path: pathlib.Path) -> Iterator[config_fixture.Config]:
    """Options that keep an agent inside the test's directory."""
    assert cyborg_conf.CONF is cfg.CONF
    with (
        conffixture.ConfFixture(cfg.CONF, transport_url="fake:/"),
        config_fixture.Config(cfg.CONF) as fixture,
    ):
        fixture.config(state_path=str(tmp_path / "state"))
        fixture.config(group="agent", filesystem_root=str(tmp_path / "root"))
        yield fixture


def enabled(**drivers: driver_api.Driver | Exception) -> list[Any]:
    """Drivers as loaded: by name, an exception for one that cannot start."""

    def factory(value: driver_api.Driver | Exception) -> Any:
        def make() -> driver_api.Driver:
            if isinstance(value, Exception):
                raise value
            return value

        return make

    return discovery.construct(
        discovery.Enabled(name, factory(value))
        for name, value in drivers.items()
    )


UNAVAILABLE = exception.ConductorUnavailable()
