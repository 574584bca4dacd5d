"""Hot-plug on this machine's own kernel."""

import os
import pathlib
import threading

import pytest

from cyborg.agent import hotplug

UEVENTS = sorted(pathlib.Path("/sys/bus/pci/devices").glob("*/uevent"))


@pytest.mark.skipif(
    not UEVENTS or not os.access(UEVENTS[0], os.W_OK),
    reason="NO PCI device that this user may have send an event",
)
def test_the_kernel_is_heard() -> None:
    pytest.importorskip("pyudev", reason="NO pyudev")
    monitor = hotplug.kernel_monitor()
    assert monitor is not None
    woken = threading.Event()
    watcher = hotplug.Watcher(monitor, woken.set)
    watcher.start()
    try:
        # What the kernel also says when a card comes, without one.
        UEVENTS[0].write_text("change")
        assert woken.wait(30)
    finally:
        watcher.stop()
