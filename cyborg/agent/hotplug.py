"""Wakes the agent when a PCI device comes, goes or changes."""

from collections.abc import Callable
import threading
import time
from typing import Any

from oslo_log import log as logging

LOG = logging.getLogger(__name__)

ACTIONS = ("add", "remove", "change")
# Seconds of quiet that end a burst: a card with many functions makes many
# events, and all of them are one change.
SETTLE = 0.3
# Seconds after which a burst that goes on is not waited for any longer.
LONGEST = 0.6


def kernel_monitor() -> Any:
    """Return pyudev's monitor of PCI events, None if there can be none."""
    try:
        import pyudev

        # The kernel's own events: udev's come only where its daemon runs,
        # which in many containers it does not, and nobody is told.
        monitor = pyudev.Monitor.from_netlink(pyudev.Context(), "kernel")
        monitor.filter_by("pci")
        monitor.start()
    except (ImportError, OSError) as error:
        LOG.info("Devices are polled, hot-plug is not watched: %s", error)
        return None
    return monitor


class Watcher:
    """Calls ``wake`` within a second of events, in a thread.

    :param monitor: has ``poll(timeout)``, which returns a device with an
        ``action``, or None
    :param reopen: returns another in place of one that failed, None if there
        can be none
    """

    def __init__(
        self,
        monitor: Any,
        wake: Callable[[], None],
        reopen: Callable[[], Any] = lambda: None,
    ) -> None:
        self._monitor = monitor
        self._wake = wake
        self._reopen = reopen
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
        began: float | None = None
        works = True
        while not self._ended.is_set():
            try:
                device = self._monitor.poll(SETTLE)
                works = True
            except OSError as error:
                self._monitor = self._reopen() if works else None
                if self._monitor is None:
                    raise
                # More events than the socket has room for: some are lost,
                # and pyudev never gets over the error that tells so.
                LOG.info("Hot-plug is watched anew: %s", error)
                works, began = False, None
                self._wake()
                continue
            if device is not None and device.action in ACTIONS:
                LOG.debug("PCI device %s: %s", device.action, device)
                began = began or time.monotonic()
            if began is not None and (
                device is None or time.monotonic() - began > LONGEST
            ):
                began = None
                self._wake()
