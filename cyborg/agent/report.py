"""What an agent tells its conductor, as plain data, and its digest.

Plain data is what the objects of :mod:`cyborg.objects.report` hold, as dicts
and lists. It is kept on disk between runs, and it is what the digest covers.
"""

from collections.abc import Callable
from collections.abc import Iterable
import dataclasses
import datetime
import hashlib
import json
import pathlib
import threading
from typing import Any

from oslo_log import log as logging
from oslo_versionedobjects import base as ovo_base

from cyborg.agent import store
from cyborg.common import functions
from cyborg.objects import report as objects

LOG = logging.getLogger(__name__)

# Columns every object has; a report has nothing to say about them.
_NOT_REPORTED = ("created_at", "updated_at")


def plain(value: Any) -> Any:
    """Return an object's fields as dicts and lists.

    :raises NotImplementedError: a field without default was never set
    """
    if isinstance(value, ovo_base.VersionedObject):
        return {
            name: plain(getattr(value, name))
            for name in value.fields
            if name not in _NOT_REPORTED
            # As long as nobody says anything, reports stay what they were.
            and (name != "device_state" or getattr(value, name) is not None)
        }
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


def device_from_plain(values: dict[str, Any]) -> objects.DriverDevice:
    """Return the object that :func:`plain` was given."""
    deployables = [
        objects.DriverDeployable(
            **{
                **deployable,
                "attribute_list": [
                    objects.DriverAttribute(**attribute)
                    for attribute in deployable["attribute_list"] or []
                ],
                "attach_handle_list": [
                    objects.DriverAttachHandle(**handle)
                    for handle in deployable["attach_handle_list"] or []
                ],
            }
        )
        for deployable in values["deployable_list"]
    ]
    return objects.DriverDevice(
        **{
            **values,
            "controlpath_id": objects.DriverControlPathID(
                **values["controlpath_id"]
            ),
            "deployable_list": deployables,
        }
    )


def cpid_info(device: dict[str, Any]) -> str:
    """Return the text that identifies a plain device on its host."""
    return str(device["controlpath_id"]["cpid_info"])


def decoded_cpid(device: dict[str, Any]) -> dict[str, Any]:
    """Return a plain device's control path ID as agents are called with."""
    cpid = device["controlpath_id"]
    return {**cpid, "cpid_info": json.loads(cpid["cpid_info"])}


def parents(devices: list[dict[str, Any]]) -> set[str]:
    """Return the PCI addresses at which attach handles have to be made."""
    infos = [
        json.loads(handle["attach_info"])
        for device in devices
        for deployable in device["deployable_list"]
        for handle in deployable["attach_handle_list"] or []
    ]
    return {pci_address(info) for info in infos if "asked_type" in info}


def pci_address(info: dict[str, str]) -> str:
    """Return ``0000:af:00.0`` from the parts in an attach handle."""
    return "{domain}:{bus}:{device}.{function}".format(**info)


@dataclasses.dataclass(frozen=True)
class Found:
    """What one driver says: its plain devices and whether they are all."""

    name: str
    devices: list[dict[str, Any]]
    complete: bool
    error: str | None
    capabilities: list[str]
    # Why the hardware must not be used, by cpid_info or attach_info.
    broken: dict[str, str] = dataclasses.field(default_factory=dict)


def without_functions(device: dict[str, Any]) -> dict[str, Any]:
    """Return a plain device that does not say which functions it runs."""
    return {
        **device,
        "deployable_list": [
            {
                **deployable,
                "attribute_list": [
                    attribute
                    for attribute in deployable["attribute_list"] or []
                    if not functions.is_trait(attribute["value"])
                ],
            }
            for deployable in device["deployable_list"]
        ],
    }


@dataclasses.dataclass(frozen=True)
class Report:
    """Everything a host has."""

    devices: list[dict[str, Any]]
    drivers: list[dict[str, Any]]
    digest: str

    @classmethod
    def of(cls, found: list[Found], rpc_host: str) -> "Report":
        """Put together what the drivers found."""
        devices = [device for driver in found for device in driver.devices]
        drivers = [
            {
                "name": driver.name,
                "complete": driver.complete,
                "error": driver.error,
                "capabilities": sorted(driver.capabilities),
                "cpids": [cpid_info(device) for device in driver.devices],
            }
            for driver in found
        ]
        return cls(devices, drivers, digest(devices, drivers, rpc_host))

    def changed(
        self, change: Callable[[dict[str, Any]], dict[str, Any]], rpc_host: str
    ) -> "Report":
        """Return a report of the same devices, each changed."""
        devices = [change(device) for device in self.devices]
        return Report(
            devices, self.drivers, digest(devices, self.drivers, rpc_host)
        )

    def objects(self) -> list[objects.DriverDevice]:
        """Return the devices as what RPC sends."""
        return [device_from_plain(device) for device in self.devices]


def digest(
    devices: list[dict[str, Any]],
    drivers: list[dict[str, Any]],
    rpc_host: str,
) -> str:
    """Return the SHA-256, in hexadecimal, of all that is reported.

    The order in which a directory happened to be listed does not count.
    """
    content = {
        "devices": sorted((_ordered(each) for each in devices), key=cpid_info),
        "drivers": [
            {**each, "cpids": sorted(each["cpids"])} for each in drivers
        ],
        "rpc_host": rpc_host,
    }
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _ordered(device: dict[str, Any]) -> dict[str, Any]:
    deployables = [
        {
            **deployable,
            "attribute_list": sorted(
                deployable["attribute_list"] or [],
                key=lambda attribute: (attribute["key"], attribute["value"]),
            ),
            "attach_handle_list": sorted(
                deployable["attach_handle_list"] or [],
                key=lambda handle: handle["attach_info"],
            ),
        }
        for deployable in device["deployable_list"]
    ]
    deployables.sort(key=lambda deployable: deployable["name"])
    return {**device, "deployable_list": deployables}


class Cache:
    """The last report, on disk: ``$state_path/agent/last_discovery.json``.

    ::

        {"drivers": {"fake_driver": {"time": "2026-07-01T12:00:00+00:00",
                                     "devices": [...]}},
         "reported": {"hostname": "cn1.example.org", "digest": "9f86..."}}
    """

    VERSION = 1

    def __init__(self, path: pathlib.Path) -> None:
        self._path = path
        # Discovery and heartbeats run in threads of their own.
        self._lock = threading.RLock()
        content = store.read(path)
        if content.get("version") != self.VERSION:
            content = {}
        self._drivers: dict[str, Any] = content.get("drivers", {})
        self._reported: dict[str, Any] = content.get("reported", {})

    def devices(self, driver: str) -> list[dict[str, Any]] | None:
        """Return a driver's last good result, None if it never had one."""
        with self._lock:
            known = self._drivers.get(driver)
            return None if known is None else list(known["devices"])

    def keep(self, driver: str, devices: list[dict[str, Any]]) -> bool:
        """Remember a driver's good result; returns whether it is another."""
        with self._lock:
            if self.devices(driver) == devices:
                return False
            now = datetime.datetime.now(datetime.UTC).isoformat()
            self._drivers[driver] = {"time": now, "devices": devices}
            return True

    def forget_all_but(self, enabled: Iterable[str]) -> bool:
        """Drop drivers that are not enabled; returns whether any went."""
        with self._lock:
            gone = set(self._drivers) - set(enabled)
            for name in gone:
                del self._drivers[name]
            return bool(gone)

    def was_reported(self, hostname: str, digest: str) -> bool:
        """Return whether a conductor has taken exactly this."""
        return self._reported == {"hostname": hostname, "digest": digest}

    def set_reported(self, hostname: str, digest: str) -> None:
        """Remember what a conductor has taken."""
        with self._lock:
            self._reported = {"hostname": hostname, "digest": digest}
            self.save()

    def save(self) -> None:
        """Write the file; an error is logged, the memory copy serves on."""
        with self._lock:
            try:
                store.write(
                    self._path,
                    {
                        "version": self.VERSION,
                        "drivers": self._drivers,
                        "reported": self._reported,
                    },
                )
            except OSError as error:
                LOG.error("Cannot write %s: %s", self._path, error)
