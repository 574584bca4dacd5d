"""Mdevs of a real driver, on a recorded machine with a kernel that answers."""

import pathlib
import time

from oslo_utils import uuidutils
import pytest

from cyborg.accelerator import sysfs
from cyborg.accelerator.drivers import nvidia_gpu
from cyborg.agent import discovery
from cyborg.agent import images
from cyborg.agent import in_use
from cyborg.agent import intents
from cyborg.agent import recovery
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
        log = intents.IntentLog(self._directory / "intents.json", boot)
        agent = work.HostWork(
            found,
            log,
            images.ImageStore(self._directory, test_images.Glance()),
        )
        self.known = in_use.InUse(self._directory / "in_use.json")
        self.recovery = recovery.Recovery(agent, log, self.known)
        return agent

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
    host.recovery.run()
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
    host.recovery.run()
    assert host.mdevs() == set()


def test_arguments_are_never_paths(host: Host) -> None:
    agent = host.start_agent("boot 1")
    uuid = uuidutils.generate_uuid()
    for address, mdev_type in ((PARENT, "../../x"), ("../../../x", TYPE)):
        with pytest.raises(exception.CyborgException):
            agent.prepare_mdev(address, mdev_type, uuid)
    assert host.mdevs() == set()


# -- judged by the hardware, and by what the conductor says


@pytest.fixture
def bound(host: Host) -> tuple[Host, work.HostWork, str]:
    """A guest's mdev, which the conductor knows of."""
    agent = host.start_agent("boot 1")
    uuid = uuidutils.generate_uuid()
    agent.prepare_mdev(PARENT, TYPE, uuid)
    say(host, uuid)
    return host, agent, uuid


def say(host: Host, *uuids: str, **values: str) -> None:
    """Have the conductor say what is in use, now."""
    host.known.take(
        "cn1",
        {
            "digest": uuidutils.generate_uuid(),
            "handles": [
                {
                    "uuid": uuid,
                    "attach_type": "MDEV",
                    "attach_info": INFO | {"asked_type": TYPE},
                    "device": "d",
                    "arq": "a",
                    "state": "Bound",
                    "instance": "i",
                    **values,
                }
                for uuid in uuids
            ],
        },
        time.monotonic(),
    )


INFO = {"domain": "0000", "bus": "af", "device": "00", "function": "0"}


def test_a_driver_that_was_loaded_anew_took_the_mdevs(
    bound: tuple[Host, work.HostWork, str],
) -> None:
    host, _agent, uuid = bound
    host.boot()
    host.recovery.run()
    assert host.mdevs() == {uuid}


def test_state_that_is_lost_is_no_loss(
    bound: tuple[Host, work.HostWork, str], tmp_path: pathlib.Path
) -> None:
    host, _agent, uuid = bound
    for boot in ("boot 1", "boot 2"):
        for name in ("intents.json", "in_use.json"):
            (tmp_path / name).unlink(missing_ok=True)
        host.boot()
        agent = host.start_agent(boot)
        host.recovery.run()
        assert host.mdevs() == set()
        say(host, uuid)
        host.recovery.run()
        assert host.mdevs() == {uuid}
        # It is as any other.
        agent.cleanup_mdev(PARENT, TYPE, uuid)
        assert host.mdevs() == set()
        say(host, uuid)
        host.recovery.run()


def test_state_of_another_day_makes_nothing_without_a_request(
    bound: tuple[Host, work.HostWork, str], tmp_path: pathlib.Path
) -> None:
    host, agent, uuid = bound
    old = (tmp_path / "intents.json").read_text()
    agent.cleanup_mdev(PARENT, TYPE, uuid)
    (tmp_path / "intents.json").write_text(old)
    host.start_agent("boot 2")
    say(host)
    host.recovery.run()
    assert host.mdevs() == set()
    assert uuid not in (tmp_path / "intents.json").read_text()


def test_what_nobody_owns_goes_when_a_conductor_says_so(
    bound: tuple[Host, work.HostWork, str],
) -> None:
    host, _agent, uuid = bound
    host.start_agent("boot 1")
    host.recovery.run()
    assert host.mdevs() == {uuid}
    say(host)
    host.recovery.run()
    assert host.mdevs() == set()


def test_an_answer_from_before_takes_no_new_mdev(host: Host) -> None:
    agent = host.start_agent("boot 1")
    asked_at = time.monotonic()
    uuid = uuidutils.generate_uuid()
    host.known.expect(uuid)
    agent.prepare_mdev(PARENT, TYPE, uuid)
    host.known.take("cn1", {"digest": "d", "handles": []}, asked_at)
    host.recovery.run()
    assert host.mdevs() == {uuid}
    # The same answer later means something.
    host.known.take("cn1", None, time.monotonic())
    host.recovery.run()
    assert host.mdevs() == set()


@pytest.mark.parametrize(
    "values", [{"state": "BindStarted"}, {"state": None, "arq": None}]
)
def test_only_what_a_guest_may_count_on_is_made(
    bound: tuple[Host, work.HostWork, str], values: dict[str, str]
) -> None:
    host, agent, uuid = bound
    agent.cleanup_mdev(PARENT, TYPE, uuid)
    say(host, uuid, **values)
    host.recovery.run()
    assert host.mdevs() == set()


def test_what_was_given_back_stays_away(
    bound: tuple[Host, work.HostWork, str],
) -> None:
    host, agent, uuid = bound
    host.known.strike(uuid)
    agent.cleanup_mdev(PARENT, TYPE, uuid)
    host.recovery.run()
    assert host.mdevs() == set()


def test_foreign_mdevs_stay(bound: tuple[Host, work.HostWork, str]) -> None:
    host, _agent, _uuid = bound
    foreign = uuidutils.generate_uuid()
    sysfs.write_sysfs(str((host.root / DEVICES).parent / "create"), foreign)
    say(host)
    host.recovery.run()
    assert host.mdevs() == {foreign}
