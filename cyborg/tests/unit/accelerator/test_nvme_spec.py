import json

import pytest

from cyborg.accelerator import nvme_spec
from cyborg.accelerator import pci
from cyborg.common import exception

DRIVE = pci.Function(
    address="0000:0a:00.0", path="", vendor="144d", product="a808"
)


def parse(*items):
    return nvme_spec.parse(json.dumps(item) for item in items)


@pytest.mark.parametrize(
    ("item", "is_meant"),
    [
        ({}, True),
        ({"vendor_id": "144D"}, True),
        ({"vendor_id": "0x144d", "product_id": "a808"}, True),
        ({"vendor_id": "144d", "product_id": "a809"}, False),
        ({"vendor_id": "*"}, True),
        ({"address": "0000:0A:00.0"}, True),
        ({"address": "0000:0a:00.*"}, True),
        ({"address": "0000:0b:00.*"}, False),
        ({"address": {"bus": "0[ab]"}}, True),
        ({"address": {"bus": "0[bc]"}}, False),
    ],
)
def test_which_drive_is_meant(item, is_meant):
    (spec,) = parse(item)
    assert spec.matches(DRIVE) is is_meant


def test_first_that_means_a_drive_says_how_it_is_cleaned():
    specs = parse(
        {"vendor_id": "8086", "clear_action": "zero"},
        {"clear_action": "sanitize", "clear_strategy": "crypto"},
        {},
    )
    found = nvme_spec.find(specs, DRIVE)
    assert found.clear_action is nvme_spec.ClearAction.SANITIZE
    assert found.clear_strategy is nvme_spec.ClearStrategy.CRYPTO
    assert nvme_spec.find(specs[:1], DRIVE) is None
    assert specs[2].clear_action is nvme_spec.ClearAction.AUTO
    assert specs[2].clear_strategy is nvme_spec.ClearStrategy.AUTO


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("{", "is not JSON"),
        ("[]", "is not an object"),
        ('{"vendor": "144d"}', "'vendor' is none of the keys"),
        ('{"vendor_id": "x"}', "vendor_id 'x' is not hexadecimal"),
        ('{"product_id": "12345"}', "larger than ffff"),
        ('{"address": "0:0:0:0.0"}', "has an invalid format"),
        ('{"address": {"bus": "["}}', "has an invalid format"),
        ('{"address": {"device": "0"}}', "has an invalid format"),
        ('{"clear_action": "format"}', "'format' is not one of auto, san"),
        ('{"clear_strategy": 1}', "clear_strategy 1 is not one of auto, cr"),
    ],
)
def test_what_is_refused(value, reason):
    with pytest.raises(exception.ConfigInvalid) as caught:
        nvme_spec.parse([value])
    text = caught.value.faultstring
    assert text.startswith("[nvme] device_spec is not valid: ")
    assert reason in text
