"""What it costs Nova to get an accelerator and to give it back.

One cycle is what Nova does for a server: POST (create), PATCH (bind), GET
(read by instance), DELETE (by instance). It runs through a real cyborg-api,
a real conductor, RabbitMQ and MariaDB, beside other ARQs that are bound. The
floor, measured in turns with it, is :mod:`benchmarks.floor`.

The rows that MariaDB reads for each step are counted in this process, by the
same use cases.

CPU is that of API and conductor, user and system, for one cycle; without
that of the client, the broker and the database, which other programs share.

    python -m benchmarks.boot_cycle --others 0,100000 --concurrency 1,8,32
"""

import argparse
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

from oslo_service import backend

# What is imported below would choose another one.
backend.init_backend(backend.BackendType.THREADING)

from benchmarks import common  # noqa: E402
from benchmarks import floor  # noqa: E402
from benchmarks import records  # noqa: E402
from cyborg import context as cyborg_context  # noqa: E402
from cyborg.common import service  # noqa: E402
from cyborg.conductor import manager  # noqa: E402
from cyborg.conductor import rpcapi  # noqa: E402
from cyborg.db import arq as arq_db  # noqa: E402
from cyborg.db import engine as db_engine  # noqa: E402
from cyborg.tests.fixtures import database  # noqa: E402
from cyborg.tests.fixtures import process  # noqa: E402

MODES = ("rpc", "local")
STEPS = ("POST", "PATCH", "GET", "DELETE")
PATH = "/accelerator/v2/accelerator_requests"
HOST = "measured-host"
CARDS = 64
# Servers of a client, so that each lives until Nova was told of it.
ALIVE = 8


class Target:
    """An API and its conductor, and what a cycle asks of them."""

    def __init__(
        self,
        api: process.Process,
        conductor: process.Process,
        port: int,
        providers: Sequence[str],
    ) -> None:
        self._port = port
        self._providers = providers
        self._processes = (api, conductor)
        self.timing = common.Timing()

    @property
    def pids(self) -> list[int]:
        return [each.pid for each in self._processes]

    def start(self) -> None:
        for each in reversed(self._processes):
            each.start()

    def stop(self) -> None:
        for each in self._processes:
            each.terminate()

    def run(self, cycles: int, clients: int) -> common.Timing:
        """Run cycles, shared out among clients; return what they took."""

        def work(number: int, timing: common.Timing) -> None:
            client = common.Client(self._port)
            alive: list[str] = []
            for turn in range(cycles // clients):
                provider = self._providers[
                    (number + turn * clients) % len(self._providers)
                ]
                alive.append(self._boot(client, provider, timing))
                if len(alive) > ALIVE:
                    self._delete(client, alive.pop(0), timing)
            while alive:
                self._delete(client, alive.pop(), timing)

        return common.load(work, clients, self.pids)

    def _boot(
        self, client: common.Client, provider: str, timing: common.Timing
    ) -> str:
        """Create, bind and read an ARQ; return its instance."""
        instance = records.new_uuid()
        with timing.step("POST"):
            made = client.call(
                "POST", PATH, {"device_profile_name": records.PROFILE}
            )
        body = floor.binding_body(
            made["arqs"][0]["uuid"], HOST, provider, instance
        )
        with timing.step("PATCH"):
            client.call("PATCH", PATH, body)
        with timing.step("GET"):
            read = client.call("GET", PATH + floor.query(instance=instance))
        assert [arq["state"] for arq in read["arqs"]] == ["Bound"], read
        return instance

    def _delete(
        self, client: common.Client, instance: str, timing: common.Timing
    ) -> None:
        with timing.step("DELETE"):
            client.call("DELETE", PATH + floor.query(instance=instance))


def targets(
    site: common.Site, mode: str, providers: Sequence[str]
) -> tuple[Target, Target]:
    """Return Cyborg and its floor, started."""
    # A name of its own each time: both modes write a file by it.
    host = f"{mode}-control"
    cyborg = Target(
        site.api(f"{mode}-api", {"conductor": {"mode": mode}}),
        site.conductor(host),
        site.port,
        providers,
    )
    port = process.free_port()
    conductor = site.program(
        "floor",
        "conductor",
        site.database_url,
        site.transport_url,
        site.nova_url,
        ready=lambda: floor.READY in conductor.log,
    )
    api = site.program(
        "floor",
        "api",
        mode,
        str(port),
        site.database_url,
        site.transport_url,
        ready=lambda: process.answers(f"http://127.0.0.1:{port}"),
    )
    least = Target(api, conductor, port, providers)
    for each in (cyborg, least):
        each.start()
    return cyborg, least


def compare(
    pair: tuple[Target, Target], cycles: int, clients: int, rounds: int
) -> list[common.Timing]:
    """Run both in turns, so that what else the machine does hits both."""
    totals = [common.Timing(), common.Timing()]
    for _ in range(rounds):
        for target, total in zip(pair, totals, strict=True):
            total.join(target.run(cycles, clients))
    return totals


def figures(
    label: str, clients: int, timings: Sequence[common.Timing]
) -> list[common.Figure]:
    """Return the figures of one comparison."""
    value, least = timings
    made = []
    if clients == 1:
        made = [
            common.Figure(
                f"{label} {step}, p50", value.p50(step), "ms", least.p50(step)
            )
            for step in STEPS
        ]

    def rate(timing: common.Timing) -> float:
        return timing.count("GET") / timing.wall

    def work(timing: common.Timing) -> float:
        return timing.cpu / timing.count("GET") * 1000

    return [
        *made,
        common.Figure(f"{label} cycle, p50", cycle(value), "ms", cycle(least)),
        common.Figure(
            f"{label} cycles", rate(value), "per s", rate(least), lower=False
        ),
        common.Figure(
            f"{label} CPU of a cycle", work(value), "ms", work(least)
        ),
    ]


def cycle(timing: common.Timing) -> float:
    """Return the milliseconds of a whole cycle."""
    return sum(timing.p50(step) for step in STEPS)


def growth(
    mode: str, by_size: dict[int, list[common.Timing]]
) -> list[common.Figure]:
    """Compare the largest table with the smallest.

    Each as a multiple of its own floor's whole cycle at that time, so that a
    machine that was busier meanwhile does not count as growth.
    """
    smallest, largest = min(by_size), max(by_size)
    if smallest == largest:
        return []

    def relative(others: int, step: str) -> float:
        value, least = by_size[others]
        return value.p50(step) / cycle(least)

    return [
        common.Figure(
            f"{mode}, {largest} others beside {smallest}: {step}",
            relative(largest, step),
            "floor cycles",
            relative(smallest, step),
        )
        for step in STEPS
    ]


def _as_nova() -> cyborg_context.RequestContext:
    return cyborg_context.RequestContext(
        project_id="measured-project",
        roles=["member"],
        is_service_request=True,
        overwrite=False,
    )


def rows_read(provider: str) -> dict[str, int]:
    """Return how many rows the database reads for each step."""
    conductor = rpcapi.local(
        manager.ConductorManager(notify=lambda works: None)
    )
    read: dict[str, int] = {}

    def total() -> int:
        # One thread, so one connection of the pool.
        with db_engine.reading(_as_nova()) as connection:
            rows = connection.exec_driver_sql(
                "SHOW SESSION STATUS LIKE 'Handler_read%%'"
            )
            return sum(int(value) for _name, value in rows)

    def step(name: str, work: Callable[[], Any]) -> Any:
        before = total()
        result = work()
        read[name] = total() - before
        return result

    instance = records.new_uuid()
    (arq,) = step(
        "POST",
        lambda: conductor.arqs_create(
            _as_nova(), records.PROFILE, "measured-project"
        ),
    )
    binding = {
        "uuid": arq.uuid,
        "hostname": HOST,
        "device_rp_uuid": provider,
        "instance_uuid": instance,
    }
    step("PATCH", lambda: conductor.arqs_bind(_as_nova(), [binding], None))
    step("GET", lambda: arq_db.find(_as_nova(), instances=[instance]))
    step("DELETE", lambda: conductor.arqs_delete(_as_nova(), None, instance))
    return read


def rows_by_size(
    by_size: dict[int, dict[str, int]],
) -> list[common.Figure]:
    """Return the rows read beside each number of other ARQs.

    A table of few rows MariaDB reads as a whole.
    """
    return [
        common.Figure(f"{others} others: rows read by {step}", rows, "rows")
        for others, read in by_size.items()
        for step, rows in read.items()
    ]


def measure(arguments: argparse.Namespace) -> list[common.Figure]:
    """Run everything and return the figures."""
    made: list[common.Figure] = []
    with common.site() as site:
        with site.engine.begin() as connection:
            profile = records.add_profile(connection)
            cards = records.add_cards(connection, [HOST], CARDS)
        providers = [card[1] for card in cards]
        pairs = (
            {mode: targets(site, mode, providers) for mode in arguments.modes}
            if len(arguments.modes) == 1
            else None
        )
        by_size: dict[str, dict[int, list[common.Timing]]] = {}
        rows: dict[int, dict[str, int]] = {}
        service.prepare([], [site.write_config("reader")])
        there = 0
        for others in sorted(arguments.others):
            common.say(f"{others} other ARQs")
            with site.engine.begin() as connection:
                records.add_bound(connection, profile, others - there, there)
            there = others
            with database.configured(site.database_url):
                rows[others] = rows_read(providers[0])
            for mode in arguments.modes:
                pair = pairs[mode] if pairs else targets(site, mode, providers)
                compare(pair, 40, 1, 1)
                for clients in arguments.concurrency:
                    timings = compare(
                        pair, arguments.cycles, clients, arguments.rounds
                    )
                    if clients == 1:
                        by_size.setdefault(mode, {})[others] = timings
                    label = f"{mode}, {others} others, {clients} at once:"
                    made += figures(label, clients, timings)
                if not pairs:
                    for target in pair:
                        target.stop()
        made += rows_by_size(rows)
        for mode, timings_of in by_size.items():
            made += growth(mode, timings_of)
        left = site.scalar(
            "SELECT COUNT(*) FROM extended_accelerator_requests"
        )
        assert left == there, f"{left - there} ARQs leaked"
    return made


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def main() -> None:
    """Print what a boot cycle costs."""
    parser = common.parser(__doc__)
    parser.add_argument("--others", type=_numbers, default=[0, 10000, 100000])
    parser.add_argument("--concurrency", type=_numbers, default=[1, 8, 32])
    parser.add_argument("--cycles", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--modes", type=lambda text: text.split(","), default=list(MODES)
    )
    arguments = parser.parse_args()
    common.run(lambda: common.publish(measure(arguments), arguments.json))


if __name__ == "__main__":
    main()
