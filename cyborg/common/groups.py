"""What one group of a device profile asks for, however it is stored."""

from collections.abc import Mapping
import re

from cyborg.common import constants
from cyborg.common import exception
from cyborg.common.i18n import _

# At most 18 digits: what every engine and Placement can hold.
AMOUNT = re.compile(r"[0-9]{1,18}")

# Key of a group: member of what is asked for; the first one given counts.
_IMAGE_MEMBERS = {
    constants.ACCEL_BITSTREAM_ID: "id",
    constants.ACCEL_FUNCTION_ID: "function_id",
    constants.ACCEL_BITSTREAM_NAME: "name",
    constants.ACCEL_FUNCTION_NAME: "function_name",
}
# The same as keys that end with it, and are required: so the specifications
# of scheduling write them.
_IMAGE_PREFIXES = {
    f"{constants.ACCEL_FUNCTION_NAME}:": "function_name",
    constants.ACCEL_FUNCTION: "function",
}
_SHOWN = {
    f"{constants.ACCEL_FUNCTION_NAME}:": "name",
    constants.ACCEL_FUNCTION: "trait",
}
# As texts show them.
IMAGE_KEYS = (
    *_IMAGE_MEMBERS,
    *(f"{prefix}<{what}>" for prefix, what in _SHOWN.items()),
)


def wants_xilinx(group: Mapping[str, str]) -> bool:
    """Tell whether a group requires a card with two functions per FPGA."""
    key = constants.GROUP_TRAIT + constants.XILINX_TRAIT
    return group.get(key) == "required"


def image(group: Mapping[str, str]) -> dict[str, str] | None:
    """Return the image that a group asks for, as one member, or None.

    ``{"id"}``, ``{"function_id"}``, ``{"name"}``, ``{"function_name"}``, or
    ``{"function"}``, which is the trait of one.

    :raises Invalid: the group asks for a bitstream and for a function
    """
    asked = {
        member: group[key]
        for key, member in _IMAGE_MEMBERS.items()
        if group.get(key)
    }
    for key, value in group.items():
        for prefix, member in _IMAGE_PREFIXES.items():
            if key.startswith(prefix) and value == "required":
                asked.setdefault(member, key.removeprefix(prefix))
    if "id" in asked and ("function_id" in asked or "function" in asked):
        raise exception.Invalid(
            _(
                "The device profile has both accel:bitstream_id and "
                "accel:function_id in one group; only one can be loaded."
            )
        )
    return dict(list(asked.items())[:1]) or None


def image_keys(group: Mapping[str, str]) -> list[str]:
    """Return the keys of a group that ask for an image."""
    return [key for key in group if is_image_key(key)]


def is_image_key(key: str) -> bool:
    """Tell whether a key of a group asks for an image."""
    return key in _IMAGE_MEMBERS or is_flag(key)


def is_flag(key: str) -> bool:
    """Tell whether a key ends with what is asked for, and is required."""
    return key.startswith(tuple(_IMAGE_PREFIXES))


def amounts(group: Mapping[str, str]) -> dict[str, int]:
    """Return how much of each resource class a group asks for.

    Earlier releases stored amounts that are none, such as "1.5"; they count
    for nothing.
    """
    return {
        key.removeprefix(constants.GROUP_RESOURCES).strip(): int(value)
        for key, value in group.items()
        if key.startswith(constants.GROUP_RESOURCES)
        and AMOUNT.fullmatch(value)
    }


def size(group: Mapping[str, str]) -> int:
    """Return how many ARQs a group stands for; it may be absurdly many.

    One for each unit of every resource; a group that requires the Xilinx
    trait takes two for each FPGA: its management and its user function.
    """
    if wants_xilinx(group):
        return 2 * amounts(group).get(constants.RC_FPGA, 0)
    return sum(amounts(group).values())


def classes_of(group: Mapping[str, str]) -> list[str]:
    """Return the resource class of each ARQ that a group stands for.

    The second function of a Xilinx card counts as nothing: "".
    """
    if wants_xilinx(group):
        return [constants.RC_FPGA, ""] * (size(group) // 2)
    return [
        name for name, amount in amounts(group).items() for _ in range(amount)
    ]
