"""A recorded machine, and an agent's monitor that looks at it."""

from collections.abc import Iterator
import os
import pathlib
from typing import Any

from oslo_config import fixture as config_fixture
import pytest

from cyborg import conf
from cyborg.accelerator import describe
from cyborg.agent import report
from cyborg.agent.health import core
from cyborg.agent.health import damping
from cyborg.agent.health import monitor
from cyborg.objects import report as objects
from cyborg.tests.fixtures import machine

CONF = conf.CONF

PORT = "sys/devices/pci0000:3a/0000:3a:00.0"
CARD = f"{PORT}/0000:3b:00.0"
ADDRESS = "0000:3b:00.0"
# A card in a slot, as sysfs shows it.
TREE = f"""
[{PORT}]
max_link_width = 16
max_link_speed = 16.0 GT/s PCIe
aer_dev_fatal = Undefined 0\\nDLP 0\\nTOTAL_ERR_FATAL 0
aer_dev_nonfatal = Undefined 0\\nTOTAL_ERR_NONFATAL 0
[{CARD}]
vendor = 0x10de
device = 0x2330
class = 0x0b4000
max_link_width = 16
current_link_width = 16
max_link_speed = 16.0 GT/s PCIe
current_link_speed = 16.0 GT/s PCIe
aer_dev_fatal = Undefined 0\\nDLP 0\\nTOTAL_ERR_FATAL 0
aer_dev_nonfatal = Undefined 0\\nTOTAL_ERR_NONFATAL 0
driver -> ../../../../bus/pci/drivers/vfio-pci
[]
sys/bus/pci/drivers/vfio-pci/
sys/bus/pci/devices/{ADDRESS} -> ../../../../{CARD}
dev/kmsg = 6,100,1;a line of before
"""


class Machine:
    """The machine, and what the conductor has been told of it.

    :ivar holds: texts by sign, as the conductor has them
    :ivar calls: how often it was told something
    """

    def __init__(self, directory: pathlib.Path) -> None:
        self.root = machine.unpack_text(TREE, directory / "root")
        self._path = directory / "health.json"
        self.now = 1000.0
        self.holds: dict[str, str] = {}
        self.unknown: set[str] = set()
        self.calls = 0
        self._number = 100
        self.sensors: tuple[core.Sensor, ...] = monitor.SENSORS
        self.devices = [plain(ADDRESS)]
        self.start()

    def start(self, boot: str = "boot-1") -> None:
        """Have the agent start, again."""
        self.monitor = monitor.Monitor(
            self.root, self._path, boot, self.sensors, lambda: self.now
        )

    def look(self) -> damping.Changes:
        changes = self.monitor.look(self.devices)
        if changes:
            self.calls += 1
            if changes.whole:
                self.holds, self.unknown = {}, set()
            for item in changes.bad:
                self.holds[item["key"]] = item["text"]
                self.unknown.discard(item["key"])
                if item["unknown"]:
                    self.unknown.add(item["key"])
            for item in changes.well:
                self.holds.pop(item["key"], None)
            self.monitor.told(changes)
        return changes

    def signs(self, wait: float = 0) -> list[str]:
        """Look after some time; returns what the conductor knows then."""
        self.now += wait
        self.look()
        return sorted(self.holds)

    def write(self, name: str, text: str, base: str = CARD) -> None:
        path = self.root / base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")

    def unbind(self) -> None:
        (self.root / CARD / "driver").unlink()

    def bind(self) -> None:
        (self.root / CARD / "driver").symlink_to("drivers/vfio-pci")

    def say(self, text: str) -> None:
        """Have the kernel log a line."""
        self._number += 1
        with (self.root / "dev/kmsg").open("a") as file:
            file.write(f"3,{self._number},1,-;{text}\n")


def plain(address: str) -> dict[str, Any]:
    """Return a card as discovery has it."""
    return report.plain(
        objects.DriverDevice(
            vendor="10de",
            model="a card",
            type="GPU",
            std_board_info=None,
            vendor_board_info=None,
            controlpath_id=describe.control_path_id(address),
            deployable_list=[],
        )
    )


@pytest.fixture
def config() -> Iterator[config_fixture.Config]:
    with config_fixture.Config(CONF) as fixture:
        yield fixture


@pytest.fixture
def here(
    tmp_path: pathlib.Path,
    config: config_fixture.Config,
    monkeypatch: pytest.MonkeyPatch,
) -> Machine:
    """The machine, well, and known to be."""
    # Nobody takes the power away, and there are thousands of looks.
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    found = Machine(tmp_path)
    assert found.look().whole
    assert found.holds == {}
    return found
