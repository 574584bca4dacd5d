"""The devices that are declared with the package."""

import pathlib
import re

import pytest

from cyborg.accelerator.declared import entry as declared
from cyborg.accelerator.declared import reader
from cyborg.accelerator.drivers import declared as declared_driver
from cyborg.common import exception
from cyborg.tests.fixtures import driver as driver_fixture
from cyborg.tests.fixtures import machine

TREE = pathlib.Path(__file__).parents[4]
PAGE = TREE / "doc/source/admin/drivers/declared.rst"
KNOWN = {
    each.name: each
    for each in reader.read_directory(reader.KNOWN, is_known=True)
}


def make(
    tmp_path: pathlib.Path, text: str, *names: str
) -> declared_driver.DeclaredDriver:
    return declared_driver.DeclaredDriver(
        root=machine.unpack_text(text, tmp_path / "root"),
        run=machine.Commands(),
        host="cn1",
        conf=driver_fixture.conf(
            declared={
                "directory": str(tmp_path / "none"),
                "known_devices": list(names),
            }
        ),
    )


def cards(entry: declared.Entry) -> str:
    """Return a machine with a card of each product of an entry."""
    text = ""
    for number, product in enumerate(entry.match.product or ("1234",)):
        address = f"0000:{number + 1:02x}:00.0"
        parts = [f"0000:{number + 1:02x}:00.1"]
        if entry.kind is declared.Kind.WHOLE:
            parts = []
        (vendor,) = entry.match.vendor or ("144d",)
        (class_code,) = entry.match.class_ or ("1200",)
        text += machine.function(
            address,
            vendor,
            product,
            f"{class_code}00",
            virtfns=parts,
            totalvfs=len(parts) or None,
        )
        for part in parts:
            text += machine.function(
                part, vendor, "0bad", f"{class_code}00", physfn=address
            )
    return text


@pytest.mark.parametrize("name", KNOWN)
def test_every_product_is_offered(name: str, tmp_path: pathlib.Path) -> None:
    entry = KNOWN[name]
    found = make(tmp_path, cards(entry), name).discover()
    assert len(found) == len(entry.match.product or ("1234",))
    for device in found:
        assert (device.type, device.stub) == (entry.type, False)
        (deployable,) = device.deployable_list
        is_part = deployable.name.endswith(".1")
        assert is_part == (entry.kind is declared.Kind.VFS)
        traits = driver_fixture.traits(device)
        assert traits[: len(entry.traits)] == list(entry.traits)
        # The family is a trait of its own, beside the vendor's.
        assert len(traits) > len(entry.traits) or not entry.product_traits


def test_products_with_traits_are_meant() -> None:
    for entry in KNOWN.values():
        assert set(entry.product_traits) <= set(entry.match.product)


def test_all_can_be_on_that_do_not_exclude_each_other(
    tmp_path: pathlib.Path,
) -> None:
    names = [name for name in KNOWN if f"{name}-vfs" not in KNOWN]
    assert make(tmp_path, machine.empty(), *names).discover() == []


def test_a_card_is_whole_or_in_parts(tmp_path: pathlib.Path) -> None:
    with pytest.raises(exception.ConfigInvalid, match="same devices"):
        make(tmp_path, machine.empty(), "intel-flex", "intel-flex-vfs")


def test_the_page_has_them_all() -> None:
    rows = re.findall(
        r"^   \* - ``([a-z0-9-]+)``\n     - (.*)\n     - ``(\w+)``\n"
        r"     - ``(\w+)``",
        PAGE.read_text(),
        re.MULTILINE,
    )
    assert {name: (rc, kind) for name, _cards, rc, kind in rows} == {
        entry.name: (entry.resource_class, str(entry.kind))
        for entry in KNOWN.values()
    }
