"""Keeps a driver from looking at cards while it changes one of them."""

from collections.abc import Iterator
import contextlib
import threading
import time

from cyborg.common import exception


class Turns:
    """One driver's turns: work on several cards, or one discovery.

    A discovery never waits: while a card is being programmed, for minutes
    perhaps, the other drivers' cards have to be reported all the same.
    """

    def __init__(self) -> None:
        self._turn = threading.Condition()
        self._busy: set[str] = set()
        self._discovering = False

    @contextlib.contextmanager
    def work(self, device: str, timeout: float) -> Iterator[None]:
        """Own one card for the block.

        :raises DriverError: others held it for ``timeout`` seconds
        """
        deadline = time.monotonic() + timeout
        with self._turn:
            while self._discovering or device in self._busy:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise exception.DriverError(
                        reason=f"Device {device} was busy for {timeout} s."
                    )
                self._turn.wait(left)
            self._busy.add(device)
        try:
            yield
        finally:
            with self._turn:
                self._busy.discard(device)
                self._turn.notify_all()

    @contextlib.contextmanager
    def discovery(self) -> Iterator[bool]:
        """Yield whether the block may look at the cards."""
        with self._turn:
            admitted = not self._busy and not self._discovering
            self._discovering = self._discovering or admitted
        try:
            yield admitted
        finally:
            if admitted:
                with self._turn:
                    self._discovering = False
                    self._turn.notify_all()
