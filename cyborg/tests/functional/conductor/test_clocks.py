"""Hosts whose clocks are wrong: what counts is the database's."""

from collections.abc import Callable
from collections.abc import Iterator
import datetime
import logging
import time

from oslo_utils import fixture as time_fixture
from oslo_utils import timeutils
import pytest
import sqlalchemy as sa

from cyborg.clients import nova
from cyborg.common import clock
from cyborg.common import liveness
from cyborg.conductor.requests import sweeps
from cyborg.conductor.telling import outbox
from cyborg.conductor.work import steps
from cyborg.db import conductor as conductor_db
from cyborg.db import engine
from cyborg.db import host_sync as sync_db
from cyborg.db import job as job_db
from cyborg.db import models
from cyborg.tests.fixtures import inventory

JOBS = models.Job.__table__
DAY = 86400.0
SHIFTS = [120.0, -3600.0, DAY, -DAY]

Shift = Callable[[float], None]


@pytest.fixture
def shift() -> Iterator[Shift]:
    """Make this process one on a host whose clock is wrong, by seconds."""
    used = []

    def begin(seconds: float) -> None:
        fixture = time_fixture.TimeFixture(
            datetime.datetime.fromtimestamp(
                time.time() + seconds, datetime.UTC
            ).replace(tzinfo=None)
        )
        fixture.setUp()
        used.append(fixture)
        # It is another process.
        clock.reset()

    yield begin
    for fixture in used:
        fixture.cleanUp()
    clock.reset()


class Agent:
    """Does whatever it is asked for."""

    def prepare_handle(self, *arguments: object, **more: object) -> None:
        return

    cleanup_handle = prepare_handle


def _mdev(store: inventory.Store) -> str:
    (rp_uuid,) = store.report(
        inventory.device(handles=4, attach_type="MDEV", kind="GPU")
    )
    return rp_uuid


@pytest.mark.parametrize("seconds", SHIFTS)
def test_a_conductor_with_a_wrong_clock_leaves_leases_alone(
    store: inventory.Store, shift: Shift, seconds: float
) -> None:
    store.bind(store.arqs(1), _mdev(store))
    (uuid,) = job_db.due(store.context, 10)
    assert job_db.claim(store.context, uuid, "right", 30)
    shift(seconds)
    assert job_db.due(store.context, 10) == []
    assert job_db.claim(store.context, uuid, "wrong", 30) is None
    assert sync_db.claim(store.context, inventory.HOST, "right", 60)
    assert sync_db.claim(store.context, inventory.HOST, "wrong", 60) is None


@pytest.mark.parametrize("seconds", SHIFTS)
def test_what_is_under_way_survives_a_wrong_clock(
    store: inventory.Store,
    shift: Shift,
    seconds: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        nova,
        "send_events",
        lambda events: dict.fromkeys(range(len(events)), 200),
    )
    rp_uuid = _mdev(store)
    # One is created there, others by a host whose clock is right.
    store.arqs(1)
    arqs = store.arqs(1)
    shift(seconds)
    store.arqs(1)
    store.bind(arqs, rp_uuid)
    timeutils.clear_time_override()
    clock.reset()
    shift(-seconds)
    sweeps.resume_stuck(store.context)
    sweeps.delete_never_bound(store.context)
    assert sorted(store.states()) == ["BindStarted", "Initial", "Initial"]
    assert job_db.late_binds(store.context, 10) == []
    (uuid,) = job_db.due(store.context, 10)
    job = job_db.claim(store.context, uuid, "wrong", 30)
    steps.do(store.context, job, Agent())
    assert sorted(store.states()) == ["Bound", "Initial", "Initial"]
    outbox.send_due(store.context, lambda instances: None)
    assert store.rows(models.Notification) == []


@pytest.mark.parametrize("seconds", SHIFTS)
def test_who_is_alive_is_told_by_one_clock(
    store: inventory.Store, shift: Shift, seconds: float
) -> None:
    shift(seconds)
    store.report(inventory.device())
    conductor_db.seen(store.context, "wrong", "1.0")
    (host,) = store.rows(models.Host)
    assert not liveness.is_silent(host.last_seen_at)
    timeutils.clear_time_override()
    clock.reset()
    store.rows(models.Host)
    assert not liveness.is_silent(host.last_seen_at)
    assert conductor_db.is_first(store.context, "wrong", 60)


def test_a_lease_longer_than_any_has_ended(store: inventory.Store) -> None:
    store.bind(store.arqs(1), _mdev(store))
    (uuid,) = job_db.due(store.context, 10)
    assert job_db.claim(store.context, uuid, "gone", 30)
    # Written while the database's clock was a day ahead.
    store.execute(sa.update(JOBS).values(lease_expires_at=engine.after(DAY)))
    assert job_db.due(store.context, 10) == [uuid]
    assert job_db.claim(store.context, uuid, "me", 30)
    assert sync_db.claim(store.context, inventory.HOST, "gone", DAY)
    assert inventory.HOST in sync_db.due(store.context, 10, 3600)
    assert sync_db.claim(store.context, inventory.HOST, "me", 60)


def test_a_wrong_clock_is_told_of_once(
    store: inventory.Store, shift: Shift, caplog: pytest.LogCaptureFixture
) -> None:
    shift(-90)
    with caplog.at_level(logging.WARNING, "cyborg.common.clock"):
        store.rows(models.Host)
        clock.read(clock.utcnow())
    (said,) = [
        record.getMessage()
        for record in caplog.records
        if record.name == "cyborg.common.clock"
    ]
    assert "90 seconds behind" in said or "89 seconds behind" in said
