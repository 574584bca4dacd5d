"""Network cards: mappings, and reports that stay while guests have a card."""

import json

import pytest

from cyborg.accelerator import pci
from cyborg.accelerator.drivers import intel_nic
from cyborg.common import exception
from cyborg.tests.fixtures import driver as driver_fixture
from cyborg.tests.fixtures import golden
from cyborg.tests.fixtures import machine
from cyborg.tests.unit.accelerator.drivers import reports


def make(root, state, **groups):
    return intel_nic.IntelNICDriver(
        root=root,
        run=machine.Commands(),
        host="cn1",
        conf=driver_fixture.conf(DEFAULT={"state_path": state}, **groups),
    )


@pytest.fixture
def state(tmp_path):
    (tmp_path / "state/agent").mkdir(parents=True)
    return tmp_path / "state"


def give_to_guest(root, address):
    """Do what libvirt does with a managed device."""
    path = root / "sys/bus/pci/devices" / address
    for name in (path / "net").iterdir():
        (root / "sys/class/net" / name.name).unlink()
    (path / "net").rename(root / f"net-{address}")
    (path / "driver").unlink()
    (path / "driver").symlink_to("../../../bus/pci/drivers/vfio-pci")


def test_card_given_to_a_guest_keeps_its_handle(tmp_path, state):
    root = machine.unpack("nic_server", tmp_path / "root")
    before = golden.text(make(root, state, **reports.NIC_MAPPINGS).discover())
    give_to_guest(root, "0000:3b:00.0")
    # A new process has only what is on disk.
    after = golden.text(make(root, state, **reports.NIC_MAPPINGS).discover())
    assert after == before
    assert "physnet-2" in after


def test_vanished_virtual_function_is_left_out(tmp_path, state):
    root = machine.unpack("nic_server", tmp_path / "root")
    (root / "sys/bus/pci/devices/0000:18:02.0").unlink()
    card = make(root, state).discover()[0]
    assert [d.name for d in card.deployable_list] == ["cn1_0000:18:02.1"]


def test_two_profiles_of_one_card(tmp_path, state):
    root = machine.unpack("nic_server", tmp_path / "root")
    driver = make(
        root,
        state,
        nic_devices={"enabled_nic_types": ["one", "two"]},
        one={
            "product_ids": ["1572"],
            "physical_device_mappings": ["net1:eth2|eth3"],
        },
        two={"function_device_mappings": ["GTPv1:eth3", "PPPoE:eth2"]},
    )
    found = {
        device.deployable_list[0].name: driver_fixture.traits(device)
        for device in driver.discover()
        if len(device.deployable_list) == 1
    }
    assert found["cn1_0000:3b:00.0"] == [
        "CUSTOM_PF",
        "CUSTOM_GTPV1",
        "CUSTOM_NET1",
        "CUSTOM_PHYSNET_NET1",
    ]
    # eth2 belongs to another product than group "one" is about.
    (first, *_rest) = driver.discover()
    attributes = [a.value for a in first.deployable_list[0].attribute_list]
    assert attributes == ["CUSTOM_NIC", "CUSTOM_VF", "CUSTOM_PPPOE"]


@pytest.mark.parametrize(
    ("entries", "found"),
    [
        ([], {}),
        (["physnet1:eth2|eth3"], {"eth2": "physnet1", "eth3": "physnet1"}),
        ([" a : x | y ", "b:z"], {"x": "a", "y": "a", "z": "b"}),
        (["a:"], {}),
    ],
)
def test_mappings(entries, found):
    assert intel_nic.parse_mappings(entries, "option") == found


@pytest.mark.parametrize(
    "entries",
    [["eth2"], [":eth2"], ["a:x", "a:y"], ["a:", "a:x"], ["a:x", "b:x"]],
)
def test_mappings_that_are_refused(entries):
    with pytest.raises(exception.ConfigInvalid, match=r"\[x\] option"):
        intel_nic.parse_mappings(entries, "[x] option")


def test_bad_mapping_fails_the_start(tmp_path, state):
    with pytest.raises(exception.ConfigInvalid, match="x710_static"):
        make(
            tmp_path,
            state,
            nic_devices={"enabled_nic_types": ["x710_static"]},
            x710_static={"function_device_mappings": ["eth2"]},
        )


def offered(root, state, **groups):
    """Return what guests may own by card, and the warnings."""
    driver = make(
        root, state, nic_devices={"enabled_nic_types": list(groups)}, **groups
    )
    cards = {
        pci.format_address(json.loads(device.controlpath_id.cpid_info)): [
            each.name.partition("_")[2] for each in device.deployable_list
        ]
        for device in driver.discover()
    }
    return cards, driver.warnings()


PF, FIRST, SECOND = "0000:18:00.0", "0000:18:02.0", "0000:18:02.1"
WHOLE = "0000:18:00.1"


@pytest.mark.parametrize(
    ("listed", "cards"),
    [
        ([PF], {PF: [FIRST, SECOND]}),
        ([WHOLE], {WHOLE: [WHOLE]}),
        ([SECOND], {PF: [SECOND]}),
        ([PF, SECOND], {PF: [FIRST, SECOND]}),
        ([SECOND, WHOLE], {PF: [SECOND], WHOLE: [WHOLE]}),
        # As a man may write it.
        ([" 0000:18:00.0 ".upper(), PF], {PF: [FIRST, SECOND]}),
    ],
)
def test_only_listed_addresses_are_offered(tmp_path, state, listed, cards):
    root = machine.unpack("nic_server", tmp_path / "root")
    found = offered(root, state, nic={"device_addresses": listed})
    assert found == (cards, [])


def test_addresses_are_compared_without_case(tmp_path, state):
    root = machine.unpack("nic_server", tmp_path / "root")
    found = offered(root, state, nic={"device_addresses": ["0000:3B:00.0"]})
    assert found == ({"0000:3b:00.0": ["0000:3b:00.0"]}, [])


def test_empty_list_offers_everything(tmp_path, state):
    root = machine.unpack("nic_server", tmp_path / "root")
    cards, warnings = offered(root, state, nic={"device_addresses": []})
    assert list(cards) == [PF, WHOLE, "0000:3b:00.0"]
    assert warnings == []


def test_lists_of_several_groups_count_as_one(tmp_path, state):
    root = machine.unpack("nic_server", tmp_path / "root")
    cards, warnings = offered(
        root,
        state,
        one={"device_addresses": [FIRST]},
        two={"device_addresses": [SECOND, WHOLE]},
        # Holds for other cards, whose group has no list.
        e810={"product_ids": ["1592"]},
    )
    assert cards == {PF: [FIRST, SECOND], WHOLE: [WHOLE]}
    assert warnings == []


def test_list_holds_for_the_products_of_its_group(tmp_path, state):
    root = machine.unpack("nic_server", tmp_path / "root")
    cards, _warnings = offered(
        root,
        state,
        xxv={"product_ids": ["158b"], "device_addresses": [FIRST]},
        x710={"product_ids": ["1572"]},
    )
    assert cards == {
        PF: [FIRST],
        WHOLE: [WHOLE],
        "0000:3b:00.0": ["0000:3b:00.0"],
    }


def test_address_of_no_card_is_a_warning(tmp_path, state):
    root = machine.unpack("nic_server", tmp_path / "root")
    cards, warnings = offered(
        root, state, nic={"device_addresses": ["0000:aa:00.0", FIRST]}
    )
    assert cards == {PF: [FIRST]}
    assert warnings == [
        "[nic] device_addresses: no card of this driver has 0000:aa:00.0"
    ]


@pytest.mark.parametrize("address", ["0000:3b:00x0", "3b:00.0", "0000:3b:*.0"])
def test_bad_address_fails_the_start(tmp_path, state, address):
    with pytest.raises(
        exception.ConfigInvalid, match=r"\[nic\] device_addresses .*3b"
    ):
        offered(tmp_path, state, nic={"device_addresses": [address]})


def test_backplane_card_is_known(tmp_path, state):
    root = machine.unpack("nic_server", tmp_path / "root")
    card = root / "sys/bus/pci/devices" / PF
    (card / "device").write_text("0x158a\n")
    assert make(root, state).discover()[0].std_board_info == (
        '{"product_id": "0x158a"}'
    )
