"""Conditions and history of devices, on every engine."""

import datetime
import json
from typing import Any
import uuid

from oslo_config import fixture as config_fixture
import pytest
import sqlalchemy as sa

from cyborg.agent import rpcapi
from cyborg.common import constants
from cyborg.common import exception
from cyborg.conductor.inventory import discovering
from cyborg.conductor.life import conditions
from cyborg.conductor.life import events
from cyborg.conductor.placement import desired
from cyborg.db import clock
from cyborg.db import conductor as conductor_db
from cyborg.db import device_condition as condition_db
from cyborg.db import device_event as event_db
from cyborg.db import engine
from cyborg.db import host_sync as sync_db
from cyborg.db import models
from cyborg.db import paging
from cyborg.db import service as service_db
from cyborg.db import topology as topology_db
from cyborg.manage import topology
from cyborg.tests.fixtures import inventory
from cyborg.tests.fixtures import standin

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


def test_they_are_problems_in_the_topology(store: inventory.Store) -> None:
    _put(store)
    _put(store, "maintaining", source=Source.OPERATOR, reason="fan")
    for hostname in (HOST, None):
        rows = topology_db.load(store.context, hostname)
        tree = topology.build(rows, clock.read(store.context))
        (device,) = tree["hosts"][0]["devices"]
        assert device["problems"] == ["disabled: fan", "hot: 91 C (agent)"]
    assert topology_db.load(store.context, "cn9").conditions == []


# -- what users and operators ask for


@pytest.mark.parametrize(
    ("effect", "reserved"), [("none", 0), ("no-schedule", 16)]
)
def test_an_owner_says_that_a_device_is_faulty(
    store: inventory.Store,
    config: config_fixture.Config,
    effect: str,
    reserved: int,
) -> None:
    config.config(fault_effect=effect, group="conductor")
    (rp_uuid,) = store.report(inventory.device())
    (arq,) = store.arqs(1)
    instance = store.bind([arq], rp_uuid)
    scope = inventory.PROJECT
    for _again in range(2):
        store.conductor.arq_report_fault(store.context, arq, "ECC", scope)
    (row,) = store.rows(models.DeviceCondition)
    assert (row.key, row.source, row.effect, row.reason) == (
        "fault",
        "tenant",
        effect,
        "ECC",
    )
    assert _reserved(store) == [reserved]
    (event,) = [r for r in store.rows(models.DeviceEvent) if r.kind == "fault"]
    assert (event.why, json.loads(event.detail)) == (
        "ECC",
        {"arq": arq, "instance": instance, "project": inventory.PROJECT},
    )
    # It stays for the operator to see when the request has gone.
    store.delete([arq])
    assert len(store.rows(models.DeviceCondition)) == 1
    store.conductor.device_set_condition(
        store.context, _device(store).uuid, "fault", None
    )
    assert (store.rows(models.DeviceCondition), _reserved(store)) == ([], [0])


def test_who_has_no_device_cannot_say_that_it_is_faulty(
    store: inventory.Store,
) -> None:
    (arq,) = store.arqs(1)
    fault = store.conductor.arq_report_fault
    with pytest.raises(exception.ARQBadState, match="in state Initial"):
        fault(store.context, arq, "ECC", inventory.PROJECT)
    for uuid_, scope in ((arq, "another project"), (str(uuid.uuid4()), None)):
        with pytest.raises(exception.ARQNotFound):
            fault(store.context, uuid_, "ECC", scope)
    assert store.rows(models.DeviceCondition) == []


def test_an_operator_sets_and_clears_conditions(
    store: inventory.Store,
) -> None:
    device = _device(store)
    set_condition = store.conductor.device_set_condition
    recall = {"effect": "none", "reason": "4711", "until": None}
    set_condition(store.context, device.uuid, "recall", recall)
    until = {"effect": "no-schedule", "reason": None}
    until["until"] = "2099-12-31T00:00:00"
    set_condition(store.context, device.uuid, "maintaining", until)
    first, second = store.rows(models.DeviceCondition)
    assert (first.key, first.source, first.reason) == (
        "recall",
        "operator",
        "4711",
    )
    assert second.until == datetime.datetime.fromisoformat("2099-12-31")
    assert (_device(store).status, _reserved(store)) == ("maintaining", [16])
    for _again in range(2):
        set_condition(store.context, device.uuid, "maintaining", None)
    assert (_device(store).status, _reserved(store)) == ("enabled", [0])
    with pytest.raises(exception.DeviceNotFound):
        set_condition(store.context, str(uuid.uuid4()), "recall", recall)


@standin.of(rpcapi.AgentAPI)
class _Agents:
    """Agents that note who was asked to look at the hardware."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def discover(self, context: Any, rpc_host: str) -> None:
        self.asked.append(rpc_host)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_an_agent_is_asked_to_look_at_the_hardware(
    store: inventory.Store,
) -> None:
    agents = _Agents()
    conductor_db.seen(store.context, "ctl1", "1.0")
    services = {row.binary: row for row in service_db.find(store.context)}
    agent = services["cyborg-agent"].uuid
    discovering.discover(store.context, agents, agent)
    assert agents.asked == [HOST]
    with pytest.raises(exception.Conflict, match="is a conductor"):
        discovering.discover(
            store.context, agents, services["cyborg-conductor"].uuid
        )
    with pytest.raises(exception.ServiceNotFound):
        discovering.discover(store.context, agents, str(uuid.uuid4()))
    with pytest.raises(exception.HostNotFound, match="host cn9"):
        discovering.discover_host(store.context, agents, "cn9")
    store.execute(
        sa.update(models.Host.__table__).values(
            last_seen_at=sa.text("'2020-01-01 00:00:00'")
        )
    )
    with pytest.raises(exception.AgentNotResponding, match="is down"):
        discovering.discover(store.context, agents, agent)
    assert agents.asked == [HOST]
