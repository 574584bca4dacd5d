"""Which image in Glance a request means, and whether it fits the card."""

from collections.abc import Callable
import types
from typing import Any

import pytest

from cyborg.clients import glance
from cyborg.common import exception
from cyborg.conductor.work import images

REGION = "69528db6-eb31-577a-8c36-68f9faa081f6"
TRAITS = {
    "CUSTOM_FPGA_INTEL",
    "CUSTOM_FPGA_REGION_INTEL_69528DB6EB31577A8C3668F9FAA081F6",
}
TARGET = types.SimpleNamespace(
    device_vendor="0x8086",
    device_model="Intel PAC Arria10 GX",
    device_std_board_info='{"device_id": "0x09c4", "class": "0x120000"}',
    deployable_driver_name="intel",
)

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
            if all(image.get(key) == properties[key] for key in properties)
        ]

    def add(image_id: str, **properties: Any) -> None:
        images[image_id] = {"id": image_id, "status": "active"} | {
            {"function_id": "accel:function_id"}.get(key, key): value
            for key, value in properties.items()
        }

    monkeypatch.setattr(glance, "get_image", get_image)
    monkeypatch.setattr(glance, "find_images", find_images)
    return add


def find(**wanted: str) -> dict[str, Any]:
    return images.find(wanted, TARGET, TRAITS)


def test_an_image_is_described_as_agents_need_it(upload: Upload) -> None:
    upload(
        "a",
        size=3,
        checksum="md5 text",
        os_hash_algo="sha512",
        os_hash_value="sha text",
        function_id="f",
    )
    upload("b", checksum="md5 text", function_uuid="g")
    assert find(id="a") == {
        "id": "a",
        "size": 3,
        "hash_algo": "sha512",
        "hash_value": "sha text",
        "function_id": "f",
    }
    assert find(id="b") == {
        "id": "b",
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


def test_nothing_is_guessed(upload: Upload) -> None:
    upload("a", function_id="f", tags=["FPGA"])
    upload("b", function_id="f", tags=["FPGA"])
    with pytest.raises(exception.ImageUnacceptable, match="2 images match"):
        find(function_id="f")


def test_an_image_that_is_not_active(upload: Upload) -> None:
    upload("a", status="deactivated")
    with pytest.raises(exception.ImageUnacceptable, match="deactivated"):
        find(id="a")
