"""One bad card does not hide the others."""

import json
import logging

import pytest

from cyborg.accelerator import card as card_driver
from cyborg.accelerator import describe
from cyborg.accelerator import pci
from cyborg.common import exception
from cyborg.tests.fixtures import driver as driver_fixture
from cyborg.tests.fixtures import golden
from cyborg.tests.fixtures import machine

FIRST, SECOND = "0000:3b:00.0", "0000:af:00.0"


class Driver(card_driver.CardDriver):
    """Offers every GPU; those in ``bad`` raise."""

    bad: dict[str, Exception] = {}

    def claims(self, function):
        return function.vendor == "10de"

    def describe(self, card, deployables, *, stub):
        return describe.device(
            card,
            type="GPU",
            vendor=card.vendor,
            model=card.product,
            std_board_info=None,
            vendor_board_info=None,
            deployables=deployables,
            stub=stub,
        )

    def deployables(self, card, functions):
        if card.address in self.bad:
            raise self.bad[card.address]
        return [
            describe.deployable(
                self.host,
                card.address,
                resource_class="PGPU",
                traits=["CUSTOM_A", "custom-b", "CUSTOM_A"],
                handles=[describe.handle(card.address)],
                driver_name="NVIDIA",
            )
        ]


@pytest.fixture
def root(tmp_path):
    text = "".join(
        machine.function(address, "10de", "1eb8", "030200")
        for address in (SECOND, FIRST)
    )
    return machine.unpack_text(text, tmp_path)


@pytest.fixture
def driver(root):
    return Driver(
        root=root,
        run=machine.Commands(),
        host="cn1",
        conf=driver_fixture.conf(),
    )


def addresses(found):
    return [
        pci.format_address(json.loads(d.controlpath_id.cpid_info))
        for d in found
    ]


def test_report(driver):
    assert golden.text(driver.discover()[:1]) == (
        "GPU 10de, 1eb8\n"
        "  std None\n"
        "  vendor None\n"
        '  at PCI {"bus": "3b", "device": "00", "domain": "0000", '
        '"function": "0"}\n'
        "  cn1_0000:3b:00.0 of NVIDIA counts 1\n"
        "    rc = PGPU\n"
        "    trait0 = CUSTOM_A\n"
        "    trait1 = CUSTOM_B\n"
        '    PCI {"bus": "3b", "device": "00", "domain": "0000", '
        '"function": "0"}\n'
    )


@pytest.mark.parametrize(
    "error",
    [exception.DriverError(reason="no"), OSError(5, "EIO"), KeyError("x")],
)
def test_card_that_cannot_be_described(driver, error):
    driver.bad = {FIRST: error}
    found = driver.discover()
    assert addresses(found) == [FIRST, SECOND]
    assert [device.stub for device in found] == [True, False]
    assert found[0].deployable_list == []


def test_reason_is_logged_once(driver, caplog):
    caplog.set_level(logging.INFO)
    driver.bad = {FIRST: exception.DriverError(reason="no driver")}
    for _time in range(3):
        driver.discover()
    assert caplog.text.count("no driver") == 1
    driver.bad = {}
    driver.discover()
    driver.discover()
    assert caplog.text.count("can be described again") == 1


def test_card_whose_ids_become_unreadable(driver, root):
    driver.discover()
    vendor = root / "sys/bus/pci/devices" / FIRST / "vendor"
    vendor.unlink()
    for _time in range(2):
        found = driver.discover()
        assert addresses(found) == [FIRST, SECOND]
        assert [device.stub for device in found] == [True, False]
    vendor.write_text("0x10de\n")
    assert [device.stub for device in driver.discover()] == [False, False]


def test_unreadable_card_that_was_never_known(driver, root):
    (root / "sys/bus/pci/devices" / FIRST / "vendor").unlink()
    assert addresses(driver.discover()) == [SECOND]


def test_card_that_is_gone(driver, root):
    driver.discover()
    (root / "sys/bus/pci/devices" / FIRST).unlink()
    assert addresses(driver.discover()) == [SECOND]


def test_card_that_goes_while_it_is_described(driver, root, monkeypatch):
    real = driver.deployables

    def deployables(card, functions):
        if card.address == FIRST:
            directory = root / "sys/devices/pci0000:3b"
            directory.rename(root / "gone")
            raise FileNotFoundError(card.path)
        return real(card, functions)

    monkeypatch.setattr(driver, "deployables", deployables)
    assert addresses(driver.discover()) == [SECOND]


def test_attachable():
    whole = pci.Function("0000:05:00.0", "/", virtfns=("0000:05:01.0",))
    part = pci.Function("0000:05:01.0", "/")
    functions = {item.address: item for item in (whole, part)}
    assert card_driver.attachable(part, functions) == [part]
    assert card_driver.attachable(whole, functions) == [part]
    # Being taken apart: the card is not to be given away whole.
    assert card_driver.attachable(whole, {whole.address: whole}) == []


@pytest.mark.parametrize(
    ("text", "legal"),
    [
        ("CUSTOM_PHYSNET_physnet-1", "CUSTOM_PHYSNET_PHYSNET_1"),
        ("CUSTOM_é ß.", "CUSTOM___SS_"),
        ("CUSTOM_" + "a" * 300, "CUSTOM_" + "A" * 248),
    ],
)
def test_traits(text, legal):
    assert describe.trait(text) == legal
