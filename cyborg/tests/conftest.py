"""Fixtures of all tests: the real peers, each started when first asked for."""

from collections.abc import Callable
from collections.abc import Generator
from collections.abc import Iterator
import os
import pathlib
import tempfile
from typing import Any

import hypothesis
from oslo_concurrency import lockutils
import pytest
from xdist import scheduler

from cyborg.tests.fixtures import database
from cyborg.tests.fixtures import keystone as keystone_fixture
from cyborg.tests.fixtures import nova_events
from cyborg.tests.fixtures import options
from cyborg.tests.fixtures import placement as placement_fixture
from cyborg.tests.fixtures import rabbit
from cyborg.tests.fixtures import services

# Machines that run tests may be slow; none of the properties is about time.
hypothesis.settings.register_profile(
    "cyborg",
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("cyborg")


# Directories and files that take longest, the longest first. They begin first,
# so that no worker is still at it when all the others have ended.
_SLOWEST = (
    "faults",
    "test_cli",
    "flows",
    "clients",
    "test_migration",
    "placement",
    "agent",
    "test_openapi",
    "test_binding",
)
# Directories whose tests share what takes long to start.
_TOGETHER = ("faults",)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def rank(item: pytest.Item) -> int:
        names = {item.path.parent.name, item.path.stem}
        ranks = [_SLOWEST.index(name) for name in names & {*_SLOWEST}]
        return min(ranks, default=len(_SLOWEST))

    items.sort(key=rank)


class ByServers(scheduler.LoadScopeScheduling):
    """Gives workers the tests of a file on one engine: those share servers."""

    def _split_scope(self, nodeid: str) -> str:
        path, _, test = nodeid.partition("::")
        directory = pathlib.PurePath(path).parent
        if directory.name in _TOGETHER:
            return str(directory)
        names = test.replace("]", "-").replace("[", "-").split("-")
        engines = [name for name in names if name in database.KINDS]
        return "-".join([path, *engines[:1]])


def pytest_xdist_make_scheduler(
    config: pytest.Config, log: Any
) -> ByServers | None:
    if config.getvalue("dist") == "loadscope":
        return ByServers(config, log)
    return None


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name parameters without colons: gabbi takes such tests for its own."""
    if isinstance(val, str) and ":" in val:
        return val.replace(":", ";").encode("unicode_escape").decode()
    return None


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when == "call" and report.failed:
        cloud = getattr(item, "funcargs", {}).get("cloud")
        if isinstance(cloud, services.Cloud):
            report.sections.append(("Logs of the daemons", cloud.logs()))
    return report


@pytest.fixture(autouse=True)
def _options() -> Iterator[None]:
    with options.kept():
        yield


@pytest.fixture(scope="session", autouse=True)
def _databases() -> Iterator[None]:
    yield
    database.drop_kept()


@pytest.fixture
def socket_dir() -> Iterator[pathlib.Path]:
    """A directory for Unix sockets, whose whole paths take 107 bytes."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="cy-") as directory:
        yield pathlib.Path(directory)


def _of_the_run(
    factory: pytest.TempPathFactory,
    name: str,
    prepare: Callable[[pathlib.Path], None],
) -> pathlib.Path:
    """Return a directory that the first worker to ask for it has filled."""
    base = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    directory = base / name
    with lockutils.external_lock(f"{name}.lock", lock_path=str(base)):
        if not directory.exists():
            # One that could not be filled is not taken for one that was.
            draft = pathlib.Path(tempfile.mkdtemp(dir=base))
            prepare(draft)
            draft.rename(directory)
    return directory


@pytest.fixture(scope="session")
def keystone(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[keystone_fixture.Keystone]:
    """A Keystone for the whole run; tests make users and projects in it."""
    peer = keystone_fixture.Keystone(
        tmp_path_factory.mktemp("keystone"),
        _of_the_run(
            tmp_path_factory, "keystone-prepared", keystone_fixture.prepare
        ),
    )
    peer.start()
    yield peer
    peer.stop()


@pytest.fixture(scope="session")
def placement(
    keystone: keystone_fixture.Keystone,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[placement_fixture.Placement]:
    """A Placement for the whole run; host names keep tests apart in it."""
    peer = placement_fixture.Placement(
        tmp_path_factory.mktemp("placement"), keystone
    )
    peer.start()
    yield peer
    peer.stop()


@pytest.fixture(scope="session")
def _nova() -> Iterator[nova_events.NovaEvents]:
    peer = nova_events.NovaEvents()
    peer.start()
    yield peer
    peer.stop()


@pytest.fixture
def nova(_nova: nova_events.NovaEvents) -> nova_events.NovaEvents:
    """A Nova that takes every event, and has seen none yet."""
    _nova.reset()
    return _nova


@pytest.fixture(scope="session")
def transport_url() -> Iterator[str]:
    """URL of a virtual host on RabbitMQ that this run has for itself."""
    with rabbit.virtual_host() as url:
        yield url


@pytest.fixture(scope="module", params=["mysql", "postgresql"])
def cloud(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    keystone: keystone_fixture.Keystone,
    placement: placement_fixture.Placement,
    _nova: nova_events.NovaEvents,
) -> Iterator[services.Cloud]:
    """A Cyborg on a database of its own, with nothing started yet.

    A module whose subject is the same on each engine chooses one by
    parametrizing this; each engine is chosen by about half of those.
    """
    with (
        database.database(request.param) as database_url,
        rabbit.virtual_host() as transport_url,
    ):
        made = services.Cloud(
            tmp_path_factory.mktemp(f"cloud-{request.param}"),
            keystone,
            placement,
            _nova,
            database_url,
            transport_url,
        )
        made.prepare()
        yield made
        made.stop()
