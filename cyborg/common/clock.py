"""The time by the database, as this process knows it.

Whatever one process writes and another compares is measured by one clock: the
database's. A process asks for it with each connection that it opens, and once
a minute, and counts on from there by a clock that nobody sets. So it costs no
statement, and the clock of the host may be wrong or jump.
"""

import datetime
import threading
import time

from oslo_log import log as logging
from oslo_utils import timeutils

LOG = logging.getLogger(__name__)

# Seconds for which an answer is believed; clocks drift by less than 10 ms.
_BELIEVED = 60.0
# Seconds by which the clock of a host may be wrong before somebody is told.
TOLERANCE = 5.0
# Seconds after which it is said again.
_SAID = 3600.0

_lock = threading.Lock()
# What the database said, and when.
_read: tuple[datetime.datetime, float] | None = None
_said_at: float | None = None


def _elapsed() -> float:
    """Return seconds that no step of the clock changes."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def read(now: datetime.datetime) -> None:
    """Note what the database says that the time is, UTC."""
    global _read, _said_at
    elapsed = _elapsed()
    with _lock:
        _read = now, elapsed
        off = skew()
        if abs(off) <= TOLERANCE or (
            _said_at is not None and elapsed - _said_at < _SAID
        ):
            return
        _said_at = elapsed
    LOG.warning(
        "The clock of this host is %d seconds %s that of the database, which "
        "is the one that counts here. Other services may go by this host's: "
        "see that NTP runs on both",
        abs(off),
        "ahead of" if off > 0 else "behind",
    )


def is_due() -> bool:
    """Tell whether the database has to be asked again."""
    return _read is None or _elapsed() - _read[1] >= _BELIEVED


def reset() -> None:
    """Forget what the database said: it may be another one."""
    global _read, _said_at
    _read = _said_at = None


def utcnow() -> datetime.datetime:
    """Return the time by the database, UTC, without an offset.

    Before it was asked, that of the host.
    """
    if _read is None:
        return timeutils.utcnow()
    now, at = _read
    return now + datetime.timedelta(seconds=_elapsed() - at)


def skew() -> float:
    """Return by how many seconds the clock of this host is ahead."""
    return (timeutils.utcnow() - utcnow()).total_seconds()
