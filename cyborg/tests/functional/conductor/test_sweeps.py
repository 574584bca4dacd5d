"""Repair: what was left over is found, and only that is freed."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from cyborg.clients import nova
from cyborg.clients import placement
from cyborg.common import exception
from cyborg.conductor.requests import sweeps
from cyborg.db import models
from cyborg.tests.fixtures import inventory

ARQS = models.ARQ.__table__
HANDLES = models.AttachHandle.__table__
LONG_AGO = sa.text("'2020-01-01 00:00:00'")


class Peers:
    """Which servers Nova knows, and which have allocations."""

    def __init__(self) -> None:
        self.servers: set[str] = set()
        self.allocated: set[str] = set()

    def get_server(self, uuid: str) -> dict:
        if uuid not in self.servers:
            raise exception.ServerNotFound(uuid=uuid)
        return {"id": uuid, "project_id": "the-owner"}

    def consumer_allocations(self, _client: object, uuid: str) -> dict:
        return {"provider": {}} if uuid in self.allocated else {}


@pytest.fixture
def peers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Peers]:
    found = Peers()
    monkeypatch.setattr(nova, "get_server", found.get_server)
    monkeypatch.setattr(placement.Client, "__init__", lambda self: None)
    monkeypatch.setattr(
        placement.Client,
        "consumer_allocations",
        lambda client, uuid: found.consumer_allocations(client, uuid),
    )
    yield found


def _bound(store: inventory.Store) -> str:
    rows = store.rows(models.Deployable)
    rp_uuid = rows[0].rp_uuid if rows else None
    if rp_uuid is None:
        (rp_uuid,) = store.report(inventory.device())
    return store.bind(store.arqs(1), rp_uuid)


def test_arqs_never_bound_go_after_their_time(
    store: inventory.Store, peers: Peers
) -> None:
    instance = _bound(store)
    peers.servers.add(instance)
    store.arqs(2)
    sweeps.delete_never_bound(store.context)
    assert sorted(store.states()) == ["Bound", "Initial", "Initial"]
    store.execute(sa.update(ARQS).values(created_at=LONG_AGO))
    sweeps.delete_never_bound(store.context)
    assert store.states() == ["Bound"]


def test_what_was_bound_while_it_was_looked_at_stays(
    store: inventory.Store, peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    (rp_uuid,) = store.report(inventory.device())
    arqs = store.arqs(1)
    store.execute(sa.update(ARQS).values(created_at=LONG_AGO))
    found = sweeps.orphans_db.never_bound

    def bind_late(context, before, limit):
        rows = found(context, before, limit)
        store.bind(arqs, rp_uuid)
        return rows

    monkeypatch.setattr(sweeps.orphans_db, "never_bound", bind_late)
    sweeps.delete_never_bound(store.context)
    assert store.states() == ["Bound"]
    assert store.in_use() == 1


def test_a_bind_without_its_job_fails(
    store: inventory.Store, peers: Peers
) -> None:
    _bound(store)
    store.execute(
        sa.update(ARQS).values(state="BindStarted", updated_at=LONG_AGO)
    )
    store.execute(sa.delete(models.Notification.__table__))
    sweeps.resume_stuck(store.context)
    assert store.states() == ["BindFailed"]
    assert [row.kind for row in store.rows(models.Job)] == ["cleanup"]
    assert [row.status for row in store.rows(models.Notification)] == [
        "failed"
    ]


def test_a_delete_that_was_left_half_way_goes_on(
    store: inventory.Store, peers: Peers
) -> None:
    _bound(store)
    store.execute(
        sa.update(ARQS).values(
            state="Deleting", instance_uuid=None, updated_at=LONG_AGO
        )
    )
    sweeps.resume_stuck(store.context)
    assert [row.kind for row in store.rows(models.Job)] == ["cleanup"]


def test_handles_nobody_owns_are_freed(
    store: inventory.Store, peers: Peers
) -> None:
    _bound(store)
    store.execute(
        sa.update(HANDLES)
        .where(HANDLES.c.id.in_([5, 6]))
        .values(in_use=True, updated_at=LONG_AGO)
    )
    store.execute(
        sa.update(HANDLES).where(HANDLES.c.id == 7).values(in_use=True)
    )
    sweeps.Sweeper().free_leaked_handles(store.context)
    in_use = [row.id for row in store.rows(models.AttachHandle) if row.in_use]
    assert len(in_use) == 2
    assert 7 in in_use


def test_all_is_looked_at_in_turn(
    store: inventory.Store, peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = _bound(store)
    store.execute(
        sa.update(HANDLES)
        .where(HANDLES.c.id.in_([2, 9, 16]))
        .values(in_use=True, updated_at=LONG_AGO)
    )
    gone = [f"{number:08d}-0000-4000-8000-000000000000" for number in range(9)]
    store.execute(
        sa.insert(models.BoundInstance.__table__).values(
            [{"instance_uuid": uuid} for uuid in gone]
        )
    )
    monkeypatch.setattr(sweeps, "SPAN", 5)
    sweeper = sweeps.Sweeper()
    left = []
    for _ in range(4):
        sweeper.free_leaked_handles(store.context)
        sweeper.forget_empty_instances(store.context)
        left.append((store.in_use(), len(store.rows(models.BoundInstance))))
    assert left == [(3, 6), (2, 1), (2, 1), (1, 1)]
    (kept,) = store.rows(models.BoundInstance)
    assert kept.instance_uuid == instance
    # And from the beginning.
    store.execute(
        sa.update(HANDLES)
        .where(HANDLES.c.id == 3)
        .values(in_use=True, updated_at=LONG_AGO)
    )
    sweeper.free_leaked_handles(store.context)
    assert store.in_use() == 1


def test_leaked_handles_are_cleaned_once(
    store: inventory.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.report(inventory.device(handles=1, attach_type="MDEV", kind="GPU"))
    store.execute(sa.update(HANDLES).values(in_use=True, updated_at=LONG_AGO))
    found = sweeps.orphans_db.leaked_handles
    rows = found(store.context, sweeps.engine.ago(0), 10)
    sweeps.Sweeper().free_leaked_handles(store.context)

    def stale(context, before, limit, among=None, within=None):
        """What another conductor saw before the first one acted."""
        return rows if among is None else found(context, before, limit, among)

    monkeypatch.setattr(sweeps.orphans_db, "leaked_handles", stale)
    sweeps.Sweeper().free_leaked_handles(store.context)
    assert len(store.rows(models.Job)) == 1


def test_arqs_of_early_releases_get_their_owner_once(
    store: inventory.Store, peers: Peers
) -> None:
    known, gone = _bound(store), _bound(store)
    peers.servers.add(known)
    peers.allocated.add(gone)
    store.execute(sa.update(ARQS).values(project_id=None))
    sweeper = sweeps.Sweeper()
    sweeper.run(store.context)
    owners = {
        row.instance_uuid: row.project_id for row in store.rows(models.ARQ)
    }
    assert owners == {known: "the-owner", gone: None}
    with inventory.counted() as statements:
        sweeper.find_owners(store.context)
    assert statements == []
