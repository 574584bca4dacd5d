"""The base class of drivers that were written for OpenStack Cyborg.

New drivers take :class:`cyborg.accelerator.driver.Driver`, which says more of
what a card can do; :mod:`cyborg.accelerator.adapted` serves these.
"""

import abc
from typing import Any

from cyborg.objects import report


class GenericDriver(abc.ABC):
    """What the agents of that project asked of a driver.

    It is made without arguments and says in ``VENDOR`` whose cards it has. A
    method ``program`` makes it one of cards that take bitstreams.
    """

    @abc.abstractmethod
    def discover(self) -> list[report.DriverDevice]:
        """Return every card of this kind."""

    @abc.abstractmethod
    def update(self, control_path: dict[str, Any], image_path: str) -> bool:
        """Load firmware; returns whether the card took it."""

    @abc.abstractmethod
    def get_stats(self) -> dict[str, Any]:
        """Return what the driver measures, ``{}`` if nothing."""

    def init_host(self) -> None:  # noqa: B027
        """Make the host ready; done once, before the first discovery."""

    def cleanup(self, device: Any) -> None:  # noqa: B027
        """Make a device ready for somebody else."""
