"""Reports on every engine: what is stored, kept, marked and counted."""

from collections.abc import Callable
from concurrent import futures
import json
from typing import Any
import uuid

import pytest
import sqlalchemy as sa

from cyborg.common import exception
from cyborg.conductor import manager
from cyborg.conductor.inventory import registration
from cyborg.conductor.inventory import reports as inventory_cases
from cyborg.db import host as host_db
from cyborg.db import models
from cyborg.objects import base
from cyborg.objects import report
from cyborg.tests.fixtures import inventory
from cyborg.tests.fixtures.inventory import HOST

AGENT = {"machine_id": "dmi:1", "boot_id": "b1", "rpc_version": "1.1"}


def _report(
    store: inventory.Store,
    devices: list[report.DriverDevice],
    drivers: list[dict] | None = None,
    digest: str | None = None,
) -> bool:
    if drivers is None:
        drivers = inventory.driver_entry(*devices)
    return inventory_cases.report_data(
        store.context,
        HOST,
        devices,
        HOST,
        "1.1",
        digest or uuid.uuid4().hex,
        drivers,
    )


def test_a_report_is_stored_and_marks_the_host(store: inventory.Store) -> None:
    assert _report(store, [inventory.device()])
    (device,) = store.rows(models.Device)
    assert (device.hostname, device.driver, device.status) == (
        HOST,
        "fake_driver",
        "enabled",
    )
    (deployable,) = store.rows(models.Deployable)
    assert deployable.num_accelerators == 16
    assert len(store.rows(models.AttachHandle)) == 16
    assert {
        (row.key, row.value, row.origin)
        for row in store.rows(models.Attribute)
    } == {
        ("rc", "FPGA", "driver"),
        ("trait0", "CUSTOM_FAKE_DEVICE", "driver"),
    }
    (host,) = store.rows(models.Host)
    assert host.sync_wanted == 1
    assert host.sync_due_at is not None


def test_the_same_report_changes_nothing(store: inventory.Store) -> None:
    _report(store, [inventory.device()], digest="one")
    before = [store.rows(table) for table in _TABLES]
    # Known by its digest, and, with another one, by what it says.
    assert not _report(store, [inventory.device()], digest="one")
    assert not _report(store, [inventory.device()], digest="two")
    assert [store.rows(table) for table in _TABLES] == before


_TABLES = (
    models.Device,
    models.Deployable,
    models.Attribute,
    models.AttachHandle,
    models.ControlPathID,
)


def test_changes_keep_uuids_status_and_handles(store: inventory.Store) -> None:
    (rp_uuid,) = store.report(inventory.device())
    store.bind(store.arqs(1), rp_uuid)
    store.execute(
        sa.update(models.Device.__table__).values(status="maintaining")
    )
    old = store.rows(models.Device)[0], store.rows(models.Deployable)[0]
    changed = inventory.device()
    changed.model = "another"
    changed.deployable_list[0].name = "cn1_renamed"
    changed.deployable_list[0].attribute_list[1].value = "CUSTOM_OTHER"
    assert _report(store, [changed])
    (device,) = store.rows(models.Device)
    (deployable,) = store.rows(models.Deployable)
    assert (device.uuid, device.status) == (old[0].uuid, "maintaining")
    assert device.model == "another"
    # The same handles on the same device: the same deployable.
    assert (deployable.uuid, deployable.rp_uuid) == (old[1].uuid, rp_uuid)
    assert deployable.name == "cn1_renamed"
    assert store.in_use() == 1
    values = {row.value for row in store.rows(models.Attribute)}
    assert values == {"FPGA", "CUSTOM_OTHER"}


def test_what_is_gone_is_marked_and_what_is_back_unmarked(
    store: inventory.Store,
) -> None:
    first, second = inventory.device(), inventory.device("Other", bus="0d")
    _report(store, [first, second])
    assert _report(store, [first])
    marks = {row.id: row.missing_since for row in store.rows(models.Device)}
    assert marks[1] is None
    assert marks[2] is not None
    assert store.rows(models.Deployable)[1].missing_since is not None
    assert _report(store, [first, second])
    assert not any(row.missing_since for row in store.rows(models.Device))
    assert not any(row.missing_since for row in store.rows(models.Deployable))


def test_handles_that_are_gone_are_given_to_nobody(
    store: inventory.Store,
) -> None:
    (rp_uuid,) = store.report(inventory.device(handles=2))
    _report(store, [inventory.device(handles=1)])
    store.bind(store.arqs(1), rp_uuid)
    with pytest.raises(exception.NoFreeHandle):
        store.bind(store.arqs(1), rp_uuid)


def _handles(store: inventory.Store) -> list[tuple[int, str, bool]]:
    """Return deployable, uuid and use of the handles that are there."""
    return [
        (row.deployable_id, row.uuid, row.in_use)
        for row in store.rows(models.AttachHandle)
        if row.missing_since is None
    ]


def test_a_function_is_one_whatever_is_said_of_it(
    store: inventory.Store,
) -> None:
    card = inventory.device(handles=2, attach_type="PCI")
    (rp_uuid,) = store.report(card)
    store.bind(store.arqs(1), rp_uuid)
    before = _handles(store)
    for handle in card.deployable_list[0].attach_handle_list:
        info = json.loads(handle.attach_info)
        handle.attach_info = json.dumps(info | {"physical_network": "blue"})
    assert _report(store, [card])
    assert _handles(store) == before
    for row in store.rows(models.AttachHandle):
        # What somebody has stays as it was given to them.
        assert ("blue" in row.attach_info) != row.in_use
    store.bind(store.arqs(1), rp_uuid)
    with pytest.raises(exception.NoFreeHandle):
        store.bind(store.arqs(1), rp_uuid)


def test_a_renamed_deployable_may_have_grown(store: inventory.Store) -> None:
    (rp_uuid,) = store.report(inventory.device(handles=2))
    store.bind(store.arqs(1), rp_uuid)
    before = _handles(store)
    assert store.report(inventory.device("Renamed", handles=3)) == [rp_uuid]
    assert _handles(store)[:2] == before
    assert len(_handles(store)) == 3


def test_a_function_keeps_its_handle_in_another_card(
    store: inventory.Store,
) -> None:
    card = inventory.device(handles=2)
    (rp_uuid,) = store.report(card)
    store.bind(store.arqs(1), rp_uuid)
    before = _handles(store)
    # Another driver finds the same functions in what it takes for the card.
    other = inventory.device("Other", handles=2, bus="0d")
    other.deployable_list[0].attach_handle_list = card.deployable_list[
        0
    ].attach_handle_list
    _, new = store.report(other)
    assert [handle[1:] for handle in _handles(store)] == [
        handle[1:] for handle in before
    ]
    store.bind(store.arqs(1), new)
    with pytest.raises(exception.NoFreeHandle):
        store.bind(store.arqs(1), new)


def test_a_driver_that_failed_loses_nothing(store: inventory.Store) -> None:
    device = inventory.device()
    _report(store, [device])
    failed = inventory.driver_entry()
    failed[0] |= {"complete": False, "error": "no bus"}
    assert not _report(store, [], failed)
    assert store.rows(models.Device)[0].missing_since is None
    # Another driver's report says nothing about this one's devices either.
    other = inventory.device("Other", bus="0d")
    entries = [
        *failed,
        inventory.driver_entry(other)[0] | {"name": "pci_driver"},
    ]
    assert _report(store, [other], entries)
    assert store.rows(models.Device)[0].missing_since is None
    # No longer enabled: its devices go.
    assert _report(store, [other], entries[1:])
    assert store.rows(models.Device)[0].missing_since is not None


def test_a_stub_leaves_its_records_alone(store: inventory.Store) -> None:
    _report(store, [inventory.device()])
    stub = inventory.device(handles=1)
    stub.stub = True
    stub.model = "unknown"
    assert not _report(store, [stub])
    assert store.rows(models.Device)[0].model == "miss model info"


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_one_bad_device_does_not_block_the_others(
    store: inventory.Store,
) -> None:
    bad = inventory.device("Bad", bus="0e")
    bad.deployable_list[0].attribute_list = []
    good = inventory.device()
    _report(store, [bad, good])
    (device,) = store.rows(models.Device)
    assert device.model == "miss model info"
    (host,) = store.rows(models.Host)
    assert "0 attributes 'rc'" in host.drivers


def _set(name: str, value: Any) -> Callable[[report.DriverDevice], None]:
    """Return what gives a card, or its part ``name`` begins with, a value."""

    def change(device: report.DriverDevice) -> None:
        target: Any = device
        *path, last = name.split(".")
        for part in path:
            target = getattr(target, part)
            target = target[0] if isinstance(target, list) else target
        setattr(target, last, value)

    return change


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (_set("vendor", "v" * 256), "vendor is too long"),
        (_set("model", "m" * 256), "model is too long"),
        (_set("std_board_info", "é" * 32768), "std_board_info is too long"),
        (_set("controlpath_id.cpid_type", "USB"), "USB is no control path"),
        (_set("deployable_list.driver_name", "d" * 101), "driver_name of"),
        (_set("deployable_list.num_accelerators", 2**31), "counts too many"),
        (
            lambda device: device.deployable_list[0].attribute_list.append(
                report.DriverAttribute(key="about", value="a" * 65536)
            ),
            "an attribute of cn1_Bad is too long",
        ),
    ],
)
def test_what_no_column_holds_does_not_block_the_others(
    store: inventory.Store,
    change: Callable[[report.DriverDevice], None],
    problem: str,
) -> None:
    bad, good = inventory.device("Bad", bus="0e"), inventory.device()
    change(bad)
    drivers = inventory.driver_entry(bad, good)
    _report(store, [bad, good], drivers)
    assert len(store.rows(models.Device)) == 1
    (host,) = store.rows(models.Host)
    assert problem in host.drivers


def _handle(**values: Any) -> Callable[[report.DriverDevice], None]:
    """Return what gives a card's first handle a place."""
    place = {"domain": "0000", "bus": "0e", "device": "00", "function": "1"}
    return _set(
        "deployable_list.attach_handle_list.attach_info",
        json.dumps(place | values),
    )


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (_set("model", "\N{GRINNING FACE}"), "model has a character that not"),
        (_set("vendor", "a\0"), "vendor has a character that not"),
        (_set("std_board_info", "\ud800"), "std_board_info has a character"),
        (_set("model", "a\x1b[2J"), "model has a character that cannot be p"),
        (_set("deployable_list.name", "cn1\n"), "cannot be printed"),
        (_set("deployable_list.driver_name", "\u202e"), "cannot be printed"),
        (_set("controlpath_id.cpid_info", "0000:0e:00.0"), "is not JSON"),
        (_set("controlpath_id.cpid_info", "[]"), "not a JSON object"),
        (_set("controlpath_id.cpid_info", "{}"), "is not a PCI address"),
        (
            _set("deployable_list.attach_handle_list.attach_info", "x"),
            "attach_info of cn1_Bad is not JSON",
        ),
        (_handle(more={}), "not a JSON object of texts"),
        (_handle(bus="../.."), "is not a PCI address"),
        (_handle(physical_network="a\nb"), "cannot be printed"),
        (_handle(physical_network="\N{GRINNING FACE}"), "not every database"),
    ],
)
def test_what_a_host_sends_is_checked_like_what_a_tenant_sends(
    store: inventory.Store,
    change: Callable[[report.DriverDevice], None],
    problem: str,
) -> None:
    bad, good = inventory.device("Bad", bus="0e"), inventory.device()
    change(bad)
    _report(store, [bad, good], inventory.driver_entry(bad, good))
    (device,) = store.rows(models.Device)
    assert device.model == "miss model info"
    (host,) = store.rows(models.Host)
    assert problem in json.loads(host.drivers)[0]["error"]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("has_place", [True, False])
def test_what_is_no_device_costs_itself_only(
    store: inventory.Store, has_place: bool
) -> None:
    known = inventory.device("Known", bus="0f")
    _report(store, [known])
    sent = [
        device.obj_to_primitive()
        for device in (inventory.device(), inventory.device("Bad", bus="0e"))
    ]
    sent[1]["cyborg_object.data"]["deployable_list"] = "none"
    if not has_place:
        sent[1]["cyborg_object.data"]["controlpath_id"] = None
    devices = base.CyborgObjectSerializer().deserialize_entity(
        store.context, sent
    )
    _report(store, devices, inventory.driver_entry(inventory.device()))
    rows = {row.id: row for row in store.rows(models.Device)}
    assert len(rows) == 2
    # What cannot be told from a card that is known may be that card.
    missing = rows[min(rows)].missing_since is not None
    assert missing == has_place


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "wrong",
    [
        {"hostname": "cn1\n"},
        {"hostname": ""},
        {"hostname": ["cn1"]},
        {"rpc_host": "\N{GRINNING FACE}"},
        {"digest": "d" * 65},
        {"driver_device_list": {}},
        {"drivers": {}},
        {"drivers": [None]},
        {"drivers": [{"name": "\x1b"}]},
        {"drivers": [{"name": "d", "cpids": [1]}]},
        {"drivers": [{"name": f"d{number}"} for number in range(51)]},
    ],
)
def test_what_a_host_says_of_itself_is_refused_in_one_line(
    store: inventory.Store, wrong: dict[str, Any]
) -> None:
    said = {
        "hostname": HOST,
        "driver_device_list": [],
        "rpc_host": HOST,
        "digest": "d",
        "drivers": [],
    }
    with pytest.raises(exception.Invalid):
        store.conductor.report_data(store.context, agent=AGENT, **said | wrong)
    assert store.rows(models.Host) == []


def test_errors_of_many_drivers_fit_into_the_row(
    store: inventory.Store,
) -> None:
    drivers = [
        {"name": f"d{number}", "complete": False, "error": "é\0" * 9000}
        for number in range(50)
    ]
    _report(store, [], drivers)
    (host,) = store.rows(models.Host)
    assert len(json.loads(host.drivers)) == 50


def test_attributes_of_users_outlive_reports(store: inventory.Store) -> None:
    _report(store, [inventory.device()])
    (deployable,) = store.rows(models.Deployable)
    store.conductor.attributes_create(
        store.context,
        deployable.uuid,
        [{"key": "trait9", "value": "CUSTOM_MINE"}],
    )
    changed = inventory.device()
    changed.deployable_list[0].attribute_list[1].value = "CUSTOM_OTHER"
    _report(store, [changed])
    values = {row.value for row in store.rows(models.Attribute)}
    assert values == {"FPGA", "CUSTOM_OTHER", "CUSTOM_MINE"}


def test_value_that_a_user_gives_outlives_reports(
    store: inventory.Store,
) -> None:
    _report(store, [inventory.device()])
    rows = {row.key: row for row in store.rows(models.Attribute)}
    for value in ("CUSTOM_ONE", "CUSTOM_TWO"):
        store.conductor.attribute_update(
            store.context, rows["trait0"].uuid, value
        )
        _report(store, [inventory.device()])
        assert _pairs(store) == [("rc", "FPGA"), ("trait0", value)]
    # Without it, the driver's own value is back.
    store.conductor.attributes_delete(
        store.context, uuids=[rows["trait0"].uuid]
    )
    _report(store, [inventory.device()])
    assert _pairs(store) == [("rc", "FPGA"), ("trait0", "CUSTOM_FAKE_DEVICE")]


def test_a_value_that_a_user_gives_is_one_of_its_key(
    store: inventory.Store,
) -> None:
    device = inventory.device()
    device.deployable_list[0].attribute_list.extend(
        report.DriverAttribute(key="trait1", value=value)
        for value in ("CUSTOM_A", "CUSTOM_B")
    )
    _report(store, [device])
    (row,) = (r for r in store.rows(models.Attribute) if r.value == "CUSTOM_A")
    store.conductor.attribute_update(store.context, row.uuid, "CUSTOM_MINE")
    for _ in range(2):
        _report(store, [device])
        assert _pairs(store)[2:] == [
            ("trait1", "CUSTOM_MINE"),
            ("trait1", "CUSTOM_B"),
        ]


def _pairs(store: inventory.Store) -> list[tuple[str, str]]:
    return [(row.key, row.value) for row in store.rows(models.Attribute)]


@pytest.mark.parametrize("one_by_one", [True, False])
def test_deleted_attributes_of_a_driver_are_reported_again(
    store: inventory.Store, one_by_one: bool
) -> None:
    _report(store, [inventory.device()], digest="same")
    before = _pairs(store)
    assert host_db.heartbeat(store.context, HOST, HOST, "same")
    (deployable,) = store.rows(models.Deployable)
    which = (
        {"uuids": [row.uuid for row in store.rows(models.Attribute)]}
        if one_by_one
        else {"deployable_uuid": deployable.uuid}
    )
    store.conductor.attributes_delete(store.context, **which)
    assert _pairs(store) == []
    # The agent of unchanged hardware only says so; it has to be asked.
    assert not host_db.heartbeat(store.context, HOST, HOST, "same")
    assert _report(store, [inventory.device()], digest="same")
    assert _pairs(store) == before


def test_placement_is_told_of_traits_and_the_resource_class_only(
    store: inventory.Store,
) -> None:
    _report(store, [inventory.device()])
    rows = {row.key: row.uuid for row in store.rows(models.Attribute)}
    (deployable,) = store.rows(models.Deployable)
    (note,) = store.conductor.attributes_create(
        store.context, deployable.uuid, [{"key": "note", "value": "x"}]
    )
    for id_, value, told in (
        (note.uuid, "y", 0),
        (rows["trait0"], "CUSTOM_Y", 1),
        (rows["rc"], "CUSTOM_Y", 1),
    ):
        (before,) = store.rows(models.Host)
        store.conductor.attribute_update(store.context, id_, value)
        (after,) = store.rows(models.Host)
        assert after.sync_wanted - before.sync_wanted == told


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_what_placement_cannot_hold_is_no_trait(
    store: inventory.Store,
) -> None:
    _report(store, [inventory.device()])
    (deployable,) = store.rows(models.Deployable)
    create = store.conductor.attributes_create
    for value in ("custom_x", "HW_UNHEARD_OF", "CUSTOM_", "CUSTOM_X-1"):
        with pytest.raises(exception.Invalid, match="value of trait9"):
            create(
                store.context,
                deployable.uuid,
                [{"key": "trait9", "value": value}],
            )
    (made,) = create(
        store.context, deployable.uuid, [{"key": "note", "value": "any text"}]
    )
    (trait,) = create(
        store.context,
        deployable.uuid,
        [{"key": "trait9", "value": "CUSTOM_X"}],
    )
    with pytest.raises(exception.Invalid):
        store.conductor.attribute_update(store.context, trait.uuid, "x")
    store.conductor.attribute_update(store.context, made.uuid, "x")
    (class_,) = (r.uuid for r in store.rows(models.Attribute) if r.key == "rc")
    for value in ("GPU", "custom_x", "CUSTOM_", ""):
        with pytest.raises(exception.Invalid, match="FPGA, PGPU, VGPU, or"):
            store.conductor.attribute_update(store.context, class_, value)
    store.conductor.attribute_update(store.context, class_, "PGPU")


def test_two_reports_of_one_host_at_once(store: inventory.Store) -> None:
    devices = [inventory.device(f"D{n}", bus=f"{n:02x}") for n in range(6)]
    with futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: _report(store, devices), range(8)))
    assert len(store.rows(models.Device)) == 6
    assert len(store.rows(models.ControlPathID)) == 6
    assert len(store.rows(models.AttachHandle)) == 96
    assert len(store.rows(models.Host)) == 1


def _copy(
    store: inventory.Store,
    model: type[models.Base],
    row: Any,
    **values: Any,
) -> int:
    """Store a row a second time; returns the id of the second."""
    copied = row._asdict() | {"uuid": str(uuid.uuid4())} | values
    del copied["id"]
    store.execute(sa.insert(model.__table__).values(copied))
    return int(store.rows(model)[-1].id)


def _copy_device(store: inventory.Store) -> None:
    """Store the only device again, as two reports at once did it."""
    device = _copy(store, models.Device, store.rows(models.Device)[0])
    path = _copy(
        store,
        models.ControlPathID,
        store.rows(models.ControlPathID)[0],
        device_id=device,
    )
    deployable = _copy(
        store,
        models.Deployable,
        store.rows(models.Deployable)[0],
        device_id=device,
    )
    for attribute in store.rows(models.Attribute):
        _copy(store, models.Attribute, attribute, deployable_id=deployable)
    for handle in store.rows(models.AttachHandle):
        _copy(
            store,
            models.AttachHandle,
            handle,
            deployable_id=deployable,
            cpid_id=path,
        )


def _there(store: inventory.Store, model: type[models.Base]) -> list[bool]:
    return [row.missing_since is None for row in store.rows(model)]


@pytest.mark.parametrize("used", [0, 1])
def test_of_two_devices_that_are_one_the_one_in_use_stays(
    store: inventory.Store, used: int
) -> None:
    device = inventory.device(handles=1)
    _report(store, [device])
    _copy_device(store)
    handles = store.rows(models.AttachHandle)
    store.execute(
        sa.update(models.AttachHandle)
        .where(models.AttachHandle.id == handles[used].id)
        .values(in_use=True)
    )
    assert _report(store, [device])
    for model in (models.Device, models.Deployable):
        assert _there(store, model) == [used == 0, used == 1]
    assert not _report(store, [device])


def test_what_the_other_of_two_devices_has_in_use_is_given_to_nobody(
    store: inventory.Store,
) -> None:
    device = inventory.device(handles=2)
    (rp_uuid,) = store.report(device)
    _copy_device(store)
    handles = store.rows(models.AttachHandle)
    used = [handles[0].id, handles[3].id]
    store.execute(
        sa.update(models.AttachHandle)
        .where(models.AttachHandle.id.in_(used))
        .values(in_use=True)
    )
    assert _report(store, [device])
    kept = handles[0].deployable_id
    assert [h for h in _handles(store) if h[0] == kept] == [
        (kept, row.uuid, True) for row in handles if row.id in used
    ]
    with pytest.raises(exception.NoFreeHandle):
        store.bind(store.arqs(1), rp_uuid)
    assert not _report(store, [device])


def test_parts_that_are_there_twice_go(store: inventory.Store) -> None:
    device = inventory.device(handles=2)
    _report(store, [device])
    for model in (models.AttachHandle, models.Deployable):
        _copy(store, model, store.rows(model)[0])
    assert _report(store, [device])
    assert _there(store, models.AttachHandle) == [True, True, False]
    assert _there(store, models.Deployable) == [True, False]
    assert not _report(store, [device])


def test_a_device_that_nobody_can_report_goes(store: inventory.Store) -> None:
    device = inventory.device()
    _report(store, [device])
    # A report of an earlier release died here.
    _copy(store, models.Device, store.rows(models.Device)[0])
    incomplete = inventory.driver_entry(device)
    incomplete[0]["complete"] = False
    assert not _report(store, [device], incomplete)
    assert _report(store, [device])
    assert _there(store, models.Device) == [True, False]
    assert not _report(store, [device])


def test_an_agent_of_the_last_release_reports(store: inventory.Store) -> None:
    conductor = manager.ConductorManager()
    conductor.report_data(store.context, HOST, [inventory.device()])
    (host,) = store.rows(models.Host)
    assert (host.rpc_version, host.rpc_host, host.drivers) == (
        "1.0",
        None,
        None,
    )
    with inventory.counted() as statements:
        conductor.report_data(store.context, HOST, [inventory.device()])
    assert len(statements) == 2


def test_statements_depend_on_tables_not_on_devices(
    store: inventory.Store,
) -> None:
    def cost(count: int, start: int) -> int:
        devices = [
            inventory.device(f"D{n}", bus=f"{n:02x}")
            for n in range(start, start + count)
        ]
        entry = inventory.driver_entry(*devices)
        entry[0]["complete"] = False
        with inventory.counted() as statements:
            _report(store, devices, entry)
        return len(statements)

    cost(1, 0)
    assert cost(1, 1) == cost(8, 2) <= 22


def test_a_heartbeat_is_one_statement(store: inventory.Store) -> None:
    conductor = manager.ConductorManager()
    _report(store, [inventory.device()], digest="known")
    with inventory.counted() as statements:
        answer = conductor.report_heartbeat(store.context, HOST, HOST, "known")
    assert answer == {"need_full_report": False}
    assert len(statements) == 1
    answer = conductor.report_heartbeat(store.context, HOST, HOST, "other")
    assert answer == {"need_full_report": True}
    assert conductor.report_heartbeat(store.context, "new", "new", "x") == {
        "need_full_report": True
    }


def test_a_heartbeat_answers_what_is_in_use(store: inventory.Store) -> None:
    conductor = manager.ConductorManager()
    device = inventory.device(handles=4)
    conductor.report_data(
        store.context,
        HOST,
        [device],
        HOST,
        "known",
        inventory.driver_entry(device),
        agent=AGENT,
    )
    (rp_uuid,) = store.report(device)
    host_db.store_report(
        store.context,
        HOST,
        rpc_host=HOST,
        rpc_version="1.1",
        digest="known",
        drivers=None,
    )

    def beat(known: str, agent: dict = AGENT) -> dict:
        with inventory.counted() as statements:
            answer = conductor.report_heartbeat(
                store.context, HOST, HOST, "known", agent=agent, in_use=known
            )
        # Something given back may be something else by now. If it has to
        # report in full: is that because its key is another?
        changed = answer["in_use"] is not None
        assert len(statements) == 2 + changed + answer["need_full_report"]
        return answer

    nothing = beat("")["in_use"]
    assert nothing["handles"] == []
    assert beat(nothing["digest"]) == {
        "need_full_report": False,
        "in_use": None,
    }
    arqs = store.arqs(2)
    instance = store.bind(arqs, rp_uuid)
    answer = beat(nothing["digest"])["in_use"]
    (card,) = store.rows(models.Device)
    used = [row for row in store.rows(models.AttachHandle) if row.in_use]
    assert answer["handles"] == [
        {
            "uuid": handle.uuid,
            "attach_type": "TEST_PCI",
            "attach_info": json.loads(handle.attach_info),
            "device": card.uuid,
            "arq": arq,
            "state": "Bound",
            "instance": instance,
        }
        for handle, arq in zip(used, arqs, strict=True)
    ]
    assert beat(answer["digest"])["in_use"] is None
    store.delete(arqs)
    assert beat(answer["digest"])["in_use"] == nothing
    # A machine that was booted says once what it has now.
    later = AGENT | {"boot_id": "b2"}
    assert beat(nothing["digest"], later)["need_full_report"]
    conductor.report_data(
        store.context,
        HOST,
        [device],
        HOST,
        "known",
        inventory.driver_entry(device),
        agent=later,
    )
    assert not beat(nothing["digest"], later)["need_full_report"]


def test_a_registration_answers_what_is_in_use(
    store: inventory.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        registration, "find_host", lambda context, names: names[0]
    )
    conductor = manager.ConductorManager()
    (rp_uuid,) = store.report(inventory.device(handles=1))
    store.bind(store.arqs(), rp_uuid)
    answer = conductor.agent_register(
        store.context, [HOST], HOST, agent=AGENT, in_use=""
    )
    assert answer["hostname"] == HOST
    assert len(answer["in_use"]["handles"]) == 1
    # One that does not tell is not told either.
    assert conductor.agent_register(store.context, [HOST], HOST) == {
        "hostname": HOST
    }
