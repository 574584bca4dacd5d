"""How one function is written in traits, profiles and images."""

import pytest

from cyborg.common import functions

UUID = "d8424dc4-a4a3-c413-f89e-433683f9040b"
PLAIN = UUID.replace("-", "")


def test_a_functions_trait_is_one_placement_takes() -> None:
    trait = functions.trait("intel", "3afb-1c.2d")
    assert trait == "CUSTOM_FPGA_FUNCTION_ID_INTEL_3AFB_1C_2D"
    assert len(functions.trait("intel", "x" * 300)) == 255
    assert functions.is_trait(trait)
    assert not functions.is_trait("CUSTOM_FPGA_INTEL")


def test_one_id_has_several_forms() -> None:
    reported = f"CUSTOM_FPGA_FUNCTION_ID_INTEL_{PLAIN.upper()}"
    assert functions.is_same(functions.trait("intel", UUID), reported)
    assert functions.is_same(f"CUSTOM_FPGA_FUNCTION_INTEL_{PLAIN}", reported)
    assert not functions.is_same(functions.trait("xilinx", UUID), reported)
    assert functions.is_uuid(reported)
    assert functions.is_uuid(functions.trait("intel", UUID))
    assert not functions.is_uuid(functions.trait("intel", "3AFB"))


@pytest.mark.parametrize(
    "trait",
    [
        f"CUSTOM_FPGA_FUNCTION_ID_INTEL_{PLAIN.upper()}",
        f"CUSTOM_FPGA_FUNCTION_INTEL_{UUID.upper().replace('-', '_')}",
    ],
)
def test_a_trait_names_a_function(trait: str) -> None:
    assert functions.is_named(trait, UUID)
    assert functions.is_named(trait, PLAIN)
    assert not functions.is_named(trait, "3AFB")
    assert not functions.is_named(trait, None)
    assert not functions.is_named(f"CUSTOM_{PLAIN}", PLAIN)
