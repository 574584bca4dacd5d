"""Remembers of vGPUs what full cards do not tell any more.

NVIDIA's own VFIO framework lists what a virtual function can become now: a
card that is full lists nothing, not even the name of what it is full of. How
many there can be it never says. ``$state_path/agent/vgpus.json``::

    {"names": {"26b9": {"1428": "NVIDIA L40S-48Q"}},
     "full": {"0000:c1:00.0 1428": 1}}
"""

import re
from typing import Any

from cyborg.accelerator import state

# Slices of a card that is divided by MIG, and gigabytes: 1 and 18 of
# H200X-1-18C, 48 of L40S-48Q, 1 of T4-1B4.
_SIZE = re.compile(r".*?-(?:(\d+)-)?(\d+)[A-Z]+\d*")


class Memory:
    """Names of types by product, and when cards turned out to be full."""

    def __init__(self, conf: Any) -> None:
        self._file = state.File(conf, "vgpus")
        content = self._file.load()
        self._names: dict[str, dict[str, str]] = content.get("names", {})
        self._full: dict[str, int] = content.get("full", {})

    def names(self, product: str) -> dict[int, str]:
        """Return names of types by number, of a product."""
        return {
            int(number): name
            for number, name in self._names.get(product, {}).items()
        }

    def learn_names(self, product: str, names: dict[int, str]) -> None:
        """Remember the types that a card of a product offers."""
        known = self._names.get(product, {})
        now = known | {str(number): name for number, name in names.items()}
        if now != known:
            self._names[product] = now
            self._save()

    def full_at(self, card: str, number: int) -> int | None:
        """Return at how many of a type a card was full."""
        return self._full.get(f"{card} {number}")

    def learn_full(self, card: str, number: int, count: int | None) -> None:
        """Remember it; None to forget."""
        key = f"{card} {number}"
        if self._full.get(key) == count:
            return
        if count is None:
            del self._full[key]
        else:
            self._full[key] = count
        self._save()

    def _save(self) -> None:
        self._file.save({"names": self._names, "full": self._full})


def most(name: str, names: list[str]) -> int | None:
    """Return how many of a type a card holds at most, by its name.

    The largest type is the whole card: of 48Q there are two of 24Q. It may
    be fewer still.

    :param names: of all types that the empty card offers
    """
    sizes = [each for each in map(_size, names) if each is not None]
    wanted = _size(name)
    if wanted is None or not sizes:
        return None
    slices, memory = wanted
    found = max(each[1] for each in sizes) // memory
    if slices:
        found = min(found, max(each[0] for each in sizes) // slices)
    return max(found, 1)


def _size(name: str) -> tuple[int, int] | None:
    """Return slices, or 0, and gigabytes in a type's name."""
    match = _SIZE.fullmatch(name)
    if match is None or not int(match[2]):
        return None
    return int(match[1] or 0), int(match[2])
