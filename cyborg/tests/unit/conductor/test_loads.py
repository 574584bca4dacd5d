"""What a group of a profile asks to be loaded, and what is loaded."""

import types

from cyborg.common import functions
from cyborg.conductor.work import loads


def test_what_our_own_programming_loaded_is_known() -> None:
    loaded = types.SimpleNamespace(bitstream_id="b", driver_name="intel")
    empty = types.SimpleNamespace(bitstream_id=None, driver_name="intel")
    trait = {functions.trait("intel", "f")}
    assert loads.is_loaded(loaded, set(), {"id": "b"})
    assert not loads.is_loaded(loaded, set(), {"id": "c"})
    assert loads.is_loaded(loaded, trait, {"function_id": "f"})
    assert not loads.is_loaded(loaded, trait, {"function_id": "g"})
    # A trait that somebody else gave it says nothing.
    assert not loads.is_loaded(empty, trait, {"function_id": "f"})
    assert not loads.is_loaded(loaded, trait, {"name": "f"})
