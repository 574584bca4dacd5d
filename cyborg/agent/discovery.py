"""Loads the enabled drivers and asks each what it finds.

One driver's failure costs nobody else anything: it is reported as incomplete
with the devices it had last, so that no record is taken away, and the other
drivers' devices are reported as ever.
"""

from collections.abc import Callable
from collections.abc import Collection
import dataclasses
import importlib.metadata
import threading
import time
from typing import Any

from oslo_config import cfg
from oslo_log import log as logging
from stevedore import named

from cyborg.accelerator import adapted
from cyborg.accelerator import driver as driver_api
from cyborg.accelerator import pci
from cyborg.agent import report
from cyborg.agent import turns as driver_turns
from cyborg.agent.gate import gate as gates
from cyborg.common import exception

CONF = cfg.CONF
LOG = logging.getLogger(__name__)
NAMESPACE = "cyborg.accelerator.driver"

# Times [agent] command_timeout that one discovery of a driver may take
# before the report goes without it.
PATIENCE = 4


@dataclasses.dataclass
class Enabled:
    """A driver named in ``[agent] enabled_drivers``.

    A driver whose constructor failed has no instance; it is tried again at
    each discovery, for what it missed may have come. One whose module cannot
    be imported has no factory either.
    """

    name: str
    factory: Callable[[], Any] | None
    error: str | None = None
    instance: driver_api.Driver | None = None
    # Whether the driver has made the host ready.
    is_ready: bool = False
    turns: driver_turns.Turns = dataclasses.field(
        default_factory=driver_turns.Turns
    )

    def get(self) -> driver_api.Driver:
        """Return the instance, made now if there is none.

        :raises DriverError: it cannot be made
        """
        if self.instance is None:
            if self.factory is None:
                raise exception.DriverError(reason=self.error)
            self.instance = adapted.adapt(self.factory())
        return self.instance

    def ready(self) -> driver_api.Driver:
        """Return the instance when it has made the host ready.

        :raises DriverError: it cannot be made
        """
        instance = self.get()
        if not self.is_ready:
            instance.init_host()
            self.is_ready = True
        return instance

    def capabilities(self) -> list[str]:
        if self.instance is None:
            return []
        return driver_api.capabilities(self.instance)


def load(names: list[str]) -> list[Enabled]:
    """Return the drivers of these entry points, in this order.

    :raises InvalidDriver: a name is not that of an installed driver
    :raises ConfigInvalid: a driver refuses its options
    """
    names = list(dict.fromkeys(names))
    known = {
        point.name
        for point in importlib.metadata.entry_points(group=NAMESPACE)
    }
    for name in names:
        if name not in known:
            raise exception.InvalidDriver(
                name=name, known=", ".join(sorted(known)) or "none"
            )
    failed: dict[str, str] = {}

    def on_failure(manager: Any, point: Any, error: BaseException) -> None:
        LOG.error("Driver %s cannot be imported: %s", point.name, error)
        failed[point.name] = f"{type(error).__name__}: {error}"

    loaded: Any = named.NamedExtensionManager(
        NAMESPACE,
        names,
        on_load_failure_callback=on_failure,
        warn_on_missing_entrypoint=False,
    )
    factories = {extension.name: extension.plugin for extension in loaded}
    return construct(
        Enabled(name, factories.get(name), failed.get(name)) for name in names
    )


def construct(drivers: Any) -> list[Enabled]:
    """Make the instances; one that cannot be made is marked.

    :raises ConfigInvalid: a driver refuses its options
    """
    result = list(drivers)
    for enabled in result:
        try:
            enabled.get()
        except exception.ConfigInvalid:
            # Only the operator can put this right, and would not look for
            # it in the log of an agent that runs.
            raise
        except Exception:
            LOG.exception("Driver %s cannot be started", enabled.name)
    return result


class Discovery:
    """Asks every driver, and remembers what each found last."""

    def __init__(
        self,
        drivers: list[Enabled],
        cache: report.Cache,
        gate: gates.Gate | None = None,
    ) -> None:
        """Ask these drivers.

        :raises ConfigInvalid: the gate's options are wrong
        """
        self.drivers = drivers
        self._cache = cache
        self._last: dict[str, report.Found] = {}
        self._running: dict[str, threading.Thread] = {}
        # What each driver found odd last.
        self._odd: dict[str, list[str]] = {}
        self._ran = threading.Event()
        self._gate = gate or gate_of(
            drivers, [each for d in drivers for each in self.known(d.name)]
        )

    def run(
        self,
        in_use: Collection[str] | None = None,
        made: Collection[str] | None = None,
    ) -> list[report.Found]:
        """Return what each driver says, in the order they are enabled.

        What must not be offered is marked. Blocks for as long as the slowest
        driver takes, to a limit. Only one thread may call it.

        :param in_use: ``attach_info`` texts of the handles that guests have;
            None if that is not known
        :param made: uuids of the mdevs that this agent made, or None
        """
        for enabled in self.drivers:
            self._start(enabled)
        deadline = time.monotonic() + PATIENCE * CONF.agent.command_timeout
        for thread in list(self._running.values()):
            thread.join(max(0.0, deadline - time.monotonic()))
        found = [self._answer(enabled) for enabled in self.drivers]
        changed = self._cache.forget_all_but(each.name for each in found)
        for each in found:
            if each.complete:
                changed |= self._cache.keep(each.name, each.devices)
        if changed:
            self._cache.save()
        self._ran.set()
        return _without_duplicates(self._gate.judge(found, in_use, made).found)

    def wait_for_first(self, timeout: float) -> None:
        """Block until every driver has been asked once."""
        self._ran.wait(timeout)

    def known(self, name: str) -> list[dict[str, Any]]:
        """Return the devices a driver reported last."""
        last = self._last.get(name)
        if last is not None:
            return last.devices
        return self._cache.devices(name) or []

    def change(
        self, name: str, change: Callable[[dict[str, Any]], dict[str, Any]]
    ) -> None:
        """Change what a driver found last, until it is asked again.

        Whoever calls this is at work on one of its cards, so that it is not
        being asked.
        """
        devices = [change(device) for device in self.known(name)]
        last = self._last.get(name)
        if last is not None:
            self._last[name] = dataclasses.replace(last, devices=devices)
        if self._cache.devices(name) is not None and self._cache.keep(
            name, devices
        ):
            self._cache.save()

    def _start(self, enabled: Enabled) -> None:
        running = self._running.get(enabled.name)
        if running is not None and running.is_alive():
            return
        thread = threading.Thread(
            target=self._discover,
            args=(enabled,),
            name=f"discover-{enabled.name}",
            # A read from broken hardware may never return.
            daemon=True,
        )
        self._running[enabled.name] = thread
        thread.start()

    def _answer(self, enabled: Enabled) -> report.Found:
        if self._running[enabled.name].is_alive():
            LOG.error("Driver %s is still looking for devices", enabled.name)
            return self._failed(enabled, "discovery takes too long")
        return self._last.get(enabled.name) or self._failed(
            enabled, "discovery was cut short"
        )

    def _discover(self, enabled: Enabled) -> None:
        with enabled.turns.discovery() as admitted:
            if not admitted:
                # A card is being changed; it may not even be on the bus.
                LOG.debug("Driver %s is at work on a card", enabled.name)
                if enabled.name not in self._last:
                    self._last[enabled.name] = self._failed(
                        enabled, "work on a card goes on"
                    )
                return
            try:
                driver = enabled.ready()
                found = dataclasses.replace(
                    self._read(enabled, driver.discover()),
                    broken=dict(driver.broken()),
                )
                self._warn(enabled.name, driver.warnings())
            except Exception as error:
                LOG.exception("Driver %s failed to discover", enabled.name)
                found = self._failed(
                    enabled, f"{type(error).__name__}: {error}"
                )
            self._last[enabled.name] = found

    def _warn(self, name: str, texts: list[str]) -> None:
        """Log what a driver found odd when it did not before."""
        for text in texts:
            if text not in self._odd.get(name, ()):
                LOG.warning("Driver %s: %s", name, text)
        self._odd[name] = texts

    def _failed(self, enabled: Enabled, reason: str) -> report.Found:
        return report.Found(
            name=enabled.name,
            devices=self.known(enabled.name),
            complete=False,
            error=reason,
            capabilities=enabled.capabilities(),
        )

    def _read(self, enabled: Enabled, devices: list[Any]) -> report.Found:
        """Turn a driver's devices into plain ones, bad ones into stubs."""
        before = {
            report.cpid_info(device): device
            for device in self.known(enabled.name)
        }
        good: list[dict[str, Any]] = []
        bad: list[str] = []
        for device in devices:
            try:
                values = report.plain(device)
                report.decoded_cpid(values)
                good.append(_filled_in(values, before))
            except Exception as error:
                LOG.warning(
                    "Driver %s describes a device wrongly: %s",
                    enabled.name,
                    error,
                )
                bad.append(str(error))
                try:
                    known = before[device.controlpath_id.cpid_info]
                except Exception:
                    # Not even its address can be read; that the driver is
                    # incomplete keeps the records of whatever it is.
                    continue
                good.append({**known, "stub": True})
        good += _unreadable(enabled, before, good)
        return report.Found(
            name=enabled.name,
            devices=good,
            complete=not bad,
            error="; ".join(bad) or None,
            capabilities=enabled.capabilities(),
        )


def _filled_in(
    device: dict[str, Any], before: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """Return a device; a stub as it was described last, if it ever was."""
    known = before.get(report.cpid_info(device))
    if (
        device["stub"]
        and not device["deployable_list"]
        and known is not None
        and known["vendor"] == device["vendor"]
    ):
        return {**known, "stub": True}
    return device


def _unreadable(
    enabled: Enabled,
    before: dict[str, dict[str, Any]],
    found: list[dict[str, Any]],
) -> list[dict[str, Any]]:
    """Return what a driver no longer knows, but is there and does not answer.

    As stubs: nothing says that the card is gone.
    """
    missing = before.keys() - {report.cpid_info(device) for device in found}
    if not missing or enabled.instance is None:
        return []
    try:
        functions = pci.read_functions(enabled.instance.root)
    except exception.DriverError:
        return []
    silent = {
        pci.address_info(address)
        for address, function in functions.items()
        if function.error
    }
    return [
        {**before[info], "stub": True} for info in sorted(missing & silent)
    ]


def gate_of(
    drivers: list[Enabled],
    reported: list[dict[str, Any]],
    keep: bool = True,
) -> gates.Gate:
    """Return the gate for drivers: it looks at the machine they look at.

    :param reported: plain devices that were reported before
    :param keep: see :func:`.gate.make`
    :raises ConfigInvalid: its options are wrong
    """
    for enabled in drivers:
        if enabled.instance is not None:
            return gates.make(
                enabled.instance.root, enabled.instance.conf, reported, keep
            )
    return gates.make(CONF.agent.filesystem_root, CONF, reported, keep)


def _without_duplicates(found: list[report.Found]) -> list[report.Found]:
    """Leave each device to the first driver that claims it."""
    seen: set[str] = set()
    result = []
    for driver in found:
        devices = []
        for device in driver.devices:
            cpid = report.cpid_info(device)
            if cpid not in seen:
                seen.add(cpid)
                devices.append(device)
        result.append(dataclasses.replace(driver, devices=devices))
    return result
