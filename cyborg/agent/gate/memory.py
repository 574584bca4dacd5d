"""Remembers which functions guests have had.

What is written on a disk means something only as long as no guest had it:
after that, a guest may have written it.
"""

from collections.abc import Iterable
import json
import pathlib
from typing import Any

from oslo_log import log as logging

from cyborg.agent import store

LOG = logging.getLogger(__name__)


class Given:
    """The addresses of functions that guests had, on disk.

    ::

        {"version": 1, "given": ["0000:5e:00.0"]}

    :param path: of the file
    :param before: addresses that earlier releases offered: there is no
        telling which of them guests had. Used where there is no file yet
    :param keep: whether to write; not in a dry run
    """

    VERSION = 1

    def __init__(
        self,
        path: pathlib.Path,
        before: Iterable[str] = (),
        keep: bool = True,
    ) -> None:
        self._path = path
        self._keep = keep
        content = self._load()
        if content.get("version") == self.VERSION:
            self._given = set(content["given"])
        else:
            self._given = set(before)
            self._save()

    def has(self, address: str) -> bool:
        """Return whether a guest may have had a function."""
        return address in self._given

    def add(self, addresses: Iterable[str]) -> None:
        """Remember functions that guests have."""
        new = set(addresses) - self._given
        if new:
            self._given |= new
            self._save()

    def _load(self) -> dict[str, Any]:
        try:
            if self._keep:
                return store.read(self._path)
            # That would set aside a file that is no JSON.
            return dict(json.loads(self._path.read_text(encoding="utf-8")))
        except (OSError, TypeError, ValueError) as error:
            LOG.debug("%s is not used: %s", self._path, error)
            return {}

    def _save(self) -> None:
        if not self._keep:
            return
        try:
            store.write(
                self._path,
                {"version": self.VERSION, "given": sorted(self._given)},
            )
        except OSError as error:
            LOG.error("Cannot write %s: %s", self._path, error)
