"""Says what is wrong with a device that a host reports.

What is wrong with one device costs that device only: it is left as it is
stored, and the host's driver shows the reason.
"""

import re

from cyborg.common import constants
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
_TEXT_LENGTH = 65535
_RESOURCE_CLASS = re.compile(r"CUSTOM_[A-Z0-9_]{1,248}\Z")
_TRAIT = re.compile(r"[A-Z0-9_]{1,255}\Z")


def problem_of(device: report.DriverDevice) -> str | None:
    """Say why a device cannot be stored or published, or None."""
    for name in DEVICE_FIELDS:
        longest = _TEXT_LENGTH if name.endswith("_info") else _VARCHAR
        if not _fits(getattr(device, name), longest):
            return f"{name} is too long"
    path = device.controlpath_id
    if path.cpid_type not in list(constants.ControlPathIDType):
        return f"{path.cpid_type} is no control path type"
    if not _fits(path.cpid_info, _VARCHAR):
        return "cpid_info is too long"
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
    for attribute in deployable.attribute_list or []:
        for text in (attribute.key, attribute.value):
            if not _fits(text, _TEXT_LENGTH):
                return f"an attribute of {deployable.name} is too long"
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
    if not _fits(deployable.driver_name, _DRIVER_NAME_LENGTH):
        return f"driver_name of {deployable.name} is too long"
    for handle in deployable.attach_handle_list or []:
        if not _fits(handle.attach_info, _VARCHAR):
            return f"attach_info of {deployable.name} is too long"
        if handle.attach_type not in list(constants.AttachHandleType):
            return f"{handle.attach_type} is no attach handle type"
    return None


def _fits(text: str | None, longest: int) -> bool:
    """Tell whether a column of that length holds a text."""
    text = text or ""
    size = len(text.encode()) if longest == _TEXT_LENGTH else len(text)
    return size <= longest
