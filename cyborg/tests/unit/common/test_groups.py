"""What a group of a device profile stands for."""

import pytest

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
