"""Which image in Glance a request means, and whether it fits the card."""

from collections.abc import Callable
import dataclasses
import types
from typing import Any

import pytest

from cyborg.clients import bitstreams
from cyborg.clients import glance
from cyborg.common import exception
from cyborg.conductor.work import images

PROJECT = "tenant"
REGION = "69528db6-eb31-577a-8c36-68f9faa081f6"
SHELL = "6ef2c0c0-7d10-4c4b-9f3f-1d3a2b4c5d6e"
TRAITS = [
    "CUSTOM_FPGA_INTEL",
    "CUSTOM_FPGA_REGION_INTEL_69528DB6EB31577A8C3668F9FAA081F6",
]
CARD = images.Card(
    vendor="0x8086",
    model="Intel PAC Arria10 GX",
    std_board_info='{"device_id": "0x09c4", "class": "0x120000"}',
    driver_name="intel",
    attributes=[
        *((f"trait{number}", name) for number, name in enumerate(TRAITS)),
        ("shell_id", SHELL),
    ],
)
D5005 = dataclasses.replace(
    CARD,
    model="miss model info",
    std_board_info='{"product_id": "0x0b2b"}',
    attributes=(),
)
U250 = images.Card("10ee", "Device", '{"product_id": "5004"}', "XILINX")

Upload = Callable[..., None]


@pytest.fixture
def upload(monkeypatch: pytest.MonkeyPatch) -> Upload:
    """Add images to a Glance that has only these."""
    images: dict[str, dict[str, Any]] = {}

    def get_image(image_id: str) -> dict[str, Any]:
        if image_id not in images:
            raise exception.ImageNotFound(image=image_id)
        return images[image_id]

    def find_images(**properties: str) -> list[dict[str, Any]]:
        return [
            image
            for image in images.values()
            if all(
                properties[key] in image.get("tags", ())
                if key == "tag"
                else image.get(key) == properties[key]
                for key in properties
            )
        ]

    def add(image_id: str, **properties: Any) -> None:
        images[image_id] = {
            "id": image_id,
            "status": "active",
            "visibility": "public",
        } | {
            {"function_id": "accel:function_id"}.get(key, key): value
            for key, value in properties.items()
        }

    monkeypatch.setattr(glance, "get_image", get_image)
    monkeypatch.setattr(glance, "find_images", find_images)
    monkeypatch.setattr(glance, "own_project", lambda: "service")
    monkeypatch.setattr(
        glance, "accepted_members", lambda id_: images[id_].get("members", ())
    )
    return add


def find(card: images.Card = CARD, **wanted: str) -> dict[str, Any]:
    return images.find(wanted, card, PROJECT)


def test_an_image_is_described_as_agents_need_it(upload: Upload) -> None:
    upload(
        "a",
        size=3,
        checksum="md5 text",
        os_hash_algo="sha512",
        os_hash_value="sha text",
        function_id="f",
        owner="operators",
    )
    upload("b", checksum="md5 text", function_uuid="g")
    assert find(id="a") == {
        "id": "a",
        "owner": "operators",
        "size": 3,
        "hash_algo": "sha512",
        "hash_value": "sha text",
        "function_id": "f",
    }
    assert find(id="b") == {
        "id": "b",
        "owner": None,
        "size": None,
        "hash_algo": "md5",
        "hash_value": "md5 text",
        "function_id": "g",
    }
    with pytest.raises(exception.ImageNotFound):
        find(id="c")


def test_an_image_is_found_by_what_is_said_of_it(upload: Upload) -> None:
    upload("a", name="gzip", function_id="f")
    upload("b", function_uuid="g", function_name="compress")
    assert find(name="gzip")["id"] == "a"
    assert find(function_id="f")["id"] == "a"
    assert find(function_id="g")["id"] == "b"
    assert find(function_name="compress")["id"] == "b"
    with pytest.raises(exception.ImageNotFound, match="function_id=h"):
        find(function_id="h")


@pytest.mark.parametrize(
    ("fits", "does_not"),
    [
        ({"tags": ["FPGA"]}, {"tags": ["linux"]}),
        ({"vendor": "Intel"}, {"vendor": "xilinx"}),
        ({"vendor": "8086"}, {"vendor": "10ee"}),
        ({"board": "PAC Arria10"}, {"board": "U250"}),
        ({"board": "0x09C4"}, {"board": "0x5000"}),
        ({"region_uuid": REGION}, {"region_uuid": "0" * 32}),
        ({"region_uuid": REGION.replace("-", "_")}, {"region_uuid": "0"}),
        ({"shell_id": SHELL.upper()}, {"shell_id": REGION}),
        # The card does not tell it.
        ({"driver": "SDX"}, {"driver": "SDX", "vendor": "xilinx"}),
    ],
)
def test_of_several_the_one_for_the_card_is_taken(
    upload: Upload, fits: dict[str, Any], does_not: dict[str, Any]
) -> None:
    upload("a", function_id="f", **does_not)
    upload("b", function_id="f", **fits)
    assert find(function_id="f")["id"] == "b"
    if "tags" not in fits:
        # Named by id it is not loaded either.
        with pytest.raises(exception.ImageUnacceptable, match="it is for"):
            find(id="a")


@pytest.mark.parametrize(
    ("card", "fits", "does_not"),
    [
        (D5005, "D5005", "U250"),
        (D5005, "Intel PAC D5005", "N3000"),
        (U250, "U250", "U200"),
        (U250, "xilinx_u250_xdma_201830_2", "KU115"),
    ],
)
def test_a_board_is_called_by_its_name(
    upload: Upload, card: images.Card, fits: str, does_not: str
) -> None:
    upload("a", board=fits)
    upload("b", board=does_not)
    assert find(card, id="a")["id"] == "a"
    name = "D5005" if card is D5005 else "U250"
    with pytest.raises(exception.ImageUnacceptable) as refused:
        find(card, id="b")
    assert refused.value.faultstring == (
        f"Image b cannot be used: it is for board {does_not}, and the card "
        f"is {name}."
    )


def test_a_function_is_named_by_its_trait(upload: Upload) -> None:
    upload("a", function_id="3AFB-01", tags=["FPGA"])
    upload("b", function_uuid="d8424dc4a4a3c413", tags=["FPGA"])
    upload("c", function_id="3AFB-01", tags=["linux"])
    prefix = "CUSTOM_FPGA_FUNCTION"
    assert find(function=f"{prefix}_INTEL_3AFB_01")["id"] == "a"
    assert find(function=f"{prefix}_ID_INTEL_D8424DC4A4A3C413")["id"] == "b"
    with pytest.raises(exception.ImageNotFound):
        find(function=f"{prefix}_ID_INTEL_0")


# Whose it is and how it is shown; whether it is loaded for the project.
SHOWN = [
    ({"visibility": "public", "owner": "stranger"}, True),
    ({"visibility": "private", "owner": "service"}, True),
    ({"visibility": "private", "owner": "stranger"}, False),
    ({"visibility": "community", "owner": "stranger"}, False),
    ({"visibility": "private", "owner": PROJECT}, False),
    ({"visibility": "community", "owner": PROJECT}, True),
    ({"visibility": "shared", "owner": PROJECT}, False),
    (
        {"visibility": "shared", "owner": PROJECT, "members": {"service"}},
        True,
    ),
    (
        {"visibility": "shared", "owner": "stranger", "members": {PROJECT}},
        False,
    ),
    (
        {"visibility": "shared", "owner": "stranger", "members": {"service"}},
        False,
    ),
    (
        {
            "visibility": "shared",
            "owner": "stranger",
            "members": {"service", PROJECT},
        },
        True,
    ),
    ({"visibility": None, "owner": None}, False),
]


@pytest.mark.parametrize(("record", "is_loaded"), SHOWN)
def test_whose_images_are_loaded(
    upload: Upload, record: dict[str, Any], is_loaded: bool
) -> None:
    upload("a", function_id="f", **record)
    upload("b", function_id="g", **record)
    upload("c", function_id="g")
    if is_loaded:
        assert find(id="a")["id"] == "a"
        assert find(function_id="f")["id"] == "a"
        with pytest.raises(exception.ImageUnacceptable, match="2 images"):
            find(function_id="g")
        return
    with pytest.raises(exception.ImageUnacceptable, match="bitstream_project"):
        find(id="a")
    with pytest.raises(exception.ImageNotFound):
        find(function_id="f")
    # Nor does it stand in the way of the one that is meant.
    assert find(function_id="g")["id"] == "c"


def test_the_operator_says_whose_images_are_loaded(
    upload: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = types.SimpleNamespace(bitstream_projects=["p1", "p2"])
    monkeypatch.setattr(
        bitstreams, "CONF", types.SimpleNamespace(glance=named)
    )
    upload("a", visibility="private", owner="p2")
    upload("b", visibility="private", owner="service")
    assert find(id="a")["id"] == "a"
    with pytest.raises(exception.ImageUnacceptable, match="project service"):
        find(id="b")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"owner": "stranger"}, "its owner has changed"),
        ({"os_hash_value": "1"}, "its hash has changed"),
        ({"status": "deactivated"}, "deactivated"),
        ({"visibility": "private"}, "it is private"),
        ({"board": "U250"}, "board U250"),
    ],
)
def test_what_was_chosen_is_looked_at_again(
    upload: Upload, change: dict[str, Any], says: str
) -> None:
    record = {"owner": "p", "os_hash_algo": "sha256", "os_hash_value": "0"}
    upload("a", **record)
    chosen = find(id="a")
    images.confirm(chosen, CARD, PROJECT)
    upload("a", **record | change)
    with pytest.raises(exception.ImageUnacceptable, match=says):
        images.confirm(chosen, CARD, PROJECT)


def test_nothing_is_guessed(upload: Upload) -> None:
    upload("a", function_id="f", tags=["FPGA"])
    upload("b", function_id="f", tags=["FPGA"])
    with pytest.raises(exception.ImageUnacceptable, match="2 images match"):
        find(function_id="f")


def test_an_image_that_is_not_active(upload: Upload) -> None:
    upload("a", status="deactivated")
    with pytest.raises(exception.ImageUnacceptable, match="deactivated"):
        find(id="a")
