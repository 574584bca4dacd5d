"""What runs as root: how it is called, and that it crosses the process."""

import os
import pathlib
import sys

from oslo_config import cfg
import pytest

from cyborg import privsep
from cyborg.accelerator import command
from cyborg.accelerator import privileged
from cyborg.accelerator import sysfs
from cyborg.common import exception
from cyborg.tests.fixtures import machine

UUID = "1d4f0f0e-8d4c-4d53-9a93-1f6c4a6a1d11"

CONF = cfg.CONF


@pytest.fixture
def run(monkeypatch):
    """Runs entry points in this process, and notes what they start."""
    tools = (
        privileged._FPGACONF,
        privileged._XBMGMT,
        "ndctl",
        "nvme",
        "blkdiscard",
        "daxio",
    )
    commands = machine.Commands(dict.fromkeys(tools, "done"))
    monkeypatch.setattr(command, "run", commands)
    for context in (privsep.sys_admin_pctxt, privsep.sysfs_pctxt):
        monkeypatch.setattr(context, "client_mode", False)
    return commands


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "image.gbs"
    path.touch()
    return str(path)


@pytest.mark.parametrize(
    ("address", "segment"),
    [("0000:5e:00.0", []), ("0001:5e:00.0", ["--segment", "0x0001"])],
)
def test_fpgaconf(run, image, address, segment):
    assert privileged.fpgaconf(address, image, timeout=5) == "done"
    assert run.calls == [
        [
            "/usr/bin/fpgaconf",
            *segment,
            "--bus",
            "0x5e",
            "--device",
            "0x00",
            "--function",
            "0x0",
            image,
        ]
    ]


@pytest.mark.parametrize(
    ("user", "options"),
    [(False, ["--base", "--image"]), (True, ["--user"])],
)
def test_xbmgmt(run, image, user, options):
    privileged.xbmgmt_program("0000:D8:00.0", image, user, timeout=5)
    (argv,) = run.calls
    assert argv[0] == "/opt/xilinx/xrt/bin/xbmgmt"
    assert argv[argv.index("--device") + 1] == "0000:d8:00.0"
    assert argv[-len(options) - 1 :] == [*options, image]


def test_ndctl(run):
    privileged.ndctl_list(timeout=5)
    assert run.calls == [["ndctl", "list", "-X"]]


@pytest.mark.parametrize("path", ["image.gbs", "-x", "/none", "/tmp", ""])
def test_image_is_checked(run, path):
    with pytest.raises(exception.Invalid):
        privileged.fpgaconf("0000:5e:00.0", path, timeout=5)
    with pytest.raises(exception.Invalid):
        privileged.xbmgmt_program("0000:5e:00.0", path, True, timeout=5)
    assert run.calls == []


@pytest.mark.parametrize("address", ["-x", "5e:00.0", "0000:5e:00.0 --base"])
def test_address_is_checked(run, image, address):
    with pytest.raises(exception.PciDeviceWrongAddressFormat):
        privileged.fpgaconf(address, image, timeout=5)
    with pytest.raises(exception.PciDeviceWrongAddressFormat):
        privileged.xbmgmt_program(address, image, True, timeout=5)
    assert run.calls == []


def test_recorded_machine_needs_no_privilege(tmp_path, monkeypatch):
    """No helper is started: its command would fail."""
    kernel = machine.FakeKernel()
    monkeypatch.setattr(sysfs, "write_sysfs", kernel)
    root = machine.unpack("gpu_server", tmp_path)
    privileged.create_mdev(root, "0000:af:00.0", "nvidia-222", UUID)
    privileged.remove_mdev(root, "0000:af:00.0", "nvidia-222", UUID)
    assert [text for _path, text in kernel.writes] == [UUID, "1"]
    assert privsep.sysfs_pctxt.channel is None


def test_second_context_is_configured_like_the_first():
    own, other = "cyborg_sysfs", "cyborg_sys_admin"
    try:
        CONF.set_override("helper_command", "sudo helper", group=other)
        CONF.set_override("user", "cyborg-root", group=other)
        section = privsep.sysfs_pctxt.conf
        assert section.user == "cyborg-root"
        assert section.group is None
        assert privsep.sysfs_pctxt.helper_command("/sock") == [
            "sudo",
            "helper",
            "--privsep_context",
            "cyborg.privsep.sysfs_pctxt",
            "--privsep_sock_path",
            "/sock",
        ]
        CONF.set_override("user", "other", group=own)
        assert section.user == "other"
        assert section.capabilities != CONF[other].capabilities
    finally:
        for group in (own, other):
            CONF.clear_override("helper_command", group=group)
            CONF.clear_override("user", group=group)


@pytest.mark.skipif(os.geteuid() != 0, reason="the helper needs root")
def test_real_helper():
    """Errors of the privileged process arrive as what they are."""
    helper = pathlib.Path(sys.executable).with_name("privsep-helper")
    CONF.set_override("helper_command", str(helper), group="cyborg_sys_admin")
    try:
        with pytest.raises(exception.DriverError, match="cannot be made"):
            privileged.create_mdev("/", "ffff:ff:1f.7", "nvidia-222", UUID)
        privileged.remove_mdev("/", "ffff:ff:1f.7", "nvidia-222", UUID)
        with pytest.raises(exception.InvalidUUID):
            privileged.create_mdev("/", "ffff:ff:1f.7", "nvidia-222", "x")
    finally:
        CONF.clear_override("helper_command", group="cyborg_sys_admin")
        privsep.sysfs_pctxt.stop()


# -- cleaning


@pytest.mark.parametrize(
    "call, argv",
    [
        (
            lambda: privileged.nvme_read("id-ctrl", "nvme0", 5),
            ["nvme", "id-ctrl", "/dev/nvme0", "--output-format=json"],
        ),
        (
            lambda: privileged.nvme_read("id-ns", "nvme0n1", 5),
            ["nvme", "id-ns", "/dev/nvme0n1", "--output-format=json"],
        ),
        (
            lambda: privileged.nvme_sanitize("nvme10", 4, 5),
            ["nvme", "sanitize", "/dev/nvme10", "--sanact=4"],
        ),
        (
            lambda: privileged.nvme_sanitize_log("nvme0", 5),
            ["nvme", "sanitize-log", "/dev/nvme0"],
        ),
        (
            lambda: privileged.nvme_format("nvme0n1", 1, 2, 0, 1, 0, 60),
            [
                "nvme",
                "format",
                "/dev/nvme0n1",
                "--ses=1",
                "--lbaf=2",
                "--ms=0",
                "--pi=1",
                "--pil=0",
                "--timeout=60000",
            ],
        ),
        (
            lambda: privileged.zero_out("nvme0n1", 60),
            ["blkdiscard", "--zeroout", "/dev/nvme0n1"],
        ),
        (
            lambda: privileged.daxio_zero("/dev/dax0.1", 60),
            ["daxio", "-z", "-o", "/dev/dax0.1"],
        ),
    ],
)
def test_what_erases(run, call, argv):
    assert call() == "done"
    assert run.calls == [argv]


@pytest.mark.parametrize(
    "call",
    [
        lambda: privileged.nvme_read("format", "nvme0", 5),
        lambda: privileged.nvme_read("id-ctrl", "nvme0n1", 5),
        lambda: privileged.nvme_read("id-ctrl", "../sda", 5),
        lambda: privileged.nvme_sanitize("nvme0", 3, 5),
        lambda: privileged.nvme_sanitize("nvme0n1", 4, 5),
        lambda: privileged.nvme_format("nvme0", 1, 0, 0, 0, 0, 60),
        lambda: privileged.nvme_format("nvme0n1", 0, 0, 0, 0, 0, 60),
        lambda: privileged.nvme_format("nvme0n1", 1, 64, 0, 0, 0, 60),
        lambda: privileged.zero_out("nvme0", 60),
        lambda: privileged.zero_out("sda", 60),
        lambda: privileged.zero_out("nvme0n1p1", 60),
        lambda: privileged.daxio_zero("/dev/mem", 60),
        lambda: privileged.daxio_zero("dax0.0", 60),
    ],
)
def test_what_is_erased_is_a_drive(run, call):
    with pytest.raises(exception.Invalid):
        call()
    assert run.calls == []
