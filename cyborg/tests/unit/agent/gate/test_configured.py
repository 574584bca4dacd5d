"""What the operator selects: cards as they are meant, or a refusal."""

import json

import pytest

from cyborg.common import exception
from cyborg.tests.unit.agent.gate import whole

NVIDIA = "nvidia_gpu_driver"
PCI = "pci_driver"
T4 = "0000:af:00.0"
H200S = ["0000:18:00.0", "0000:2a:00.0"]


@pytest.mark.parametrize("address", [T4, "00000000:AF:00.0", " 0000:AF:00.0"])
def test_address_of_a_vgpu_type(unpack, address):
    """nvidia-smi writes domains with eight digits."""
    agent = whole.Agent(
        unpack("one_t4"),
        NVIDIA,
        gpu_devices={"enabled_vgpu_types": ["nvidia-223"]},
        **{"vgpu_nvidia-223": {"device_addresses": [address]}},
    )
    assert agent.totals() == {T4: ("VGPU", 16)}
    assert agent.warnings() == []


def test_vgpu_type_of_a_card_that_is_not_there(unpack):
    agent = whole.Agent(
        unpack("one_t4"),
        NVIDIA,
        gpu_devices={"enabled_vgpu_types": ["nvidia-223"]},
        **{"vgpu_nvidia-223": {"device_addresses": ["0000:b1:00.0"]}},
    )
    assert agent.totals() == {T4: ("PGPU", 1)}
    assert agent.warnings() == [
        "[vgpu_nvidia-223] device_addresses: there is no GPU 0000:b1:00.0"
    ]


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("00000000:AF:00.0", {T4: ("CUSTOM_PCI", 1)}),
        ("0000:AF:00.0 ", {T4: ("CUSTOM_PCI", 1)}),
        ("00000000:AF:00.*", {T4: ("CUSTOM_PCI", 1)}),
        ("00000000:B1:00.0", {}),
    ],
)
def test_address_in_a_list_of_devices(unpack, address, found):
    agent = whole.Agent(unpack("one_t4"), PCI, pci=listed(address=address))
    assert agent.totals() == found
    assert len(agent.warnings()) == (not found)
    for text in agent.warnings():
        assert text.endswith(f'is meant by {{"address": "{address}"}}')


@pytest.mark.parametrize(
    "entry",
    [
        {"device_id": "2335"},
        {"adress": "0000:18:00.0"},
        {"vendor_id": "10de", "resource_class": "CUSTOM_H200"},
        {"vendor_id": "10de", "managed": "no", "live_migratable": "no"},
        {"vendor_id": "10de", "managed": "no", "remote_managed": "false"},
        {"vendor_id": "*", "product_id": "*"},
        {},
    ],
)
def test_entry_that_selects_other_things_than_meant(unpack, entry):
    """The disk of the host would be among them."""
    with pytest.raises(exception.PciConfigInvalidWhitelist):
        whole.Agent(unpack("h200s_and_root_disk"), PCI, pci=listed(**entry))


@pytest.mark.parametrize(
    ("entry", "found"),
    [
        ({"product_id": "2335"}, H200S),
        ({"vendor_id": "10de", "managed": "no"}, H200S),
        ({"address": "0000:18:00.0 "}, H200S[:1]),
        ({"address": "0000:18:00.0", "physical_network": None}, H200S[:1]),
    ],
)
def test_entry_that_selects_what_is_meant(unpack, entry, found):
    root = unpack("h200s_and_root_disk")
    assert whole.Agent(root, PCI, pci=listed(**entry)).offered() == found


def test_disk_of_the_host_is_withheld_though_it_is_listed(unpack):
    agent = whole.Agent(
        unpack("h200s_and_root_disk"), PCI, pci=listed(vendor_id="144d")
    )
    assert agent.report() == {"0000:5e:00.0": ["host-uses-it"]}


def listed(**entry):
    return {"passthrough_whitelist": (json.dumps(entry),)}
