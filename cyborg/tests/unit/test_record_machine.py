"""tools/record-machine: what it keeps, and what it must not."""

import os
import pathlib
import subprocess
import sys

import pytest

from cyborg.accelerator import pci
from cyborg.accelerator import usage
from cyborg.accelerator.drivers import inspur_fpga
from cyborg.accelerator.drivers import intel_fpga
from cyborg.accelerator.drivers import xilinx_fpga
from cyborg.tests.fixtures import driver as driver_fixture
from cyborg.tests.fixtures import machine
from cyborg.tests.unit.agent.gate import whole

TOOL = pathlib.Path(__file__).parents[3] / "tools" / "record-machine"


def record(root: os.PathLike[str] | str, *arguments: str) -> str:
    return subprocess.run(
        [sys.executable, TOOL, "--root", root, *arguments],
        check=True,
        capture_output=True,
        text=True,
    ).stdout


def copy(root: pathlib.Path, to: pathlib.Path) -> pathlib.Path:
    return machine.unpack_text(record(root), to)


def tree(root: pathlib.Path) -> dict[str, str]:
    """Return files by path, links by path with an arrow."""
    found = {}
    for directory, directories, files in os.walk(root):
        for name in files + directories:
            path = pathlib.Path(directory, name)
            where = str(path.relative_to(root))
            if path.is_symlink():
                found[where] = f"-> {os.readlink(path)}"
            elif path.is_file():
                found[where] = path.read_text()
    return found


@pytest.mark.parametrize("name", machine.names())
def test_copy_of_a_copy_is_the_same(tmp_path, name):
    first = copy(machine.unpack(name, tmp_path / "a"), tmp_path / "b")
    assert tree(copy(first, tmp_path / "c")) == tree(first)


@pytest.mark.parametrize("name", ["fpga_server", "dfl_server"])
def test_copy_gives_the_same_report(tmp_path, name):
    original = machine.unpack(name, tmp_path / "a")
    again = copy(original, tmp_path / "b")
    for kind in (
        intel_fpga.IntelFPGADriver,
        inspur_fpga.InspurFPGADriver,
        xilinx_fpga.XilinxFPGADriver,
    ):
        first, second = (
            driver_fixture.plain(
                kind(
                    root=root,
                    host="cn1",
                    conf=driver_fixture.conf(),
                    run=machine.Commands(),
                ).discover()
            )
            for root in (original, again)
        )
        assert first == second


def test_what_the_host_uses_is_kept(tmp_path):
    original = machine.unpack("busy_host", tmp_path / "a")
    again = copy(original, tmp_path / "b")
    copied = pci.read_functions(again)
    for address, function in pci.read_functions(original).items():
        reasons = usage.Host(again).reasons(copied[address])
        # Mount points are not kept.
        assert [each.partition(", mounted")[0] for each in reasons] == [
            each.partition(", mounted")[0]
            for each in usage.Host(original).reasons(function)
        ]


@pytest.mark.parametrize(
    "name",
    [
        "disk_owners",
        "mounted_drive",
        "mounted_drive_contained",
        "uplink_and_console",
        "shared_group",
        "a40_shared",
    ],
)
def test_copy_is_offered_as_the_original(tmp_path, name):
    """What the agent's gate looks at is kept."""
    original = machine.unpack(f"gate/{name}", tmp_path / "a")
    drivers = "inspur_nvme_ssd_driver", "nvidia_gpu_driver", "intel_nic_driver"
    found = whole.Agent(original, *drivers).report()
    assert found
    again = copy(original, tmp_path / "b")
    assert whole.Agent(again, *drivers).report() == found


def test_exports_and_locks_are_kept_without_names(tmp_path):
    root = machine.unpack_text(
        whole.drive("0000:5e:00.0", 0)
        + whole.drive("0000:5f:00.0", 1)
        + whole.drive("0000:60:00.0", 2)
        + whole.drive("0000:61:00.0", 3)
        + whole.MOUNTS
        + "sys/kernel/config/nvmet/subsystems/nqn.secret/namespaces/7/"
        "device_path = /dev/disk/by-id/nvme-SERIAL\n"
        "dev/disk/by-id/nvme-SERIAL -> ../../nvme0n1\n"
        "dev/nvme0n1 =\n"
        "sys/kernel/config/target/core/iblock_0/secret/udev_path = "
        "/dev/nvme1n1\n"
        "var/tmp/spdk_pci_lock_0000:60:00.0 =\n"
        "sys/fs/btrfs/e9a1c6c8-61a5-4f9b-8a7e-3f7a1c7f0b11/devices/nvme3n1 "
        "-> ../../../../class/block/nvme3n1\n"
        "sys/fs/btrfs/features/\n",
        tmp_path / "a",
    )
    text = record(root)
    assert "secret" not in text and "SERIAL" not in text
    assert "e9a1c6c8" not in text
    agent = whole.Agent(
        machine.unpack_text(text, tmp_path / "b"), "inspur_nvme_ssd_driver"
    )
    assert agent.report() == {
        f"0000:{bus}:00.0": ["host-uses-it"]
        for bus in ("5e", "5f", "60", "61")
    }


PRIVATE = r"""
[sys/devices/pci0000:3b/0000:3b:00.0]
vendor = 0x10de
device = 0x1eb8
class = 0x030200
serial = S4EVNX0R123456
vpd = S4EVNX0R123456
uevent = DRIVER=nvidia\nPCI_ID=10DE:1EB8\nSERIAL=S4EVNX0R123456
nvme/nvme0/serial = S4EVNX0R123456
nvme/nvme0/nvme0n1/uuid = 8a490caf-63c2-47c6-aee1-8cfbc66697a3
nvme/nvme0/nvme0n1/dev = 259:0
net/enxaabbccddeeff/address = AA:BB:CC:DD:EE:FF
net/enxaabbccddeeff/operstate = up
net/ib0/address = 80:00:02:08:fe:80:00:00:00:00:00:00:ec:0d:9a:03:00:8a:6e:11
mdev_supported_types/nvidia-223/name = GRID T4-1B
mdev_supported_types/nvidia-223/available_instances = 14
mdev_supported_types/nvidia-223/create =
mdev_supported_types/nvidia-223/devices/8a490caf-63c2-47c6-aee1-8cfbc66697a3/remove =
power/control = auto
[]
sys/bus/pci/devices/0000:3b:00.0 -> ../../../devices/pci0000:3b/0000:3b:00.0
sys/class/net/enxaabbccddeeff -> ../../devices/pci0000:3b/0000:3b:00.0/net/enxaabbccddeeff
sys/class/net/lo -> ../../devices/virtual/net/lo
[proc]
self/mountinfo = 9 1 259:0 / /home/alice rw - ext4 /dev/nvme0n1 rw\n10 1 0:50 / /srv rw - nfs4 filer.example.org:/srv rw
net/route = Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\neth0 00000000 010011AC 0003 0 0 0 00000000 0 0 0\neth0 0011A8C0 00000000 0001 0 0 0 00FFFFFF 0 0 0
"""  # noqa: E501


def test_nothing_private_is_kept(tmp_path):
    root = machine.unpack_text(PRIVATE, tmp_path)
    text = record(root)
    for private in (
        "S4EVNX0R123456",
        "8a490caf",
        "aabbccddeeff",
        "AA:BB:CC",
        "ec:0d:9a",
        "alice",
        "example.org",
        "010011AC",
        "0011A8C0",
    ):
        assert private.lower() not in text.lower()
    # One address, in the name of its device and in its file.
    assert "net/enx020000000001/address = 02:00:00:00:00:01" in text
    assert "259:0 / /m0 rw - ext4 /dev/nvme0n1 rw" in text
    again = machine.unpack_text(text, tmp_path / "again")
    types = again / "sys/devices/pci0000:3b/0000:3b:00.0/mdev_supported_types"
    assert len(list((types / "nvidia-223/devices").iterdir())) == 1
    assert (types / "nvidia-223/create").read_text() == ""
    assert not (again / "sys/class/net/lo").exists()


def test_some_functions(tmp_path):
    root = machine.unpack("fpga_server", tmp_path / "a")
    text = record(root, "0000:d8:00.0", "0000:d8:00.1")
    again = machine.unpack_text(text, tmp_path / "b")
    assert list(pci.read_functions(again)) == ["0000:d8:00.0", "0000:d8:00.1"]


def test_no_such_function(tmp_path):
    root = machine.unpack("fpga_server", tmp_path)
    with pytest.raises(subprocess.CalledProcessError) as error:
        record(root, "0000:ff:00.0")
    assert "0000:ff:00.0" in error.value.stderr


@pytest.mark.skipif(
    not os.path.isdir("/sys/bus/pci/devices"), reason="no PCI bus here"
)
def test_this_machine(tmp_path):
    again = copy(pathlib.Path("/"), tmp_path)

    def ids(root: pathlib.Path) -> dict[str, tuple[str, str, str, str | None]]:
        return {
            address: (each.vendor, each.product, each.class_code, each.driver)
            for address, each in pci.read_functions(root).items()
        }

    assert ids(again) == ids(pathlib.Path("/"))
