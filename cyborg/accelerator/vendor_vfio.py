"""vGPUs of cards that have no mdevs: NVIDIA's own VFIO framework.

Each virtual function has a directory ``nvidia`` with ``current_vgpu_type``,
a number that is 0 while the function is no vGPU, and
``creatable_vgpu_types``, what it could become now::

    1428 : NVIDIA H200X-141C

Older drivers print the name first. Writing a number makes the function that
vGPU, writing 0 undoes it. What siblings already are is missing from the list
once the card is full.
"""

import dataclasses
import re

from cyborg.accelerator import pci
from cyborg.accelerator import sysfs
from cyborg.common import exception

_DIRECTORY = "nvidia"
_CURRENT = "current_vgpu_type"
_CREATABLE = "creatable_vgpu_types"

_NUMBER_FIRST = re.compile(r"(\d+)\s*:?\s+(\S.*)")
_NUMBER_LAST = re.compile(r"(\S.*?)\s*[:\s]\s*(\d+)")
_TYPE = re.compile(r"(?:nvidia-)?([0-9]{1,9})")


def type_number(vgpu_type: str) -> int:
    """Return the number of a type: 557 of ``nvidia-557``.

    :raises InvalidVGPUType: it has none
    """
    match = _TYPE.fullmatch(vgpu_type)
    if match is None:
        raise exception.InvalidVGPUType(name=vgpu_type)
    return int(match.group(1))


def is_offered(function: pci.Function) -> bool:
    """Return whether a virtual function can be made a vGPU this way."""
    return sysfs.is_directory(function.path, _DIRECTORY)


def current_type(function: pci.Function) -> int:
    """Return the number of what the function is now, 0 of none.

    :raises DriverError: it cannot be read
    """
    return int(sysfs.read_text(function.path, _DIRECTORY, _CURRENT))


def creatable_types(function: pci.Function) -> dict[int, str]:
    """Return names by number of what the function can become now."""
    text = sysfs.read_optional(function.path, _DIRECTORY, _CREATABLE)
    return parse_types(text or "")


@dataclasses.dataclass(frozen=True)
class VGPU:
    """What a virtual function is and could be."""

    current: int  # current_vgpu_type
    creatable: dict[int, str]  # creatable_vgpu_types, names by number


def read(function: pci.Function) -> VGPU:
    """Return what a virtual function is and could be.

    :raises DriverError: it cannot be read
    """
    return VGPU(current_type(function), creatable_types(function))


def usable(
    functions: dict[str, VGPU], number: int, most: int | None
) -> list[str]:
    """Return which functions are offered as vGPUs of a type, sorted.

    Those that are vGPUs of it come first, then the lowest addresses, so that
    what is offered stays the same while they are made.

    :param most: how many of them the card holds, None if nobody knows
    """
    made = [key for key, vgpu in functions.items() if vgpu.current == number]
    free = [key for key, vgpu in functions.items() if not vgpu.current]
    is_mixed = any(
        vgpu.current not in (0, number) for vgpu in functions.values()
    )
    if most is None or is_mixed:
        # All that is known is what the card says now.
        free = [key for key in free if number in functions[key].creatable]
    found = (made + free)[: None if most is None else max(most, len(made))]
    return sorted(found, key=pci.sort_key)


def parse_types(text: str) -> dict[int, str]:
    """Return names by number; lines of another form, as headings, are not.

    ``1428 : NVIDIA H200X-141C`` or ``NVIDIA H200X-141C 1428``
    """
    found = {}
    for line in text.splitlines():
        line = line.strip()
        if match := _NUMBER_FIRST.fullmatch(line):
            found[int(match.group(1))] = match.group(2)
        elif match := _NUMBER_LAST.fullmatch(line):
            found[int(match.group(2))] = match.group(1).rstrip(" :")
    return found


def set_type(root: sysfs.Path, address: str, number: int) -> None:
    """Make a virtual function a vGPU; one that is, is success.

    :raises Invalid: an argument does not look like what it should be
    :raises DriverError: the function is another vGPU already, or its driver
        refuses
    """
    address, path = _current(root, address)
    number = int(number)
    now = int(sysfs.read_text(path))
    if now not in (0, number):
        raise exception.DriverError(
            reason=f"{address} is a vGPU of type {now}, not {number}"
        )
    if now != number:
        _write(address, path, number)


def clear_type(root: sysfs.Path, address: str, number: int) -> None:
    """Make a vGPU a mere function; one that is no such vGPU is success.

    :param number: of the type it is to be; another is not ours to take
    :raises Invalid: an argument does not look like what it should be
    :raises DriverError: its driver refuses, for example as it is in use
    """
    address, path = _current(root, address)
    if int(sysfs.read_text(path)) == int(number):
        _write(address, path, 0)


def _current(root: sysfs.Path, address: str) -> tuple[str, str]:
    address = pci.normalise_address(address)
    return address, sysfs.resolve(
        root, pci.DEVICES, address, _DIRECTORY, _CURRENT
    )


def _write(address: str, path: str, number: int) -> None:
    try:
        sysfs.write_sysfs(path, str(number))
    except OSError as error:
        raise exception.DriverError(
            reason=f"vGPU type {number} was refused by {address}: {error}"
        ) from error
    # The driver may take a number it does not offer and stay at 0.
    if int(sysfs.read_text(path)) != number:
        raise exception.DriverError(
            reason=f"vGPU type {number} had no effect on {address}"
        )
