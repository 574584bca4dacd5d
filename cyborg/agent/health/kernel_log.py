"""Reads the kernel's log, record by record.

``/dev/kmsg``, see Documentation/ABI/testing/dev-kmsg: a read returns one
record, ``6,339,5140900,-;text`` (priority, sequence number, microseconds since
boot, flags), followed by lines ``KEY=value`` that begin with a space. EAGAIN:
there are no more; EPIPE: some were overwritten before they were read.
"""

from collections.abc import Iterator
import dataclasses
import os
import select
import stat
import time

from cyborg.accelerator import sysfs

_LONGEST = 8192
# Records that one look takes at most: a log that floods must not keep it.
_MOST = 20000


@dataclasses.dataclass(frozen=True)
class Record:
    """One message."""

    number: int
    text: str


def parse(raw: str) -> Record | None:
    """Return a record, None if it is none of the kernel's own."""
    head, semicolon, text = raw.partition(";")
    fields = head.split(",")
    try:
        priority, number = int(fields[0]), int(fields[1])
    except (IndexError, ValueError):
        return None
    # What programs write there has a facility, above the three lowest bits.
    if not semicolon or priority >> 3:
        return None
    return Record(number, text.partition("\n")[0])


class Log:
    """A place in the log.

    :param root: directory taken for ``/``; below another the log is a file
        with one record in each line
    :param last: number of the last record that was read; None = begin with
        what comes next, -1 = with the first there is
    """

    def __init__(self, root: sysfs.Path, last: int | None) -> None:
        self._path = os.path.join(os.path.abspath(root), "dev/kmsg")
        self._descriptor: int | None = None
        self.last = last

    def read(self) -> list[Record]:
        """Return what is new.

        :raises OSError: it may not be read
        """
        if self._descriptor is None and not self._open():
            return []
        if self.last is None:
            # Read, for where it ends is to be known to whoever starts next.
            self.last = max(
                (
                    record.number
                    for record in map(parse, self._raw())
                    if record
                ),
                default=-1,
            )
            return []
        found = []
        for raw in self._raw():
            record = parse(raw)
            if record is None or record.number <= self.last:
                continue
            found.append(record)
            self.last = record.number
        return found

    def wait(self, seconds: float) -> None:
        """Block until there is more to read, or for so long."""
        if self._descriptor is None:
            time.sleep(seconds)
            return
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        poll.poll(seconds * 1000)

    def _open(self) -> bool:
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK)
        except FileNotFoundError:
            return False
        self._descriptor = descriptor
        return True

    def _raw(self) -> Iterator[str]:
        assert self._descriptor is not None
        if stat.S_ISREG(os.fstat(self._descriptor).st_mode):
            while part := os.read(self._descriptor, 1 << 20):
                yield from part.decode(errors="replace").splitlines()
            return
        for _number in range(_MOST):
            try:
                part = os.read(self._descriptor, _LONGEST)
            except BlockingIOError:
                return
            except BrokenPipeError:
                continue
            if not part:
                return
            yield part.decode(errors="replace")
