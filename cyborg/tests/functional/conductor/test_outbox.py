"""Events for Nova: batched, repeated, dropped, and never for the deleted."""

from collections.abc import Iterator
import uuid

from oslo_config import cfg
import pytest
import sqlalchemy as sa

from cyborg.clients import nova
from cyborg.common import exception
from cyborg.conductor.requests import binding
from cyborg.conductor.requests import sweeps
from cyborg.conductor.telling import outbox
from cyborg.db import models
from cyborg.tests.fixtures import inventory
from cyborg.tests.fixtures.inventory import PROJECT

CONF = cfg.CONF
OUTBOX = models.Notification.__table__


class Nova:
    """Answers with a code for each server, 200 unless told otherwise."""

    def __init__(self) -> None:
        self.posts: list[list[dict]] = []
        self.codes: dict[str, int] = {}
        self.away = False

    def send_events(self, events):
        if self.away:
            raise exception.NovaUnavailable(reason="away")
        self.posts.append(list(events))
        return {
            index: self.codes.get(event["server_uuid"], 200)
            for index, event in enumerate(events)
        }


@pytest.fixture
def compute(monkeypatch: pytest.MonkeyPatch) -> Iterator[Nova]:
    peer = Nova()
    monkeypatch.setattr(nova, "send_events", peer.send_events)
    yield peer


def _due_now(store: inventory.Store) -> None:
    store.execute(
        sa.update(OUTBOX).values(next_attempt_at=OUTBOX.c.created_at)
    )


def _send(store: inventory.Store) -> list[str]:
    gone: list[str] = []
    outbox.send_due(store.context, gone.extend)
    return gone


def test_events_of_many_instances_go_in_one_post(
    store: inventory.Store, compute: Nova
) -> None:
    (rp_uuid,) = store.report(inventory.device())
    instances = [store.bind(store.arqs(2), rp_uuid) for _ in range(3)]
    assert _send(store) == []
    (events,) = compute.posts
    assert len(events) == 6
    assert {event["server_uuid"] for event in events} == set(instances)
    assert {event["name"] for event in events} == {"accelerator-request-bound"}
    assert store.rows(models.Notification) == []
    _send(store)
    assert len(compute.posts) == 1


def test_an_instance_waits_for_its_last_arq(
    store: inventory.Store, compute: Nova
) -> None:
    fpga, gpu = store.report(
        inventory.device(),
        inventory.device("Gpu", 1, "MDEV", "GPU", bus="0d"),
    )
    instance = str(uuid.uuid4())
    arqs = store.arqs(2)
    binding.bind(
        store.context,
        [
            binding.Binding(arqs[0], inventory.HOST, fpga, instance),
            binding.Binding(arqs[1], inventory.HOST, gpu, instance),
        ],
        PROJECT,
    )
    assert sorted(store.states()) == ["BindStarted", "Bound"]
    _send(store)
    assert compute.posts == []
    store.execute(sa.delete(models.Job.__table__))
    sweeps.fail_stuck_bind(
        store.context,
        next(r for r in store.rows(models.ARQ) if r.state == "BindStarted"),
    )
    _send(store)
    (events,) = compute.posts
    assert {event["tag"]: event["status"] for event in events} == {
        arqs[0]: "completed",
        arqs[1]: "failed",
    }


def test_what_is_due_at_once_is_not_rounded_up(
    store: inventory.Store,
) -> None:
    (rp_uuid,) = store.report(inventory.device())
    (mdevs,) = store.report(
        inventory.device("Gpu", 1, "MDEV", "GPU", "0d", "cn2"), host="cn2"
    )[1:]
    store.bind(store.arqs(1), rp_uuid)
    arqs, instance = store.arqs(1), str(uuid.uuid4())
    binding.bind(
        store.context,
        [binding.Binding(arqs[0], "cn2", mdevs, instance)],
        PROJECT,
    )
    # MySQL would, to the next second.
    (event,) = store.rows(models.Notification)
    (job,) = store.rows(models.Job)
    assert event.next_attempt_at.microsecond == 0
    assert job.lease_expires_at.microsecond == 0


@pytest.mark.parametrize("code", [422, 403])
def test_what_nova_does_not_take_yet_is_sent_again(
    store: inventory.Store, compute: Nova, code: int
) -> None:
    (rp_uuid,) = store.report(inventory.device())
    early = store.bind(store.arqs(1), rp_uuid)
    store.bind(store.arqs(1), rp_uuid)
    compute.codes[early] = code
    assert _send(store) == []
    (left,) = store.rows(models.Notification)
    assert (left.instance_uuid, left.attempts) == (early, 1)
    del compute.codes[early]
    _due_now(store)
    _send(store)
    assert store.rows(models.Notification) == []


def test_an_outage_of_nova_loses_nothing(
    store: inventory.Store, compute: Nova
) -> None:
    (rp_uuid,) = store.report(inventory.device())
    store.bind(store.arqs(1), rp_uuid)
    compute.away = True
    _send(store)
    compute.away = False
    assert len(store.rows(models.Notification)) == 1
    _due_now(store)
    _send(store)
    assert store.rows(models.Notification) == []


def test_servers_that_are_gone_are_looked_at(
    store: inventory.Store, compute: Nova
) -> None:
    (rp_uuid,) = store.report(inventory.device())
    unknown = store.bind(store.arqs(1), rp_uuid)
    deleted = store.bind(store.arqs(1), rp_uuid)
    compute.codes |= {unknown: 404, deleted: 422}
    assert _send(store) == [unknown]
    store.execute(
        sa.update(OUTBOX).values(
            next_attempt_at=OUTBOX.c.created_at,
            created_at=sa.text("'2020-01-01 00:00:00'"),
        )
    )
    assert _send(store) == [deleted]
    assert store.rows(models.Notification) == []


def test_a_deleted_arq_is_never_announced(
    store: inventory.Store, compute: Nova
) -> None:
    (rp_uuid,) = store.report(inventory.device())
    store.delete(instance=store.bind(store.arqs(1), rp_uuid))
    _send(store)
    assert compute.posts == []


def test_an_arq_deleted_while_nova_is_told_leaves_nothing(
    store: inventory.Store, compute: Nova, monkeypatch: pytest.MonkeyPatch
) -> None:
    (rp_uuid,) = store.report(inventory.device())
    arqs = store.arqs(1)
    first = store.bind(arqs, rp_uuid)
    events = []

    def send_events(sent):
        events.extend(sent)
        if len(events) == 1:
            # And bound again at once, to another server.
            binding.unbind(store.context, arqs, PROJECT)
            store.bind(arqs, rp_uuid)
        return compute.send_events(sent)

    monkeypatch.setattr(nova, "send_events", send_events)
    _send(store)
    # That is another event, which the answer to the first does not settle.
    (left,) = store.rows(models.Notification)
    assert left.instance_uuid != first
    store.delete(arqs)
    _send(store)
    assert [event["server_uuid"] for event in events] == [first]
    assert store.rows(models.Notification) == []


def test_a_claimed_event_is_left_to_its_sender(
    store: inventory.Store, compute: Nova, monkeypatch: pytest.MonkeyPatch
) -> None:
    (rp_uuid,) = store.report(inventory.device())
    store.bind(store.arqs(1), rp_uuid)

    class Died(BaseException):
        """The sender is killed before Nova has answered."""

    def die(events, request_id=None):
        raise Died()

    monkeypatch.setattr(nova, "send_events", die)
    with pytest.raises(Died):
        _send(store)
    monkeypatch.setattr(nova, "send_events", compute.send_events)
    _send(store)
    assert compute.posts == []
    # When its claim has run out, somebody else sends it.
    _due_now(store)
    _send(store)
    assert len(compute.posts) == 1
