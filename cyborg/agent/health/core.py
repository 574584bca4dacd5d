"""What sensors are given, and what they say."""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
import dataclasses
import functools
import os
from typing import Any

from cyborg.accelerator import pci
from cyborg.accelerator import sysfs
from cyborg.agent import report
from cyborg.agent.health import kernel_log
from cyborg.common import exception


@dataclasses.dataclass(frozen=True)
class Card:
    """A device that drivers found, and its function on the bus.

    :ivar place: ``cpid_info`` of its control path, as it is reported
    """

    place: str
    function: pci.Function

    @property
    def path(self) -> str:
        return self.function.path

    @functools.cached_property
    def port(self) -> str | None:
        """Directory of the port that its link goes to, None if none does."""
        above = os.path.dirname(self.path)
        return above if pci.function_above(above) == above else None


class View:
    """The machine at one look.

    :param root: directory taken for ``/``
    :param log: its kernel's log
    """

    def __init__(self, root: sysfs.Path, log: kernel_log.Log) -> None:
        self.root = root
        self._log = log

    @functools.cached_property
    def records(self) -> Sequence[kernel_log.Record]:
        """What the kernel has said since the last look."""
        return self._log.read()


# A sign's key, and what was read.
Seen = tuple[str, str]


@dataclasses.dataclass(frozen=True)
class Sensor:
    """One source.

    :ivar keys: the signs it can see
    :ivar read: yields what it sees of a card; the dict is its own for that
        card, and kept, also over a restart of the agent: JSON
    """

    name: str
    keys: tuple[str, ...]
    read: Callable[[View, Card, dict[str, Any]], Iterable[Seen]]


def cards(
    root: sysfs.Path, devices: Iterable[dict[str, Any]]
) -> Iterator[Card]:
    """Yield the cards on the bus that plain devices are.

    One that is not there is none: its absence is reported otherwise.
    """
    for device in devices:
        try:
            address = pci.format_address(
                report.decoded_cpid(device)["cpid_info"]
            )
            path = sysfs.resolve(root, pci.DEVICES, address)
            function = pci.read_function(address, path)
        except (
            exception.PciDeviceWrongAddressFormat,
            exception.DriverError,
            AttributeError,
            OSError,
            ValueError,
        ):
            continue
        yield Card(report.cpid_info(device), function)
