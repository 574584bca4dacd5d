"""What the host itself does with its disks, network cards and the rest."""

import pytest

from cyborg.accelerator import pci
from cyborg.accelerator import usage
from cyborg.tests.fixtures import machine


def reasons(root, address):
    function = pci.read_functions(root)[address]
    return usage.Host(root).reasons(function)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (
            "0000:01:00.0",
            [
                "has the disk nvme0n1p1, mounted on /boot",
                "has the disk nvme0n1p2, which dm-0 is made of",
            ],
        ),
        ("0000:02:00.0", ["has the disk nvme1n1, used as swap space"]),
        ("0000:03:00.0", ["has the disk nvme2n1, mounted on /srv"]),
        ("0000:04:00.0", []),
        (
            "0000:18:00.0",
            [
                "has the network device eth0, the host's default route",
                "has the network device eth0, a port of bond0",
            ],
        ),
        (
            "0000:18:00.1",
            ["has the network device eth1, a port of ovs-system"],
        ),
        ("0000:19:00.0", []),
        (
            "0000:1a:00.0",
            ["has the network device eth3, the host's default route"],
        ),
        ("0000:05:00.0", ["shows the host's console"]),
        ("0000:00:1f.0", ["is a bridge"]),
        (
            "0000:06:00.0",
            ["is bound to the host's storage driver megaraid_sas"],
        ),
        ("0000:07:00.0", ["is a USB controller"]),
    ],
)
def test_reasons(tmp_path, address, expected):
    root = machine.unpack("busy_host", tmp_path)
    assert reasons(root, address) == expected


def test_machine_without_proc(tmp_path):
    root = machine.unpack("fpga_server", tmp_path)
    assert reasons(root, "0000:db:00.0") == []


def test_mount_is_found_by_number(tmp_path):
    """The root file system is often called /dev/root."""
    root = machine.unpack("busy_host", tmp_path)
    (root / "proc/self/mountinfo").write_text(
        "22 1 259:5 / / rw - ext4 /dev/root rw\nnonsense\n"
    )
    assert reasons(root, "0000:04:00.0") == [
        "has the disk nvme3n1, mounted on /"
    ]


def test_mounts_beside_a_name_of_another_encoding(tmp_path):
    """The kernel writes the bytes of a path as they are."""
    root = machine.unpack("busy_host", tmp_path)
    mounts = root / "proc/self/mountinfo"
    mounts.write_bytes(
        b"90 22 8:17 / /media/caf\xe9 rw - vfat /dev/sdb1 rw\n"
        + mounts.read_bytes()
    )
    swaps = root / "proc/swaps"
    swaps.write_bytes(swaps.read_bytes() + b"/srv/\xe9 file 8 0 -3\n")
    found = [reasons(root, f"0000:0{bus}:00.0") for bus in (1, 2, 3)]
    assert found == [
        [
            "has the disk nvme0n1p1, mounted on /boot",
            "has the disk nvme0n1p2, which dm-0 is made of",
        ],
        ["has the disk nvme1n1, used as swap space"],
        ["has the disk nvme2n1, mounted on /srv"],
    ]


def test_every_disk_of_a_btrfs_is_used(tmp_path):
    """mountinfo has one of its disks, and a number that is no disk's."""
    root = machine.unpack("busy_host", tmp_path)
    (root / "proc/self/mountinfo").write_text(
        "22 1 0:45 / /srv rw - btrfs /dev/nvme2n1 rw\n"
    )
    devices = (
        root / "sys/fs/btrfs/1d4f0f0e-8d4c-4d53-9a93-1f6c4a6a1d11/devices"
    )
    devices.mkdir(parents=True)
    for name in ("nvme2n1", "nvme3n1"):
        (devices / name).symlink_to(f"../../../../class/block/{name}")
    found = [reasons(root, f"0000:0{bus}:00.0") for bus in (3, 4)]
    assert found == [
        ["has the disk nvme2n1, mounted on /srv"],
        ["has the disk nvme3n1, a part of a mounted btrfs"],
    ]


def test_bond_that_is_its_own_port_ends(tmp_path):
    root = machine.unpack("busy_host", tmp_path)
    bond = root / "sys/devices/virtual/net/bond0"
    (bond / "lower_bond0.100").symlink_to("../bond0.100")
    assert reasons(root, "0000:19:00.0") == []
