"""Remembers the network devices of functions that guests have.

A function that is handed to a guest loses its network device, by which
configuration names it. If its report changed then, its attach handle would
be taken for another one, and given away a second time.
"""

import dataclasses
import json
import os
import pathlib
from typing import Any

from oslo_log import log

from cyborg.accelerator import pci

LOG = log.getLogger(__name__)


class Memory:
    """The network devices each function had last.

    Kept in ``$state_path/agent/``, which the agent makes; without that
    directory, and in a dry run, only as long as the process runs.

    :param name: of the file, the driver's own
    """

    def __init__(self, conf: Any, name: str) -> None:
        self._path = pathlib.Path(conf.state_path, "agent", f"{name}.json")
        # Whose file would be another user's.
        self._is_kept = not getattr(conf, "dry_run", False)
        self._last: dict[str, dict[str, Any]] | None = None

    def complete(
        self, functions: dict[str, pci.Function]
    ) -> dict[str, pci.Function]:
        """Return the functions, with the network devices they had."""
        last = self._load() if self._last is None else self._last
        seen = {
            address: {"ids": _ids(item), "netdevs": list(item.netdevs)}
            for address, item in functions.items()
            if item.netdevs
        }
        if any(last.get(address) != entry for address, entry in seen.items()):
            self._save(last | seen)
        self._last = last | seen
        taken = {name for item in seen.values() for name in item["netdevs"]}
        return {
            address: self._with_netdevs(item, taken)
            for address, item in functions.items()
        }

    def _with_netdevs(
        self, function: pci.Function, taken: set[str]
    ) -> pci.Function:
        entry = (self._last or {}).get(function.address)
        if function.netdevs or entry is None or entry["ids"] != _ids(function):
            return function
        # A name that another card has by now means that card.
        names = tuple(name for name in entry["netdevs"] if name not in taken)
        return dataclasses.replace(function, netdevs=names)

    def _load(self) -> dict[str, dict[str, Any]]:
        try:
            return dict(json.loads(self._path.read_text()))
        except FileNotFoundError:
            return {}
        except (OSError, TypeError, ValueError) as error:
            LOG.warning("%s is not used: %s", self._path, error)
            return {}

    def _save(self, content: dict[str, dict[str, Any]]) -> None:
        if not self._is_kept or not self._path.parent.is_dir():
            return
        part = self._path.with_suffix(".part")
        try:
            with part.open("w") as file:
                json.dump(content, file, sort_keys=True)
                file.flush()
                os.fsync(file.fileno())
            part.replace(self._path)
        except OSError as error:
            LOG.warning("%s cannot be written: %s", self._path, error)


def _ids(function: pci.Function) -> str:
    return f"{function.vendor}:{function.product}"
