"""Says what is wrong with what a host reports.

A host is no more to be believed than a tenant. What is wrong with one device
costs that device only: it is left as it is stored, and the host's driver
shows the reason. What is wrong with what a host says of itself is refused.
"""

import json
import re
from typing import Any

from oslo_utils import uuidutils

from cyborg.common import constants
from cyborg.common import exception
from cyborg.common import text as texts
from cyborg.common.i18n import _
from cyborg.objects import base
from cyborg.objects import report

# What a driver says of a card; stored under the same names.
DEVICE_FIELDS = (
    "type",
    "vendor",
    "model",
    "std_board_info",
    "vendor_board_info",
)
_NAME_LENGTH = 200
_MOST_ACCELERATORS = 2**31 - 1
# What columns hold: characters of VARCHAR, bytes of TEXT.
_VARCHAR = 255
_DRIVER_NAME_LENGTH = 100
_DIGEST_LENGTH = 64
_TEXT_LENGTH = 65535
# What an agent says of itself; only its machine may have no name.
_AGENT = {"machine_id": 64, "boot_id": 36, "rpc_version": 16}
_RESOURCE_CLASS = re.compile(r"CUSTOM_[A-Z0-9_]{1,248}\Z")
_TRAIT = re.compile(r"[A-Z0-9_]{1,255}\Z")
# Digits of each part of a PCI address; some drivers leave zeros out.
_ADDRESS = {
    "domain": re.compile(r"[0-9a-fA-F]{1,8}\Z"),
    "bus": re.compile(r"[0-9a-fA-F]{1,2}\Z"),
    "device": re.compile(r"[01]?[0-9a-fA-F]\Z"),
    "function": re.compile(r"[0-9a-fA-F]{1,2}\Z"),
}
# Characters that the errors of all drivers of a host may have together: each
# of them may take six bytes in the column.
_MOST_ERRORS = 8000
_MOST_DRIVERS = 50


# -- devices


def problem_of(device: report.DriverDevice) -> str | None:
    """Say why a device cannot be stored or published, or None."""
    if device.type not in list(constants.DeviceType):
        return f"{device.type} is no type of device that this release knows"
    for name in DEVICE_FIELDS:
        is_name = not name.endswith("_info")
        longest = _VARCHAR if is_name else _TEXT_LENGTH
        problem = _problem_of_text(
            name, getattr(device, name), longest, is_name
        )
        if problem:
            return problem
    path = device.controlpath_id
    if path.cpid_type not in list(constants.ControlPathIDType):
        return f"{path.cpid_type} is no control path type"
    problem = _problem_of_place(
        "cpid_info",
        path.cpid_info,
        path.cpid_type == constants.ControlPathIDType.PCI,
    )
    if problem:
        return problem
    for deployable in device.deployable_list:
        problem = _problem_of_attributes(deployable) or (
            _problem_of_deployable(deployable)
        )
        if problem:
            return problem
    return None


def _problem_of_attributes(deployable: report.DriverDeployable) -> str | None:
    classes = [
        attribute.value
        for attribute in deployable.attribute_list or []
        if attribute.key == constants.ATTR_RESOURCE_CLASS
    ]
    if len(classes) != 1:
        return (
            f"deployable {deployable.name} has {len(classes)} attributes "
            f"'{constants.ATTR_RESOURCE_CLASS}', not one"
        )
    if classes[0] not in constants.STANDARD_RESOURCE_CLASSES and not (
        _RESOURCE_CLASS.match(classes[0])
    ):
        return f"{classes[0]} is not a resource class Placement can hold"
    about = f"an attribute of {deployable.name}"
    for attribute in deployable.attribute_list or []:
        problem = _problem_of_text(
            about, attribute.key, _TEXT_LENGTH
        ) or _problem_of_text(about, attribute.value, _TEXT_LENGTH, False)
        if problem:
            return problem
        if attribute.key.startswith(
            constants.ATTR_TRAIT_PREFIX
        ) and not _TRAIT.match(attribute.value):
            return f"{attribute.value} is not a trait Placement can hold"
    return None


def _problem_of_deployable(deployable: report.DriverDeployable) -> str | None:
    if not 0 < len(deployable.name) <= _NAME_LENGTH:
        return (
            f"the name {deployable.name!r} is not 1 to {_NAME_LENGTH} "
            "characters long"
        )
    if deployable.num_accelerators < 0:
        return f"deployable {deployable.name} counts less than nothing"
    if deployable.num_accelerators > _MOST_ACCELERATORS:
        return f"deployable {deployable.name} counts too many"
    problem = _problem_of_text(
        "the name of a deployable", deployable.name, _NAME_LENGTH
    ) or _problem_of_text(
        f"driver_name of {deployable.name}",
        deployable.driver_name,
        _DRIVER_NAME_LENGTH,
    )
    if problem:
        return problem
    for handle in deployable.attach_handle_list or []:
        if handle.attach_type not in list(constants.AttachHandleType):
            return f"{handle.attach_type} is no attach handle type"
        problem = _problem_of_place(
            f"attach_info of {deployable.name}",
            handle.attach_info,
            handle.attach_type != constants.AttachHandleType.PMEM,
        )
        if problem:
            return problem
    return None


def _problem_of_text(
    name: str, text: str | None, longest: int, is_name: bool = True
) -> str | None:
    if not text:
        return None
    # A column of TEXT counts bytes.
    size = len(text) if longest != _TEXT_LENGTH else _bytes(text)
    if size > longest:
        return f"{name} is too long"
    if not texts.is_storable(text):
        return f"{name} has a character that not every database can store"
    if is_name and not texts.is_printable(text):
        return f"{name} has a character that cannot be printed"
    return None


def _bytes(text: str) -> int:
    return len(text.encode(errors="surrogatepass"))


def _problem_of_place(name: str, text: str, is_pci: bool) -> str | None:
    """Say why a text does not tell where something is.

    It is a flat JSON object of texts, which APIs answer with and agents are
    called with.
    """
    problem = _problem_of_text(name, text, _VARCHAR)
    if problem:
        return problem
    try:
        place = json.loads(text)
    except ValueError:
        return f"{name} is not JSON"
    if not isinstance(place, dict) or not all(
        isinstance(value, str) for value in place.values()
    ):
        return f"{name} is not a JSON object of texts"
    for key, value in place.items():
        # JSON hides them in escapes.
        for part in (key, value):
            problem = _problem_of_text(name, part, _VARCHAR)
            if problem:
                return problem
    if is_pci and not all(
        pattern.match(place.get(key, "")) for key, pattern in _ADDRESS.items()
    ):
        return f"{name} is not a PCI address"
    return None


# -- what a host says of itself


def check_host(
    hostname: Any, rpc_host: Any = None, digest: Any = None
) -> None:
    """Pass if a host can be known by these names.

    :raises Invalid: naming the argument
    """
    _check("hostname", hostname, _VARCHAR)
    if rpc_host is not None:
        _check("rpc_host", rpc_host, _VARCHAR)
    if digest is not None:
        _check("digest", digest, _DIGEST_LENGTH)


def check_names(names: Any) -> None:
    """Pass if these can be the names of one host.

    :raises Invalid: they cannot
    """
    if not isinstance(names, list) or len(names) > _MOST_DRIVERS:
        raise exception.Invalid(_("names is not a list of host names."))
    for name in names:
        _check("names", name, _VARCHAR)


def check_uuid(uuid: Any) -> None:
    """Pass if this is a uuid as it is stored.

    :raises Invalid: it is none
    """
    if not isinstance(uuid, str) or not uuidutils.is_uuid_like(uuid):
        raise exception.Invalid(_("uuid is not a UUID."))


def check_agent(agent: Any) -> None:
    """Pass if an agent that tells who it is does so as one.

    :param agent: None = it does not tell
    :raises Invalid: it does not, naming the part
    """
    if agent is None:
        return
    if not isinstance(agent, dict):
        raise exception.Invalid(_("agent does not say who speaks."))
    for name, longest in _AGENT.items():
        value = agent.get(name)
        if value is not None or name != "machine_id":
            _check(name, value, longest)


def _check(name: str, value: Any, longest: int) -> None:
    problem = (
        _problem_of_text(name, value, longest)
        if isinstance(value, str) and value
        else f"{name} is not a text, or an empty one"
    )
    if problem:
        raise exception.Invalid(_("Of a host: %s.") % problem)


def checked_devices(devices: Any) -> list[Any]:
    """Return what a host reports as its devices.

    :returns: :class:`.DriverDevice`, and :class:`.Unreadable` for what is none
    :raises Invalid: it is no list
    """
    if not isinstance(devices, list | tuple):
        raise exception.Invalid(_("driver_device_list is not a list."))
    known = (report.DriverDevice, base.Unreadable)
    return [
        device
        if isinstance(device, known)
        else base.Unreadable(None, "not a device")
        for device in devices
    ]


def checked_drivers(drivers: Any) -> list[dict[str, Any]] | None:
    """Return what a host says of its drivers, as it can be shown.

    :raises Invalid: naming what is wrong
    """
    if drivers is None:
        return None
    if not isinstance(drivers, list) or len(drivers) > _MOST_DRIVERS:
        raise exception.Invalid(
            _("drivers is not a list of %d at most.") % _MOST_DRIVERS
        )
    return [_checked_driver(driver) for driver in drivers]


def _checked_driver(driver: Any) -> dict[str, Any]:
    if not isinstance(driver, dict):
        raise exception.Invalid(_("drivers is not a list of objects."))
    _check("the name of a driver", driver.get("name"), _DRIVER_NAME_LENGTH)
    lists = {name: driver.get(name, []) for name in ("capabilities", "cpids")}
    for name, values in lists.items():
        if not isinstance(values, list) or not all(
            isinstance(value, str) for value in values
        ):
            raise exception.Invalid(
                _("%(list)s of driver %(driver)s is not a list of texts.")
                % {"list": name, "driver": driver["name"]}
            )
    for capability in lists["capabilities"]:
        _check("a capability of a driver", capability, _DRIVER_NAME_LENGTH)
    error = driver.get("error")
    return {
        "name": driver["name"],
        "complete": driver.get("complete") is True,
        "error": None if error is None else str(error),
        **lists,
    }


def shown(error: str, drivers: int) -> str:
    """Return an error of one of so many drivers as the row holds it."""
    longest = _MOST_ERRORS // max(1, drivers)
    if len(error) > longest:
        error = f"{error[:longest]}…"
    return texts.visible(texts.storable(error, "?"))
