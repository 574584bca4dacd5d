"""Notifications: what is sent, when, and that it never stands in the way."""

from collections.abc import Iterator
import json
import pathlib
import threading
from typing import Any

from oslo_config import cfg
from oslo_config import fixture as config_fixture
from oslo_messaging import conffixture
from oslo_messaging.notify import _impl_test
import pytest
import sqlalchemy as sa

import cyborg
from cyborg.agent import rpcapi
from cyborg.clients import nova
from cyborg.clients import placement
from cyborg.common import exception
from cyborg.common import notifier
from cyborg.conductor.inventory import devices
from cyborg.conductor.placement import sync
from cyborg.conductor.requests import binding
from cyborg.conductor.requests import servers
from cyborg.conductor.requests import sweeps
from cyborg.conductor.telling import notifications
from cyborg.conductor.work import steps
from cyborg.db import engine
from cyborg.db import job as job_db
from cyborg.db import models
from cyborg.tests.fixtures import inventory
from cyborg.tests.fixtures import standin
from cyborg.tests.fixtures.inventory import PROJECT

CONF = cfg.CONF
SAMPLES = (
    pathlib.Path(cyborg.__file__).parents[1] / "doc" / "notification_samples"
)
# Members of a sample that are others each time.
VOLATILE = {
    *("uuid", "instance_uuid", "device_rp_uuid"),
    *("created_at", "updated_at", "missing_since"),
    *("device_uuid", "at"),
}


@pytest.fixture
def config() -> Iterator[config_fixture.Config]:
    with config_fixture.Config(CONF) as fixture:
        yield fixture


@pytest.fixture
def sent(config: config_fixture.Config) -> Iterator["Sent"]:
    """Notifications are on and stay in memory."""
    with conffixture.ConfFixture(CONF, transport_url="fake://"):
        assert not notifier.is_on()
        config.config(group=notifier.GROUP, driver=["test"])
        config.config(host="conductor-1")
        notifier.stop()
        _impl_test.reset()
        yield Sent()
        notifier.stop()


class Sent:
    """What was sent so far."""

    def messages(self) -> list[dict[str, Any]]:
        # Ends the thread once everything is out.
        notifier.stop()
        return [
            {
                "event_type": message["event_type"],
                "payload": message["payload"],
                "priority": priority.upper(),
                "publisher_id": message["publisher_id"],
            }
            for _, message, priority, _ in _impl_test.NOTIFICATIONS
        ]

    def take(self) -> list[tuple[str, dict[str, Any]]]:
        """Return type and data of each, and forget them."""
        found = [
            (message["event_type"], message["payload"]["cyborg_object.data"])
            for message in self.messages()
        ]
        _impl_test.reset()
        return found

    def types(self) -> list[str]:
        return [event for event, _ in self.take()]


@standin.of(rpcapi.AgentAPI)
class Agent:
    """An agent that refuses."""

    def prepare_handle(self, *args: object, **kwargs: object) -> None:
        raise exception.DriverError(reason="no more room")


def _work(store: inventory.Store) -> None:
    uuid_ = job_db.due(store.context, 1)[0]
    job = job_db.claim(store.context, uuid_, "me", 60)
    steps.do(store.context, job, Agent())


def _walk(store: inventory.Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have everything happen that there is to be told."""
    card = inventory.device(handles=2)
    (rp_uuid,) = store.report(card)
    card.model = "another model"
    store.report(card)
    arqs = store.arqs(2)
    store.bind(arqs, rp_uuid)
    binding.unbind(store.context, arqs[:1], PROJECT)
    store.delete(arqs[1:])

    store.report()
    store.report(card)
    (device,) = store.rows(models.Device)
    monkeypatch.setattr(sync, "sync_host", lambda *args, **more: {})
    devices.set_status(store.context, device.uuid, "maintaining", "a fan")
    devices.set_status(store.context, device.uuid, "enabled", None)

    store.execute(
        sa.update(models.ARQ.__table__).values(
            state="Initial", created_at=sa.text("'2020-01-01 00:00:00'")
        )
    )
    sweeps.delete_never_bound(store.context)

    mdev = inventory.device(
        "mdev", handles=1, attach_type="MDEV", kind="GPU", bus="0d"
    )
    store.report(mdev)
    (_, rp_uuid) = store.report(mdev)
    store.bind(store.arqs(1), rp_uuid)
    _work(store)


@pytest.fixture(scope="module")
def samples() -> dict[str, dict[str, Any]]:
    return {
        path.stem: json.loads(path.read_text())
        for path in SAMPLES.glob("*.json")
    }


def test_samples_show_what_is_sent(
    store: inventory.Store,
    sent: Sent,
    samples: dict[str, dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _walk(store, monkeypatch)
    by_type: dict[str, Any] = {}
    for message in sent.messages():
        by_type.setdefault(message["event_type"], message)
    # Needs a Placement; it has the form of the others.
    (device,) = [
        row for row in store.rows(models.Device) if row.type == "FPGA"
    ]
    notifications.devices(
        store.context, notifications.Event.DEVICE_DELETE, [device]
    )
    by_type["device.delete"] = sent.messages()[-1]

    assert (
        set(samples) == set(by_type) == {str(e) for e in notifications.Event}
    )
    for event, message in by_type.items():
        data = message["payload"]["cyborg_object.data"]
        shown = samples[event]["payload"]["cyborg_object.data"]
        for name in VOLATILE & data.keys():
            if data[name] is not None and shown[name] is not None:
                data[name] = shown[name]
        assert message == samples[event], event


def test_nothing_is_told_of_what_was_not_committed(
    store: inventory.Store, sent: Sent
) -> None:
    (rp_uuid,) = store.report(inventory.device(handles=1))
    arqs = store.arqs(2)
    assert sent.types() == ["device.create", "arq.created", "arq.created"]
    with pytest.raises(exception.NoFreeHandle):
        store.bind(arqs, rp_uuid)
    attempts = []

    @engine.use_case
    def collide(context: Any) -> None:
        notifications.arqs(
            context, notifications.Event.ARQ_BOUND, store.rows(models.ARQ)[:1]
        )
        attempts.append(sent.types())
        if len(attempts) < 3:
            raise engine.Collision()

    collide(store.context)
    assert attempts == [[], [], []]
    assert sent.types() == ["arq.bound"]


def test_each_move_is_told_once(store: inventory.Store, sent: Sent) -> None:
    (rp_uuid,) = store.report(inventory.device(attach_type="MDEV", kind="GPU"))
    arqs = store.arqs(1)
    instance = store.bind(arqs, rp_uuid)
    assert sent.types() == ["device.create", "arq.created"]
    _work(store)
    ((history, failed), (event, data)) = sent.take()
    assert (history, failed["kind"]) == ("device.event", "failed")
    assert (event, data["reason"]) == ("arq.bind_failed", "no more room")
    assert data["instance_uuid"] == instance
    store.delete(instance=instance)
    ((event, data),) = sent.take()
    assert (event, data["state"]) == ("arq.deleted", "Deleting")
    assert data["instance_uuid"] == instance
    # It waits for its host; deleting it again is no news.
    store.delete(arqs)
    assert sent.take() == []


def test_servers_that_are_gone(
    store: inventory.Store,
    sent: Sent,
    config: config_fixture.Config,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unknown(uuid_: str) -> dict[str, Any]:
        raise exception.ServerNotFound(uuid=uuid_)

    monkeypatch.setattr(nova, "get_server", unknown)
    monkeypatch.setattr(nova, "may_see_all", lambda: False)
    monkeypatch.setattr(placement.Client, "__init__", lambda self: None)
    monkeypatch.setattr(
        placement.Client, "consumer_allocations", lambda self, uuid_: {}
    )
    config.config(group="conductor", orphan_grace=0)
    (rp_uuid,) = store.report(inventory.device())
    instance = store.bind(store.arqs(1), rp_uuid)
    sent.take()
    for _ in range(2):
        servers.check(store.context, [instance])
    ((event, data),) = sent.take()
    assert (event, data["instance_uuid"]) == ("arq.orphan_freed", instance)


# -- in nobody's way


def test_a_bus_that_is_away_delays_nothing(
    store: inventory.Store, sent: Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = threading.Event()
    monkeypatch.setattr(notifier, "_ROOM", 3)
    monkeypatch.setattr(
        _impl_test.TestDriver, "notify", lambda *args: away.wait(60)
    )
    # One is being sent, three wait, the others are lost and logged.
    assert len(store.arqs(8)) == 8
    away.set()
    notifier.stop()


def test_what_cannot_be_told_is_logged_and_done(
    store: inventory.Store,
    sent: Sent,
    config: config_fixture.Config,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*args: object) -> None:
        raise RuntimeError("no")

    with monkeypatch.context() as patch:
        patch.setattr(_impl_test.TestDriver, "notify", fail)
        store.arqs(1)
        notifier.stop()
    with monkeypatch.context() as patch:
        patch.setattr(notifications.notification.ARQPayload, "of", fail)
        store.arqs(1)
    config.config(group=notifier.GROUP, transport_url="nonsense://")
    store.arqs(1)
    assert store.states() == ["Initial"] * 3
    text = caplog.text
    assert "arq.created was not sent" in text
    assert "arq.created cannot be made" in text


def test_they_cost_nothing_while_they_are_off(
    store: inventory.Store, config: config_fixture.Config
) -> None:
    with conffixture.ConfFixture(CONF, transport_url="fake://"):
        for drivers in ([], ["noop"]):
            config.config(group=notifier.GROUP, driver=drivers)
            with inventory.counted() as statements:
                store.arqs(1, store.profile())
            assert not any("FOR UPDATE" in text for text in statements)
            assert notifier._sender is None


def test_a_device_that_is_lost_and_found(
    store: inventory.Store, sent: Sent
) -> None:
    cards = [
        inventory.device(f"card{number}", handles=1, bus=f"{number:02x}")
        for number in range(3)
    ]
    store.report(*cards)
    assert sent.types() == ["device.create"] * 3
    store.report(*cards[1:])
    ((event, data),) = sent.take()
    assert event == "device.lost"
    assert data["missing_since"] is not None
    store.report(*cards)
    ((event, data),) = sent.take()
    assert event == "device.found"
    assert data["missing_since"] is None


def test_a_device_has_changed_when_a_part_of_it_has(
    store: inventory.Store, sent: Sent
) -> None:
    card, other = inventory.device(handles=2), inventory.device(bus="0d")
    (part,) = card.deployable_list
    more = inventory.device("more", handles=1).deployable_list
    store.report(card, other)
    sent.take()
    handle = part.attach_handle_list[1]
    for change in (
        lambda: setattr(part, "num_accelerators", 1),
        lambda: setattr(part.attribute_list[1], "value", "CUSTOM_OTHER"),
        lambda: part.attach_handle_list.remove(handle),
        lambda: part.attach_handle_list.append(handle),
        lambda: setattr(part.attach_handle_list[0], "attach_type", "PCI"),
        lambda: card.deployable_list.extend(more),
        lambda: card.deployable_list.remove(more[0]),
    ):
        change()
        store.report(card, other)
        ((event, data),) = sent.take()
        assert event == "device.update"
        assert data["uuid"] == store.rows(models.Device)[0].uuid
