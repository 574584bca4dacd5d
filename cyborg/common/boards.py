"""What people call the cards whose drivers load images.

A driver reports the ids that the card has, and images say in ``board`` what
is printed on it. One table for each driver, by the names that drivers give
their deployables; ids of the vendors' own kernel drivers and of pci.ids.
"""

import itertools
import re

# Product id: names, without anything but letters and digits.
NAMES: dict[str, dict[str, tuple[str, ...]]] = {
    "intel": {
        "09c4": ("arria10", "paca10", "paca10gx", "pacarria10", "rushcreek"),
        "0b2b": ("d5005", "pacs10", "darbycreek"),
        "0b30": ("n3000", "pacn3000"),
        "bcce": ("n6000", "n6001"),
    },
    "xilinx": {
        "5000": ("u200",),
        "5001": ("u200",),
        "d000": ("u200",),
        "5004": ("u250",),
        "5005": ("u250",),
        "d004": ("u250",),
        "500c": ("u280",),
        "500d": ("u280",),
        "d00c": ("u280",),
        "5020": ("u50",),
        "5021": ("u50",),
        "d020": ("u50",),
        "505c": ("u55c",),
        "505d": ("u55c",),
        "50b4": ("v80",),
        "50b5": ("v80",),
        "50b6": ("v80",),
    },
}


def names(driver_name: str | None, product: str | None) -> tuple[str, ...]:
    """Return what a product of a driver is called; () if nobody knows."""
    products = NAMES.get((driver_name or "").lower(), {})
    return products.get((product or "").lower(), ())


def shown(driver_name: str | None, product: str | None) -> str:
    """Return the name of a product for a line of text, "" if it has none."""
    return next(iter(names(driver_name, product)), "").upper()


def is_called(
    board: str, driver_name: str | None, product: str | None
) -> bool:
    """Tell whether a text names a product: ``Intel PAC D5005``, ``0x0b2b``.

    Names are compared with words, and with two words that follow each other:
    ``xilinx_u50_gen3x16`` is no U5, and ``Arria 10`` is the ``arria10``.
    """
    words = re.findall(r"[a-z0-9]+", board.lower())
    joined = [a + b for a, b in itertools.pairwise(words)]
    written = {*words, *joined, "".join(words).removeprefix("0x")}
    return not written.isdisjoint({*names(driver_name, product), product})
