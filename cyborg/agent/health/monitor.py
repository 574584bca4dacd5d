"""Reads all sensors, each within its time."""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Sequence
import copy
import pathlib
import threading
import time
from typing import Any

from oslo_config import cfg
from oslo_log import log as logging

from cyborg.accelerator import sysfs
from cyborg.agent import store
from cyborg.agent.health import aer
from cyborg.agent.health import core
from cyborg.agent.health import damping
from cyborg.agent.health import dfl
from cyborg.agent.health import hwmon
from cyborg.agent.health import kernel_log
from cyborg.agent.health import kmsg
from cyborg.agent.health import nic
from cyborg.agent.health import nvme
from cyborg.agent.health import pcie
from cyborg.agent.health import qat

CONF = cfg.CONF
LOG = logging.getLogger(__name__)

SENSORS = (
    pcie.SENSOR,
    aer.SENSOR,
    kmsg.SENSOR,
    nvme.SENSOR,
    nic.SENSOR,
    qat.SENSOR,
    dfl.SENSOR,
    hwmon.SENSOR,
)


class _Reading:
    """One look of one sensor at all cards, in a thread of its own.

    :ivar seen: what it saw, by place; what is not in it is not known
    """

    def __init__(
        self,
        sensor: core.Sensor,
        view: core.View,
        cards: Sequence[core.Card],
        memory: dict[str, dict[str, Any]],
    ) -> None:
        self.sensor = sensor
        self.seen: dict[str, list[core.Seen]] = {}
        self.errors: dict[str, str] = {}
        self._view = view
        self._cards = cards
        self._memory = memory
        self._thread = threading.Thread(
            target=self._run,
            name=f"health-{sensor.name}",
            # A read from broken hardware may never return.
            daemon=True,
        )

    def start(self) -> None:
        self._thread.start()

    @property
    def is_running(self) -> bool:
        return self._thread.is_alive()

    def wait(self, seconds: float) -> None:
        self._thread.join(max(0.0, seconds))

    def _run(self) -> None:
        for card in self._cards:
            memory = self._memory.setdefault(card.place, {})
            try:
                self.seen[card.place] = list(
                    self.sensor.read(self._view, card, memory)
                )
            except Exception as error:
                self.errors[card.place] = f"{type(error).__name__}: {error}"


class Monitor:
    """What is known of the cards' health.

    Only one thread may call it.

    :param root: directory taken for ``/``
    :param path: where it is kept what outlives the agent
    :param boot_id: the host's, None if not known
    :param clock: seconds, as :func:`time.time` has them
    """

    def __init__(
        self,
        root: sysfs.Path,
        path: pathlib.Path,
        boot_id: str | None,
        sensors: Sequence[core.Sensor] = SENSORS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        kept = store.read(path)
        is_known = bool(kept)
        if kept.get("boot_id") != boot_id:
            # Counters begin anew with a boot, and so does the log.
            kept = {}
        self._root = root
        self._path = path
        self._boot_id = boot_id
        self._sensors = sensors
        self._clock = clock
        self._kept = kept
        self._memory: dict[str, dict[str, Any]] = kept.get("memory", {})
        self._damper = damping.Damper(kept)
        # An agent that sees a host for the first time does not hold against
        # its cards what was long ago.
        self.log = kernel_log.Log(
            root, kept.get("log", -1 if is_known else None)
        )
        self._running: dict[str, _Reading] = {}
        self._odd: dict[tuple[str, str], str] = {}

    def look(self, devices: Iterable[dict[str, Any]]) -> damping.Changes:
        """Read the sensors of plain devices; returns what has to be told."""
        cards = list(core.cards(self._root, devices))
        view = core.View(self._root, self.log)
        sensors = [
            sensor
            for sensor in self._sensors
            if sensor.name not in CONF.health.disabled_sensors
        ]
        for sensor in sensors:
            running = self._running.get(sensor.name)
            if running is None or not running.is_running:
                self._running[sensor.name] = _Reading(
                    sensor,
                    view,
                    cards,
                    self._memory.setdefault(sensor.name, {}),
                )
                self._running[sensor.name].start()
        deadline = time.monotonic() + CONF.health.sensor_timeout
        for sensor in sensors:
            self._running[sensor.name].wait(deadline - time.monotonic())
            self._note(self._running[sensor.name], cards)
        self._damper.keep_only({card.place for card in cards})
        changes = self._damper.changes(CONF.health.clear_after, self._clock())
        self._save()
        return changes

    def told(self, changes: damping.Changes) -> None:
        """Note that the conductor knows these changes."""
        self._damper.told(changes, self._clock())
        self._save()

    def ask_again(self) -> None:
        """Have the conductor told everything with the next look."""
        self._damper.ask_again()

    def _note(self, reading: _Reading, cards: Sequence[core.Card]) -> None:
        sensor, now = reading.sensor, self._clock()
        for card in cards:
            seen = reading.seen.get(card.place)
            if seen is None:
                error = reading.errors.get(card.place, "it does not answer")
                self._warn(sensor, card, error)
                self._damper.lose(card.place, sensor.keys)
                continue
            self._odd.pop((sensor.name, card.place), None)
            for key, text in seen:
                self._damper.see(card.place, key, text, now)
            self._damper.rest(
                card.place,
                sensor.keys,
                [key for key, _text in seen],
                CONF.health.clear_after,
                now,
            )

    def _warn(self, sensor: core.Sensor, card: core.Card, error: str) -> None:
        """Log that a sensor cannot be read, when that is news."""
        place = sensor.name, card.place
        if self._odd.get(place) != error:
            LOG.warning(
                "Sensor %s of %s: %s",
                sensor.name,
                card.function.address,
                error,
            )
            self._odd[place] = error

    def _save(self) -> None:
        kept = {
            "boot_id": self._boot_id,
            "log": self.log.last,
            "memory": {
                name: memory
                for name, memory in self._memory.items()
                # One that hangs may be writing to it.
                if name not in self._running
                or not self._running[name].is_running
            },
            **self._damper.as_dict(),
        }
        if kept != self._kept:
            store.write(self._path, kept)
            # Not what goes on changing.
            self._kept = copy.deepcopy(kept)
