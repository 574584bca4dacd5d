"""The state of a device follows its handles, and holds it back if it must."""

from concurrent import futures
import uuid

import pytest
import sqlalchemy as sa

from cyborg.common import exception
from cyborg.common import states
from cyborg.conductor.placement import desired
from cyborg.db import data_migrations
from cyborg.db import device as device_db
from cyborg.db import device_state
from cyborg.db import host_sync
from cyborg.db import models
from cyborg.manage import device as manage_device
from cyborg.tests.fixtures import inventory
from cyborg.tests.fixtures.inventory import HOST

State = states.DeviceState
DEVICES = models.Device.__table__


def states_of(store: inventory.Store) -> list[str | None]:
    return [row.device_state for row in store.rows(models.Device)]


def put(store: inventory.Store, state: str | None) -> None:
    store.execute(sa.update(DEVICES).values(device_state=state))


def test_it_follows_bind_unbind_and_delete(store: inventory.Store) -> None:
    first, _other = store.report(
        inventory.device(),
        inventory.device("Other", bus="0d"),
    )
    assert states_of(store) == ["available", "available"]
    one, two = store.arqs(), store.arqs()
    store.bind(one, first)
    store.bind(two, first)
    assert states_of(store) == ["allocated", "available"]
    store.conductor.arqs_unbind(store.context, one, None)
    assert states_of(store) == ["allocated", "available"]
    store.delete(two)
    assert states_of(store) == ["available", "available"]


def test_what_an_earlier_release_left_is_filled_in(
    store: inventory.Store,
) -> None:
    (rp_uuid,) = store.report(inventory.device())
    arqs = store.arqs()
    put(store, None)
    store.bind(arqs, rp_uuid)
    assert states_of(store) == ["allocated"]
    put(store, None)
    assert data_migrations.fill_device_states(store.context).migrated == 1
    assert states_of(store) == ["allocated"]
    assert data_migrations.fill_device_states(store.context).migrated == 0
    put(store, None)
    store.delete(arqs)
    assert states_of(store) == ["available"]


def test_who_reads_devices_writes_nothing(store: inventory.Store) -> None:
    store.report(inventory.device())
    put(store, None)
    with inventory.counted() as statements:
        device_db.find(store.context)
    assert [text.split()[0] for text in statements] == ["SELECT"]
    assert states_of(store) == [None]


def test_the_last_two_to_go_leave_it_available(
    store: inventory.Store,
) -> None:
    """Neither may miss what the other has not committed yet."""
    (rp_uuid,) = store.report(inventory.device())
    arqs = [store.arqs() for _ in range(8)]
    for one in arqs:
        store.bind(one, rp_uuid)
    with futures.ThreadPoolExecutor(4) as executor:
        list(executor.map(store.delete, arqs))
    assert store.in_use() == 0
    assert states_of(store) == ["available"]


@pytest.mark.parametrize("state", states.UNFIT)
def test_held_back_until_somebody_frees_it(
    store: inventory.Store, state: State, capsys: pytest.CaptureFixture[str]
) -> None:
    (rp_uuid,) = store.report(inventory.device())
    put(store, state.value)
    (row,) = store.rows(models.Device)
    # Placement has it reserved, from the first look at the rows.
    rows = host_sync.load(store.context, HOST)
    (provider,) = desired.desired(rows).values()
    assert provider.reserved == provider.total == 16
    arqs = store.arqs()
    with pytest.raises(exception.NoFreeHandle):
        store.bind(arqs, rp_uuid)
    assert states_of(store) == [state.value]

    with pytest.raises(exception.DeviceNotFound):
        manage_device.release(
            store.context, [row.uuid, str(uuid.uuid4())], False
        )
    assert states_of(store) == [state.value]
    (wanted,) = [host.sync_wanted for host in store.rows(models.Host)]
    assert manage_device.release(store.context, [row.uuid], False) == 0
    assert capsys.readouterr().out == f"Device {row.uuid} is available.\n"
    (host,) = store.rows(models.Host)
    assert host.sync_wanted == wanted + 1
    (provider,) = desired.desired(host_sync.load(store.context, HOST)).values()
    assert provider.reserved == 0
    store.bind(arqs, rp_uuid)
    assert states_of(store) == ["allocated"]
    with pytest.raises(exception.Conflict, match="allocated"):
        manage_device.release(store.context, [row.uuid], False)


def test_one_held_back_in_use_stays_so_when_it_is_free(
    store: inventory.Store,
) -> None:
    (rp_uuid,) = store.report(inventory.device())
    arqs = store.arqs()
    store.bind(arqs, rp_uuid)
    put(store, "error")
    store.delete(arqs)
    assert states_of(store) == ["error"]
    (row,) = store.rows(models.Device)
    store.report(inventory.device())
    assert states_of(store) == ["error"]
    manage_device.release(store.context, [row.uuid], True)
    assert states_of(store) == ["available"]


@pytest.mark.parametrize(
    ("said", "stored"),
    [
        (None, "available"),
        ("allocated", "available"),
        ("pending_cleaning", "pending_cleaning"),
        ("parked", "available"),
    ],
)
def test_first_state_is_the_drivers_word(
    store: inventory.Store, said: str | None, stored: str
) -> None:
    card = inventory.device()
    card.device_state = said
    store.report(card)
    assert states_of(store) == [stored]


def test_a_type_of_a_later_release_costs_its_device_only(
    store: inventory.Store,
) -> None:
    new = inventory.device("new", bus="0d", kind="TPU")
    store.report(inventory.device(), new)
    (row,) = store.rows(models.Device)
    assert row.type == "FPGA"
    (host,) = store.rows(models.Host)
    assert "TPU is no type of device" in host.drivers


@pytest.mark.parametrize("kind", ["MDEV", "PCI", "NVME"])
def test_types_of_17_0_0_are_stored(store: inventory.Store, kind: str) -> None:
    store.report(inventory.device(kind=kind))
    (row,) = store.rows(models.Device)
    assert row.type == kind


def classes(store: inventory.Store) -> list[str]:
    return [
        row.value for row in store.rows(models.Attribute) if row.key == "rc"
    ]


def test_in_use_a_deployable_keeps_its_class(store: inventory.Store) -> None:
    (rp_uuid,) = store.report(inventory.device())
    arqs = store.arqs()
    store.bind(arqs, rp_uuid)
    changed = inventory.device()
    changed.deployable_list[0].attribute_list[0].value = "VGPU"
    assert store.report(changed) == [rp_uuid]
    assert classes(store) == ["FPGA"]
    # It is asked for again, until there is nothing left to wait for.
    (host,) = store.rows(models.Host)
    assert host.report_digest == ""
    store.delete(arqs)
    assert store.report(changed) == [rp_uuid]
    assert classes(store) == ["VGPU"]
    (host,) = store.rows(models.Host)
    assert host.report_digest


def test_only_moves_of_the_table_are_made(store: inventory.Store) -> None:
    store.report(inventory.device())
    (row,) = store.rows(models.Device)
    for target, sources in states.DEVICE_MAY_BECOME.items():
        for source in (*State, None):
            put(store, source)
            allowed = source in sources or (
                source is None and not {*sources}.isdisjoint(states.DERIVED)
            )
            moved = device_state.move(store.context, [row.id], target)
            assert moved == allowed
            assert states_of(store) == [target if allowed else source]
