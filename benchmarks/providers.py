"""What layouts of providers cost: Placement's answers, and fences.

Hosts with cards that are alike are published to a real Placement, once with a
provider for each card and once with a pool for each host. Then Nova's question
is asked, with its default limit of candidates, for cards in one group and in
several. At last cards are disabled all at once, by as many administrators.

The floor of publishing and of fences is the same number of writes to
Placement, one after the other, by one connection that knows every generation.

    python -m benchmarks.providers --hosts 1000 --cards 8 --fenced-hosts 25
"""

import argparse
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from concurrent import futures
import contextlib
import math
import pathlib
import tempfile
import time
from typing import Any

from oslo_config import cfg
from oslo_service import backend

# What is imported below would choose another one.
backend.init_backend(backend.BackendType.THREADING)

from benchmarks import common  # noqa: E402
from cyborg.clients import auth  # noqa: E402
from cyborg.clients import placement as client  # noqa: E402
from cyborg.conductor.inventory import devices  # noqa: E402
from cyborg.conductor.placement import sync  # noqa: E402
from cyborg.db import device as device_db  # noqa: E402
from cyborg.tests.fixtures import cards  # noqa: E402
from cyborg.tests.fixtures import database  # noqa: E402
from cyborg.tests.fixtures import placement as placement_fixture  # noqa: E402

CONF = cfg.CONF

# Nova's [scheduler] max_placement_results.
LIMIT = 1000
LAYOUTS = ("device", "pool")
AMOUNTS = (1, 2, 4, 8)
ROUNDS = 5
# Combinations of providers beyond which Placement is not asked: it looks at
# each, at some thousands a second.
MOST = 40_000
CLASS = "CUSTOM_MEASURED"


class Site:
    """Hosts of one layout in a database, and their Placement."""

    def __init__(
        self, peer: placement_fixture.Placement, layout: str, hosts: int
    ) -> None:
        self.peer = peer
        self.layout = layout
        self.names = [f"cn-{number:04}" for number in range(hosts)]
        self.hosts: list[cards.Host] = []

    def fill(self, number: int) -> None:
        """Store the cards, and make the compute nodes' own providers."""
        for name in self.names:
            root = self.peer.create_provider(name)
            self.peer.client.put(
                f"/resource_providers/{root}/inventories",
                json={
                    "resource_provider_generation": 0,
                    "inventories": {"VCPU": {"total": 64}},
                },
            )
            host = cards.Host(name, self.layout)
            for card in range(number):
                host.add_card(f"{name}_0000:{card:02x}:00.0", rc=CLASS)
            self.hosts.append(host)

    def publish(self) -> float:
        """Tell Placement of all hosts; return seconds."""
        began = time.perf_counter()
        for name in self.names:
            sync.sync_host(self.hosts[0].context, name)
        return time.perf_counter() - began

    def ask(self, amounts: Sequence[int]) -> tuple[float, int]:
        """Ask for cards, one group for each amount.

        :returns: seconds, and hosts among the candidates
        """
        query: dict[str, Any] = {
            "resources": "VCPU:1",
            "limit": LIMIT,
            "group_policy": "none",
        }
        for number, amount in enumerate(amounts, 1):
            query[f"resources{number}"] = f"{CLASS}:{amount}"
        began = time.perf_counter()
        found = self.peer.get("/allocation_candidates", **query)
        took = time.perf_counter() - began
        hosts = {
            summary["root_provider_uuid"]
            for summary in found["provider_summaries"].values()
        }
        return took, len(hosts)

    def count(self) -> int:
        """Return how many requests Placement has answered."""
        return int(self.peer.client.get(common.COUNT).json())

    def providers(self) -> list[str]:
        return [
            provider["uuid"]
            for host in self.hosts
            for provider in self.peer.tree(host.row.root_rp_uuid).values()
        ]


@contextlib.contextmanager
def _site(layout: str, hosts: int, number: int) -> Iterator[Site]:
    with contextlib.ExitStack() as stack:
        directory = pathlib.Path(
            stack.enter_context(
                tempfile.TemporaryDirectory(prefix="cyborg-bench-")
            )
        )
        peer = placement_fixture.Placement(
            directory, module="benchmarks.placement"
        )
        peer.start()
        stack.callback(peer.stop)
        config = directory / "cyborg.conf"
        config.write_text(
            "[placement]\nauth_type = admin_token\ntoken = admin\n"
            f"endpoint = {peer.url}\n"
        )
        CONF([], default_config_files=[str(config)])
        auth.reset()
        client.forget()
        url = stack.enter_context(database.with_tables("mysql"))
        stack.enter_context(database.configured(url))
        site = Site(peer, layout, hosts)
        site.fill(number)
        yield site
        CONF.reset()


# -- floors


def _writes(site: Site) -> float:
    """Return seconds for a write to each provider of Cyborg's, one by one."""
    bodies = []
    for uuid in site.providers():
        path = f"/resource_providers/{uuid}/inventories"
        bodies.append((path, site.peer.get(path)))
    began = time.perf_counter()
    for path, body in bodies:
        site.peer.client.put(path, json=body)
    return time.perf_counter() - began


# -- what is measured


def candidates(
    layout: str, hosts: int, number: int
) -> Iterator[common.Figure]:
    with _site(layout, hosts, number) as site:
        before = site.count()
        took = site.publish()
        sent = site.count() - before
        floor = _writes(site)
        yield common.Figure(f"{layout}: publish", took, "s", floor)
        yield common.Figure(f"{layout}: requests of a host", sent / hosts, "")
        kinds: tuple[tuple[str, Callable[[int], list[int]]], ...] = (
            ("in one group", lambda amount: [amount]),
            ("in as many groups", lambda amount: [1] * amount),
        )
        for kind, groups in kinds:
            for amount in (n for n in AMOUNTS if n <= number):
                name = f"{layout}: {amount} {kind}"
                ways = hosts
                if layout == "device":
                    ways *= math.perm(number, len(groups(amount)))
                if ways > MOST:
                    common.say(f"{name}: {ways} combinations, not asked")
                    break
                first, there = site.ask(groups(amount))
                times = [first]
                if first < 1:
                    times += [
                        site.ask(groups(amount))[0] for _ in range(ROUNDS)
                    ]
                yield common.Figure(name, 1000 * common.median(times), "ms")
                yield common.Figure(f"{name}: hosts", there, "", lower=False)
        pid = site.peer.process.pid
        yield common.Figure(
            f"{layout}: Placement's memory", common.resident(pid), "MiB"
        )


def fences(layout: str, hosts: int, number: int) -> Iterator[common.Figure]:
    with _site(layout, hosts, number) as site:
        site.publish()
        floor = _writes(site)
        context = site.hosts[0].context
        uuids = [row.uuid for row in device_db.find(context)]

        def disable(uuid: str) -> float:
            devices.set_status(context, uuid, "maintaining", None)
            return time.perf_counter() - began

        with futures.ThreadPoolExecutor(len(uuids)) as executor:
            began = time.perf_counter()
            times = list(executor.map(disable, uuids))
        what = f"{layout}: {len(uuids)} fences at once"
        yield common.Figure(f"{what}, p50", common.median(times), "s")
        yield common.Figure(
            f"{what}, p99", common.percentile(times, 99), "s", floor
        )


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--hosts", type=int, default=20)
    parser.add_argument("--cards", type=int, default=8)
    parser.add_argument("--fenced-hosts", type=int, default=5)
    parser.add_argument(
        "--layouts",
        default=",".join(LAYOUTS),
        help="which to measure, as device,pool",
    )
    options: argparse.Namespace = parser.parse_args()
    figures: list[common.Figure] = []

    def measure() -> None:
        for layout in options.layouts.split(","):
            common.say(f"{options.hosts} hosts of layout {layout}")
            figures.extend(candidates(layout, options.hosts, options.cards))
            if options.fenced_hosts:
                figures.extend(
                    fences(layout, options.fenced_hosts, options.cards)
                )

    try:
        common.run(measure)
    finally:
        database.drop_kept()
    common.publish(figures, options.json)


if __name__ == "__main__":
    main()
