"""Files that declare devices, and what is wrong with them."""

import pathlib
import tomllib

import pytest

from cyborg.accelerator import pci
from cyborg.accelerator.declared import checking
from cyborg.accelerator.declared import reader
from cyborg.common import exception
from cyborg.tests.fixtures import driver as driver_fixture

WHOLE = """\
# A card.
[[device]]
name = "wormhole"
kind = "whole"
type = "AICHIP"
resource_class = "CUSTOM_AICHIP"
traits = ["CUSTOM_AICHIP_TENSTORRENT"]
model = "Wormhole"
one_time_use = true
physical_network = "physnet1"
[device.match]
vendor = "1e52"
product = ["401e", "0xb140"]
class = "1200"
subsystem = "1e52:0014"
driver = "tenstorrent"
address = "0000:3b:*"
[device.product_traits]
401e = ["CUSTOM_WORMHOLE"]
[device.attribute_traits]
"numa_node" = "CUSTOM_NUMA_{}"
[device.stats]
clock = "tt_aiclk"
"""
SHORT = """\
[[device]]
name = "{name}"
match = {match}
kind = "whole"
type = "AICHIP"
resource_class = "CUSTOM_AICHIP"
"""
KEYS = (*checking._KEYS, *checking._MATCH_KEYS)


def message(text: str) -> str:
    with pytest.raises(exception.ConfigInvalid) as caught:
        list(reader.parse(text, "x.toml"))
    return str(caught.value.faultstring)


def line_of(text: str, key: str) -> int:
    lines = text.splitlines()
    for number, line in enumerate(lines, 1):
        if line.split("=")[0].strip(' "') == key or f".{key}]" in line:
            return number
    raise AssertionError(key)


def test_a_whole_entry() -> None:
    (entry,) = reader.parse(WHOLE, "x.toml")
    assert str(entry) == "wormhole (x.toml:2)"
    assert entry.match.product == ("401e", "b140")
    assert entry.match.subsystem == (("1e52", "0014"),)
    assert entry.product_traits == {"401e": ("CUSTOM_WORMHOLE",)}
    function = pci.Function(
        "0000:3b:00.0",
        "/x",
        vendor="1e52",
        product="b140",
        class_code="1200",
        subsystem=("1e52", "0014"),
    )
    assert entry.miss(function, {"tenstorrent"}) is None
    assert entry.miss(function, {"nvme"}) == (
        "its driver is nvme, not tenstorrent"
    )


def test_every_key_is_in_the_example() -> None:
    (table,) = tomllib.loads(WHOLE)["device"]
    assert {*table, *table["match"]} == set(KEYS)


@pytest.mark.parametrize("key", KEYS)
def test_a_misspelt_key(key: str) -> None:
    """Its line and the key that was meant are told."""
    wrong = f"{key[:-1]}x" if key != "name" else "nane"
    line = line_of(WHOLE, key)
    lines = WHOLE.splitlines()
    lines[line - 1] = lines[line - 1].replace(key, wrong, 1)
    # The tables of a key that is moved are found by that key.
    said = message("\n".join(lines))
    assert said.startswith(f"x.toml:{line} is not valid: {wrong} is no key of")
    assert f"did you mean {key}?" in said
    assert "\n" not in said


@pytest.mark.parametrize("value", ["7", "[7]", "{ x = 7 }", '""', "1.5"])
@pytest.mark.parametrize("key", KEYS)
def test_a_wrong_type(key: str, value: str) -> None:
    line = line_of(WHOLE, key)
    lines = WHOLE.splitlines()
    if lines[line - 1].startswith("["):
        # A table of its own, with all that is in it.
        after = [
            number
            for number, text in enumerate(lines)
            if number >= line and text.startswith("[")
        ]
        del lines[line - 1 : min(after, default=len(lines))]
        line = line_of(WHOLE, "kind")
        lines.insert(line - 1, f"{key} = {value}")
    else:
        lines[line - 1] = f"{key} = {value}"
    said = message("\n".join(lines))
    assert said.startswith(f"x.toml:{line} is not valid: ")
    assert key in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x", "x.toml is not valid: it is no TOML: "),
        ("devices = 1", "x.toml:1 is not valid: devices is no key of a file"),
        ("[device]\nname = 'x'", "x.toml:1 is not valid: device is one table"),
        ("device = [1]", "x.toml is not valid: device is 1, not a table"),
        ("[[device]]", "x.toml:1 is not valid: the device has no name"),
        (
            SHORT.format(name="A", match='{vendor = "1e52"}'),
            "x.toml:2 is not valid: name is 'A', not a name of",
        ),
        (
            SHORT.format(name="a", match="{}"),
            "x.toml:3 is not valid: match selects every device of the host",
        ),
        (
            SHORT.format(name="a", match='{address = "*:*:*.*"}'),
            "x.toml:3 is not valid: match selects every device of the host",
        ),
        (
            SHORT.format(name="a", match='{product = "401e"}'),
            "x.toml:3 is not valid: match.product has product without vendor",
        ),
        (
            SHORT.format(name="a", match='{vendor = "1E52"}'),
            "x.toml:3 is not valid: match.vendor is '1E52', not an id",
        ),
        (
            SHORT.format(name="a", match="{vendor = []}"),
            "x.toml:3 is not valid: match.vendor is an empty list",
        ),
        (
            SHORT.format(name="a", match='{address = "0000:fff:00.0"}'),
            "x.toml:3 is not valid: match.address is '0000:fff:00.0', not an",
        ),
        (
            SHORT.format(name="a", match='{vendor = "1e52"}')
            + 'attribute_traits = {"../x" = "CUSTOM_{}"}',
            "x.toml:7 is not valid: attribute_traits.../x is '../x', not a",
        ),
        (
            SHORT.format(name="a", match='{vendor = "1e52"}')
            + 'attribute_traits = {numa_node = "CUSTOM_{KiB}"}',
            "x.toml:7 is not valid: attribute_traits.numa_node is "
            "'CUSTOM_{KiB}', not a trait",
        ),
        (
            SHORT.format(name="a", match='{vendor = "1e52"}')
            + 'stats = {clock = "/etc/passwd"}',
            "x.toml:7 is not valid: stats.clock is '/etc/passwd', not a file",
        ),
        (
            SHORT.format(name="a", match='{vendor = "1e52"}')
            + 'traits = ["HW_X"]',
            "x.toml:7 is not valid: traits is 'HW_X', not a name of CUSTOM_",
        ),
    ],
)
def test_what_is_wrong_is_one_sentence(text: str, expected: str) -> None:
    said = message(text)
    assert said.startswith(expected)
    assert "\n" not in said


@pytest.mark.parametrize(
    ("one", "two", "meet"),
    [
        # Only a machine can tell.
        ('vendor = "1e52"', 'class = "1200"', False),
        ('vendor = "1e52"', 'vendor = ["1da3", "1e52"]', True),
        ('vendor = "1e52"', 'vendor = "1da3"', False),
        ('class = "01"', 'class = "0108"', True),
        ('class = "0106"', 'class = "0108"', False),
        ('driver = "nvme"', 'driver = "ahci"', False),
        ('address = "0000:3b:00.0"', 'address = "0000:3b:00.1"', False),
        ('address = "0000:3b:00.0"', 'address = "*:3b:*"', True),
        ('address = "0000:3b:*"', 'address = "*:*:0?.1"', True),
        ('address = "0000:3b:*"', 'address = "0000:3c:*"', False),
        ('subsystem = "1028:1fe2"', 'subsystem = "1028:1fe3"', False),
    ],
)
def test_overlaps(
    one: str, two: str, meet: bool, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "a.toml").write_text(
        SHORT.format(name="one", match=f"{{{one}}}")
    )
    (tmp_path / "b.toml").write_text(
        "\n" + SHORT.format(name="two", match=f"{{{two}}}")
    )
    conf = driver_fixture.conf(declared={"directory": str(tmp_path)})
    if not meet:
        found = reader.read(conf)
        assert [each.name for each in found] == ["one", "two"]
        return
    with pytest.raises(exception.ConfigInvalid) as caught:
        reader.read(conf)
    said = caught.value.faultstring
    assert said.startswith(
        f"{tmp_path}/b.toml:2 is not valid: two and one ({tmp_path}/a.toml:1) "
        "mean the same devices"
    )


def test_two_of_one_name(tmp_path: pathlib.Path) -> None:
    text = SHORT.format(name="one", match='{vendor = "1e52"}')
    (tmp_path / "a.toml").write_text(
        text + SHORT.format(name="one", match='{vendor = "1da3"}')
    )
    with pytest.raises(exception.ConfigInvalid, match=r"a\.toml:7.*a\.toml:1"):
        reader.read_directory(tmp_path)


def test_nothing_is_on_by_default(tmp_path: pathlib.Path) -> None:
    conf = driver_fixture.conf(declared={"directory": str(tmp_path)})
    assert reader.read(conf) == []
    conf = driver_fixture.conf(
        declared={"directory": str(tmp_path / "missing")}
    )
    assert reader.read(conf) == []


def test_a_name_that_is_not_known(tmp_path: pathlib.Path) -> None:
    conf = driver_fixture.conf(
        declared={"directory": str(tmp_path), "known_devices": ["teapot"]}
    )
    with pytest.raises(
        exception.ConfigInvalid, match=r"known_devices.*'teapot' is none of"
    ):
        reader.read(conf)


def test_a_file_that_cannot_be_read(tmp_path: pathlib.Path) -> None:
    (tmp_path / "a.toml").write_bytes(b"\xff")
    with pytest.raises(exception.ConfigInvalid, match=r"a\.toml.*be read"):
        reader.read_directory(tmp_path)
