"""Serves drivers that know nothing of the interface of today.

Any class that can be made without arguments and has a method ``discover`` was
a driver of OpenStack Cyborg; what else it could do, it had methods for.
"""

from typing import Any

from cyborg.accelerator import driver
from cyborg.accelerator import privileged
from cyborg.common import exception
from cyborg.objects import report


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


_BY_METHOD: dict[str, type[Adapted]] = {
    "get_stats": _Measures,
    "program": _Programs,
    "update": _Updates,
}


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
    )
    vendor = {"VENDOR": getattr(original, "VENDOR", "")}
    made: driver.Driver = type("Adapted", can or (Adapted,), vendor)(original)
    return made
