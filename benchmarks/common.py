"""What the programs here share: a site to measure, clocks, and a table."""

import argparse
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import dataclasses
import http.client
import json
import os
import pathlib
import platform
import statistics
import sys
import tempfile
import threading
import time
from typing import Any

import pytest
import sqlalchemy as sa

from cyborg.tests.fixtures import database
from cyborg.tests.fixtures import process
from cyborg.tests.fixtures import rabbit
from cyborg.tests.fixtures import services

# What Nova sends: a user's roles, and a service token, which noauth2 adds.
HEADERS = {
    "Content-Type": "application/json",
    "OpenStack-API-Version": "accelerator 2.3",
    "X-Roles": "member,reader",
    "X-Project-Id": "measured-project",
    "X-User-Id": "measured-user",
}
# Path at which our Placement says how many requests it has answered.
COUNT = "/requests-so-far"

_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


# -- results


@dataclasses.dataclass(frozen=True)
class Figure:
    """One measured figure.

    :ivar floor: the same, of the least code; None where there is none
    :ivar lower: whether less is better
    """

    name: str
    value: float
    unit: str
    floor: float | None = None
    lower: bool = True

    @property
    def ratio(self) -> float | None:
        """How many times better the floor is."""
        if not self.floor or not self.value:
            return None
        if self.lower:
            return self.value / self.floor
        return self.floor / self.value


def table(figures: Iterable[Figure]) -> str:
    """Return figures as text, one on each line."""
    rows = [("", "measured", "floor", "ratio", "")]
    for figure in figures:
        ratio = figure.ratio
        rows.append(
            (
                figure.name,
                _number(figure.value),
                "" if figure.floor is None else _number(figure.floor),
                "" if ratio is None else f"{ratio:.2f}",
                figure.unit,
            )
        )
    widths = [max(len(row[index]) for row in rows) for index in range(5)]
    return "\n".join(
        f"{row[0]:<{widths[0]}}"
        + "".join(f"  {row[i]:>{widths[i]}}" for i in (1, 2, 3))
        + f"  {row[4]}"
        for row in rows
    )


def _number(value: float) -> str:
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return the arguments that every program has."""
    made = argparse.ArgumentParser(
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--json", help="also write the figures to this file")
    return made


def publish(figures: Sequence[Figure], path: str | None) -> None:
    """Print figures, and write them as JSON if there is a path."""
    sys.stdout.write(table(figures) + "\n")
    if path:
        content = {
            "machine": {
                "cores": os.cpu_count(),
                "machine": platform.platform(),
                "python": platform.python_version(),
            },
            "figures": [
                dataclasses.asdict(figure) | {"ratio": figure.ratio}
                for figure in figures
            ],
        }
        pathlib.Path(path).write_text(json.dumps(content, indent=1) + "\n")


def say(text: str) -> None:
    """Tell whoever waits what is going on."""
    sys.stderr.write(f"{text}\n")


def run(measure: Callable[[], None]) -> None:
    """Call ``measure``; what it needs and cannot have is one line."""
    try:
        measure()
    except pytest.skip.Exception as error:
        sys.exit(str(error))


# -- clocks


def cpu(pids: Iterable[int]) -> float:
    """Return the seconds of CPU that processes have used, user and system."""
    ticks = 0
    for pid in pids:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
        fields = stat.rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / _TICK


def resident(pid: int) -> float:
    """Return the MiB of memory a process has."""
    pages = pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]
    return int(pages) * _PAGE / 2**20


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def percentile(values: Sequence[float], percent: int) -> float:
    return statistics.quantiles(values, n=100)[percent - 1]


@dataclasses.dataclass
class Timing:
    """How long something took, each time; seconds.

    :ivar wall: of all, from the first to the last
    :ivar cpu: of the servers, for each time
    """

    steps: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    wall: float = 0.0
    cpu: float = 0.0

    def p50(self, step: str) -> float:
        """Return the median in milliseconds."""
        return median(self.steps[step]) * 1000

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Note how long what is inside takes."""
        start = time.perf_counter()
        yield
        taken = time.perf_counter() - start
        self.steps.setdefault(name, []).append(taken)

    def join(self, other: "Timing") -> None:
        for step, values in other.steps.items():
            self.steps.setdefault(step, []).extend(values)
        self.wall += other.wall
        self.cpu += other.cpu

    def count(self, step: str) -> int:
        return len(self.steps[step])


def load(
    work: Callable[[int, Timing], None], clients: int, pids: Sequence[int]
) -> Timing:
    """Let clients work side by side; return what it took.

    :param work: called once a client, with its number and where it notes
        what it did
    :param pids: processes whose CPU counts
    """
    total = Timing()
    parts = [Timing() for _ in range(clients)]
    errors: list[BaseException] = []

    def guarded(number: int) -> None:
        try:
            work(number, parts[number])
        except BaseException as error:
            errors.append(error)

    threads = [
        threading.Thread(target=guarded, args=(number,))
        for number in range(clients)
    ]
    before, start = cpu(pids), time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    total.wall = time.perf_counter() - start
    total.cpu = cpu(pids) - before
    if errors:
        raise errors[0]
    for part in parts:
        total.join(part)
    return total


# -- HTTP


class Client:
    """A connection to an API that is kept open."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection(
            "127.0.0.1", port, timeout=60
        )
        self._connection.connect()

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Send a request; return the document in the answer, or None.

        :raises AssertionError: it was refused
        """
        text = self.raw(method, path, body)
        return json.loads(text) if text else None

    def raw(self, method: str, path: str, body: Any = None) -> bytes:
        """Send a request; return the body of the answer."""
        content = None if body is None else json.dumps(body)
        self._connection.request(method, path, content, HEADERS)
        response = self._connection.getresponse()
        text = response.read()
        assert response.status < 300, (method, path, response.status, text)
        return text


# -- a site


class Site(services.Cloud):
    """Cyborg's daemons over a database and a broker, without Keystone."""

    def __init__(
        self,
        directory: pathlib.Path,
        database_url: str,
        transport_url: str,
        placement_url: str,
        nova_url: str,
    ) -> None:
        self.directory = directory
        self.database_url = database_url
        self.transport_url = transport_url
        self.placement_url = placement_url
        self.nova_url = nova_url
        self.options: services.Options = {}
        self.port = process.free_port()
        self.base_url = f"http://127.0.0.1:{self.port}/accelerator"
        self.processes: dict[str, process.Process] = {}
        self.engine = sa.create_engine(database_url)

    def _options(self, host: str) -> services.Options:
        state = self.directory / host
        state.mkdir(exist_ok=True)
        return services.merged(
            {
                "DEFAULT": {
                    "host": host,
                    "auth_strategy": "noauth2",
                    "transport_url": self.transport_url,
                    "state_path": state,
                },
                "api": {"port": self.port, "api_workers": 1},
                "database": {"connection": self.database_url},
                "placement": {
                    "auth_type": "admin_token",
                    "endpoint": self.placement_url,
                    "token": "admin",
                    "endpoint_override": self.placement_url,
                },
                "nova": {
                    "auth_type": "none",
                    "endpoint": self.nova_url,
                    "endpoint_override": self.nova_url,
                },
                "oslo_concurrency": {"lock_path": state / "locks"},
            },
            self.options,
        )

    def _program(self, command: str, *arguments: str) -> process.Program:
        # A start of its own: what is measured shares nothing with others.
        return [
            *(sys.executable, "-W", "ignore", "-m"),
            *(f"cyborg.cmd.{command}", *arguments),
        ]

    def program(
        self, module: str, *arguments: str, ready: Callable[[], bool]
    ) -> process.Process:
        """Make a program of this package; the caller starts it."""
        made = process.Process(
            "-".join((module, *arguments[:1])),
            [
                *(sys.executable, "-W", "ignore", "-m"),
                *(f"benchmarks.{module}", *arguments),
            ],
            self.directory,
            ready=lambda _: ready(),
        )
        self.processes[f"{made.name}-{len(self.processes)}"] = made
        return made

    def wait_idle(self) -> None:
        """Return when what was left to do in the background is done."""
        process.wait_until(
            lambda: not self.scalar("SELECT COUNT(*) FROM notifications"),
            "all events sent",
        )

    def scalar(self, statement: str) -> Any:
        with self.engine.connect() as connection:
            return connection.execute(sa.text(statement)).scalar()


@contextlib.contextmanager
def site(
    placement_url: str = "http://127.0.0.1:9", database_url: str | None = None
) -> Iterator[Site]:
    """Provide a site with a schema, and a Nova that takes every event.

    :param database_url: an empty database; None = one on the usual server
    """
    with contextlib.ExitStack() as stack:
        name = stack.enter_context(
            tempfile.TemporaryDirectory(prefix="cyborg-bench-")
        )
        if database_url is None:
            database_url = stack.enter_context(database.database("mysql"))
        transport_url = stack.enter_context(rabbit.virtual_host())
        directory = pathlib.Path(name)
        nova_port = process.free_port()
        made = Site(
            directory,
            database_url,
            transport_url,
            placement_url,
            f"http://127.0.0.1:{nova_port}",
        )
        nova = process.Process(
            "nova",
            [
                *(sys.executable, "-m", "cyborg.tests.fixtures.serve"),
                *("benchmarks.nova", "127.0.0.1", str(nova_port), "2"),
            ],
            directory,
            ready=lambda _: process.answers(f"http://127.0.0.1:{nova_port}"),
        )
        try:
            nova.start()
            made.run("dbsync", "upgrade")
            yield made
        except BaseException:
            say(made.logs())
            raise
        finally:
            for daemon in (*made.processes.values(), nova):
                daemon.kill()
            made.engine.dispose()
