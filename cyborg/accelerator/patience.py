"""Calls that may never return, as reads from broken hardware.

The kernel lets nobody end a read that waits for hardware. So it is left alone
in its thread, and the others go on without it.
"""

from collections.abc import Callable
from collections.abc import Hashable
from collections.abc import Iterable
import threading
import time
from typing import Generic
from typing import TypeVar

from oslo_log import log

from cyborg.common import exception

LOG = log.getLogger(__name__)

# Seconds after which a call is left alone. What answers at all does so in
# milliseconds; binds wait for longer.
LIMIT = 5.0

Key = TypeVar("Key", bound=Hashable)
Answer = TypeVar("Answer")


class Patience(Generic[Key, Answer]):
    """Calls a function for one thing after the other; none stops the rest.

    What did not return is not asked again before it does.

    :param what: is done with each, for people: ``reading``
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._stuck: dict[Key, threading.Thread] = {}

    def each(
        self, call: Callable[[Key], Answer], keys: Iterable[Key]
    ) -> dict[Key, Answer | Exception]:
        """Return what the function returned or raised, by key.

        :returns: a HardwareFailed for what did not return
        """
        found: dict[Key, Answer | Exception] = {}
        todo = []
        for key in keys:
            if self._is_stuck(key):
                found[key] = self._failure(key)
            else:
                todo.append(key)
        while todo:
            run: _Run[Key, Answer] = _Run(call, todo)
            stuck = run.wait()
            found |= run.found
            if stuck is None:
                break
            LOG.error("%s %s does not return", self._what, stuck)
            self._stuck[stuck] = run.thread
            found[stuck] = self._failure(stuck)
            todo = todo[todo.index(stuck) + 1 :]
        return found

    def _is_stuck(self, key: Key) -> bool:
        thread = self._stuck.get(key)
        if thread is not None and not thread.is_alive():
            del self._stuck[key]
            thread = None
        return thread is not None

    def _failure(self, key: Key) -> exception.HardwareFailed:
        return exception.HardwareFailed(
            reason=f"{self._what} {key} does not return"
        )


class _Run(Generic[Key, Answer]):
    """A thread that calls a function for some keys, in their order."""

    def __init__(self, call: Callable[[Key], Answer], keys: list[Key]) -> None:
        self.found: dict[Key, Answer | Exception] = {}
        self._call = call
        self._keys = keys
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._since = time.monotonic()
        self._is_left = False
        self.thread = threading.Thread(target=self._work, daemon=True)
        self.thread.start()

    def wait(self) -> Key | None:
        """Block until all are done; return the one that does not return."""
        left = LIMIT
        while not self._done.wait(left):
            with self._lock:
                left = self._since + LIMIT - time.monotonic()
                if left <= 0 and len(self.found) < len(self._keys):
                    self._is_left = True
                    return self._keys[len(self.found)]
            left = max(left, 0.01)
        return None

    def _work(self) -> None:
        for key in self._keys:
            answer: Answer | Exception
            try:
                answer = self._call(key)
            except Exception as error:
                answer = error
            with self._lock:
                if self._is_left:
                    return
                self.found[key] = answer
                self._since = time.monotonic()
        self._done.set()
