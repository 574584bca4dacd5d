"""PCI functions read from a machine, and their names."""

import os

from hypothesis import given
from hypothesis import strategies
import pytest

from cyborg.accelerator import pci
from cyborg.accelerator import sysfs
from cyborg.common import exception
from cyborg.tests.fixtures import machine


def read(text, tmp_path):
    return pci.read_functions(machine.unpack_text(text, tmp_path))


def test_function(tmp_path):
    functions = pci.read_functions(machine.unpack("qat_server", tmp_path))
    card = functions["0000:05:00.0"]
    assert (card.vendor, card.product, card.class_code) == (
        "8086",
        "37c8",
        "0b40",
    )
    assert card.class_name == "Co-processor"
    assert card.revision == "04"
    assert card.subsystem == ("8086", "0002")
    assert card.numa_node == 0
    assert card.driver == "c6xx"
    assert card.sriov_totalvfs == 16
    assert card.physfn is None
    assert card.slot == "0000:05:00"
    assert card.virtfns == tuple(
        f"0000:05:{1 + n // 8:02x}.{n % 8}" for n in range(16)
    )
    assert functions["0000:05:02.7"].physfn == "0000:05:00.0"


def test_sorted_by_number(tmp_path):
    listed = ["10000:01:00.0", "0001:00:00.0", "0000:ff:1f.7", "0000:00:00.0"]
    text = "".join(
        machine.function(address, "8086", "0001", "060000")
        for address in listed
    )
    assert list(read(text, tmp_path)) == listed[::-1]


def test_optional_files_are_optional(tmp_path):
    functions = read(
        """
        sys/bus/pci/devices/0000:00:00.0/vendor = 0x8086
        sys/bus/pci/devices/0000:00:00.0/device = 0x0001
        sys/bus/pci/devices/0000:00:00.0/class = 0x060000
        sys/bus/pci/devices/0000:00:00.0/numa_node = -1
        """,
        tmp_path,
    )
    card = functions["0000:00:00.0"]
    assert card.error is None
    assert card.class_code == "0600"
    assert card.class_name is None
    assert (card.revision, card.subsystem, card.numa_node) == (None,) * 3
    assert (card.driver, card.iommu_group, card.physfn) == (None,) * 3
    assert (card.virtfns, card.netdevs, card.sriov_totalvfs) == ((), (), 0)


def test_unreadable_function_keeps_its_place(tmp_path):
    functions = read(
        machine.function("0000:00:00.0", "8086", "0001", "060000")
        + "sys/bus/pci/devices/0000:00:01.0/vendor = 0x8086\n",
        tmp_path,
    )
    assert list(functions) == ["0000:00:00.0", "0000:00:01.0"]
    assert "0000:00:01.0/device" in functions["0000:00:01.0"].error
    assert functions["0000:00:01.0"].vendor == ""


def test_vanished_function_is_left_out(tmp_path):
    functions = read(
        machine.function("0000:00:00.0", "8086", "0001", "060000")
        + "sys/bus/pci/devices/0000:00:01.0 -> ../../../devices/gone\n",
        tmp_path,
    )
    assert list(functions) == ["0000:00:00.0"]


def test_function_that_vanishes_while_read(tmp_path, monkeypatch):
    root = machine.unpack_text(
        machine.function("0000:00:00.0", "8086", "0001", "060000"), tmp_path
    )
    real = os.scandir

    def scandir(path):
        entries = real(path)
        os.rename(path, f"{path}-gone")
        return entries

    monkeypatch.setattr(os, "scandir", scandir)
    assert pci.read_functions(root) == {}


def test_no_bus_is_an_error(tmp_path):
    with pytest.raises(exception.DriverError, match="sys/bus/pci/devices"):
        pci.read_functions(tmp_path)


hexadecimal = strategies.integers


@given(
    domain=hexadecimal(0, 0xFFFFFFFF),
    bus=hexadecimal(0, 0xFF),
    device=hexadecimal(0, 0x1F),
    function=hexadecimal(0, 7),
    upper=strategies.booleans(),
)
def test_address_and_back(domain, bus, device, function, upper):
    text = f"{domain:04x}:{bus:02x}:{device:02x}.{function}"
    parts = pci.parse_address(text.upper() if upper else text)
    assert (
        pci.format_address(
            dict(
                zip(
                    ("domain", "bus", "device", "function"), parts, strict=True
                )
            )
        )
        == text
    )
    assert pci.sort_key(text) == (domain, bus, device, function)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "3b:00.0",
        "0000:3b:00:0",
        "0000:3b:00.8",
        "0000:3b:20.0",
        "000:3b:00.0",
        "0000:3b:00.0 ",
        "0000:3b:00.0\n",
        "../../../../etc",
        "0000:3g:00.0",
    ],
)
def test_not_an_address(text):
    with pytest.raises(exception.PciDeviceWrongAddressFormat):
        pci.parse_address(text)


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"domain": "0000", "bus": "3b", "device": "00"},
        {"domain": "..", "bus": "3b", "device": "00", "function": "0"},
        None,
    ],
)
def test_not_the_parts_of_an_address(parts):
    with pytest.raises(exception.PciDeviceWrongAddressFormat):
        pci.format_address(parts)


def test_address_info_is_exact():
    assert pci.address_info("0000:3B:00.0") == (
        '{"bus": "3b", "device": "00", "domain": "0000", "function": "0"}'
    )
    assert pci.address_info("0000:05:01.0", physical_network="physnet1") == (
        '{"bus": "05", "device": "01", "domain": "0000", "function": "0", '
        '"physical_network": "physnet1"}'
    )


def test_names():
    names = pci.parse_names(machine.lspci())
    assert names["10de", "1eb8"] == "NVIDIA Corporation TU104GL [Tesla T4]"
    assert names["19e5", "d100"] == "Huawei Technologies Co., Ltd. Device"
    assert names["1d55", "1001"] == "Device"
    assert names["144d", "a808"] == (
        "Samsung Electronics Co Ltd NVMe SSD Controller SM981/PM981/PM983"
    )


def test_names_are_asked_for_once():
    run = machine.Commands({"lspci": machine.lspci()})
    names = pci.Names(run)
    card = pci.Function("0000:af:00.0", "/", vendor="10de", product="1eb8")
    names.learn([card])
    names.learn([card])
    assert names.of(card) == "NVIDIA Corporation TU104GL [Tesla T4]"
    assert run.calls == [["lspci", "-D", "-vmm", "-nn"]]
    new = pci.Function("0000:b0:00.0", "/", vendor="10de", product="ffff")
    names.learn([card, new])
    assert names.of(new) == "10de:ffff"
    assert len(run.calls) == 2


def test_names_without_lspci():
    names = pci.Names(machine.Commands())
    card = pci.Function("0000:af:00.0", "/", vendor="10de", product="1eb8")
    names.learn([card])
    assert names.of(card) == "10de:1eb8"


def test_garbage_from_lspci():
    assert pci.parse_names("lspci: nothing\n\n\nVendor:\tnone\n") == {}


def test_every_machine_is_read(tmp_path):
    for name in machine.names():
        root = machine.unpack(name, tmp_path / name)
        functions = pci.read_functions(root)
        listed = sysfs.names(sysfs.resolve(root, pci.DEVICES))
        assert sorted(functions) == listed
        assert not [item for item in functions.values() if item.error]
