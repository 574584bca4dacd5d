"""Network cards: mappings, and reports that stay while guests have a card."""

import pytest

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
