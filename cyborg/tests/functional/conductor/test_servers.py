"""What is bound to servers that are gone is freed, and nothing else is.

Nova answers over HTTP; Placement's answers are given.
"""

from collections.abc import Iterator

from oslo_config import fixture as config_fixture
import pytest
import sqlalchemy as sa

from cyborg.clients import auth
from cyborg.clients import placement
from cyborg.common import exception
from cyborg.conductor.requests import servers
from cyborg.conductor.requests import sweeps
from cyborg.conductor.telling import outbox
from cyborg.db import bound_instance as bound_db
from cyborg.db import engine
from cyborg.db import models
from cyborg.tests.fixtures import inventory
from cyborg.tests.fixtures import nova_events

BOUND = models.BoundInstance.__table__
OUTBOX = models.Notification.__table__


@pytest.fixture(scope="module")
def _nova() -> Iterator[nova_events.NovaEvents]:
    stand_in = nova_events.NovaEvents()
    stand_in.start()
    yield stand_in
    stand_in.stop()


@pytest.fixture
def nova(
    _nova: nova_events.NovaEvents, config: config_fixture.Config
) -> Iterator[nova_events.NovaEvents]:
    """A Nova, and Cyborg's connection to it."""
    _nova.reset()
    auth.reset()
    config.config(group="nova", auth_type="none", endpoint_override=_nova.url)
    yield _nova
    auth.reset()


@pytest.fixture
def allocated(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Instances that have allocations in Placement."""
    found: set[str] = set()
    monkeypatch.setattr(placement.Client, "__init__", lambda self: None)
    monkeypatch.setattr(
        placement.Client,
        "consumer_allocations",
        lambda self, uuid: {"provider": {}} if uuid in found else {},
    )
    return found


def _bound(store: inventory.Store, count: int = 1) -> list[str]:
    rows = store.rows(models.Deployable)
    rp_uuid = rows[0].rp_uuid if rows else None
    if rp_uuid is None:
        (rp_uuid,) = store.report(inventory.device(handles=64))
    return [store.bind(store.arqs(1), rp_uuid) for _ in range(count)]


def _left(store: inventory.Store) -> set[str]:
    return {row.instance_uuid for row in store.rows(models.ARQ)}


def _later(store: inventory.Store, seconds: float) -> None:
    """Have whatever was noted been noted so long ago."""
    for row in store.rows(models.BoundInstance):
        store.execute(
            sa.update(BOUND)
            .where(BOUND.c.id == row.id, BOUND.c.missing_since.is_not(None))
            .values(missing_since=engine.ago(seconds))
        )
    store.execute(
        sa.update(BOUND)
        .where(BOUND.c.look_at.is_not(None))
        .values(look_at=engine.ago(1))
    )


def test_two_looks_a_minute_apart_free_what_is_gone(
    store: inventory.Store,
    nova: nova_events.NovaEvents,
    allocated: set[str],
) -> None:
    gone, known, at_work = _bound(store, 3)
    nova.servers[known] = "somebody"
    allocated.add(at_work)
    bound_db.look_soon(store.context, [gone, known, at_work])
    servers.check_due(store.context)
    # Nothing is due before a minute has passed.
    assert not servers.check_due(store.context)
    assert _left(store) == {gone, known, at_work}
    _later(store, servers.SETTLE + 1)
    servers.check_due(store.context)
    assert _left(store) == {known, at_work}
    assert store.in_use() == 2


def test_a_server_that_turns_up_is_not_missed(
    store: inventory.Store,
    nova: nova_events.NovaEvents,
    allocated: set[str],
) -> None:
    (instance,) = _bound(store)
    servers.check(store.context, [instance])
    nova.servers[instance] = "somebody"
    servers.check(store.context, [instance])
    (row,) = store.rows(models.BoundInstance)
    assert (row.missing_since, row.look_at) == (None, None)


@pytest.mark.parametrize("status", [None, 404, 503])
def test_who_may_not_see_servers_frees_by_time_only(
    store: inventory.Store,
    nova: nova_events.NovaEvents,
    allocated: set[str],
    config: config_fixture.Config,
    status: int | None,
) -> None:
    gone, alive = _bound(store, 2)
    allocated.add(alive)
    nova.servers[alive] = "somebody"
    # A user of one project; another service at that address; Nova is away.
    nova.sees_all = False
    nova.status = status
    for _ in range(3):
        bound_db.look_soon(store.context, [gone, alive])
        servers.check_due(store.context)
        _later(store, servers.SETTLE + 1)
    assert _left(store) == {gone, alive}
    if status == 503:
        with pytest.raises(exception.NovaUnavailable):
            servers.check(store.context, [gone])
        return
    _later(store, 3601)
    servers.check_due(store.context)
    assert _left(store) == {alive}


def test_a_nova_that_has_forgotten_frees_nothing(
    store: inventory.Store,
    nova: nova_events.NovaEvents,
    allocated: set[str],
    config: config_fixture.Config,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An empty Nova, one restored from a backup, or that of another region."""
    instances = _bound(store, 17)
    for _ in range(2):
        bound_db.look_soon(store.context, instances)
        servers.check_due(store.context)
        _later(store, servers.SETTLE + 1)
    servers.check_due(store.context)
    assert _left(store) == set(instances)
    assert "17 of 17 bound" in caplog.text
    # It says so from time to time, not all the time.
    assert not servers.check_due(store.context)
    config.config(group="conductor", orphan_max_percent=100)
    _later(store, servers.SETTLE + 1)
    servers.check_due(store.context)
    assert _left(store) == set()


def test_servers_deleted_while_they_are_built_leave_nothing(
    store: inventory.Store,
    nova: nova_events.NovaEvents,
    allocated: set[str],
) -> None:
    instances = _bound(store, 16)
    # What Nova says of a server that has no host, and of one that is gone.
    nova.default_code = 422

    def send() -> None:
        outbox.send_due(
            store.context,
            lambda those: bound_db.look_soon(store.context, those),
        )

    send()
    servers.check_due(store.context)
    assert {row.look_at for row in store.rows(models.BoundInstance)} == {None}
    # Half a minute later, and twice a minute after that: within three.
    store.execute(
        sa.update(OUTBOX).values(
            created_at=engine.ago(31), next_attempt_at=engine.ago(1)
        )
    )
    send()
    servers.check_due(store.context)
    assert _left(store) == set(instances)
    _later(store, servers.SETTLE + 1)
    servers.check_due(store.context)
    assert store.rows(models.ARQ) == []
    assert store.in_use() == 0


def test_reporting_only_frees_nothing(
    store: inventory.Store,
    nova: nova_events.NovaEvents,
    allocated: set[str],
    config: config_fixture.Config,
) -> None:
    config.config(group="conductor", orphan_action="report")
    (instance,) = _bound(store)
    servers.check(store.context, [instance])
    _later(store, servers.SETTLE + 1)
    servers.check_due(store.context)
    store.arqs(1)
    store.execute(
        sa.update(models.ARQ.__table__).values(created_at=engine.ago(10**6))
    )
    sweeps.delete_never_bound(store.context)
    assert sorted(store.states()) == ["Bound", "Initial"]


def test_every_server_is_looked_at_in_turn(
    store: inventory.Store,
    nova: nova_events.NovaEvents,
    allocated: set[str],
) -> None:
    _gone, known = _bound(store, 2)
    nova.servers[known] = "somebody"
    sweeper = sweeps.Sweeper()
    sweeper.look_for_servers(store.context)
    _later(store, servers.SETTLE + 1)
    sweeper.look_for_servers(store.context)
    assert _left(store) == {known}
