"""What a group of a profile asks to be loaded, and what is loaded."""

import types

import pytest

from cyborg.common import exception
from cyborg.conductor.work import loads


def test_a_group_names_at_most_one_image() -> None:
    assert loads.wanted({"resources:FPGA": "1"}) is None
    assert loads.wanted({"accel:bitstream_id": "b"}) == {"id": "b"}
    assert loads.wanted({"accel:function_id": "f"}) == {"function_id": "f"}
    assert loads.wanted({"accel:bitstream_name": "n"}) == {"name": "n"}
    with pytest.raises(exception.Invalid, match="accel:bitstream_id"):
        loads.wanted({"accel:bitstream_id": "b", "accel:function_id": "f"})


def test_a_functions_trait_is_one_placement_takes() -> None:
    trait = loads.function_trait("intel", "3afb-1c.2d")
    assert trait == "CUSTOM_FPGA_FUNCTION_ID_INTEL_3AFB_1C_2D"
    assert len(loads.function_trait("intel", "x" * 300)) == 255


def test_what_our_own_programming_loaded_is_known() -> None:
    loaded = types.SimpleNamespace(bitstream_id="b", driver_name="intel")
    empty = types.SimpleNamespace(bitstream_id=None, driver_name="intel")
    trait = {loads.function_trait("intel", "f")}
    assert loads.is_loaded(loaded, set(), {"id": "b"})
    assert not loads.is_loaded(loaded, set(), {"id": "c"})
    assert loads.is_loaded(loaded, trait, {"function_id": "f"})
    assert not loads.is_loaded(loaded, trait, {"function_id": "g"})
    # A trait that somebody else gave it says nothing.
    assert not loads.is_loaded(empty, trait, {"function_id": "f"})
    assert not loads.is_loaded(loaded, trait, {"name": "f"})
