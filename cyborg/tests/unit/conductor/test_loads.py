"""What is loaded, as far as anybody can tell."""

from cyborg.common import functions
from cyborg.conductor.work import loads

GZIP = "d8424dc4-a4a3-c413-f89e-433683f9040b"
AES = "f7df405c-bd7a-cf72-22f1-44b0b93acd18"


def loaded(
    image: str | None = None, programmed: str = "", found: str = ""
) -> loads.Loaded:
    return loads.Loaded(
        "intel",
        image,
        frozenset(functions.trait("intel", f) for f in programmed.split()),
        # As the driver of the card has it.
        frozenset(
            functions.trait("intel", f.replace("-", "")) for f in found.split()
        ),
    )


def test_what_our_own_programming_loaded_is_known() -> None:
    card = loaded("b", "f")
    assert card.has({"id": "b"})
    assert not card.has({"id": "c"})
    assert card.has({"function_id": "f"})
    assert not card.has({"function_id": "g"})
    assert card.has({"function": "CUSTOM_FPGA_FUNCTION_INTEL_F"})
    # What a trait of nobody's programming says, nothing stands for.
    assert not loaded(None, "f").has({"function_id": "f"})


def test_a_name_is_known_by_the_images_that_have_it() -> None:
    for member in ("name", "function_name"):
        assert loaded("b").has({member: "gzip"}, ["a", "b"])
        assert not loaded("b").has({member: "gzip"}, ["a"])
        assert not loaded("b").has({member: "gzip"})
        assert not loaded(None).has({member: "gzip"}, ["a"])


def test_what_the_card_reports_is_believed() -> None:
    card = loaded(found=GZIP)
    assert card.has({"function_id": GZIP})
    assert card.has({"function_id": GZIP.replace("-", "").upper()})
    assert not card.has({"function_id": AES})
    other = GZIP.upper().replace("-", "_")
    assert card.has({"function": f"CUSTOM_FPGA_FUNCTION_INTEL_{other}"})
    assert not card.has({"function": f"CUSTOM_FPGA_FUNCTION_XILINX_{other}"})


def test_a_card_that_others_have_loaded_since() -> None:
    card = loaded("b", GZIP, found=AES)
    assert card.has({"function_id": AES})
    assert not card.has({"function_id": GZIP})
    assert not card.has({"id": "b"})
    assert not card.has({"name": "gzip"}, ["b"])
    # It has what we loaded, besides others.
    card = loaded("b", GZIP, found=f"{AES} {GZIP}")
    assert card.has({"id": "b"})
    # Here it was given an id that no card has.
    card = loaded("b", "3AFB", found=AES)
    assert card.has({"id": "b"})
    assert card.has({"function_id": "3AFB"})
