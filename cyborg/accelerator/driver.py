"""The interface between the agent and the code that knows one kind of card.

A driver package names its class in the entry point group
``cyborg.accelerator.driver``. The class needs :meth:`Driver.discover`; what
else a card can do is said by inheriting the optional interfaces, and the
agent reports them as the driver's capabilities.

Drivers know neither the database nor RPC. They read hardware below
``self.root`` and start programs with ``self.run``, so each is tested on a
directory of files and a table of commands.
"""

import abc
from collections.abc import Callable
import dataclasses
import pathlib
from typing import Any
from typing import ClassVar

from oslo_config import cfg

from cyborg.accelerator import command
from cyborg.common import exception
from cyborg.objects import report


class Driver(abc.ABC):
    """Base of all drivers.

    :param root: directory taken for ``/``
    :param run: starts a program, see :func:`cyborg.accelerator.command.run`
    :param host: goes in front of deployable names, ``[DEFAULT] host``
    :param conf: configuration, read once, here
    """

    # Lower-case vendor name; ``driver_name`` of a deployable equals it
    # without case, and programming finds its driver so.
    VENDOR: ClassVar[str] = ""
    # One of constants.DeviceType, or "" if it differs by device.
    TYPE: ClassVar[str] = ""

    def __init__(
        self,
        *,
        root: str | pathlib.Path | None = None,
        run: Callable[..., str] | None = None,
        host: str | None = None,
        conf: Any = None,
    ) -> None:
        self.conf = cfg.CONF if conf is None else conf
        self.root = pathlib.Path(
            root if root is not None else self.conf.agent.filesystem_root
        )
        self.run = run or command.run
        self.host = host or self.conf.host

    @abc.abstractmethod
    def discover(self) -> list[report.DriverDevice]:
        """Return every card of this kind, in an order that stays the same.

        A card that is there but cannot be described now is returned with
        ``stub`` set, so that its records stay as they are.

        :raises Exception: if the host cannot be looked through at all; an
            empty list would say that there is nothing
        """

    def init_host(self) -> None:  # noqa: B027
        """Make the host ready, once, before the first discovery.

        Not in a dry run. Where it fails it is tried again before the next
        discovery, and the driver counts as incomplete till then.
        """

    def warnings(self) -> list[str]:
        """Return what the last discovery found odd, each in one line.

        For example what is configured for a card that is not there. The
        agent logs each once, and a dry run prints them.
        """
        return []

    def broken(self) -> dict[str, str]:
        """Return why cards, or handles, of the last discovery must not go.

        Whatever the hardware says of itself, in sentences for the operator,
        by ``cpid_info`` or ``attach_info``: nobody is given it, and whoever
        has it keeps it.
        """
        return {}

    def explain(self, address: str) -> list[str]:
        """Return in sentences why a PCI function is reported, or is not.

        For people at ``cyborg-agent --dry-run``; nothing if the driver can
        say no more than that.

        :param address: of a function of this host
        """
        return []

    def get_stats(self, controlpath_id: dict[str, Any]) -> dict[str, Any]:
        """Return what one card measures now.

        :param controlpath_id: ``{"cpid_type", "cpid_info": {...}}``
        :returns: ``{"device": {"device_name", "device_number",
            "properties": {...}, "deploy": [{"accelerator": {"acc_name",
            "properties": {...}}}]}}``; ``{}`` if the driver measures nothing
        """
        return {}


class Programmable(abc.ABC):
    """A card that takes bitstreams."""

    # Suffix the vendor's tool wants the image file to have.
    IMAGE_SUFFIX: ClassVar[str] = ".gbs"

    @abc.abstractmethod
    def program(
        self, controlpath_id: dict[str, Any], image_file_path: str
    ) -> bool:
        """Load an image into the card; blocks until it is done.

        :param controlpath_id: ``{"cpid_type", "cpid_info": {...}}``
        :returns: whether the card took it
        :raises InvalidType: ``cpid_type`` is not PCI
        """


class Updatable(abc.ABC):
    """A card whose firmware can be changed."""

    @abc.abstractmethod
    def update(self, controlpath_id: dict[str, Any], image_path: str) -> bool:
        """Load firmware; blocks. Returns whether the card took it."""


class MdevProvider(abc.ABC):
    """A card that is shared as mediated devices.

    Both operations are idempotent: the agent repeats them after a crash.

    :param address: PCI address of the parent, ``0000:af:00.0``
    :param mdev_type: type id, ``nvidia-223``
    :param uuid: of the attach handle, and so of the mdev
    """

    @abc.abstractmethod
    def create_mdev(self, address: str, mdev_type: str, uuid: str) -> None:
        """Make the mdev; one that exists is success."""

    @abc.abstractmethod
    def remove_mdev(self, address: str, mdev_type: str, uuid: str) -> None:
        """Remove the mdev; one that is gone is success."""

    def has_mdev(self, address: str, mdev_type: str, uuid: str) -> bool | None:
        """Tell whether there is the mdev; None if that cannot be told."""
        return None


@dataclasses.dataclass(frozen=True)
class Step:
    """One step of a cleaning; steps are done in the order they are given.

    :ivar name: for logs, the history and the driver itself
    :ivar destroys: what is gone afterwards, in words
    :ivar timeout: seconds that it takes at most
    :ivar hides: the card may look as if it were gone while it lasts
    :ivar lasts: a reboot of the host does not undo it
    """

    name: str
    destroys: str
    timeout: float
    hides: bool = False
    lasts: bool = True


class CannotClean(exception.DriverError):
    """A card cannot be cleaned, and trying again would not help."""


class Cleanable(abc.ABC):
    """A card from which a guest's traces can be removed.

    :param controlpath_id: ``{"cpid_type", "cpid_info": {...}}``
    :param handle: what the guest had: ``{"uuid", "attach_type",
        "attach_info": {...}}``; nothing else of the card may suffer
    """

    @abc.abstractmethod
    def cleaning_steps(
        self, controlpath_id: dict[str, Any], handle: dict[str, Any]
    ) -> list[Step]:
        """Return what has to be done, best first where there is a choice.

        :raises CannotClean: saying what is missing: a tool, a feature
        """

    @abc.abstractmethod
    def clean(
        self,
        controlpath_id: dict[str, Any],
        handle: dict[str, Any],
        step: Step,
    ) -> None:
        """Do one step; blocks until it is done.

        It may be asked for again, after it was cut short anywhere or was
        done: it then does it again, or sees that it is done.

        :raises Exception: it is not done, and may be tried again;
            ``CannotClean`` if that would not help
        """

    @abc.abstractmethod
    def holder(
        self, controlpath_id: dict[str, Any], handle: dict[str, Any]
    ) -> str | None:
        """Return who has it open, or may have: it then is not touched."""


CAPABILITIES: dict[str, type] = {
    "program": Programmable,
    "update": Updatable,
    "mdev": MdevProvider,
}


def capabilities(driver: Driver) -> list[str]:
    """Return the names of the optional interfaces a driver has."""
    found = [
        name
        for name, interface in CAPABILITIES.items()
        if isinstance(driver, interface)
    ]
    if type(driver).get_stats is not Driver.get_stats:
        found.append("stats")
    return found
