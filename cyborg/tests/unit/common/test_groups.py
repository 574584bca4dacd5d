"""What a group of a device profile stands for."""

import pytest

from cyborg.common import exception
from cyborg.common import groups


@pytest.mark.parametrize(
    ("group", "size"),
    [
        ({"resources:FPGA": "2", "trait:CUSTOM_X": "required"}, 2),
        ({"resources:FPGA": "1", "resources:CUSTOM_MEMORY": "3"}, 4),
        (
            {
                "resources:FPGA": "2",
                "resources:CUSTOM_MEMORY": "3",
                "trait:CUSTOM_FPGA_XILINX": "required",
            },
            4,
        ),
        (
            {
                "resources:FPGA": "1",
                "trait:CUSTOM_FPGA_XILINX": "forbidden",
            },
            1,
        ),
        ({"trait:CUSTOM_X": "required"}, 0),
        # What earlier releases took.
        ({"resources:FPGA": "1.5", "resources:CUSTOM_X": "-1"}, 0),
    ],
)
def test_a_group_stands_for_so_many_requests(
    group: dict[str, str], size: int
) -> None:
    assert groups.size(group) == size == len(groups.classes_of(group))


def test_absurd_amounts_are_counted_not_listed() -> None:
    assert groups.size({"resources:FPGA": "9" * 18}) == 10**18 - 1


def test_the_second_function_of_a_card_is_of_no_class() -> None:
    group = {"resources:FPGA": "2", "trait:CUSTOM_FPGA_XILINX": "required"}
    assert groups.classes_of(group) == ["FPGA", "", "FPGA", ""]


@pytest.mark.parametrize(
    ("keys", "image"),
    [
        ({}, None),
        ({"bitstream_id": "b"}, {"id": "b"}),
        ({"function_id": "f"}, {"function_id": "f"}),
        ({"bitstream_name": "n"}, {"name": "n"}),
        ({"function_name": "n"}, {"function_name": "n"}),
        # As the specifications of scheduling write it.
        ({"function_name:gzip": "required"}, {"function_name": "gzip"}),
        (
            {"function:CUSTOM_FPGA_FUNCTION_INTEL_1": "required"},
            {"function": "CUSTOM_FPGA_FUNCTION_INTEL_1"},
        ),
        ({"function_name:gzip": "forbidden"}, None),
        ({"attach_target": "VM"}, None),
    ],
)
def test_a_group_names_at_most_one_image(
    keys: dict[str, str], image: dict[str, str] | None
) -> None:
    group = {f"accel:{key}": value for key, value in keys.items()}
    assert groups.image({"resources:FPGA": "1"} | group) == image


@pytest.mark.parametrize("key", ["function_id", "function:CUSTOM_A"])
def test_a_bitstream_and_a_function_can_never_be_loaded(key: str) -> None:
    with pytest.raises(exception.Invalid, match="accel:bitstream_id"):
        groups.image({"accel:bitstream_id": "b", f"accel:{key}": "required"})
