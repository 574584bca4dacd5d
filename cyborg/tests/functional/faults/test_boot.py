"""A server that vanishes at any step of its boot leaves nothing behind.

Nova makes the requests, binds them, waits for the event and starts the guest;
here it dies after each of these steps and never deletes anything. Its API
does not know the server, and Placement has no allocation of it.
"""

from collections.abc import Callable
from collections.abc import Iterator
import signal

import pytest

from cyborg.tests.fixtures import process
from cyborg.tests.functional.faults import check
from cyborg.tests.functional.faults import clients
from cyborg.tests.functional.faults import site as site_module

# Seconds.
GRACE, UNBOUND_AGE = 1, 2

Configure = Callable[[str], None]


@pytest.fixture
def configure(site: site_module.Site) -> Iterator[Configure]:
    """Make conductors look for left-overs soon; as ever after the test."""

    def reload(*options: str) -> None:
        for daemon in site.conductors:
            site.configure(daemon.name.removeprefix("conductor-"), *options)
            daemon.signal(signal.SIGHUP)

    def use(action: str) -> None:
        reload(
            f"orphan_action = {action}",
            f"orphan_grace = {GRACE}",
            f"unbound_arq_max_age = {UNBOUND_AGE}",
        )

    site.all_up()
    yield use
    reload()
    site.nova.servers.clear()


def _bound(cloud: clients.Cloud, instance: clients.Instance) -> bool:
    rows = cloud.site.query(
        "SELECT uuid FROM extended_accelerator_requests WHERE state = 'Bound'"
    )
    return {row.uuid for row in rows} >= set(instance.arqs)


def _vanishing(cloud: clients.Cloud) -> list[clients.Instance]:
    """Begin to boot servers; each comes as far as another step."""
    created = [cloud.create(profile) for profile in clients.PROFILES]
    binding = [cloud.boot(profile) for profile in ("mdev", "function-a")]
    waiting = [cloud.boot(profile) for profile in ("mdev", "function-a")]
    for instance in waiting:
        cloud.site.nova.wait_for(instance.uuid, len(instance.arqs))
    # The card has its image already: bound by the answer.
    waiting.append(cloud.boot("function-a"))
    assert all(each.state == "bound" for each in binding + waiting)
    return created + binding + waiting


def _alive(cloud: clients.Cloud) -> list[clients.Instance]:
    """Boot a server that Nova knows, and one that it has not stored yet."""
    known, claimed = (cloud.boot("mdev") for _ in range(2))
    cloud.site.nova.servers[known.uuid] = "a-project"
    (provider,) = (
        provider["uuid"]
        for provider in cloud.site.placement.tree(
            cloud.site.roots["gpu-host"]
        ).values()
    )
    cloud.site.placement.allocate(
        claimed.uuid,
        {"allocations": {provider: {"resources": {"FPGA": 1}}}},
    )
    return [known, claimed]


def _uuids(cloud: clients.Cloud) -> set[str]:
    return {
        row.uuid
        for row in cloud.site.query(
            "SELECT uuid FROM extended_accelerator_requests"
        )
    }


def test_all_of_it_is_freed(
    site: site_module.Site, configure: Configure
) -> None:
    cloud = clients.Cloud(site)
    alive = _alive(cloud)
    gone = _vanishing(cloud)
    configure("free")
    kept = {uuid for instance in alive for uuid in instance.arqs}
    process.wait_until(lambda: _uuids(cloud) == kept, "the others freed")
    for instance in gone:
        instance.state = "deleted"
    assert all(_bound(cloud, instance) for instance in alive)
    # What has to be cleaned first is in use until then.
    process.wait_until(
        lambda: (
            site.query(
                "SELECT COUNT(*) n FROM attach_handles WHERE in_use = 1"
            )[0].n
            == len(kept)
        ),
        "their handles free",
    )
    for instance in alive:
        site.placement.deallocate(instance.uuid)
    site.nova.servers.clear()
    process.wait_until(lambda: not _uuids(cloud), "these freed in the end")
    for instance in alive:
        instance.state = "deleted"
    assert check.after(cloud) == []


def test_it_is_only_reported_if_that_is_wanted(
    site: site_module.Site, configure: Configure
) -> None:
    cloud = clients.Cloud(site)
    alive = _alive(cloud)
    gone = _vanishing(cloud)
    before = _uuids(cloud)
    configure("report")
    never_bound = {
        uuid
        for instance in gone
        if instance.state == "new"
        for uuid in instance.arqs
    }
    subjects = [f"ARQ {uuid} of project" for uuid in never_bound] + [
        f"Instance {instance.uuid} is gone"
        for instance in gone
        if instance.state == "bound"
    ]

    def logged() -> str:
        return "".join(daemon.log for daemon in site.conductors)

    process.wait_until(
        lambda: all(subject in logged() for subject in subjects),
        "every left-over reported",
    )
    assert _uuids(cloud) == before
    assert not any(
        f"Instance {instance.uuid} is gone" in logged() for instance in alive
    )
    for instance in alive:
        site.placement.deallocate(instance.uuid)
    assert check.after(cloud) == []
