"""What holds for every rule, and the options about rules."""

import pathlib

import pytest

from cyborg.agent.gate import operator
from cyborg.agent.gate import rules
from cyborg.common import exception

PAGE = pathlib.Path(__file__).parents[5] / "doc/source/admin/offers.rst"


def test_rules_are_told_apart():
    finders = [each.find for each in rules.ALL]
    assert len(set(finders)) == len(finders)
    for each in rules.ALL:
        assert each.sentence.endswith(".")
        assert each.sources


def test_every_rule_is_in_the_manual_and_no_other():
    lines = PAGE.read_text().splitlines()
    described = {line.strip("`") for line in lines if line.startswith("``")}
    assert described >= {each.name for each in rules.ALL}
    alone = {
        line[2:-2]
        for line in lines
        if line.startswith("``")
        and line.endswith("``")
        and line.count("``") == 2
    }
    assert alone == {each.name for each in rules.ALL}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0000:5e:00.0", "0000:5e:00.0"),
        ("00000000:AF:00.0", "0000:af:00.0"),
        ("10000:AF:00.0", "10000:af:00.0"),
        (" *:5E:00.? ", "*:5e:00.?"),
    ],
)
def test_pattern(text, expected):
    assert operator.pattern(text) == expected


@pytest.mark.parametrize("text", ["", "5e:00.0", "eth0", "nvme*", "0000:5e"])
def test_no_pattern(text):
    with pytest.raises(exception.ConfigInvalid, match="neither"):
        operator.pattern(text)


def test_overrides():
    overridden = operator.overrides(
        ["has-parts:0000:5e:00.0", "companion:0000:af:*"],
        ["has-parts", "companion"],
    )
    assert overridden("has-parts", "0000:5e:00.0")
    assert not overridden("companion", "0000:5e:00.0")
    assert overridden("companion", "0000:af:1f.7")


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ("has-parts", "neither"),
        ("0000:5e:00.0", "names none of the rules"),
        ("no-such-rule:0000:5e:00.0", "names none of the rules"),
    ],
)
def test_no_override(entry, reason):
    with pytest.raises(exception.ConfigInvalid, match=reason):
        operator.overrides([entry], ["has-parts"])
