"""Keeps callers from a peer that is away."""

import threading
import time

from oslo_log import log as logging

LOG = logging.getLogger(__name__)

# Seconds between attempts: doubled from one failure to the next.
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 5.0
# By then an attempt has failed, if only because nobody answered.
_LONGEST_ATTEMPT = 60.0


class Breaker:
    """Lets one caller through now and then while a peer is away.

    :param name: of the peer, for the log
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        # Why the peer is away, None if it is not.
        self._reason: str | None = None
        self._pause = 0.0
        self._until = 0.0

    @property
    def is_open(self) -> bool:
        """Whether an attempt would be refused now."""
        return self._reason is not None and time.monotonic() < self._until

    def enter(self) -> str | None:
        """Return None to let the caller try, or else why not.

        Who is let through says what came of it: ``failed`` or ``succeeded``.
        """
        if self._reason is None:
            return None
        with self._lock:
            if self.is_open:
                return self._reason
            # The others wait for what comes of this attempt.
            self._until = time.monotonic() + _LONGEST_ATTEMPT
            return None

    def failed(self, reason: str) -> None:
        with self._lock:
            if self._reason is None:
                LOG.warning("%s is away: %s", self._name, reason)
                self._pause = _FIRST_PAUSE
            else:
                self._pause = min(2 * self._pause, _LONGEST_PAUSE)
            self._reason = reason
            self._until = time.monotonic() + self._pause

    def succeeded(self) -> None:
        if self._reason is None:
            return
        with self._lock:
            self._reason = None
            LOG.info("%s is back", self._name)
