"""Generic PCI devices: options, and yielding to drivers of their own."""

import json

import pytest

from cyborg.accelerator.drivers import pci as pci_driver
from cyborg.common import exception
from cyborg.tests.fixtures import driver as driver_fixture
from cyborg.tests.fixtures import golden
from cyborg.tests.fixtures import machine

EVERYTHING: tuple[dict, ...] = ({"address": "*:*:*.[0-6]"},)


def make(root, *entries, drivers=("pci_driver",), **groups):
    values = tuple(json.dumps(entry) for entry in entries)
    pci = {"passthrough_whitelist": values, **groups.pop("pci", {})}
    return pci_driver.PCIDriver(
        root=root,
        run=machine.Commands(),
        host="cn1",
        conf=driver_fixture.conf(
            agent={"enabled_drivers": list(drivers)}, pci=pci, **groups
        ),
    )


def names(driver):
    return [
        deployable.name.removeprefix("cn1_0000:")
        for device in driver.discover()
        for deployable in device.deployable_list
    ]


def test_nothing_listed(tmp_path):
    root = machine.unpack("pci_sim", tmp_path)
    assert make(root).discover() == []


def test_physical_function_selects_its_virtual_ones(tmp_path):
    root = machine.unpack("pci_sim", tmp_path)
    driver = make(root, {"address": "0000:0E:00.0"})
    assert names(driver) == ["0e:00.1", "0e:00.2"]


def test_card_and_its_parts_are_not_both_offered(tmp_path):
    root = machine.unpack("pci_sim", tmp_path)
    driver = make(root, {"vendor_id": "1d55"})
    assert names(driver) == ["0e:00.1", "0e:00.2", "0f:00.0"]


def test_bad_list_fails_the_start(tmp_path):
    with pytest.raises(exception.PciConfigInvalidWhitelist):
        pci_driver.PCIDriver(
            root=tmp_path,
            conf=driver_fixture.conf(pci={"passthrough_whitelist": ("{",)}),
        )


def test_options_of_an_entry(tmp_path):
    root = machine.unpack("pci_sim", tmp_path)
    driver = make(
        root,
        {
            "address": "0000:0f:00.0",
            "type": "NIC",
            "class": "CUSTOM_SIM",
            "traits": ["CUSTOM_FAST"],
            "managed": "no",
            "physical_network": "net1",
        },
    )
    assert golden.text(driver.discover()) == (
        "NIC 1d55, 1000\n"
        '  std {"product_id": "1000", "controller": null}\n'
        "  vendor miss_vb_info\n"
        '  at PCI {"bus": "0f", "device": "00", "domain": "0000", '
        '"function": "0"}\n'
        "  cn1_0000:0f:00.0 of 1D55 counts 1\n"
        "    rc = CUSTOM_SIM\n"
        "    trait0 = OWNER_CYBORG\n"
        "    trait1 = CUSTOM_PCI_PRODUCT_ID_1000\n"
        "    trait2 = CUSTOM_FAST\n"
        "    trait3 = CUSTOM_PCI_VENDOR_ID_1D55\n"
        '    PCI {"bus": "0f", "device": "00", "domain": "0000", '
        '"function": "0", "managed": "false", "physical_network": "net1"}\n'
    )


@pytest.mark.parametrize(
    ("name", "types"),
    [
        ("gpu_server", {"GPU"}),
        ("storage_server", {"FPGA", "SSD"}),
        ("ascend_server", {"AICHIP", "NIC"}),
        ("qat_server", {"QAT"}),
        # Serial controllers have no type of their own.
        ("pci_sim", {"GPU", "NIC"}),
    ],
)
def test_type_from_class(tmp_path, name, types):
    root = machine.unpack(name, tmp_path)
    everything = make(root, *EVERYTHING)
    assert {device.type for device in everything.discover()} == {"GPU"}
    typed = make(root, *EVERYTHING, pci={"type_from_class": True})
    assert {device.type for device in typed.discover()} == types


def test_yields_to_drivers_of_their_own(tmp_path):
    root = machine.unpack("nic_server", tmp_path)
    driver = make(
        root,
        *EVERYTHING,
        drivers=["pci_driver", "intel_nic_driver", "fake_driver"],
    )
    # The only card the other driver does not know.
    assert names(driver) == ["5e:00.0"]


def test_yields_only_to_enabled_drivers(tmp_path):
    root = machine.unpack("nic_server", tmp_path)
    driver = make(
        root, *EVERYTHING, drivers=["pci_driver", "nvidia_gpu_driver"]
    )
    assert len(names(driver)) == 5


def test_driver_that_cannot_be_made_claims_nothing(tmp_path):
    root = machine.unpack("nic_server", tmp_path)
    driver = make(
        root,
        *EVERYTHING,
        drivers=["pci_driver", "intel_nic_driver"],
        nic_devices={"enabled_nic_types": ["x"]},
        x={"physical_device_mappings": ["nonsense"]},
    )
    assert len(names(driver)) == 5


def test_netdev_of_a_card_that_a_guest_has(tmp_path):
    (tmp_path / "agent").mkdir()
    root = machine.unpack("pci_sim", tmp_path / "root")
    state = {"state_path": tmp_path}
    driver = make(root, {"devname": "eth7"}, DEFAULT=state)
    before = golden.text(driver.discover())
    assert before
    card = root / "sys/bus/pci/devices/0000:d1:00.0"
    (card / "net").rename(root / "gone")
    again = make(root, {"devname": "eth7"}, DEFAULT=state)
    assert golden.text(again.discover()) == before
    info = {"domain": "0000", "bus": "d1", "device": "00", "function": "0"}
    stats = again.get_stats({"cpid_type": "PCI", "cpid_info": info})
    assert stats["device"]["device_name"] == "0000:d1:00.0"
