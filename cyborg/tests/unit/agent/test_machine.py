"""Which machine an agent is on, told by files under a root."""

import pathlib
from typing import Any

import pytest

from cyborg.agent import machine

DMI = "4c4c4544-0044-4a10-8051-c7c04f4a4e32"
ID = "0123456789abcdef0123456789abcdef"
BOOT = "1b4e28ba-2fa1-11d2-883f-0016d3cca427"


@pytest.fixture
def root(tmp_path: pathlib.Path, config: Any) -> pathlib.Path:
    root = tmp_path / "root"
    for name, text in (
        ("sys/class/dmi/id/product_uuid", DMI.upper()),
        ("etc/machine-id", ID),
        ("proc/sys/kernel/random/boot_id", BOOT),
        ("proc/self/mountinfo", "22 1 8:1 / / rw shared:1 - ext4 /dev/a rw"),
    ):
        path = root / name
        path.parent.mkdir(parents=True)
        path.write_text(f"{text}\n")
    return root


def test_the_firmware_is_asked_first(root: pathlib.Path) -> None:
    assert machine.read() == machine.Machine(f"dmi:{DMI}", BOOT)


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "Not Settable",
        "00000000-0000-0000-0000-000000000000",
        "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF",
        "03000200-0400-0500-0006-000700080009",
    ],
)
def test_firmware_that_says_nothing(
    root: pathlib.Path, text: str | None
) -> None:
    path = root / "sys/class/dmi/id/product_uuid"
    path.unlink()
    if text is not None:
        path.write_text(text)
    expected = "machine-id:01234567-89ab-cdef-0123-456789abcdef"
    assert machine.read().id == expected


@pytest.mark.parametrize("mark", ["overlay", ".dockerenv"])
def test_a_containers_own_machine_id_means_nothing(
    root: pathlib.Path, config: Any, mark: str
) -> None:
    (root / "sys/class/dmi/id/product_uuid").unlink()
    if mark == "overlay":
        (root / "proc/self/mountinfo").write_text(
            "25 30 0:23 / /sys ro - sysfs sysfs ro\n"
            "30 20 0:47 / / rw,relatime - overlay overlay rw,lowerdir=/l\n"
        )
    else:
        (root / mark).touch()
    assert machine.read() == machine.Machine(None, BOOT)
    # The operator has mounted the host's.
    (root / "host-id").write_text(f"{ID[::-1]}\n")
    config.config(group="agent", machine_id_file=str(root / "host-id"))
    assert machine.read().id == (
        "machine-id:fedcba98-7654-3210-fedc-ba9876543210"
    )


def test_a_file_without_machine_id_is_said(
    root: pathlib.Path, config: Any, caplog: pytest.LogCaptureFixture
) -> None:
    (root / "sys/class/dmi/id/product_uuid").unlink()
    (root / "etc/machine-id").write_text("uninitialized\n")
    assert machine.read().id is None
    config.config(group="agent", machine_id_file=str(root / "etc/machine-id"))
    assert machine.read().id is None
    assert "[agent] machine_id_file" in caplog.text


def test_a_recorded_machine_was_booted_with_this_one(
    tmp_path: pathlib.Path,
) -> None:
    assert machine.boot_id(tmp_path) == machine.boot_id(pathlib.Path("/"))
    assert machine.boot_id(tmp_path)
