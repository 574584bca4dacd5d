"""Processes that do the same side by side; one that dies is replaced."""

from collections.abc import Callable
import os
import signal
import threading
import time
from typing import Any
from typing import NoReturn

from oslo_log import log as logging

LOG = logging.getLogger(__name__)

# Seconds between a worker's end and its replacement.
_RESPAWN_DELAY = 1.0


class Workers:
    """Processes that run the same thing; the dead are replaced.

    :param run: what a worker runs; it returns the exit status
    """

    def __init__(self, run: Callable[[], int], count: int) -> None:
        self._run = run
        self._count = count
        self._ended = False
        # {process id: when it was started}
        self._alive: dict[int, float] = {}
        # Only this process holds the writing end, so that its workers see
        # an end of file when it is gone, whatever ended it.
        self._pulse, self._heart = os.pipe()

    def serve(self) -> int:
        """Run the workers until a signal ends them; returns the status."""
        for name in ("SIGTERM", "SIGINT"):
            signal.signal(getattr(signal, name), self._end)
        for name in ("SIGHUP", "SIGUSR2"):
            signal.signal(getattr(signal, name), self._pass_on)
        while not self._ended and len(self._alive) < self._count:
            self._start()
        while self._alive:
            pid, status = os.wait()
            started = self._alive.pop(pid, None)
            if self._ended or started is None:
                continue
            LOG.error("Worker %d ended with status %d", pid, status)
            # One that cannot start would keep this host busy.
            time.sleep(max(0.0, started + _RESPAWN_DELAY - time.monotonic()))
            if not self._ended:
                self._start()
        return 0

    def _start(self) -> None:
        pid = os.fork()
        if pid == 0:
            self._be_worker()
        self._alive[pid] = time.monotonic()
        if self._ended:
            # The signal came before there was anybody to pass it on to.
            os.kill(pid, signal.SIGTERM)

    def _be_worker(self) -> NoReturn:
        status = 1
        try:
            # Not the parent's, until there are this process' own.
            for number in (
                signal.SIGTERM,
                signal.SIGINT,
                signal.SIGHUP,
                signal.SIGUSR2,
            ):
                signal.signal(number, signal.SIG_DFL)
            os.close(self._heart)
            threading.Thread(target=self._end_with_parent, daemon=True).start()
            status = self._run()
        except Exception:
            LOG.exception("Worker failed")
        finally:
            # Never back into what the parent was doing.
            os._exit(status)

    def _end_with_parent(self) -> None:
        os.read(self._pulse, 1)
        os.kill(os.getpid(), signal.SIGTERM)

    def _end(self, signum: int, frame: Any) -> None:
        self._ended = True
        self._pass_on(signal.SIGTERM, frame)

    def _pass_on(self, signum: int, frame: Any) -> None:
        for pid in list(self._alive):
            os.kill(pid, signum)
