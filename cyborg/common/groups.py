"""What one group of a device profile asks for, however it is stored."""

from collections.abc import Mapping
import re

from cyborg.common import constants

# At most 18 digits: what every engine and Placement can hold.
AMOUNT = re.compile(r"[0-9]{1,18}")


def wants_xilinx(group: Mapping[str, str]) -> bool:
    """Tell whether a group requires a card with two functions per FPGA."""
    key = constants.GROUP_TRAIT + constants.XILINX_TRAIT
    return group.get(key) == "required"


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
