"""What is printed on a card, and what its driver tells."""

import pytest

from cyborg.common import boards


@pytest.mark.parametrize(
    ("driver", "product", "board"),
    [
        ("intel", "0b2b", "D5005"),
        ("intel", "0B2B", "Intel FPGA PAC D5005"),
        ("intel", "09c4", "PAC Arria 10 GX"),
        ("intel", "09c4", "pac_a10"),
        ("intel", "09c4", "0x09C4"),
        ("XILINX", "5004", "U250"),
        ("XILINX", "5005", "xilinx_u250_gen3x16_xdma_4_1"),
        ("xilinx", "5020", "Alveo U50"),
        ("other", "1234", "1234"),
    ],
)
def test_names_of_a_card(driver: str, product: str, board: str) -> None:
    assert boards.is_called(board, driver, product)


@pytest.mark.parametrize(
    ("driver", "product", "board"),
    [
        ("intel", "0b2b", "U250"),
        ("xilinx", "0b2b", "D5005"),
        ("xilinx", "5020", "U5"),
        ("xilinx", "5020", "U500"),
        ("xilinx", "5020", ""),
        (None, None, "U50"),
    ],
)
def test_names_of_other_cards(
    driver: str | None, product: str | None, board: str
) -> None:
    assert not boards.is_called(board, driver, product)


def test_a_name_for_people() -> None:
    assert boards.shown("intel", "0b2b") == "D5005"
    assert boards.shown("intel", "ffff") == ""
