"""How long the daemons take to start, and what they hold when idle.

CPU of a start is that of the process until it serves. The floor is a process
that imports the libraries such a daemon is made of, and nothing of Cyborg.

    python -m benchmarks.daemons
"""

import argparse
import pathlib
import subprocess
import sys
import time

from benchmarks import common
from benchmarks import records
from cyborg.db import models
from cyborg.tests.fixtures import process

ROUNDS = 3
IDLE = 5  # seconds
HOST = "compute"

_BUS = "oslo_config.cfg oslo_log.log oslo_messaging oslo_versionedobjects.base"
_STORE = "sqlalchemy.orm oslo_db.sqlalchemy.enginefacade pymysql"
LIBRARIES = {
    "conductor": f"{_BUS} {_STORE} keystoneauth1.loading oslo_policy.policy",
    "api": (
        f"{_BUS} {_STORE} oslo_policy.policy pecan cheroot.wsgi jsonschema "
        "keystonemiddleware.auth_token paste.deploy oslo_middleware"
    ),
    "agent": f"{_BUS} oslo_privsep.priv_context stevedore keystoneauth1",
}
_FLOOR = """\
import importlib, pathlib, sys, time
from oslo_service import backend
backend.init_backend(backend.BackendType.THREADING)
for name in sys.argv[1:]:
    importlib.import_module(name)
rollup = pathlib.Path("/proc/self/smaps_rollup").read_text()
print(time.process_time(), rollup.replace("\\n", ";"))
"""


def _kib(rollup: str, name: str) -> int:
    for line in rollup.replace(";", "\n").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise ValueError(name)


def memory(pid: int) -> float:
    """Return the MiB that a process holds, shared pages in part."""
    rollup = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    return _kib(rollup, "Pss") / 1024


def floor(libraries: str) -> tuple[float, float]:
    """Return the ms of CPU and the MiB of importing libraries."""
    taken = []
    for _ in range(ROUNDS):
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", _FLOOR, *libraries.split()],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        seconds, _space, rollup = done.stdout.partition(" ")
        taken.append((float(seconds) * 1000, _kib(rollup, "Pss") / 1024))
    return (
        common.median([cpu for cpu, _memory in taken]),
        common.median([memory for _cpu, memory in taken]),
    )


def figures(name: str, daemon: process.Process) -> list[common.Figure]:
    """Start and stop a daemon some times; return what it took."""
    walls, cpus, memories, idle = [], [], [], []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        daemon.start()
        walls.append((time.perf_counter() - start) * 1000)
        cpus.append(common.cpu([daemon.pid]) * 1000)
        memories.append(memory(daemon.pid))
        # Not part of the start: threads that look around once.
        time.sleep(2)
        before = common.cpu([daemon.pid])
        time.sleep(IDLE)
        idle.append((common.cpu([daemon.pid]) - before) / IDLE * 100)
        daemon.terminate()
    least_cpu, least_memory = floor(LIBRARIES[name])
    return [
        common.Figure(f"cyborg-{name}: start", common.median(walls), "ms"),
        common.Figure(
            f"cyborg-{name}: CPU of a start",
            common.median(cpus),
            "ms",
            least_cpu,
        ),
        common.Figure(
            f"cyborg-{name}: memory",
            common.median(memories),
            "MiB",
            least_memory,
        ),
        common.Figure(
            f"cyborg-{name}: CPU when idle",
            common.median(idle),
            "% of a core",
        ),
    ]


def measure() -> list[common.Figure]:
    """Run everything and return the figures."""
    with common.site() as site:
        conductor = site.conductor("control")
        made = figures("conductor", conductor)
        made += figures("api", site.api())
        # Placement is away, so the conductor goes by what it knows.
        with site.engine.begin() as connection:
            host = {"uuid": records.new_uuid(), "hostname": HOST}
            records.insert(connection, models.Host, [host])
        conductor.start()
        made += figures("agent", site.agent(HOST))
    return made


def main() -> None:
    """Print what the daemons take."""
    arguments: argparse.Namespace = common.parser(__doc__).parse_args()
    common.run(lambda: common.publish(measure(), arguments.json))


if __name__ == "__main__":
    main()
