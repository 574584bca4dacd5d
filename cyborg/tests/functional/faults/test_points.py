"""Each point at which a process may die: it dies there, and nothing is lost.

The points are read from the source, so that none is forgotten. With
``CYBORG_FAULT_POINTS=all`` each is tried, otherwise those after a change that
cannot be taken back.
"""

from collections.abc import Callable
from collections.abc import Iterator
import os
import random

import pytest

from cyborg.tests.fixtures import process
from cyborg.tests.functional.faults import check
from cyborg.tests.functional.faults import clients
from cyborg.tests.functional.faults import points
from cyborg.tests.functional.faults import site as site_module
from cyborg.tests.functional.faults.site import FUNCTIONS

# What leads to a point, in two parts: before and after the daemons are told
# to die there.
Scene = Callable[[clients.Cloud], Iterator[None]]


def _wait(
    instance: clients.Instance, cloud: clients.Cloud, state: str
) -> None:
    def is_so() -> bool:
        rows = cloud.site.query(
            "SELECT uuid, CAST(state AS CHAR) state "
            "FROM extended_accelerator_requests"
        )
        found = {row.uuid: row.state for row in rows}
        return all(found.get(uuid) == state for uuid in instance.arqs)

    process.wait_until(is_so, f"ARQs {state}")


def _boot(profile: str) -> Scene:
    def scene(cloud: clients.Cloud) -> Iterator[None]:
        yield
        cloud.boot(profile)

    return scene


def _load(cloud: clients.Cloud) -> Iterator[None]:
    """Boot with an image that is not loaded."""
    first = cloud.boot("function-a")
    _wait(first, cloud, "Bound")
    cloud.delete(first)
    yield
    cloud.boot("image-b")


def _fail(cloud: clients.Cloud) -> Iterator[None]:
    cloud.site.steer("gpu-host", create_mdev={"fail": "broken"})
    yield
    cloud.boot("mdev")


def _delete(cloud: clients.Cloud) -> Iterator[None]:
    instance = cloud.boot("mdev")
    _wait(instance, cloud, "Bound")
    yield
    cloud.delete(instance)


def _unbind(cloud: clients.Cloud) -> Iterator[None]:
    instance = cloud.boot("mdev")
    _wait(instance, cloud, "Bound")
    yield
    cloud.unbind(instance)


def _postpone(cloud: clients.Cloud) -> Iterator[None]:
    """Clean a handle while the card refuses."""
    instance = cloud.boot("mdev")
    _wait(instance, cloud, "Bound")
    cloud.site.steer("gpu-host", remove_mdev={"fail": "broken"})
    yield
    cloud.delete(instance)


def _program(cloud: clients.Cloud) -> Iterator[None]:
    yield
    cloud.program(FUNCTIONS["function-a"])


def _hang(cloud: clients.Cloud) -> Iterator[None]:
    """Give up a load that the card has not finished."""
    cloud.site.steer("fpga-host", program={"hang": True})
    cloud.program(FUNCTIONS["function-a"])
    process.wait_until(
        lambda: cloud.site.query("SELECT 1 FROM jobs WHERE step = 'Fencing'"),
        "a load given up",
    )
    yield
    cloud.site.steer("fpga-host")


def _give_up(cloud: clients.Cloud) -> Iterator[None]:
    """Wait in vain for a card to load."""
    cloud.site.steer("fpga-host", program={"hang": True})
    yield
    cloud.program(FUNCTIONS["function-a"])


def _update(cloud: clients.Cloud) -> Iterator[None]:
    yield
    cloud.firmware(FUNCTIONS["function-a"])


def _report(cloud: clients.Cloud) -> Iterator[None]:
    yield
    cloud.site.equip("gpu-host", devices=2)


def _remove(cloud: clients.Cloud) -> Iterator[None]:
    cloud.site.equip("gpu-host", devices=2)
    process.wait_until(
        lambda: len(cloud.site.query("SELECT id FROM deployables")) == 3,
        "the second card",
    )
    yield
    cloud.site.equip("gpu-host", devices=1)


def _clean(cloud: clients.Cloud) -> Iterator[None]:
    """Give back what has to be clean before it is given again."""
    instance = cloud.boot("plain")
    _wait(instance, cloud, "Bound")
    yield
    cloud.delete(instance)


def _clean_in_vain(cloud: clients.Cloud) -> Iterator[None]:
    cloud.site.steer("fpga-host", cleaning=[])
    yield from _clean(cloud)


def _reload(cloud: clients.Cloud) -> Iterator[None]:
    """Have a guest's mdev vanish from a host that goes on."""
    instance = cloud.boot("mdev")
    _wait(instance, cloud, "Bound")
    yield
    cloud.site.reload_driver("gpu-host")


def _leave(cloud: clients.Cloud) -> Iterator[None]:
    """Start an agent with the state of a day on which somebody had an mdev."""
    instance = cloud.boot("mdev")
    _wait(instance, cloud, "Bound")
    recall = cloud.site.remember("gpu-host")
    cloud.delete(instance)
    process.wait_until(lambda: not cloud.site.mdevs(), "the mdev removed")
    agent = cloud.site.agents["gpu-host"]
    agent.kill()
    recall()
    yield
    agent.launch()


def _disable(cloud: clients.Cloud) -> Iterator[None]:
    yield
    cloud.set_status(random.Random(0), "disable")


def _lay_out(cloud: clients.Cloud) -> Iterator[None]:
    """Have another provider count a card."""
    (host,) = cloud.site.query(
        "SELECT provider_layout layout FROM hosts WHERE hostname = 'gpu-host'"
    )
    yield
    cloud.lay_out("gpu-host", "pool" if host.layout == "device" else "device")


SCENES: dict[str, Scene] = {
    "create-committed": _boot("plain"),
    "bind-committed": _boot("plain"),
    "delete-committed": _delete,
    "unbind-committed": _unbind,
    "bind-claimed": _boot("mdev"),
    "bind-preparing": _boot("mdev"),
    "bind-prepared": _boot("mdev"),
    "bind-stored": _boot("mdev"),
    "bind-failed": _fail,
    "bind-programming": _load,
    "bind-programmed": _load,
    "bind-loaded": _load,
    "cleanup-claimed": _delete,
    "cleanup-cleaned": _delete,
    "cleanup-stored": _delete,
    "job-postponed": _postpone,
    "program-claimed": _program,
    "program-programming": _program,
    "program-programmed": _program,
    "program-stored": _program,
    "image-found": _load,
    "load-given-up": _give_up,
    "load-fenced": _hang,
    "firmware-claimed": _update,
    "firmware-programming": _update,
    "firmware-programmed": _update,
    "firmware-stored": _update,
    "owner-claimed": _boot("plain"),
    "owner-found": _boot("plain"),
    "owner-stored": _boot("plain"),
    "outbox-claimed": _boot("plain"),
    "outbox-sent": _boot("plain"),
    "outbox-recorded": _boot("plain"),
    "report-stored": _report,
    "sync-claimed": _report,
    "providers-made": _report,
    "providers-removed": _remove,
    "status-stored": _disable,
    "move-left": _lay_out,
    "move-recorded": _lay_out,
    "agent-image-ready": _load,
    "agent-program-intended": _load,
    "agent-programmed": _load,
    "agent-program-recorded": _load,
    "agent-fenced": _hang,
    "agent-mdev-intended": _boot("mdev"),
    "agent-mdev-made": _boot("mdev"),
    "agent-mdev-recorded": _boot("mdev"),
    "agent-cleanup-intended": _delete,
    "agent-mdev-removed": _delete,
    "agent-mdev-forgotten": _delete,
    "agent-reported": _report,
    "agent-return-intended": _reload,
    "agent-leftover-intended": _leave,
    "clean-claimed": _clean,
    "clean-begun": _clean,
    "clean-answered": _clean,
    "clean-stored": _clean,
    "clean-given-up": _clean_in_vain,
    "agent-clean-intended": _clean,
    "agent-clean-step": _clean,
    "agent-clean-stepped": _clean,
    "agent-clean-recorded": _clean,
    "errand-created": _boot("mdev"),
    "errand-result-stored": _boot("mdev"),
    "agent-errands-fetched": _boot("mdev"),
    "agent-errand-done": _boot("mdev"),
}


CORE = (
    "agent-clean-stepped",
    "agent-errand-done",
    "agent-mdev-made",
    "agent-mdev-removed",
    "agent-programmed",
    "bind-committed",
    "bind-prepared",
    "bind-programmed",
    "clean-answered",
    "cleanup-cleaned",
    "delete-committed",
    "errand-result-stored",
    "outbox-sent",
    "providers-made",
)


def _chosen() -> tuple[str, ...]:
    if os.environ.get("CYBORG_FAULT_POINTS") == "all":
        return points.names()
    return CORE


def test_every_point_has_its_scene() -> None:
    assert sorted(SCENES) == list(points.names())
    assert set(CORE) <= SCENES.keys()


@pytest.mark.parametrize("point", _chosen())
def test_death_at(point: str, site: site_module.Site) -> None:
    daemons = site.conductors
    if point.startswith("agent-"):
        daemons = list(site.agents.values())
    cloud = clients.Cloud(site)
    scene = SCENES[point](cloud)
    next(scene)
    site.arm(daemons, point)
    for _ in scene:
        raise AssertionError("a scene has two parts")
    process.wait_until(
        lambda: not all(daemon.running for daemon in daemons),
        f"death at {point}",
        30,
    )
    site.all_up()
    held = site.query("SELECT uuid FROM devices WHERE device_state = 'error'")
    assert bool(held) == (point == "clean-given-up")
    if held:
        # Only an operator ends that.
        site.tool("manage", "device", "release", *[row.uuid for row in held])
    assert check.after(cloud, audit=False) == []
