"""Serves drivers that know nothing of the interface of today.

Any class that can be made without arguments and has a method ``discover`` was
a driver of OpenStack Cyborg; what else it could do, it had methods for.
"""

import json
from typing import Any

from cyborg.accelerator import driver
from cyborg.accelerator import pci
from cyborg.accelerator import privileged
from cyborg.accelerator import reset
from cyborg.accelerator.drivers import driver as base
from cyborg.common import exception
from cyborg.objects import report

# Seconds that the method may take, by its option [nvme] cleanup_timeout.
_CLEANUP = 900.0


class Adapted(driver.Driver, driver.MdevProvider):
    """A driver's methods under the names of today.

    Mediated devices were made by the agent itself, for every driver.
    """

    def __init__(self, original: Any) -> None:
        super().__init__()
        self.original = original

    def init_host(self) -> None:
        hook = getattr(self.original, "init_host", None)
        if hook is not None:
            hook()

    def discover(self) -> list[report.DriverDevice]:
        """Return every card.

        :raises DriverError: the driver returned no list
        """
        found = self.original.discover()
        if not isinstance(found, list):
            raise exception.DriverError(
                reason=f"discover() returned {found!r} and not a list"
            )
        return found

    def create_mdev(self, address: str, mdev_type: str, uuid: str) -> None:
        privileged.create_mdev(self.root, address, mdev_type, uuid)

    def remove_mdev(self, address: str, mdev_type: str, uuid: str) -> None:
        privileged.remove_mdev(self.root, address, mdev_type, uuid)


class _Measures(Adapted):
    def get_stats(self, controlpath_id: dict[str, Any]) -> dict[str, Any]:
        """Return what the driver measures, of whatever cards."""
        return self.original.get_stats() or {}


class _Programs(Adapted, driver.Programmable):
    def program(
        self, controlpath_id: dict[str, Any], image_file_path: str
    ) -> bool:
        return bool(self.original.program(controlpath_id, image_file_path))


class _Updates(Adapted, driver.Updatable):
    def update(self, controlpath_id: dict[str, Any], image_path: str) -> bool:
        return bool(self.original.update(controlpath_id, image_path))


class _Cleans(Adapted, driver.Cleanable):
    """A driver that has one method to clear all of a device."""

    def cleaning_steps(
        self, controlpath_id: dict[str, Any], handle: dict[str, Any]
    ) -> list[driver.Step]:
        return [driver.Step("cleanup", "what the driver clears", _CLEANUP)]

    def clean(
        self,
        controlpath_id: dict[str, Any],
        handle: dict[str, Any],
        step: driver.Step,
    ) -> None:
        """Have the device cleaned that the driver reports there.

        :raises DriverError: it reports none
        """
        for device in self.discover():
            path = device.controlpath_id
            if (
                path.cpid_type == controlpath_id["cpid_type"]
                and json.loads(path.cpid_info) == controlpath_id["cpid_info"]
            ):
                self.original.cleanup(device)
                return
        raise exception.DriverError(
            reason=f"the driver has no device at {controlpath_id['cpid_info']}"
        )

    def holder(
        self, controlpath_id: dict[str, Any], handle: dict[str, Any]
    ) -> str | None:
        """Return who has the function open, if it is one."""
        try:
            address = pci.format_address(handle["attach_info"])
        except KeyError:
            return None
        return reset.holder(self.root, address)


_BY_METHOD: dict[str, type[Adapted]] = {
    "cleanup": _Cleans,
    "get_stats": _Measures,
    "program": _Programs,
    "update": _Updates,
}


def _is_empty(original: Any, name: str) -> bool:
    """Tell whether a method is the base class's, which does nothing."""
    empty = getattr(base.GenericDriver, name, None)
    return name == "cleanup" and getattr(type(original), name, None) is empty


def adapt(original: Any) -> driver.Driver:
    """Return an object as the agent wants its drivers.

    :param original: what an entry point of drivers made
    :raises DriverError: it is no driver of any kind
    """
    if isinstance(original, driver.Driver):
        return original
    if not callable(getattr(original, "discover", None)):
        raise exception.DriverError(
            reason=f"{type(original).__name__} has no method discover"
        )
    can = tuple(
        part
        for name, part in _BY_METHOD.items()
        if callable(getattr(original, name, None))
        and not _is_empty(original, name)
    )
    vendor = {"VENDOR": getattr(original, "VENDOR", "")}
    made: driver.Driver = type("Adapted", can or (Adapted,), vendor)(original)
    return made
