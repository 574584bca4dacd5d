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
        # As nvidia-smi has it, and with a space.
        ({"address": "00000000:D1:00.0"}, [NIC]),
        ({"address": "00000000:0E:00.0"}, [VF1, VF2]),
        ({"address": " 0000:0e:00.0 "}, [VF1, VF2]),
        ({"address": "00000000:0E:*.*"}, [PF, VF1, VF2]),
        ({"address": "*:*:*.[0-6]"}, ALL),
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
            '"physical_network": "net1", "managed": "No", "devname": "a"}'
        ]
    )
    assert entry.type == "NIC"
    assert entry.resource_class == "CUSTOM_FAST"
    assert entry.traits == ("custom_x",)
    assert entry.tags == {"physical_network": "net1", "managed": "false"}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("{}", "selects every device of the host"),
        ('[{"vendor_id": "10de"}, {}]', "selects every device of the host"),
        ('{"class": "CUSTOM_A"}', "selects every device of the host"),
        ('{"vendor_id": "*"}', "selects every device of the host"),
        ('{"address": {}}', "selects every device of the host"),
        ('{"address": {"bus": "[0-9a-f]+"}}', "selects every device"),
        ('{"address": "*:*:*.*"}', "selects every device of the host"),
        ('{"address": "*:??:[01]?.[0-7]"}', "selects every device"),
        ("[]", "it selects nothing"),
        ('{"device_id": "2335"}', "device_id is none of the keys vendor_id"),
        ('{"adress": "0000:18:00.0"}', "adress is none of the keys"),
        ('{"vendor_id": "10de", "spec": "mine"}', "spec is none of the keys"),
        ('{"vendor_id": "10de", "devname": 7}', "devname 7 is no name"),
        ('{"vendor_id": "10de", "resource_class": "A"}', "write class"),
        ('{"vendor_id": "10de", "live_migratable": "no"}', "leave it out"),
        ('{"vendor_id": "10de", "remote_managed": "false"}', "leave it out"),
        ('{"vendor_id": "10de", "traits": "CUSTOM_A"}', "is not a list"),
        ("{'vendor_id': '10de'}", "no JSON"),
    ],
)
def test_what_selects_other_things_than_meant_is_refused(value, reason):
    """The entry is named, in one line."""
    with pytest.raises(
        exception.PciConfigInvalidWhitelist, match=reason
    ) as caught:
        whitelist.parse([value])
    assert "\n" not in caught.value.faultstring
    assert "passthrough_whitelist" in caught.value.faultstring


def test_null_physical_network():
    (entry,) = whitelist.parse(
        ['{"vendor_id": "1d55", "physical_network": null}']
    )
    assert entry.tags == {}
