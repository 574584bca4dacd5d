"""A cloud of many hosts: what two conductors make of its agents.

One process plays all agents, over a real broker, to two real conductors with
a real Placement (on SQLite, which writes for one at a time) and a MariaDB of
their own. First every host reports for the first time; then, with all
published, every host sends heartbeats as fast as they are answered.

To publish a large cloud takes Placement hours, so that the second cloud is
written into the database as it looks afterwards. Its agents send heartbeats
as often as real ones, each at a time of its own.

    python -m benchmarks.cloud --hosts 1000 --steady 10000 --seconds 180
"""

import argparse
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import hashlib
import itertools
import json
import pathlib
import queue
import tempfile
import time

from oslo_config import cfg
from oslo_service import backend

# What is imported below would choose another one.
backend.init_backend(backend.BackendType.THREADING)

import sqlalchemy as sa  # noqa: E402

from benchmarks import common  # noqa: E402
from benchmarks import records  # noqa: E402
from benchmarks import reports  # noqa: E402
from cyborg.db import models  # noqa: E402
from cyborg.tests.fixtures import placement as placement_fixture  # noqa: E402
from cyborg.tests.fixtures import process  # noqa: E402
from cyborg.tests.functional.faults import peers  # noqa: E402

CONF = cfg.CONF
DEVICES = 8
CONDUCTORS = 2
# Agents that wait for an answer at the same time.
CLIENTS = 16
BEATS = 5  # of each host
BATCH = 500  # hosts written at a time
PUBLISH_TIMEOUT = 4 * 3600


@contextlib.contextmanager
def own_database() -> Iterator[str]:
    """Provide the URL of a MariaDB that nobody else counts statements of."""
    with tempfile.TemporaryDirectory(prefix="cyborg-bench-") as name:
        made = peers.MariaDB(pathlib.Path(name))
        made.process.start()
        try:
            yield made.url
        finally:
            made.process.kill()


class Cloud:
    """The conductors, their peers, and counters of what they do."""

    def __init__(
        self,
        site: common.Site,
        placement: placement_fixture.Placement,
        agents: Sequence[reports.Agent],
    ) -> None:
        self.site = site
        self.placement = placement
        self.agents = agents
        self.conductors = [
            site.conductor(f"control-{number}") for number in range(CONDUCTORS)
        ]

    def statements(self) -> int:
        """Return how many statements the database has run."""
        with self.site.engine.connect() as connection:
            rows = connection.exec_driver_sql(
                "SHOW GLOBAL STATUS WHERE Variable_name IN ('Com_select', "
                "'Com_insert', 'Com_update', 'Com_delete')"
            )
            return sum(int(value) for _name, value in rows)

    def requests(self) -> int:
        """Return how many requests Placement has answered."""
        return int(json.loads(self.placement.client.get(common.COUNT).text))

    def each(self, work: Callable[[reports.Agent], None]) -> None:
        """Let every agent work, some at a time."""
        waiting: queue.SimpleQueue[reports.Agent] = queue.SimpleQueue()
        for agent in self.agents:
            waiting.put(agent)

        def client(number: int, timing: common.Timing) -> None:
            with contextlib.suppress(queue.Empty):
                while True:
                    agent = waiting.get_nowait()
                    work(agent)

        common.load(client, CLIENTS, [])

    def beat_for(self, seconds: float) -> common.Timing:
        """Let agents send heartbeats when they are due, each in its turn."""
        interval = CONF.agent.heartbeat_interval / len(self.agents)
        turns = itertools.count()
        start = time.perf_counter()

        def client(number: int, timing: common.Timing) -> None:
            while True:
                turn = next(turns)
                due = start + turn * interval
                if due > start + seconds:
                    return
                time.sleep(max(0.0, due - time.perf_counter()))
                agent = self.agents[turn % len(self.agents)]
                with timing.step("heartbeat"):
                    agent.heartbeat()
                late = time.perf_counter() - due
                timing.steps.setdefault("since due", []).append(late)

        return common.load(client, CLIENTS, [])

    def behind(self) -> int:
        """Return how many hosts Placement does not know yet."""
        return int(
            self.site.scalar(
                "SELECT COUNT(*) FROM hosts WHERE sync_done < sync_wanted"
            )
        )

    def phase(self, name: str, work: Callable[[], None]) -> "Phase":
        """Run a part of the measurement and count what it took."""
        common.say(name)
        pids = [each.pid for each in self.conductors]
        statements, requests = self.statements(), self.requests()
        cpu, start = common.cpu(pids), time.perf_counter()
        work()
        return Phase(
            seconds=time.perf_counter() - start,
            cpu=common.cpu(pids) - cpu,
            statements=self.statements() - statements,
            requests=self.requests() - requests,
            memory=max(common.resident(pid) for pid in pids),
        )


class Phase:
    """What a part of the measurement took."""

    def __init__(
        self,
        seconds: float,
        cpu: float,
        statements: int,
        requests: int,
        memory: float,
    ) -> None:
        self.seconds = seconds
        self.cpu = cpu
        self.statements = statements
        self.requests = requests
        self.memory = memory

    def figures(self, name: str, what: str, count: int) -> list[common.Figure]:
        """Return the figures of a phase in which ``count`` were done."""
        return [
            common.Figure(
                f"{name}: {what}s", count / self.seconds, "per s", lower=False
            ),
            common.Figure(
                f"{name}: CPU of conductors",
                self.cpu / count * 1000,
                f"ms for each {what}",
            ),
            common.Figure(
                f"{name}: statements",
                self.statements / count,
                f"for each {what}",
            ),
            common.Figure(
                f"{name}: requests to Placement",
                self.requests / count,
                f"for each {what}",
            ),
            common.Figure(
                f"{name}: memory of a conductor", self.memory, "MiB"
            ),
        ]


def seed(site: common.Site, names: Sequence[str]) -> None:
    """Write what the conductors know of hosts that have been published."""
    common.say(f"writing {len(names)} hosts into the database")
    for start in range(0, len(names), BATCH):
        with site.engine.begin() as connection:
            records.add_cards(
                connection, names[start : start + BATCH], DEVICES
            )
    with site.engine.begin() as connection:
        connection.execute(
            sa.update(models.Host).values(
                report_digest=sa.func.sha2(models.Host.hostname, 256)
            )
        )


def measure_steady(hosts: int, seconds: float) -> list[common.Figure]:
    """Run heartbeats of a large cloud and return the figures."""
    with (
        reports.with_placement("benchmarks.placement") as placement,
        own_database() as database_url,
        common.site(placement.url, database_url) as site,
        reports.connected(site) as conductor,
    ):
        agents = [
            reports.Agent(conductor, f"compute-{number}")
            for number in range(hosts)
        ]
        for agent in agents:
            agent.digest = hashlib.sha256(agent.host.encode()).hexdigest()
        seed(site, [agent.host for agent in agents])
        cloud = Cloud(site, placement, agents)
        for each in cloud.conductors:
            each.start()
        timings: list[common.Timing] = []
        phase = cloud.phase(
            f"{hosts} hosts send heartbeats for {seconds:.0f} s",
            lambda: timings.append(cloud.beat_for(seconds)),
        )
        (timing,) = timings
        name = f"{hosts} hosts"
        return [
            *phase.figures(name, "heartbeat", timing.count("heartbeat")),
            common.Figure(
                f"{name}: conductors busy", phase.cpu / phase.seconds, "cores"
            ),
            common.Figure(
                f"{name}: answer, p50", timing.p50("heartbeat"), "ms"
            ),
            common.Figure(
                f"{name}: answered after it was due, p99",
                common.percentile(timing.steps["since due"], 99) * 1000,
                "ms",
            ),
        ]


def measure(hosts: int) -> list[common.Figure]:
    """Publish a cloud, send heartbeats, and return the figures."""
    with (
        reports.with_placement("benchmarks.placement") as placement,
        own_database() as database_url,
        common.site(placement.url, database_url) as site,
        reports.connected(site) as conductor,
    ):
        agents = [
            reports.Agent(conductor, f"compute-{number}")
            for number in range(hosts)
        ]
        for agent in agents:
            placement.create_provider(agent.host)
        cloud = Cloud(site, placement, agents)
        for each in cloud.conductors:
            each.start()

        def report(agent: reports.Agent) -> None:
            agent.report(reports.devices(agent.host, DEVICES))

        def first() -> None:
            cloud.each(report)
            process.wait_until(
                lambda: not cloud.behind(), "all published", PUBLISH_TIMEOUT
            )

        def beat() -> None:
            for _ in range(BEATS):
                cloud.each(reports.Agent.heartbeat)

        published = cloud.phase(f"{hosts} hosts report", first)
        steady = cloud.phase("steady state", beat)
        return [
            *published.figures("first publish", "provider", hosts * DEVICES),
            *steady.figures("steady state", "heartbeat", hosts * BEATS),
        ]


def main() -> None:
    """Print what a cloud costs."""
    parser = common.parser(__doc__)
    parser.add_argument(
        "--hosts", type=int, default=1000, help="to publish; 0 = none"
    )
    parser.add_argument(
        "--steady", type=int, default=10000, help="that beat; 0 = none"
    )
    parser.add_argument("--seconds", type=float, default=180)
    arguments: argparse.Namespace = parser.parse_args()

    def run() -> None:
        figures = []
        if arguments.hosts:
            figures += measure(arguments.hosts)
        if arguments.steady:
            figures += measure_steady(arguments.steady, arguments.seconds)
        common.publish(figures, arguments.json)

    common.run(run)


if __name__ == "__main__":
    main()
