"""Work on the host may be asked for twice and cut short anywhere."""

from collections.abc import Iterator
from concurrent import futures
import pathlib
import threading
from typing import Any
from unittest import mock

from oslo_utils import uuidutils
import pytest

from cyborg.accelerator import driver as driver_api
from cyborg.agent import discovery
from cyborg.agent import images
from cyborg.agent import in_use
from cyborg.agent import intents
from cyborg.agent import recovery
from cyborg.agent import report
from cyborg.agent import work
from cyborg.common import exception
from cyborg.conductor import rpcapi
from cyborg.objects import report as objects
from cyborg.tests.unit.agent import conftest
from cyborg.tests.unit.agent import test_images

ADDRESS = "0000:0c:00.0"
TYPE = "nvidia-223"


FUNCTION = "CUSTOM_FPGA_FUNCTION_ID_FAKE_GZIP"


class Crash(BaseException):
    """The agent dies here."""


class Card(
    conftest.ListDriver,
    driver_api.Programmable,
    driver_api.Updatable,
    driver_api.MdevProvider,
):
    """A card that notes what it was loaded with and which mdevs it has."""

    IMAGE_SUFFIX = ".bin"

    def __init__(self, *devices: Any) -> None:
        super().__init__(*devices)
        self.loaded: list[bytes] = []
        self.result: bool | BaseException = True
        self.entered = threading.Event()
        self.release = threading.Event()
        self.release.set()
        self.mdevs: set[str] = set()
        self.before: BaseException | None = None
        self.after: BaseException | None = None

    def program(
        self, controlpath_id: dict[str, Any], image_file_path: str
    ) -> bool:
        assert image_file_path.endswith(".bin")
        self.entered.set()
        self.release.wait(60)
        if isinstance(self.result, BaseException):
            raise self.result
        if self.result:
            self.loaded.append(pathlib.Path(image_file_path).read_bytes())
        return self.result

    def update(self, controlpath_id: dict[str, Any], image_path: str) -> bool:
        return self.program(controlpath_id, image_path)

    def create_mdev(self, address: str, mdev_type: str, uuid: str) -> None:
        self._change(self.mdevs.add, uuid)

    def remove_mdev(self, address: str, mdev_type: str, uuid: str) -> None:
        self._change(self.mdevs.discard, uuid)

    def _change(self, change: Any, uuid: str) -> None:
        if self.before is not None:
            raise self.before
        change(uuid)
        if self.after is not None:
            raise self.after


class Host:
    """A machine with a card: its agent restarts, it boots."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = directory
        self.glance = test_images.Glance()
        self.card = Card(conftest.device(), conftest.device("0d"))
        self.boots = 0
        self.restart()

    def restart(self) -> None:
        self.drivers = conftest.enabled(one=self.card)
        self.found = discovery.Discovery(
            self.drivers, report.Cache(self.directory / "cache.json")
        )
        self.found.run()
        self.store = images.ImageStore(self.directory / "images", self.glance)
        self.store.prepare()
        log = intents.IntentLog(
            self.directory / "intents.json", f"boot {self.boots}"
        )
        self.work = work.HostWork(self.found, log, self.store)
        self.known = in_use.InUse(self.directory / "in_use.json")
        self.recovery = recovery.Recovery(self.work, log, self.known)

    def boot(self) -> None:
        self.boots += 1
        self.card.mdevs.clear()
        self.restart()

    def program(
        self,
        image: dict[str, Any],
        job: str = "job 1",
        bus: str = "0c",
        sequence: int | None = None,
    ) -> None:
        self.work.program(job, conftest.cpid(bus), image, "ABCD", sequence)

    def heal(self) -> None:
        self.card.before = self.card.after = None
        self.card.result = True


@pytest.fixture
def host(tmp_path: pathlib.Path) -> Iterator[Host]:
    result = Host(tmp_path)
    yield result
    result.card.release.set()


@pytest.fixture
def uuid() -> str:
    return uuidutils.generate_uuid()


# -- programming


@pytest.mark.parametrize("result", [True, False])
def test_functions_are_forgotten_until_a_card_is_looked_at(
    host: Host, tmp_path: pathlib.Path, result: bool
) -> None:
    for card in host.card.devices:
        card.deployable_list[0].attribute_list.append(
            objects.DriverAttribute(key="trait1", value=FUNCTION)
        )
    conductor = mock.create_autospec(rpcapi.ConductorAPI, instance=True)
    conductor.report_heartbeat.return_value = {"need_full_report": True}
    told = conftest.reporter_of(conductor, tmp_path)
    told.hostname = "cn1"
    told.publish(report.Report.of(host.found.run(), "cn1"))
    host.work = work.HostWork(
        host.found,
        intents.IntentLog(tmp_path / "intents.json", "boot 0"),
        host.store,
        told.change,
    )

    def found() -> list[bool]:
        """Return which of the cards the conductor was told to run it."""
        told._send()
        (_context, _host, devices), _options = conductor.report_data.call_args
        return [
            FUNCTION
            in [a.value for a in device.deployable_list[0].attribute_list]
            for device in devices
        ]

    assert found() == [True, True]
    host.card.release.clear()
    host.card.result = result
    with futures.ThreadPoolExecutor() as pool:
        done = pool.submit(host.program, host.glance.add())
        assert host.card.entered.wait(60)
        # Whoever asks, and though a driver at work is not asked.
        assert found() == [False, True]
        told.publish(report.Report.of(host.found.run(), "cn1"))
        assert found() == [False, True]
        host.card.release.set()
        assert isinstance(
            done.exception(60), type(None) if result else exception.DriverError
        )
    assert found() == [False, True]
    told.publish(report.Report.of(host.found.run(), "cn1"))
    assert found() == [True, True]


def test_image_reaches_the_card(host: Host) -> None:
    host.program(host.glance.add(b"one"))
    assert host.card.loaded == [b"one"]


def test_firmware_reaches_the_card(host: Host) -> None:
    host.work.update("job", conftest.cpid(), host.glance.add(b"one"), "one")
    assert host.card.loaded == [b"one"]


@pytest.mark.parametrize("restarted", [False, True])
def test_job_that_succeeded_is_not_done_again(
    host: Host, restarted: bool
) -> None:
    image = host.glance.add()
    host.program(image)
    if restarted:
        host.restart()
    host.program(image)
    assert len(host.card.loaded) == 1


def test_job_is_done_again_after_a_boot(host: Host) -> None:
    image = host.glance.add()
    host.program(image)
    host.boot()
    host.program(image)
    assert len(host.card.loaded) == 2


def test_job_that_failed_is_done_again(host: Host) -> None:
    image = host.glance.add()
    for failure in (False, OSError("tool crashed")):
        host.card.result = failure
        with pytest.raises((exception.DriverError, OSError)):
            host.program(image)
    host.heal()
    host.program(image)
    assert len(host.card.loaded) == 1


def test_job_cut_short_is_told_and_done_again(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    image = host.glance.add()
    host.card.result = Crash()
    with pytest.raises(Crash):
        host.program(image)
    host.heal()
    host.restart()
    host.work.log_interrupted()
    assert f"job 1 was loading image {image['id']}" in caplog.text
    host.program(image)
    assert len(host.card.loaded) == 1


def test_job_cut_short_before_its_end_was_written(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = host.glance.add()

    def die(self: Any, uuid: str) -> None:
        raise Crash()

    with monkeypatch.context() as patch:
        patch.setattr(intents.IntentLog, "job_done", die)
        with pytest.raises(Crash):
            host.program(image)
    host.restart()
    host.program(image)
    assert host.card.loaded == [test_images.DATA] * 2


def test_job_cut_short_in_the_download(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = host.glance.add()
    host.glance.error = Crash()  # type: ignore[assignment]
    with pytest.raises(Crash):
        host.program(image)
    host.glance.error = None
    host.restart()
    host.program(image)
    assert host.card.loaded == [test_images.DATA]
    assert list((host.directory / "images").glob("run-*")) == []


def test_repeated_call_waits_for_the_running_job(host: Host) -> None:
    image = host.glance.add()
    host.card.release.clear()
    callers = [
        threading.Thread(target=host.program, args=(image,)) for _ in range(3)
    ]
    for caller in callers:
        caller.start()
    assert host.card.entered.wait(60)
    assert all(caller.is_alive() for caller in callers)
    host.card.release.set()
    for caller in callers:
        caller.join(60)
    assert len(host.card.loaded) == 1


def test_hanging_card_does_not_hold_the_others(
    host: Host, config: Any
) -> None:
    image = host.glance.add()
    host.card.release.clear()
    first = threading.Thread(target=host.program, args=(image,))
    first.start()
    assert host.card.entered.wait(60)
    config.config(program_timeout=1)
    with pytest.raises(exception.DriverError, match="was busy for 1 s"):
        host.program(image, job="job 2")
    (found,) = host.found.run()
    assert (len(found.devices), found.complete) == (2, True)
    assert host.card.calls == 1
    config.config(program_timeout=600)
    host.card.release.set()
    first.join(60)
    host.program(image, job="job 3", bus="0d")
    assert len(host.card.loaded) == 2


def test_late_message_does_not_undo_a_later_job(host: Host) -> None:
    old, new = host.glance.add(b"old"), host.glance.add(b"new")
    host.program(new, job="job 2", sequence=2)
    host.restart()
    with pytest.raises(exception.Overtaken):
        host.program(old, job="job 1", sequence=1)
    host.program(old, job="job 3", sequence=3, bus="0d")
    assert host.card.loaded == [b"new", b"old"]


def test_late_message_that_waited_for_the_card(host: Host) -> None:
    old, new = host.glance.add(b"old"), host.glance.add(b"new")
    host.card.release.clear()
    errors: list[BaseException] = []

    def late() -> None:
        try:
            host.program(old, job="job 1", sequence=1)
        except exception.Overtaken as error:
            errors.append(error)

    first = threading.Thread(
        target=host.program, args=(new, "job 2"), kwargs={"sequence": 2}
    )
    second = threading.Thread(target=late)
    first.start()
    assert host.card.entered.wait(60)
    second.start()
    host.card.release.set()
    first.join(60)
    second.join(60)
    assert errors and host.card.loaded == [b"new"]


def test_later_work_that_failed_keeps_nobody_out(host: Host) -> None:
    image = host.glance.add()
    host.card.result = False
    with pytest.raises(exception.DriverError):
        host.program(image, job="job 2", sequence=2)
    host.heal()
    host.program(image, job="job 1", sequence=1)
    assert len(host.card.loaded) == 1


def test_fence_waits_for_the_card_and_keeps_older_work_out(
    host: Host,
) -> None:
    image = host.glance.add()
    host.card.release.clear()
    load = threading.Thread(
        target=host.program, args=(image,), kwargs={"sequence": 1}
    )
    load.start()
    assert host.card.entered.wait(60)
    fence = threading.Thread(target=host.work.fence, args=(conftest.cpid(), 2))
    fence.start()
    fence.join(0.2)
    assert fence.is_alive()
    host.card.release.set()
    fence.join(60)
    load.join(60)
    host.restart()
    with pytest.raises(exception.Overtaken):
        host.program(image, job="another", sequence=1)
    assert len(host.card.loaded) == 1


def test_image_with_another_hash_never_reaches_the_card(host: Host) -> None:
    image = {**host.glance.add(), "hash_value": "ab" * 64}
    with pytest.raises(exception.ImageUnacceptable):
        host.program(image)
    assert not host.card.entered.is_set()


@pytest.mark.parametrize(
    ("bus", "driver_name"), [("0f", "ABCD"), ("0c", "xilinx"), ("0c", None)]
)
def test_no_such_card(host: Host, bus: str, driver_name: str | None) -> None:
    with pytest.raises(LookupError):
        host.work.program(
            "job", conftest.cpid(bus), host.glance.add(), driver_name or ""
        )
    assert host.glance.downloads == []


def test_control_path_of_an_unknown_kind(host: Host) -> None:
    with pytest.raises(exception.InvalidType):
        host.work.program(
            "job", {**conftest.cpid(), "cpid_type": "USB"}, {}, "ABCD"
        )


# -- mdevs


def test_mdev_is_made_and_removed(host: Host, uuid: str) -> None:
    for _ in range(2):
        host.work.prepare_mdev(ADDRESS, TYPE, uuid)
        assert host.card.mdevs == {uuid}
    for _ in range(2):
        host.work.cleanup_mdev(ADDRESS, TYPE, uuid)
        assert host.card.mdevs == set()


@pytest.mark.parametrize("restarted", [False, True])
def test_late_message_makes_no_mdev(
    host: Host, uuid: str, restarted: bool
) -> None:
    host.work.cleanup_mdev(ADDRESS, TYPE, uuid, sequence=6)
    if restarted:
        host.restart()
    with pytest.raises(exception.Overtaken):
        host.work.prepare_mdev(ADDRESS, TYPE, uuid, sequence=5)
    assert host.card.mdevs == set()
    host.work.prepare_mdev(ADDRESS, TYPE, uuid, sequence=7)
    host.work.prepare_mdev(ADDRESS, TYPE, uuid, sequence=7)
    assert host.card.mdevs == {uuid}


@pytest.mark.parametrize("restarted", [False, True])
def test_late_message_removes_no_mdev(
    host: Host, uuid: str, restarted: bool
) -> None:
    host.work.prepare_mdev(ADDRESS, TYPE, uuid, sequence=5)
    # It is there already, and from now on it is another job's.
    host.work.prepare_mdev(ADDRESS, TYPE, uuid, sequence=7)
    if restarted:
        host.restart()
    with pytest.raises(exception.Overtaken):
        host.work.cleanup_mdev(ADDRESS, TYPE, uuid, sequence=6)
    assert host.card.mdevs == {uuid}


def test_numbers_are_forgotten_in_the_end(
    host: Host, uuid: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.work.cleanup_mdev(ADDRESS, TYPE, uuid, sequence=600)
    monkeypatch.setattr(intents, "SEQUENCES_KEPT", 0)
    host.restart()
    host.work.prepare_mdev(ADDRESS, TYPE, uuid, sequence=5)
    assert host.card.mdevs == {uuid}


@pytest.mark.parametrize("point", ["before", "after"])
def test_crash_while_an_mdev_is_made(
    host: Host, uuid: str, point: str
) -> None:
    setattr(host.card, point, Crash())
    with pytest.raises(Crash):
        host.work.prepare_mdev(ADDRESS, TYPE, uuid)
    host.heal()
    host.restart()
    host.recovery.run()
    assert host.card.mdevs == {uuid}
    host.work.cleanup_mdev(ADDRESS, TYPE, uuid)
    assert host.card.mdevs == set()


@pytest.mark.parametrize("point", ["before", "after"])
def test_crash_while_an_mdev_is_removed(
    host: Host, uuid: str, point: str
) -> None:
    host.work.prepare_mdev(ADDRESS, TYPE, uuid)
    setattr(host.card, point, Crash())
    with pytest.raises(Crash):
        host.work.cleanup_mdev(ADDRESS, TYPE, uuid)
    host.heal()
    host.restart()
    host.recovery.run()
    assert host.card.mdevs == set()
    host.boot()
    host.recovery.run()
    assert host.card.mdevs == set()


def test_boot_takes_mdevs_and_recovery_brings_them_back(
    host: Host, uuid: str
) -> None:
    removed = uuidutils.generate_uuid()
    host.work.prepare_mdev(ADDRESS, TYPE, uuid)
    host.work.prepare_mdev(ADDRESS, TYPE, removed)
    host.work.cleanup_mdev(ADDRESS, TYPE, removed)
    host.boot()
    assert host.card.mdevs == set()
    host.recovery.run()
    assert host.card.mdevs == {uuid}


def test_restart_without_boot_touches_nothing(host: Host, uuid: str) -> None:
    host.work.prepare_mdev(ADDRESS, TYPE, uuid)
    host.restart()
    host.card.before = Crash()
    host.recovery.run()
    assert host.card.mdevs == {uuid}


def test_recovery_goes_on_after_a_failure(host: Host, uuid: str) -> None:
    host.work.prepare_mdev(ADDRESS, TYPE, uuid)
    host.boot()
    host.card.before = OSError("module not loaded")
    host.recovery.run()
    assert host.card.mdevs == set()
    host.heal()
    host.recovery.run()
    assert host.card.mdevs == {uuid}


@pytest.mark.parametrize("point", ["before", "after"])
def test_mdev_that_cannot_be_made_is_not_left_behind(
    host: Host, uuid: str, point: str
) -> None:
    setattr(host.card, point, exception.DriverError(reason="no instance left"))
    with pytest.raises(exception.DriverError):
        host.work.prepare_mdev(ADDRESS, TYPE, uuid)
    host.heal()
    host.restart()
    host.recovery.run()
    assert host.card.mdevs == set()


def test_failure_to_make_it_again_leaves_it_alone(
    host: Host, uuid: str
) -> None:
    host.work.prepare_mdev(ADDRESS, TYPE, uuid)
    host.card.before = exception.DriverError(reason="privsep is gone")
    with pytest.raises(exception.DriverError):
        host.work.prepare_mdev(ADDRESS, TYPE, uuid)
    host.heal()
    host.recovery.run()
    assert host.card.mdevs == {uuid}


def test_intents_that_cannot_be_written_stop_the_work(
    host: Host, uuid: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: pathlib.Path, content: dict[str, Any]) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(intents.store, "write", full)
    with pytest.raises(OSError, match="disk full"):
        host.work.prepare_mdev(ADDRESS, TYPE, uuid)
    assert host.card.mdevs == set()


def test_mdev_needs_a_uuid(host: Host) -> None:
    with pytest.raises(exception.AttachHandleUUIDNeeded):
        host.work.prepare_mdev(ADDRESS, TYPE, None)
    with pytest.raises(exception.InvalidUUID):
        host.work.prepare_mdev(ADDRESS, TYPE, "../../etc")


def test_no_driver_makes_mdevs(tmp_path: pathlib.Path, uuid: str) -> None:
    host = Host(tmp_path)
    host.drivers[0].instance = conftest.ListDriver()
    with pytest.raises(exception.UnsupportedOperation):
        host.work.prepare_mdev(ADDRESS, TYPE, uuid)


# -- statistics


def test_stats_of_a_card(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        host.card, "get_stats", lambda cpid: {"device": cpid["cpid_info"]}
    )
    stats = host.work.get_stats(conftest.cpid("0d"), "one")
    assert stats["device"]["bus"] == "0d"
    with pytest.raises(LookupError):
        host.work.get_stats(conftest.cpid(), "another")
