"""Wakes the agent when a PCI device comes, goes or changes."""

from collections.abc import Callable
import threading
from typing import Any

from oslo_log import log as logging

LOG = logging.getLogger(__name__)

ACTIONS = ("add", "remove", "change")
# Seconds of quiet that end a burst: a card with many functions makes many
# events, and all of them are one change.
SETTLE = 0.3


def kernel_monitor() -> Any:
    """Return pyudev's monitor of PCI events, None if there can be none."""
    try:
        import pyudev

        monitor = pyudev.Monitor.from_netlink(pyudev.Context())
        monitor.filter_by("pci")
        monitor.start()
    except (ImportError, OSError) as error:
        LOG.info("Devices are polled, hot-plug is not watched: %s", error)
        return None
    return monitor


class Watcher:
    """Calls ``wake`` once after each burst of events, in a thread.

    :param monitor: has ``poll(timeout)``, which returns a device with an
        ``action``, or None
    """

    def __init__(self, monitor: Any, wake: Callable[[], None]) -> None:
        self._monitor = monitor
        self._wake = wake
        self._ended = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name="hotplug", daemon=True
        )

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            self._watch()
        except Exception:
            LOG.exception("Hot-plug is no longer watched; devices are polled")

    def _watch(self) -> None:
        pending = False
        while not self._ended.is_set():
            device = self._monitor.poll(SETTLE)
            if device is None and pending:
                pending = False
                self._wake()
            elif device is not None and device.action in ACTIONS:
                LOG.debug("PCI device %s: %s", device.action, device)
                pending = True
