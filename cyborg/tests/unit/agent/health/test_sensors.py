"""Each sensor, on a recorded machine: what it sees, and that it is over."""

import pathlib
from typing import Any

import pytest

from cyborg.accelerator import privileged
from cyborg.agent.health import monitor
from cyborg.common import health
from cyborg.tests.unit.agent.health.conftest import CARD
from cyborg.tests.unit.agent.health.conftest import Machine
from cyborg.tests.unit.agent.health.conftest import PORT


def _is_over(here: Machine) -> bool:
    """Tell whether it is over when it was well for long enough."""
    assert here.signs() != []
    return here.signs(wait=300) == []


# -- registers and link


def test_registers_that_read_as_ones(here: Machine) -> None:
    path = here.root / CARD / "config"
    path.write_bytes(bytes.fromhex("de103023") + bytes(252))
    assert here.signs() == []
    path.write_bytes(b"\xff" * 256)
    assert here.signs() == ["config-unreadable"]
    path.write_bytes(bytes.fromhex("de103023") + bytes(252))
    assert _is_over(here)


@pytest.mark.parametrize(
    ("name", "bad", "well", "sign", "text"),
    [
        (
            "current_link_width",
            "8",
            "16",
            "link-width",
            "x8, where x16 would be possible",
        ),
        (
            "current_link_speed",
            "2.5 GT/s PCIe",
            "16.0 GT/s PCIe",
            "link-speed",
            "2.5 GT/s, where 16 GT/s would be possible",
        ),
    ],
)
def test_link(
    here: Machine, name: str, bad: str, well: str, sign: str, text: str
) -> None:
    here.write(name, bad)
    assert here.signs() == [sign]
    assert here.holds[sign] == text
    here.write(name, well)
    assert _is_over(here)


def test_a_narrow_slot_is_no_fault(here: Machine) -> None:
    here.write("current_link_width", "8")
    here.write("max_link_width", "8", PORT)
    here.write("current_link_speed", "8.0 GT/s PCIe")
    here.write("max_link_speed", "8.0 GT/s PCIe", PORT)
    assert here.signs() == []


def test_gpus_slow_their_link_down(here: Machine) -> None:
    here.write("class", "0x030200")
    here.write("current_link_speed", "2.5 GT/s PCIe")
    assert here.signs() == ["link-idle"]
    assert health.SIGNS["link-idle"].weight == health.Weight.NOTE


@pytest.mark.parametrize("width", ["0", "63", "255", "?"])
def test_what_cannot_be_told_of_a_link_is_no_fault(
    here: Machine, width: str
) -> None:
    here.write("current_link_width", width)
    here.write("current_link_speed", "Unknown")
    assert here.signs() == []


# -- counters of errors


@pytest.mark.parametrize("base", [CARD, PORT])
def test_errors_are_counted_from_now_on(here: Machine, base: str) -> None:
    for name, sign in (("fatal", "FATAL"), ("nonfatal", "NONFATAL")):
        here.write(f"aer_dev_{name}", f"DLP 2\nTOTAL_ERR_{sign} 2", base)
    assert here.signs() == ["aer-fatal", "aer-nonfatal"]
    assert here.holds["aer-fatal"].startswith("2 fatal errors, says the ")
    assert _is_over(here)
    # An agent that starts again goes on counting; a card that is put in
    # again begins with nothing.
    here.start()
    here.write("aer_dev_fatal", "TOTAL_ERR_FATAL 0", base)
    assert here.signs() == []
    here.write("aer_dev_fatal", "TOTAL_ERR_FATAL 1", base)
    assert here.signs() == ["aer-fatal"]


# -- the kernel's log


@pytest.mark.parametrize(
    ("line", "sign"),
    [
        (
            "NVRM: Xid (PCI:0000:3b:00): 79, pid='<unknown>', name=<unknown>, "
            "GPU has fallen off the bus.",
            "xid-79",
        ),
        ("NVRM: Xid (PCI:0000:3b:00): 48, pid=1, DBE", "xid-48"),
        ("NVRM: Xid (PCI:0000:3b:00): 13, pid=1, Graphics", "xid-13"),
        ("NVRM: Xid (PCI:0000:3b:00): 994, what is new", "xid-other"),
        (
            "nvidia-nvswitch3: SXid (PCI:0000:c1:00.0): 20034, Fatal, Link 30 "
            "LTSSM Fault Up",
            "sxid-fatal",
        ),
        (
            "nvidia-nvswitch3: SXid (PCI:0000:c1:00.0): 28006, Non-fatal, "
            "Link 46 MC TS crumbstore MCTO",
            "sxid",
        ),
        (
            "NVRM: GPU 0000:3b:00.0: RmInitAdapter failed! (0x24:0x65:1433)",
            "driver-init",
        ),
        (
            "vfio-pci 0000:3b:00.0: not ready 65535ms after FLR; giving up",
            "not-ready",
        ),
        (
            "vfio-pci 0000:3b:00.0: Unable to change power state from D3cold "
            "to D0, device inaccessible",
            "inaccessible",
        ),
        (
            "vfio-pci 0000:3b:00.0: PCIe Bus Error: severity=Uncorrected "
            "(Fatal), type=Transaction Layer, (Receiver ID)",
            "aer-fatal",
        ),
        (
            "pcieport 0000:3a:00.0: PCIe Bus Error: severity=Uncorrectable "
            "(Non-Fatal), type=Transaction Layer, (Requester ID)",
            "aer-nonfatal",
        ),
        (
            "pcieport 0000:3a:00.0: AER: device recovery failed",
            "aer-unrecovered",
        ),
        (
            "amdgpu 0000:3b:00.0: amdgpu: 2 uncorrectable hardware errors "
            "detected in umc block",
            "amdgpu-ecc",
        ),
        (
            "amdgpu 0000:3b:00.0: amdgpu: GPU reset end with ret = -62",
            "amdgpu-reset-failed",
        ),
        (
            "amdgpu 0000:3b:00.0: amdgpu: ring sdma0 timeout, signaled seq=1",
            "amdgpu-hang",
        ),
    ],
)
def test_lines_of_the_kernel(here: Machine, line: str, sign: str) -> None:
    here.say(line)
    assert here.signs() == [sign]
    assert here.holds[sign] == line
    # That nothing more is heard of it is no proof where a reset is needed.
    assert _is_over(here) is not health.SIGNS[sign].needs_reset


@pytest.mark.parametrize(
    "line",
    [
        "NVRM: Xid (PCI:0000:3c:00): 79, GPU has fallen off the bus.",
        "vfio-pci 0000:3b:00.1: not ready 65535ms after FLR; giving up",
        "vfio-pci 0000:3b:00.0: not ready 1023ms after FLR; waiting",
        "amdgpu 0000:3b:00.0: amdgpu: 0 uncorrectable hardware errors "
        "detected in umc block",
        "amdgpu 0000:3b:00.0: amdgpu: GPU reset end with ret = 0",
        "nvidia: probe of 0000:3b:00.0 failed with error -517",
        "something else",
        "",
    ],
)
def test_lines_that_are_not_of_the_card(here: Machine, line: str) -> None:
    here.unbind()
    here.say(line)
    assert here.signs() == []


@pytest.mark.parametrize(
    "line",
    [
        "nvidia: probe of 0000:3b:00.0 failed with error -1",
        "vfio-pci 0000:3b:00.0: probe with driver vfio-pci failed with "
        "error -22",
    ],
)
def test_a_card_that_no_driver_can_open(here: Machine, line: str) -> None:
    here.unbind()
    here.say(line)
    assert here.signs() == ["driver-failed"]
    assert here.signs(wait=1000) == ["driver-failed"]
    here.start()
    assert here.signs() == ["driver-failed"]
    # The operator has another driver take it.
    here.bind()
    assert _is_over(here)


def test_what_programs_write_into_the_log_is_not_believed(
    here: Machine,
) -> None:
    with (here.root / "dev/kmsg").open("a") as file:
        file.write("12,300,1,-;NVRM: Xid (PCI:0000:3b:00): 79, GPU\n")
        file.write("nonsense\n")
    assert here.signs() == []


def test_what_was_logged_before_is_never_read(
    tmp_path: pathlib.Path, here: Machine
) -> None:
    here.say("NVRM: Xid (PCI:0000:3b:00): 48, pid=1, DBE")
    (tmp_path / "health.json").unlink()
    here.start()
    assert here.signs() == []
    # Nor when the agent starts again before anything else is logged.
    here.start()
    assert here.signs() == []
    here.say("NVRM: Xid (PCI:0000:3b:00): 13, pid=1")
    assert here.signs() == ["xid-13"]


def test_the_log_is_read_once(here: Machine) -> None:
    here.say("NVRM: Xid (PCI:0000:3b:00): 13, pid=1")
    assert here.signs() == ["xid-13"]
    calls = here.calls
    here.start()
    # All is told again, and the line is not read again.
    assert here.signs() == ["xid-13"]
    assert here.calls == calls + 1
    assert here.signs(wait=300) == []
    # What was said before an agent of this kind ran, is not read at all;
    # what was said since the host was started, is.
    here.start("boot-2")
    assert here.signs() == ["xid-13"]


# -- drives


@pytest.mark.parametrize(
    ("state", "sign"), [("dead", "nvme-dead"), ("resetting", "nvme-state")]
)
def test_controllers(here: Machine, state: str, sign: str) -> None:
    here.write("nvme/nvme3/state", "live")
    assert here.signs() == []
    here.write("nvme/nvme3/state", state)
    assert here.signs() == [sign]
    assert here.holds[sign] == f"nvme3 is {state}"
    here.write("nvme/nvme3/state", "live")
    assert _is_over(here)


@pytest.mark.parametrize("form", ["%d", '{"value": %d}'])
def test_critical_warning(
    here: Machine, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bits = 0b1001
    asked = []

    def smart_log(root: Any, name: str, timeout: float) -> str:
        asked.append(name)
        return f'{{"critical_warning": {form % bits}, "avail_spare": 3}}'

    monkeypatch.setattr(privileged, "nvme_smart_log", smart_log)
    here.write("nvme/nvme3/state", "live")
    assert here.signs() == ["nvme-warning"]
    assert here.holds["nvme-warning"] == (
        "nvme3: spare space is low, media are read-only"
    )
    assert set(asked) == {"nvme3"}
    # It is warm, and that is all.
    bits = 0b10
    assert _is_over(here)


# -- ports


def test_ports_without_a_link(here: Machine) -> None:
    here.write("net/ens1f0/carrier", "1")
    here.write("net/ens1f1/carrier", "0")
    assert here.signs() == ["port-down"]
    assert here.holds["port-down"] == "no link at ens1f1"
    here.write("net/ens1f1/carrier", "1")
    assert _is_over(here)


# -- QAT


def test_firmware_that_does_not_answer(here: Machine) -> None:
    here.write("vendor", "0x8086")
    status = "sys/kernel/debug/qat_4xxx_0000:3b:00.0/heartbeat"
    here.write("status", "0", status)
    assert here.signs() == []
    here.write("status", "-1", status)
    assert here.signs() == ["qat-heartbeat"]
    here.write("status", "0", status)
    assert _is_over(here)
    here.write("qat/state", "down")
    assert here.signs() == ["qat-down"]
    here.write("qat/state", "up")
    assert _is_over(here)


# -- FPGAs


def test_errors_that_an_fpga_keeps(here: Machine) -> None:
    engine = "fpga_region/region0/dfl-fme.0/errors"
    # Only the revision of the registers.
    here.write(f"{engine}/catfatal_errors", "0x100000000000000")
    here.write(f"{engine}/nonfatal_errors", "0x100000000000000")
    here.write(f"{engine}/pcie0_errors", "0x0")
    assert here.signs() == []
    here.write(f"{engine}/catfatal_errors", "0x100000000000004")
    here.write(f"{engine}/pcie0_errors", "0x20")
    here.write("fpga_region/region1/dfl-port.0/errors/errors", "0x1")
    assert here.signs() == ["dfl-errors", "dfl-fatal"]
    assert here.holds == {
        "dfl-fatal": "dfl-fme.0 catfatal_errors 0x4",
        "dfl-errors": "dfl-fme.0 pcie0_errors 0x20, dfl-port.0 errors 0x1",
    }
    here.write(f"{engine}/catfatal_errors", "0x100000000000000")
    here.write(f"{engine}/pcie0_errors", "0x0")
    here.write("fpga_region/region1/dfl-port.0/errors/errors", "0x0")
    assert _is_over(here)


# -- alarms


@pytest.mark.parametrize(
    ("name", "sign"),
    [
        ("temp1_crit_alarm", "hwmon-critical"),
        ("temp2_emergency_alarm", "hwmon-critical"),
        ("in0_lcrit_alarm", "hwmon-critical"),
        ("temp1_max_alarm", "hwmon-alarm"),
        ("temp1_alarm", "hwmon-alarm"),
        ("power1_cap_alarm", "hwmon-alarm"),
    ],
)
@pytest.mark.parametrize(
    "place",
    [
        "hwmon/hwmon3",
        "nvme/nvme0/hwmon2",
        "fpga_region/region0/dfl-fme.0/hwmon/hwmon3",
    ],
)
def test_alarms(here: Machine, place: str, name: str, sign: str) -> None:
    here.write(f"{place}/name", "chip")
    here.write(f"{place}/{name}", "0")
    here.write(f"{place}/temp1_crit", "1")
    assert here.signs() == []
    here.write(f"{place}/{name}", "1")
    assert here.signs() == [sign]
    assert here.holds[sign] == f"chip {name}"
    here.write(f"{place}/{name}", "0")
    assert _is_over(here)


def test_every_sign_has_one_sensor_and_is_told_of() -> None:
    keys = [
        key
        for sensor in monitor.SENSORS
        for key in sensor.keys
        if not key.startswith("aer-") or sensor.name == "aer"
    ]
    assert sorted([*keys, "aer-unrecovered"]) == sorted(health.SIGNS)
    page = pathlib.Path("doc/source/admin/health.rst").read_text()
    for key in health.SIGNS:
        assert f"``{key}``" in page
