"""What agents cost the control plane.

A heartbeat, a report in which one attribute changed, by devices of the host,
and the first report of new hosts until a real Placement has all of their
providers. Calls go over RabbitMQ to a real conductor on MariaDB.

The floor of a heartbeat is one RPC call that runs one UPDATE; that of a
report is one RPC call with as many bytes of plain data that reads the five
tables of the host and writes the one attribute; that of a first publish is
the same requests to Placement, one after the other, by one thread.

    python -m benchmarks.reports --devices 1,8,64 --hosts 20
"""

import argparse
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import json
import pathlib
import tempfile
import time

from oslo_config import cfg
from oslo_service import backend

# What is imported below would choose another one.
backend.init_backend(backend.BackendType.THREADING)

import oslo_messaging as messaging  # noqa: E402

from benchmarks import common  # noqa: E402
from benchmarks import floor  # noqa: E402
from benchmarks import records  # noqa: E402
from cyborg import context as cyborg_context  # noqa: E402
from cyborg.agent import rpcapi as agent_rpcapi  # noqa: E402
from cyborg.common import rpc  # noqa: E402
from cyborg.common import service  # noqa: E402
from cyborg.conductor import rpcapi  # noqa: E402
from cyborg.objects import report  # noqa: E402
from cyborg.tests.fixtures import placement as placement_fixture  # noqa: E402
from cyborg.tests.fixtures import process  # noqa: E402

CONF = cfg.CONF
ROUNDS = 3
HANDLES = 4


# -- what is reported


def device(host: str, number: int, generation: int) -> report.DriverDevice:
    """Return a card with virtual functions, as a driver reports it."""
    address = {"domain": "0000", "bus": f"{number:02x}", "device": "00"}

    def info(function: int) -> str:
        return json.dumps(address | {"function": str(function)})

    return report.DriverDevice(
        vendor="0x8086",
        model="QAT",
        type="QAT",
        std_board_info='{"device_id": "0x37c8", "class": "Co-processor"}',
        vendor_board_info='{"vendor_info": "qat_vb_info"}',
        controlpath_id=report.DriverControlPathID(
            cpid_type="PCI", cpid_info=info(0)
        ),
        deployable_list=[
            report.DriverDeployable(
                name=f"{host}_0000:{number:02x}:00.0",
                num_accelerators=HANDLES,
                driver_name="intel",
                attribute_list=[
                    report.DriverAttribute(key="rc", value="CUSTOM_QAT"),
                    report.DriverAttribute(
                        key="trait0", value="CUSTOM_QAT_37C8"
                    ),
                    report.DriverAttribute(
                        key="firmware",
                        value=str(generation if not number else 0),
                    ),
                ],
                attach_handle_list=[
                    report.DriverAttachHandle(
                        attach_type="PCI", attach_info=info(function)
                    )
                    for function in range(1, HANDLES + 1)
                ],
            )
        ],
    )


def devices(
    host: str, count: int, generation: int = 0
) -> list[report.DriverDevice]:
    return [device(host, number, generation) for number in range(count)]


class Agent:
    """Speaks to the conductor as the agent of a host."""

    def __init__(self, conductor: rpcapi.ConductorAPI, host: str) -> None:
        self._conductor = conductor
        self.host = host
        self.digest = ""
        self._speaker = {
            "machine_id": host,
            "boot_id": records.new_uuid(),
            "rpc_version": agent_rpcapi.VERSION,
        }
        self._in_use = ""

    def report(self, found: list[report.DriverDevice]) -> None:
        """Send a full report that differs from the last one."""
        self.digest = f"{records.new_uuid()}{records.new_uuid()}"[:64]
        self._conductor.report_data(
            cyborg_context.get_admin_context(),
            self.host,
            found,
            rpc_host=self.host,
            digest=self.digest,
            drivers=[
                {
                    "name": "intel_qat_driver",
                    "complete": True,
                    "error": None,
                    "capabilities": [],
                    "cpids": [each.controlpath_id.cpid_info for each in found],
                }
            ],
            agent=self._speaker,
        )

    def heartbeat(self) -> None:
        """Say that nothing changed."""
        answer = self._conductor.report_heartbeat(
            cyborg_context.get_admin_context(),
            self.host,
            self.host,
            self.digest,
            self._speaker,
            self._in_use,
        )
        assert not answer["need_full_report"]
        if answer["in_use"] is not None:
            self._in_use = answer["in_use"]["digest"]


@contextlib.contextmanager
def with_placement(
    module: str = "placement.wsgi.api",
) -> Iterator[placement_fixture.Placement]:
    """Provide a real Placement, on SQLite.

    :param module: what has its WSGI application
    """
    with tempfile.TemporaryDirectory(prefix="cyborg-bench-") as directory:
        made = placement_fixture.Placement(
            pathlib.Path(directory), module=module
        )
        made.start()
        try:
            yield made
        finally:
            made.process.kill()


@contextlib.contextmanager
def connected(site: common.Site) -> Iterator[rpcapi.ConductorAPI]:
    """Provide the interface to the conductors of a site."""
    service.prepare([], [site.write_config("client")])
    try:
        yield rpcapi.remote()
    finally:
        rpc.cleanup()
        # The next site has other options.
        CONF.reset()


# -- heartbeats and changes


def in_turns(
    works: Sequence[tuple[Callable[[int], object], int]], repeats: int
) -> list[common.Timing]:
    """Repeat each work; return the times, and CPU of the processes given."""
    timings = [common.Timing() for _ in works]
    for turn in range(ROUNDS):
        for (work, pid), total in zip(works, timings, strict=True):
            for number in range(3):
                work(-number)

            def one(
                client: int,
                timing: common.Timing,
                work: Callable[[int], object] = work,
                turn: int = turn,
            ) -> None:
                for number in range(repeats):
                    with timing.step("call"):
                        work(1 + turn * repeats + number)

            total.join(common.load(one, 1, [pid]))
    return timings


def figures(
    name: str, value: common.Timing, least: common.Timing
) -> list[common.Figure]:
    def cpu(timing: common.Timing) -> float:
        return timing.cpu / timing.count("call") * 1000

    return [
        common.Figure(
            f"{name}, p50", value.p50("call"), "ms", least.p50("call")
        ),
        common.Figure(
            f"{name}, CPU of the conductor", cpu(value), "ms", cpu(least)
        ),
    ]


class Pair:
    """A conductor and the floor, and clients of both."""

    def __init__(
        self, site: common.Site, conductor: rpcapi.ConductorAPI
    ) -> None:
        self.conductor = conductor
        self._server = site.conductor("reports-control")
        self._least = site.program(
            "floor",
            "conductor",
            site.database_url,
            site.transport_url,
            site.nova_url,
            ready=lambda: floor.READY in self._least.log,
        )
        self._client = messaging.get_rpc_client(
            rpc.get_transport(), messaging.Target(topic=floor.TOPIC)
        )

    def start(self) -> None:
        self._server.start()
        self._least.start()

    def stop(self) -> None:
        self._server.terminate()
        self._least.terminate()

    def heartbeats(self, agent: Agent) -> list[common.Figure]:
        """Measure heartbeats of a host."""

        def beat(_number: int) -> None:
            agent.heartbeat()

        def least(_number: int) -> None:
            self._client.call(
                {}, "heartbeat", host=agent.host, digest=agent.digest
            )

        return figures("heartbeat", *self._in_turns(beat, least, 200))

    def changes(self, agent: Agent, count: int) -> list[common.Figure]:
        """Measure reports that change one attribute of a host."""
        plain = [
            each.obj_to_primitive() for each in devices(agent.host, count)
        ]

        def report_change(number: int) -> None:
            agent.report(devices(agent.host, count, number + 9))

        def least(number: int) -> None:
            self._client.call(
                {},
                "report",
                host=agent.host,
                devices=plain,
                value=str(number),
            )

        return figures(
            f"change on a host of {count} devices",
            *self._in_turns(report_change, least, 30),
        )

    def _in_turns(
        self,
        work: Callable[[int], None],
        least: Callable[[int], None],
        repeats: int,
    ) -> list[common.Timing]:
        return in_turns(
            [(work, self._server.pid), (least, self._least.pid)], repeats
        )


def steady(
    site: common.Site, conductor: rpcapi.ConductorAPI, counts: Sequence[int]
) -> list[common.Figure]:
    """Measure heartbeats, and reports that change one attribute."""
    pair = Pair(site, conductor)
    pair.start()
    made: list[common.Figure] = []
    for count in counts:
        agent = Agent(conductor, f"host-{count}")
        agent.report(devices(agent.host, count))
        if not made:
            made += pair.heartbeats(agent)
        made += pair.changes(agent, count)
    pair.stop()
    return made


# -- first publish


def publish(
    site: common.Site,
    conductor: rpcapi.ConductorAPI,
    placement: placement_fixture.Placement,
    hosts: int,
    count: int,
) -> list[common.Figure]:
    """Measure new hosts until Placement has all of their providers."""
    names = [f"new-{number}" for number in range(hosts)]
    for name in names:
        placement.create_provider(name)
    server = site.conductor("publish-control")
    server.start()
    start, before = time.perf_counter(), common.cpu([server.pid])
    for name in names:
        Agent(conductor, name).report(devices(name, count))
    reported = time.perf_counter() - start
    process.wait_until(
        lambda: (
            not site.scalar(
                "SELECT COUNT(*) FROM hosts WHERE hostname LIKE 'new-%%' "
                "AND sync_done < sync_wanted"
            )
        ),
        "all providers published",
        600,
    )
    taken = time.perf_counter() - start
    cpu = common.cpu([server.pid]) - before
    server.terminate()
    least = floor_publish(placement, hosts, count)
    total = hosts * count
    return [
        common.Figure(
            f"first reports of {hosts} hosts of {count} devices",
            hosts / reported,
            "hosts per s",
            lower=False,
        ),
        common.Figure(
            "providers published",
            total / taken,
            "per s",
            total / least,
            lower=False,
        ),
        common.Figure(
            "conductor's CPU of a provider", cpu / total * 1000, "ms"
        ),
    ]


def floor_publish(
    placement: placement_fixture.Placement, hosts: int, count: int
) -> float:
    """Make as many providers by as few requests; return the seconds."""
    client = placement.client
    start = time.perf_counter()
    for host in range(hosts):
        root = placement.create_provider(f"floor-{host}")
        for number in range(count):
            uuid = records.new_uuid()
            made = client.post(
                "/resource_providers",
                json={
                    "name": f"floor-{host}-{number}",
                    "uuid": uuid,
                    "parent_provider_uuid": root,
                },
            ).json()
            path = f"/resource_providers/{uuid}"
            made = client.put(
                f"{path}/inventories",
                json={
                    "resource_provider_generation": made["generation"],
                    "inventories": {"CUSTOM_QAT": {"total": HANDLES}},
                },
            ).json()
            client.put(
                f"{path}/traits",
                json={
                    "resource_provider_generation": made[
                        "resource_provider_generation"
                    ],
                    "traits": ["CUSTOM_QAT_37C8", "OWNER_CYBORG"],
                },
            )
    return time.perf_counter() - start


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def measure(arguments: argparse.Namespace) -> list[common.Figure]:
    """Run everything and return the figures."""
    with (
        with_placement() as placement,
        common.site(placement.url) as site,
        connected(site) as conductor,
    ):
        return [
            *steady(site, conductor, arguments.devices),
            *publish(site, conductor, placement, arguments.hosts, 8),
        ]


def main() -> None:
    """Print what agents cost."""
    parser = common.parser(__doc__)
    parser.add_argument("--devices", type=_numbers, default=[1, 8, 64])
    parser.add_argument("--hosts", type=int, default=20)
    arguments = parser.parse_args()
    common.run(lambda: common.publish(measure(arguments), arguments.json))


if __name__ == "__main__":
    main()
