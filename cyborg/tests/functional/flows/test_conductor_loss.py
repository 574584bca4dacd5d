"""Conductors come and go; what was promised is kept."""

from collections.abc import Iterator
import concurrent.futures
import signal
import uuid

import pytest

from cyborg.tests.fixtures import client
from cyborg.tests.fixtures import nova_events
from cyborg.tests.fixtures import process
from cyborg.tests.fixtures import services
from cyborg.tests.functional.flows import site

# Conductors race on each engine in the tests of the conductor.
pytestmark = pytest.mark.parametrize("cloud", ["postgresql"], indirect=True)

# How long an event may take that another conductor has to send.
TAKEN_OVER = 60


@pytest.fixture
def conductor(running: services.Cloud) -> Iterator[process.Process]:
    """The one conductor that runs; it runs again after the test."""
    daemon = running.processes["conductor-control-1"]
    yield daemon
    if not daemon.running:
        daemon.start()


def new_arqs(member: client.Client, profile: str) -> list[dict[str, str]]:
    body = {"device_profile_name": profile}
    arqs: list[dict[str, str]] = member.post("/accelerator_requests", body)[
        "arqs"
    ]
    return arqs


def bind_body(
    compute: site.Compute, arqs: list[dict[str, str]], instance: str
) -> dict[str, list[dict[str, str]]]:
    provider = compute.provider()
    assert provider is not None
    return client.bind_body(arqs, compute.host, provider["uuid"], instance)


def check_bound(
    nova_for_member: client.Client,
    nova: nova_events.NovaEvents,
    arqs: list[dict[str, str]],
    instance: str,
) -> None:
    """Check that an instance has its ARQs and that Nova was told of each."""
    found = nova_for_member.get("/accelerator_requests", instance=instance)
    assert {arq["uuid"] for arq in found["arqs"]} == {
        arq["uuid"] for arq in arqs
    }
    assert {arq["state"] for arq in found["arqs"]} == {"Bound"}
    events = nova.wait_for(instance, len(arqs), TAKEN_OVER)
    assert {event["tag"] for event in events} == {arq["uuid"] for arq in arqs}
    assert {event["status"] for event in events} == {"completed"}


@pytest.mark.parametrize(
    "point", ["bind-committed", "outbox-claimed", "outbox-sent"]
)
def test_event_survives_the_conductor(
    point: str,
    conductor: process.Process,
    compute: site.Compute,
    profile: str,
    member: client.Client,
    nova_for_member: client.Client,
    nova: nova_events.NovaEvents,
) -> None:
    conductor.restart(CYBORG_DIE_AT=point)
    instance = str(uuid.uuid4())
    arqs = new_arqs(member, profile)
    answer = nova_for_member.request(
        "PATCH",
        "/accelerator_requests",
        json=bind_body(compute, arqs, instance),
    )
    # Dead before it could answer, or after.
    assert answer.status_code == (503 if point == "bind-committed" else 202)
    assert conductor.wait() == -signal.SIGKILL
    if point != "outbox-sent":
        assert nova.delivered(instance) == []

    conductor.start()
    check_bound(nova_for_member, nova, arqs, instance)
    nova_for_member.delete("/accelerator_requests", instance=instance)
    assert site.handles_in_use(compute) == 0


def test_event_waits_for_nova(
    conductor: process.Process,
    compute: site.Compute,
    profile: str,
    member: client.Client,
    nova_for_member: client.Client,
    nova: nova_events.NovaEvents,
) -> None:
    nova.status = 503
    instance = str(uuid.uuid4())
    arqs = new_arqs(member, profile)
    nova_for_member.patch(
        "/accelerator_requests", bind_body(compute, arqs, instance)
    )
    process.wait_until(lambda: nova.posts, "an attempt to tell Nova", 30)
    conductor.kill()
    nova.status = None
    conductor.start()
    check_bound(nova_for_member, nova, arqs, instance)
    nova_for_member.delete("/accelerator_requests", instance=instance)


def test_server_without_a_host_is_told_again(
    compute: site.Compute,
    profile: str,
    member: client.Client,
    nova_for_member: client.Client,
    nova: nova_events.NovaEvents,
) -> None:
    nova.default_code = 422
    instance = str(uuid.uuid4())
    arqs = new_arqs(member, profile)
    nova_for_member.patch(
        "/accelerator_requests", bind_body(compute, arqs, instance)
    )
    process.wait_until(lambda: nova.posts, "an attempt to tell Nova", 30)
    nova.default_code = 200
    check_bound(nova_for_member, nova, arqs, instance)
    nova_for_member.delete("/accelerator_requests", instance=instance)


def test_second_conductor_takes_over(
    running: services.Cloud,
    conductor: process.Process,
    compute: site.Compute,
    profile: str,
    member: client.Client,
    nova_for_member: client.Client,
    nova: nova_events.NovaEvents,
) -> None:
    second = running.conductor("control-2")
    second.start(CYBORG_DIE_AT="outbox-claimed")
    # Calls are dealt out in turn. With binds only, the second gets one of the
    # first few, and dies of its event.
    waiting = [new_arqs(member, profile) for _ in range(8)]
    instances: dict[str, list[dict[str, str]]] = {}
    while second.running and waiting:
        instance = str(uuid.uuid4())
        instances[instance] = waiting.pop()
        body = bind_body(compute, instances[instance], instance)
        answer = nova_for_member.request(
            "PATCH", "/accelerator_requests", json=body
        )
        if answer.status_code == 503:
            # The call was in the hands of the one that died; Nova may repeat.
            nova_for_member.patch("/accelerator_requests", body)
    assert second.wait(60) == -signal.SIGKILL
    given = sum(len(arqs) for arqs in instances.values())
    assert site.handles_in_use(compute) == given
    for instance, arqs in instances.items():
        check_bound(nova_for_member, nova, arqs, instance)
    for instance in instances:
        nova_for_member.delete("/accelerator_requests", instance=instance)
    for arqs in waiting:
        uuids = ",".join(arq["uuid"] for arq in arqs)
        member.delete("/accelerator_requests", arqs=uuids)
    assert site.handles_in_use(compute) == 0


def test_two_conductors_never_give_one_handle_twice(
    running: services.Cloud,
    conductor: process.Process,
    compute: site.Compute,
    profile: str,
    member: client.Client,
    nova_for_member: client.Client,
    nova: nova_events.NovaEvents,
) -> None:
    second = running.conductor("control-3")
    second.start()
    wanted = site.FAKE_HANDLES  # twice what there is: each asks for two
    requests = {
        str(uuid.uuid4()): new_arqs(member, profile) for _ in range(wanted)
    }

    def bind(instance: str) -> int:
        body = bind_body(compute, requests[instance], instance)
        answer = nova_for_member.request(
            "PATCH", "/accelerator_requests", json=body
        )
        return int(answer.status_code)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        statuses = dict(zip(requests, pool.map(bind, requests), strict=True))
    winners = [one for one, status in statuses.items() if status == 202]
    assert set(statuses.values()) == {202, 409}
    assert len(winners) == site.FAKE_HANDLES // 2
    assert site.handles_in_use(compute) == site.FAKE_HANDLES
    for instance in winners:
        check_bound(nova_for_member, nova, requests[instance], instance)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(
            pool.map(
                lambda one: nova_for_member.delete(
                    "/accelerator_requests", instance=one
                ),
                winners,
            )
        )
    for instance in set(requests) - set(winners):
        uuids = ",".join(arq["uuid"] for arq in requests[instance])
        member.delete("/accelerator_requests", arqs=uuids)
    assert site.handles_in_use(compute) == 0
    assert second.terminate() == 0


def test_calls_wait_for_a_conductor(
    conductor: process.Process, member: client.Client, profile: str
) -> None:
    conductor.kill()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        asked = pool.submit(new_arqs, member, profile)
        # Reads need no conductor.
        assert member.get("/accelerator_requests")["arqs"] == []
        conductor.start()
        arqs = asked.result(60)
    uuids = ",".join(arq["uuid"] for arq in arqs)
    member.delete("/accelerator_requests", arqs=uuids)


def test_conductor_ends_when_asked(conductor: process.Process) -> None:
    assert conductor.terminate() == 0
