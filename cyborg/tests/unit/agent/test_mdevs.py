"""Mdevs of a real driver, on a recorded machine with a kernel that answers."""

import pathlib

from oslo_utils import uuidutils
import pytest

from cyborg.accelerator import sysfs
from cyborg.accelerator.drivers import nvidia_gpu
from cyborg.agent import discovery
from cyborg.agent import images
from cyborg.agent import intents
from cyborg.agent import report
from cyborg.agent import work
from cyborg.common import exception
from cyborg.tests.fixtures import driver as driver_fixture
from cyborg.tests.fixtures import machine
from cyborg.tests.unit.agent import conftest
from cyborg.tests.unit.agent import test_images

PARENT = "0000:af:00.0"
TYPE = "nvidia-222"
DEVICES = f"sys/class/mdev_bus/{PARENT}/mdev_supported_types/{TYPE}/devices"


class Host:
    def __init__(self, directory: pathlib.Path) -> None:
        self.root = machine.unpack("gpu_server", directory / "machine")
        self._directory = directory

    def start_agent(self, boot: str) -> work.HostWork:
        conf = driver_fixture.conf(
            gpu_devices={"enabled_vgpu_types": [TYPE]},
            **{f"vgpu_{TYPE}": {"device_addresses": [PARENT]}},
        )
        driver = nvidia_gpu.NvidiaGPUDriver(
            root=self.root, run=machine.Commands(), host="cn1", conf=conf
        )
        found = discovery.Discovery(
            conftest.enabled(nvidia_gpu_driver=driver),
            report.Cache(self._directory / "cache.json"),
        )
        (result,) = found.run()
        assert result.complete, result.error
        assert PARENT in report.parents(result.devices)
        return work.HostWork(
            found,
            intents.IntentLog(self._directory / "intents.json", boot),
            images.ImageStore(self._directory, test_images.Glance()),
        )

    def mdevs(self) -> set[str]:
        return {path.name for path in (self.root / DEVICES).iterdir()}

    def boot(self) -> None:
        """A machine that boots has no mdevs."""
        for path in (self.root / DEVICES).iterdir():
            sysfs.write_sysfs(str(path / "remove"), "1")


@pytest.fixture
def host(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.setattr(sysfs, "write_sysfs", machine.FakeKernel())
    return Host(tmp_path)


def test_mdev_lives_as_long_as_its_handle(host: Host) -> None:
    uuid = uuidutils.generate_uuid()
    agent = host.start_agent("boot 1")
    for _ in range(2):
        agent.prepare_mdev(PARENT, TYPE, uuid)
        assert host.mdevs() == {uuid}
    host.boot()
    assert host.mdevs() == set()
    agent = host.start_agent("boot 2")
    agent.recover()
    assert host.mdevs() == {uuid}
    for _ in range(2):
        agent.cleanup_mdev(PARENT, TYPE, uuid)
        assert host.mdevs() == set()


def test_mdev_that_nova_made_is_adopted(host: Host) -> None:
    uuid = uuidutils.generate_uuid()
    agent = host.start_agent("boot 1")
    sysfs.write_sysfs(str((host.root / DEVICES).parent / "create"), uuid)
    agent.prepare_mdev(PARENT, TYPE, uuid)
    assert host.mdevs() == {uuid}
    agent.cleanup_mdev(PARENT, TYPE, uuid)
    assert host.mdevs() == set()


def test_full_card_says_so_and_nothing_is_left(host: Host) -> None:
    agent = host.start_agent("boot 1")
    (host.root / DEVICES).parent.joinpath("available_instances").write_text(
        "0\n"
    )
    uuid = uuidutils.generate_uuid()
    with pytest.raises(exception.DriverError, match=uuid):
        agent.prepare_mdev(PARENT, TYPE, uuid)
    agent.recover()
    assert host.mdevs() == set()


def test_arguments_are_never_paths(host: Host) -> None:
    agent = host.start_agent("boot 1")
    uuid = uuidutils.generate_uuid()
    for address, mdev_type in ((PARENT, "../../x"), ("../../../x", TYPE)):
        with pytest.raises(exception.CyborgException):
            agent.prepare_mdev(address, mdev_type, uuid)
    assert host.mdevs() == set()
