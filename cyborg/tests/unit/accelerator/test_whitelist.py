"""The list of generic PCI devices: every form of it, and what is refused."""

import json

import pytest

from cyborg.accelerator import pci
from cyborg.accelerator import whitelist
from cyborg.common import exception
from cyborg.tests.fixtures import machine


@pytest.fixture
def functions(tmp_path):
    return pci.read_functions(machine.unpack("pci_sim", tmp_path))


def matched(functions, *entries):
    parsed = whitelist.parse([json.dumps(entry) for entry in entries])
    return [
        address
        for address, function in functions.items()
        if any(
            entry.matches(function, functions.get(function.physfn or ""))
            for entry in parsed
        )
    ]


PF, VF1, VF2, PF2, NIC = (
    "0000:0e:00.0",
    "0000:0e:00.1",
    "0000:0e:00.2",
    "0000:0f:00.0",
    "0000:d1:00.0",
)
ALL = [PF, VF1, VF2, PF2, NIC]


@pytest.mark.parametrize(
    ("entry", "found"),
    [
        ({}, ALL),
        ({"vendor_id": "1d55", "product_id": "1001"}, [VF1, VF2]),
        ({"vendor_id": "0x1D55", "product_id": "0x1001"}, [VF1, VF2]),
        ({"vendor_id": "*", "product_id": "1572"}, [NIC]),
        ({"vendor_id": "8086"}, [NIC]),
        ({"product_id": "8086"}, []),
        ({"address": "*:0e:00.*"}, [PF, VF1, VF2]),
        ({"address": "*:0E:00.*"}, [PF, VF1, VF2]),
        ({"address": ":00."}, ALL),
        ({"address": "0e:00.1"}, [VF1]),
        ({"address": "e:0.1"}, [VF1]),
        ({"address": ":0e:00.[12]"}, [VF1, VF2]),
        ({"address": "1:0e:00.1"}, []),
        # The physical function means its virtual ones.
        ({"address": PF}, [VF1, VF2]),
        ({"address": PF.upper()}, [VF1, VF2]),
        ({"address": PF, "product_id": "1000"}, []),
        # It has none, so it means itself.
        ({"address": PF2}, [PF2]),
        ({"address": "0000:D1:00.0"}, [NIC]),
        ({"address": {}}, ALL),
        ({"address": {"bus": "0e", "function": "[01]"}}, [PF, VF1]),
        ({"address": {"bus": "0E"}}, [PF, VF1, VF2]),
        # Anchored at both ends.
        ({"address": {"bus": "0"}}, []),
        ({"address": {"bus": "e"}}, []),
        ({"address": {"domain": ".*", "slot": "0.", "bus": "d."}}, [NIC]),
        ({"devname": "eth7"}, [NIC]),
        ({"devname": "eth"}, []),
        ({"devname": "eth7", "vendor_id": "10de"}, []),
    ],
)
def test_match(functions, entry, found):
    assert matched(functions, entry) == found


def test_list_of_objects(functions):
    entries = [{"address": VF1}, {"address": VF2}]
    assert matched(functions, entries) == [VF1, VF2]
    assert matched(functions, entries, {"devname": "eth7"}) == [VF1, VF2, NIC]


def test_nothing(functions):
    assert matched(functions) == []


def test_long_domain():
    (entry,) = whitelist.parse(['{"address": "10000:01:00.0"}'])
    assert entry.matches(pci.Function("10000:01:00.0", "/"), None)
    assert not entry.matches(pci.Function("0000:01:00.0", "/"), None)


def test_netdev_of_a_physical_function():
    """It means the virtual functions, as the address does."""
    (entry,) = whitelist.parse(['{"devname": "eth2"}'])
    whole = pci.Function(PF, "/", netdevs=("eth2",), virtfns=(VF1,))
    part = pci.Function(VF1, "/", physfn=PF)
    assert entry.matches(part, whole)
    assert not entry.matches(whole, None)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "{",
        "[{}",
        "1",
        '"1d55"',
        "[1]",
        '{"vendor_id": "xyz"}',
        '{"vendor_id": "10000"}',
        '{"product_id": "-1"}',
        '{"address": "*:100:00.0"}',
        '{"address": "0000:0b:20.0"}',
        '{"address": ":00.8"}',
        '{"type": "TOASTER"}',
        '{"class": "VCPU"}',
        '{"class": "CUSTOM_a"}',
        '{"traits": "CUSTOM_A"}',
        '{"traits": ["HW_CPU_X86_VMX"]}',
        '{"managed": "perhaps"}',
    ],
)
def test_refused(value):
    with pytest.raises(exception.PciConfigInvalidWhitelist):
        whitelist.parse([value])


@pytest.mark.parametrize(
    "address",
    [
        '"a:b:c:d.0"',
        '":zz:00.0"',
        "7",
        '{"bus": "("}',
        '{"bus": 7}',
        '{"device": "00"}',
    ],
)
def test_address_refused(address):
    with pytest.raises(exception.PciDeviceWrongAddressFormat):
        whitelist.parse([f'{{"address": {address}}}'])


def test_address_and_devname_refused():
    with pytest.raises(exception.PciDeviceInvalidDeviceName):
        whitelist.parse(['{"address": ":00.", "devname": "eth0"}'])


def test_other_keys():
    (entry,) = whitelist.parse(
        [
            '{"type": "NIC", "class": "CUSTOM_FAST", "traits": ["custom_x"],'
            '"physical_network": "net1", "managed": "No", "spec": "mine"}'
        ]
    )
    assert entry.type == "NIC"
    assert entry.resource_class == "CUSTOM_FAST"
    assert entry.traits == ("custom_x",)
    assert entry.tags == {"physical_network": "net1", "managed": "false"}


def test_null_physical_network():
    (entry,) = whitelist.parse(['{"physical_network": null}'])
    assert entry.tags == {}
