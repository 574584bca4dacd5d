"""One bad card costs one card."""

import json
import os

import pytest

from cyborg.accelerator import patience
from cyborg.agent import report
from cyborg.tests.unit.agent.gate import whole

NVIDIA = "nvidia_gpu_driver"
QAT = "intel_qat_driver"
HUNG, HEALTHY, OTHER = "0000:af:00.0", "0000:b0:00.0", "0000:f3:00.0"
VGPUS = {
    "gpu_devices": {"enabled_vgpu_types": ["nvidia-223"]},
    "vgpu_nvidia-223": {"device_addresses": [HUNG, HEALTHY]},
    "qat_devices": {"product_ids": ["4942"]},
}
AVAILABLE = "mdev_supported_types/nvidia-223/available_instances"


@pytest.fixture(autouse=True)
def limit(monkeypatch):
    monkeypatch.setattr(patience, "LIMIT", 0.1)


@pytest.fixture
def hang():
    """Return what makes a file's reading not return, until the test ends."""
    pipes = []

    def hang(root, address, name):
        path = root / "sys/devices" / f"pci{address[:7]}" / address / name
        text = path.read_bytes()
        path.unlink()
        os.mkfifo(path)
        pipes.append((path, text))

    yield hang
    for path, text in pipes:
        # Whoever reads goes on.
        descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        os.write(descriptor, text)
        os.close(descriptor)


def test_card_that_hangs(unpack, hang):
    """The others are reported, and the driver is free to bind them."""
    root = unpack("two_t4s_and_qat")
    agent = whole.Agent(root, NVIDIA, QAT, **VGPUS)
    assert agent.totals() == {
        HUNG: ("VGPU", 2),
        HEALTHY: ("VGPU", 2),
        OTHER: ("CUSTOM_QAT", 1),
    }
    handles = agent.handles()
    hang(root, HUNG, AVAILABLE)
    for _time in range(3):
        found = agent.discovery.run()
        assert all(each.complete for each in found)
    assert agent.report() == {
        HUNG: ["hardware-fails"],
        HEALTHY: [],
        OTHER: [],
    }
    with agent.drivers[0].turns.work(HEALTHY, timeout=0):
        pass
    # What guests have of it stays.
    assert agent.handles([handles[0], handles[1]])[:2] == handles[:2]


def test_card_that_hung_from_the_start(unpack, hang):
    root = unpack("two_t4s_and_qat")
    hang(root, HUNG, AVAILABLE)
    agent = whole.Agent(root, NVIDIA, QAT, **VGPUS)
    assert agent.report() == {HEALTHY: [], OTHER: []}
    assert agent.stubs() == [HUNG]


@pytest.mark.parametrize("name", ["vendor", "class", "device"])
def test_card_whose_ids_hang(unpack, hang, name):
    root = unpack("two_t4s_and_qat")
    agent = whole.Agent(root, NVIDIA, QAT, **VGPUS)
    agent.report()
    hang(root, HUNG, name)
    assert agent.report()[HUNG] == ["hardware-fails"]
    assert agent.offered() == [HEALTHY, OTHER]


def test_card_whose_registers_hang(unpack, hang):
    root = unpack("two_t4s_and_qat")
    agent = whole.Agent(root, NVIDIA, QAT, **VGPUS)
    path = root / f"sys/devices/pci0000:f3/{OTHER}/current_link_width"
    path.write_text("16\n")
    assert agent.offered() == [HUNG, HEALTHY, OTHER]
    hang(root, OTHER, "current_link_width")
    assert agent.report() == {
        HUNG: [],
        HEALTHY: [],
        OTHER: ["hardware-fails"],
    }


@pytest.mark.parametrize(
    "target", ["../bad", "..", "../0000:f3", "0000:F3:00.0/virtfn0"]
)
@pytest.mark.parametrize("name", ["virtfn0", "physfn"])
def test_link_that_is_malformed(unpack, name, target):
    root = unpack("two_t4s_and_qat")
    (root / f"sys/devices/pci0000:f3/{OTHER}/{name}").symlink_to(target)
    agent = whole.Agent(root, NVIDIA, QAT, **VGPUS)
    assert agent.report() == {
        HUNG: [],
        HEALTHY: [],
        OTHER: ["hardware-fails"],
    }


def test_virtual_function_that_is_not_there(unpack):
    root = unpack("two_t4s_and_qat")
    path = root / f"sys/devices/pci0000:f3/{OTHER}"
    (path / "virtfn0").symlink_to("../0000:f3:00.1")
    agent = whole.Agent(root, NVIDIA, QAT, **VGPUS)
    assert agent.offered() == [HUNG, HEALTHY]


def test_link_that_flaps(unpack):
    """With the card in use: it comes back as what it was."""
    root = unpack("link_up")
    flapping, other = "0000:08:00.0", "0000:09:00.0"
    agent = whole.Agent(root, NVIDIA)
    before = agent.discovery.run([])
    digest = report.Report.of(before, "cn1").digest
    link = root / "sys/bus/pci/devices" / flapping
    path = root / f"sys/devices/pci0000:08/{flapping}"
    away = root / "away"
    for _time in range(12):
        (path / "vendor").rename(path / "gone")
        assert set(agent.report(in_use=[flapping])) == {flapping, other}
        (path / "gone").rename(path / "vendor")
        target = os.readlink(link)
        # The directory goes before the link does.
        path.rename(away)
        assert agent.offered(in_use=[flapping]) == [other]
        link.unlink()
        assert agent.offered(in_use=[flapping]) == [other]
        away.rename(path)
        link.symlink_to(target)
        again = agent.discovery.run([])
        assert report.Report.of(again, "cn1").digest == digest


def test_machine_after_the_link_went_down(unpack):
    agent = whole.Agent(unpack("link_down"), NVIDIA)
    assert agent.offered() == ["0000:09:00.0"]


def test_reason_of_a_card_that_hangs_stays(unpack, hang):
    root = unpack("two_t4s_and_qat")
    agent = whole.Agent(root, NVIDIA, QAT, **VGPUS)
    agent.report()
    hang(root, HUNG, AVAILABLE)
    found = [agent.discovery.run() for _time in range(2)]
    texts = {
        json.dumps(each.devices, sort_keys=True)
        for one in found
        for each in one[:1]
    }
    assert len(texts) == 1
