"""A background thread that works when woken, and now and then anyway."""

from collections.abc import Callable
import threading
import time

from oslo_log import log as logging

from cyborg.common import database
from cyborg.common import exception

LOG = logging.getLogger(__name__)

# Seconds between two lines about a peer that is away.
_QUIET = 60.0


class Complaints:
    """Logs why work that is repeated failed.

    Of a database or a peer that is away, one line a minute; of anything else
    a traceback each time.
    """

    def __init__(self) -> None:
        self._said_at: dict[type[Exception], float] = {}
        self._lock = threading.Lock()

    def log(self, what: str, error: Exception) -> None:
        reason = database.refusal(error)
        if isinstance(error, exception.ServiceUnavailable):
            reason = error.faultstring
        if reason is None:
            LOG.error("%s failed and will go on", what, exc_info=error)
        elif self._is_due(type(error)):
            LOG.error("%s waits: %s", what, reason)

    def _is_due(self, kind: type[Exception]) -> bool:
        now = time.monotonic()
        with self._lock:
            if now - self._said_at.get(kind, float("-inf")) < _QUIET:
                return False
            self._said_at[kind] = now
            return True


class Worker:
    """Calls ``work`` until it has nothing left, then waits.

    :param work: does some work; returns whether there is more right now
    :param interval: seconds after which it looks without being woken
    :param gather: seconds from being woken until it works, so that what
        comes together is done together
    """

    def __init__(
        self,
        name: str,
        work: Callable[[], bool],
        interval: float,
        gather: float = 0.0,
    ) -> None:
        self._name = name
        self._work = work
        self._interval = interval
        self._gather = gather
        self._woken = threading.Event()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._complaints = Complaints()

    def start(self) -> None:
        self._thread = threading.Thread(
            target=self._run, name=self._name, daemon=True
        )
        self._thread.start()

    def wake(self) -> None:
        self._woken.set()

    def stop(self) -> None:
        """End after the piece of work that is going on."""
        self._ended.set()
        self._woken.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._ended.is_set():
            self._woken.clear()
            try:
                more = self._work()
            except Exception as error:
                # The next round finds the same work: it is in the database.
                self._complaints.log(self._name, error)
                more = False
            if not more and self._woken.wait(self._interval):
                self._ended.wait(self._gather)
