"""Remembers the network devices of functions that guests have.

A function that is handed to a guest loses its network device, by which
configuration names it. If its report changed then, its attach handle would
be taken for another one, and given away a second time.
"""

import dataclasses
from typing import Any

from cyborg.accelerator import pci
from cyborg.accelerator import state


class Memory:
    """The network devices each function had last.

    Kept in ``$state_path/agent/``, which the agent makes; without that
    directory, and in a dry run, only as long as the process runs.

    :param name: of the file, the driver's own
    """

    def __init__(self, conf: Any, name: str) -> None:
        self._file = state.File(conf, name)
        self._last: dict[str, dict[str, Any]] | None = None

    def complete(
        self, functions: dict[str, pci.Function]
    ) -> dict[str, pci.Function]:
        """Return the functions, with the network devices they had."""
        last = self._file.load() if self._last is None else self._last
        seen = {
            address: {"ids": _ids(item), "netdevs": list(item.netdevs)}
            for address, item in functions.items()
            if item.netdevs
        }
        if any(last.get(address) != entry for address, entry in seen.items()):
            self._file.save(last | seen)
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


def _ids(function: pci.Function) -> str:
    return f"{function.vendor}:{function.product}"
