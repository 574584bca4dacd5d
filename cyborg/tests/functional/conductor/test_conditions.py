"""Conditions and history of devices, on every engine."""

import datetime
import json
from typing import Any

import pytest
import sqlalchemy as sa

from cyborg.common import constants
from cyborg.conductor.life import conditions
from cyborg.conductor.life import events
from cyborg.conductor.placement import desired
from cyborg.db import clock
from cyborg.db import device_condition as condition_db
from cyborg.db import device_event as event_db
from cyborg.db import device_identity as identity_db
from cyborg.db import engine
from cyborg.db import host_sync as sync_db
from cyborg.db import models
from cyborg.db import paging
from cyborg.tests.fixtures import inventory

HOST = inventory.HOST
Effect = constants.ConditionEffect
Kind = constants.DeviceEventKind
Source = constants.ConditionSource


def _device(store: inventory.Store) -> Any:
    return store.rows(models.Device)[0]


def _put(store: inventory.Store, key: str = "hot", **values: Any) -> bool:
    values = {"source": Source.AGENT, "reason": "91 C"} | values
    return conditions.put(
        store.context,
        [conditions.Condition(_device(store), key, **values)],
        "agent of cn1",
    )


def _reserved(store: inventory.Store) -> list[int]:
    rows = sync_db.load(store.context, HOST)
    return [p.reserved for p in desired.desired(rows).values()]


def _wanted(store: inventory.Store) -> int:
    return int(store.rows(models.Host)[0].sync_wanted)


def _history(store: inventory.Store) -> list[tuple[Any, ...]]:
    return [
        (row.kind, row.who, row.why, json.loads(row.detail).get("key"))
        for row in store.rows(models.DeviceEvent)
        if row.kind.startswith("condition")
    ]


@pytest.fixture(autouse=True)
def reported(store: inventory.Store) -> None:
    store.report(inventory.device())
    engine.writer(identity_db.of_devices)(store.context, [_device(store).id])


def test_a_condition_fences_until_it_is_cleared(
    store: inventory.Store,
) -> None:
    before = _wanted(store)
    assert _put(store)
    assert _reserved(store) == [16]
    assert _wanted(store) == before + 1
    # Again: nothing is different, and nobody is told.
    assert not _put(store)
    assert _wanted(store) == before + 1
    assert conditions.clear(
        store.context,
        [_device(store)],
        source=Source.AGENT,
        keys=["hot"],
        why="39 C",
    )
    assert _reserved(store) == [0]
    assert _wanted(store) == before + 2
    assert _history(store) == [
        ("condition_set", "agent of cn1", "91 C", "hot"),
        ("condition_cleared", "cyborg", "39 C", "hot"),
    ]


def test_one_of_several_conditions_is_enough(store: inventory.Store) -> None:
    _put(store)
    _put(store, "link")
    _put(store, "hot", source=Source.OPERATOR)
    _put(store, "noted", effect=Effect.NONE)
    device = _device(store)
    assert conditions.clear(store.context, [device], source=Source.AGENT)
    assert _reserved(store) == [16]
    assert conditions.clear(store.context, [device], source=Source.OPERATOR)
    assert _reserved(store) == [0]
    assert not conditions.clear(store.context, [device], source=Source.GATE)
    assert store.rows(models.DeviceCondition) == []


def test_without_effect_placement_is_not_told(store: inventory.Store) -> None:
    before = _wanted(store)
    _put(store, effect=Effect.NONE)
    assert (_reserved(store), _wanted(store)) == ([0], before)
    _put(store, effect=Effect.NO_SCHEDULE)
    assert (_reserved(store), _wanted(store)) == ([16], before + 1)
    _put(store, effect=Effect.NONE)
    assert (_reserved(store), _wanted(store)) == ([0], before + 2)
    (row,) = store.rows(models.DeviceCondition)
    assert (row.key, row.effect, row.source) == ("hot", "none", "agent")


def test_it_ends_by_itself(store: inventory.Store) -> None:
    now = clock.read(store.context)
    _put(store, until=now + datetime.timedelta(hours=1))
    assert _reserved(store) == [16]
    assert not conditions.end(store.context, 10)
    store.execute(
        sa.update(models.DeviceCondition.__table__).values(until=now)
    )
    # Whether it has been cleared already or not.
    assert _reserved(store) == [0]
    before = _wanted(store)
    assert conditions.end(store.context, 10)
    assert _wanted(store) == before + 1
    assert store.rows(models.DeviceCondition) == []
    assert _history(store)[-1] == (
        "condition_cleared",
        "cyborg",
        "its time is over",
        "hot",
    )
    assert not conditions.end(store.context, 10)


def test_the_status_of_older_clients_follows(store: inventory.Store) -> None:
    _put(store, "maintaining", source=Source.OPERATOR, reason="x" * 300)
    device = _device(store)
    assert device.status == "maintaining"
    assert device.status_reason == "x" * 255
    # Only the operator's is that one.
    _put(store, "maintaining", source=Source.AGENT)
    conditions.clear(store.context, [device], source=Source.AGENT)
    assert _device(store).status == "maintaining"
    conditions.clear(store.context, [device], source=Source.OPERATOR)
    device = _device(store)
    assert (device.status, device.status_reason) == ("enabled", None)


def test_a_device_that_no_agent_has_named_gets_an_identity(
    store: inventory.Store,
) -> None:
    store.execute(sa.update(models.Device.__table__).values(identity_id=None))
    _put(store)
    device = _device(store)
    identity = store.rows(models.DeviceIdentity)[-1]
    assert device.identity_id == identity.id
    assert identity.device_uuid == device.uuid
    assert json.loads(identity.place)["bus"] == "0c"
    assert _reserved(store) == [16]


def test_what_is_rolled_back_has_not_happened(store: inventory.Store) -> None:
    context = store.context
    before = _history(store)
    with pytest.raises(ZeroDivisionError), engine.writing(context):
        conditions.put(
            context,
            [conditions.Condition(_device(store), "hot", Source.AGENT)],
        )
        raise ZeroDivisionError
    assert _history(store) == before
    assert _reserved(store) == [0]


def test_events_of_one_transaction_are_one_statement(
    store: inventory.Store,
) -> None:
    device = _device(store)
    written = len(store.rows(models.DeviceEvent))
    for count in (1, 7):
        with inventory.counted() as statements:
            events.record(
                store.context,
                [
                    events.of(device, Kind.FAILED, "no power", step=number)
                    for number in range(count)
                ],
            )
        assert len(statements) == 1
        written += count
        assert len(store.rows(models.DeviceEvent)) == written
    row = store.rows(models.DeviceEvent)[-1]
    assert row.detail == '{"step": 6}'
    age = clock.read(store.context) - row.at
    assert datetime.timedelta(0) <= age < datetime.timedelta(minutes=1)


def test_history_is_paged_and_trimmed(store: inventory.Store) -> None:
    device = _device(store)
    context = store.context
    store.execute(sa.delete(models.DeviceEvent.__table__))
    events.record(
        context,
        [events.of(device, Kind.FAILED, str(number)) for number in range(5)],
    )
    page = paging.Page(limit=2, descending=True)
    first = event_db.find(context, [device.identity_id], page)
    assert [row.why for row in first] == ["4", "3"]
    page = paging.Page(limit=2, descending=True, marker=first[-1].uuid)
    rest = event_db.find(context, [device.identity_id], page)
    assert [row.why for row in rest] == ["2", "1"]
    assert event_db.find(context, [device.identity_id + 1]) == []

    table = models.DeviceEvent.__table__
    old = clock.read(context) - datetime.timedelta(days=31)
    store.execute(
        sa.update(table).where(table.c.why.in_(["0", "1", "2"])).values(at=old)
    )
    assert event_db.trim(context, 30, 2) == 2
    assert event_db.trim(context, 30, 2) == 1
    assert event_db.trim(context, 30, 2) == 0
    assert [row.why for row in store.rows(models.DeviceEvent)] == ["3", "4"]


def test_conditions_that_hold_are_listed_by_device(
    store: inventory.Store,
) -> None:
    store.report(inventory.device(), inventory.device("other", bus="0d"))
    first, second = store.rows(models.Device)
    conditions.put(
        store.context,
        [
            conditions.Condition(first, "hot", Source.AGENT),
            conditions.Condition(second, "cold", Source.AGENT),
            conditions.Condition(
                second,
                "over",
                Source.AGENT,
                until=clock.read(store.context),
            ),
        ],
    )
    found = condition_db.of_devices(store.context, [first.id, second.id])
    assert [(row.device_id, row.key) for row in found] == [
        (first.id, "hot"),
        (second.id, "cold"),
    ]
