"""Bind, unbind and delete on every engine: results, races and statements."""

from collections.abc import Callable
from concurrent import futures
import multiprocessing
import types
from typing import TypeVar
import uuid

import pytest
import sqlalchemy as sa

from cyborg.common import exception
from cyborg.conductor import quota
from cyborg.conductor.requests import binding
from cyborg.conductor.requests import profiles
from cyborg.db import arq as arq_db
from cyborg.db import bound_instance as bound_db
from cyborg.db import deployable as deployable_db
from cyborg.db import engine
from cyborg.db import models
from cyborg.tests.fixtures import inventory
from cyborg.tests.fixtures.inventory import HOST
from cyborg.tests.fixtures.inventory import PROJECT

T = TypeVar("T")


def test_bind_gives_each_arq_a_handle_and_tells_nova(
    store: inventory.Store,
) -> None:
    (rp_uuid,) = store.report(inventory.device())
    arqs = store.arqs(8)
    instance = store.bind(arqs, rp_uuid)
    rows = store.rows(models.ARQ)
    assert [row.state for row in rows] == ["Bound"] * 8
    assert len({row.attach_handle_id for row in rows}) == 8
    assert {row.instance_uuid for row in rows} == {instance}
    assert store.in_use() == 8
    events = store.rows(models.Notification)
    assert sorted(event.arq_uuid for event in events) == sorted(arqs)
    assert {event.status for event in events} == {"completed"}


def test_binding_again_the_same_way_changes_nothing(
    store: inventory.Store,
) -> None:
    (rp_uuid,) = store.report(inventory.device())
    arqs = store.arqs(2)
    instance = store.bind(arqs, rp_uuid)
    before = store.rows(models.ARQ)
    store.bind(arqs, rp_uuid, instance)
    assert store.rows(models.ARQ) == before
    with pytest.raises(exception.ARQBoundElsewhere):
        store.bind(arqs, rp_uuid)


def test_a_bind_that_cannot_succeed_changes_nothing(
    store: inventory.Store,
) -> None:
    (rp_uuid,) = store.report(inventory.device(handles=2))
    arqs = store.arqs(3)
    instance = str(uuid.uuid4())
    with pytest.raises(exception.NoFreeHandle):
        store.bind(arqs, rp_uuid, instance)
    with pytest.raises(exception.ProviderNotFound):
        store.bind(arqs[:1], str(uuid.uuid4()), instance)
    with pytest.raises(exception.ARQNotFound):
        store.bind([arqs[0], str(uuid.uuid4())], rp_uuid, instance)
    with pytest.raises(exception.WrongHost):
        binding.bind(
            store.context,
            [binding.Binding(arqs[0], "elsewhere", rp_uuid, instance)],
            PROJECT,
        )
    with pytest.raises(exception.ARQNotFound):
        binding.bind(
            store.context,
            [binding.Binding(arqs[0], HOST, rp_uuid, instance)],
            "another-project",
        )
    assert store.states() == ["Initial"] * 3
    assert store.in_use() == 0
    assert store.rows(models.Notification) == []
    assert store.rows(models.BoundInstance) == []


@pytest.mark.parametrize("name", [HOST.upper(), "bus-name", "Bus-Name"])
def test_a_host_may_be_named_as_nova_or_the_bus_does(
    store: inventory.Store, name: str
) -> None:
    (rp_uuid,) = store.report(inventory.device())
    store.execute(sa.update(models.Host.__table__).values(rpc_host="bus-name"))
    (arq,) = store.arqs(1)
    binding.bind(
        store.context,
        [binding.Binding(arq, name, rp_uuid, str(uuid.uuid4()))],
        PROJECT,
    )
    assert store.states() == ["Bound"]


def test_of_two_hosts_with_one_provider_only_the_one_named_gives(
    store: inventory.Store,
) -> None:
    # Earlier releases made it of a name that both hosts have.
    store.report(inventory.device(handles=1))
    store.report(inventory.device(handles=1, host="cn2"), host="cn2")
    rp_uuid = str(uuid.uuid4())
    store.execute(
        sa.update(models.Deployable.__table__).values(rp_uuid=rp_uuid)
    )
    first, second = store.rows(models.Deployable)
    arqs = store.arqs(3)

    def bind(arq: str, hostname: str) -> None:
        instance = str(uuid.uuid4())
        binding.bind(
            store.context,
            [binding.Binding(arq, hostname, rp_uuid, instance)],
            PROJECT,
        )

    bind(arqs[0], HOST)
    with pytest.raises(exception.NoFreeHandle):
        bind(arqs[1], HOST)
    bind(arqs[1], "cn2")
    with pytest.raises(exception.WrongHost):
        bind(arqs[2], "cn3")
    assert [row.deployable_id for row in store.rows(models.ARQ)] == [
        first.id,
        second.id,
        None,
    ]


def test_an_instance_is_bound_once(store: inventory.Store) -> None:
    (rp_uuid,) = store.report(inventory.device())
    first, second = store.arqs(1), store.arqs(1)
    instance = store.bind(first, rp_uuid)
    with pytest.raises(exception.InstanceHasARQs):
        store.bind(second, rp_uuid, instance)
    store.delete(instance=instance)
    store.bind(second, rp_uuid, instance)


def test_unbind_frees_and_allows_another_bind(store: inventory.Store) -> None:
    (rp_uuid,) = store.report(inventory.device(handles=1))
    arqs = store.arqs(1)
    store.bind(arqs, rp_uuid)
    binding.unbind(store.context, arqs, PROJECT)
    (row,) = store.rows(models.ARQ)
    assert (row.state, row.instance_uuid, row.attach_handle_id) == (
        "Unbound",
        None,
        None,
    )
    assert store.in_use() == 0
    assert store.rows(models.BoundInstance) == []
    assert store.rows(models.Notification) == []
    binding.unbind(store.context, arqs, PROJECT)
    store.bind(arqs, rp_uuid)
    assert store.states() == ["Bound"]


def test_delete_takes_those_that_are_there(store: inventory.Store) -> None:
    (rp_uuid,) = store.report(inventory.device())
    arqs = store.arqs(2)
    store.bind(arqs, rp_uuid)
    unknown = str(uuid.uuid4())
    with pytest.raises(exception.ARQNotFound, match=unknown):
        store.delete([*arqs, unknown])
    assert store.rows(models.ARQ) == []
    assert store.in_use() == 0
    assert store.rows(models.Notification) == []
    assert store.rows(models.BoundInstance) == []


def test_deleting_an_instance_twice_is_fine(store: inventory.Store) -> None:
    (rp_uuid,) = store.report(inventory.device())
    instance = store.bind(store.arqs(2), rp_uuid)
    other = store.bind(store.arqs(1), rp_uuid)
    store.delete(instance=instance)
    store.delete(instance=instance)
    (left,) = store.rows(models.ARQ)
    assert left.instance_uuid == other
    assert store.in_use() == 1


def test_without_a_service_token_nothing_bound_is_deleted(
    store: inventory.Store,
) -> None:
    (rp_uuid,) = store.report(inventory.device())
    bound, unbound = store.arqs(1), store.arqs(1)
    store.bind(bound, rp_uuid)
    context = store.context
    context.is_service_request = False
    with pytest.raises(exception.ServiceTokenRequired):
        binding.delete(context, bound + unbound, None, PROJECT)
    assert sorted(store.states()) == ["Bound", "Initial"]
    binding.delete(context, unbound, None, PROJECT)
    assert store.states() == ["Bound"]


def test_a_mediated_device_waits_for_its_host(store: inventory.Store) -> None:
    (rp_uuid,) = store.report(
        inventory.device(handles=1, attach_type="MDEV", kind="GPU")
    )
    arqs = store.arqs(1)
    store.bind(arqs, rp_uuid)
    assert store.states() == ["BindStarted"]
    (job,) = store.rows(models.Job)
    assert (job.kind, job.step) == ("bind", "queued")
    assert store.rows(models.Notification) == []
    # Cancelled by a delete: the handle stays taken until it is cleaned.
    store.delete(arqs)
    (job,) = store.rows(models.Job)
    assert job.kind == "cleanup"
    (row,) = store.rows(models.ARQ)
    assert (row.state, row.instance_uuid) == ("Deleting", None)
    assert store.in_use() == 1


def _try_to_bind(store: inventory.Store, arq: str, rp_uuid: str) -> bool:
    try:
        store.bind([arq], rp_uuid)
    except exception.NoFreeHandle:
        return False
    return True


def _conductor(url: str, arqs: list[str], rp_uuid: str) -> list[bool]:
    """Bind in a process of its own, as a second conductor does."""
    from cyborg.db import engine

    engine.configure(connection=url)
    store = inventory.Store()
    with futures.ThreadPoolExecutor(8) as pool:
        return list(
            pool.map(lambda arq: _try_to_bind(store, arq, rp_uuid), arqs)
        )


def test_two_conductors_and_fifty_binds_over_sixteen_handles(
    store: inventory.Store, database_url: str
) -> None:
    (rp_uuid,) = store.report(inventory.device())
    arqs = [store.arqs(1)[0] for _ in range(50)]
    # Two processes, for which this is imported once.
    forks = multiprocessing.get_context("forkserver")
    forks.set_forkserver_preload([__name__])
    with futures.ProcessPoolExecutor(2, mp_context=forks) as conductors:
        parts = [
            conductors.submit(_conductor, database_url, half, rp_uuid)
            for half in (arqs[::2], arqs[1::2])
        ]
        won = [ok for part in parts for ok in part.result(timeout=120)]
    rows = [row for row in store.rows(models.ARQ) if row.state == "Bound"]
    assert sum(won) == len(rows) == store.in_use() == 16
    assert len({row.attach_handle_id for row in rows}) == 16
    assert len(store.rows(models.BoundInstance)) == 16
    assert len(store.rows(models.Notification)) == 16


def test_one_instance_bound_by_two_at_once(store: inventory.Store) -> None:
    (rp_uuid,) = store.report(inventory.device())
    instances = [str(uuid.uuid4()) for _ in range(10)]
    work = [(store.arqs(1)[0], i) for i in instances for _ in range(2)]

    def bind(item: tuple[str, str]) -> bool:
        try:
            store.bind([item[0]], rp_uuid, item[1])
        except exception.InstanceHasARQs:
            return False
        return True

    with futures.ThreadPoolExecutor(8) as pool:
        won = list(pool.map(bind, work))
    assert sum(won) == 10 == store.in_use()
    bound = [r for r in store.rows(models.ARQ) if r.state == "Bound"]
    assert sorted(r.instance_uuid for r in bound) == sorted(instances)


def test_one_arq_bound_to_two_instances_at_once(
    store: inventory.Store,
) -> None:
    (rp_uuid,) = store.report(inventory.device())
    arqs = [store.arqs(1) for _ in range(8)]

    def bind(uuids: list[str]) -> str | None:
        try:
            return store.bind(uuids, rp_uuid)
        except exception.ARQBoundElsewhere:
            return None

    with futures.ThreadPoolExecutor(8) as pool:
        won = list(pool.map(bind, [each for each in arqs for _ in range(2)]))
    instances = [row.instance_uuid for row in store.rows(models.ARQ)]
    assert sorted(filter(None, won)) == sorted(instances)
    assert store.in_use() == 8
    assert len(store.rows(models.BoundInstance)) == 8


def _meanwhile(
    monkeypatch: pytest.MonkeyPatch,
    act: Callable[[], object],
    module: types.ModuleType = bound_db,
    name: str = "lock",
) -> None:
    """Do something just before a use case takes its next step.

    :param name: function of ``module`` that is this step; unless said
        otherwise, a bind locks the instances it knows
    """
    step = getattr(module, name)

    def late(*args: object) -> object:
        monkeypatch.setattr(module, name, step)
        act()
        return step(*args)

    monkeypatch.setattr(module, name, late)


# SQLite has one writer at a time.
@pytest.mark.parametrize(
    "database_url", ["mysql", "postgresql"], indirect=True
)
def test_one_more_arq_for_an_instance_by_two_at_once(
    store: inventory.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    (rp_uuid,) = store.report(inventory.device())
    first, second, third = (store.arqs(1) for _ in range(3))
    instance = store.bind(first, rp_uuid)
    _meanwhile(
        monkeypatch, lambda: store.bind(first + second, rp_uuid, instance)
    )
    with pytest.raises(exception.InstanceHasARQs):
        store.bind(first + third, rp_uuid, instance)
    assert store.states() == ["Bound", "Bound", "Initial"]


@pytest.mark.parametrize(
    "database_url", ["mysql", "postgresql"], indirect=True
)
def test_a_profile_that_is_changed_while_its_arqs_are_made(
    store: inventory.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = store.profile(1)
    (row,) = store.rows(models.DeviceProfile)
    groups = [{"resources:FPGA": "3"}]
    _meanwhile(
        monkeypatch,
        lambda: profiles.update(store.context, row.uuid, {"groups": groups}),
        arq_db,
        "create",
    )
    assert len(store.arqs(profile=profile)) == 3


@pytest.mark.parametrize(
    "database_url", ["mysql", "postgresql"], indirect=True
)
def test_one_more_arq_for_an_instance_that_is_deleted(
    store: inventory.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    (rp_uuid,) = store.report(inventory.device())
    first, second = (store.arqs(1) for _ in range(2))
    instance = store.bind(first, rp_uuid)
    _meanwhile(monkeypatch, lambda: store.delete(instance=instance))
    with pytest.raises(exception.ARQNotFound):
        store.bind(first + second, rp_uuid, instance)
    assert store.states() == ["Initial"]
    assert store.rows(models.BoundInstance) == []
    assert store.in_use() == 0


def test_an_answer_that_is_lost_changes_nothing(
    store: inventory.Store,
) -> None:
    (rp_uuid,) = store.report(inventory.device())
    profile = store.profile(2)
    with inventory.lost_answer():
        arqs = store.arqs(profile=profile)
    assert [row.uuid for row in store.rows(models.ARQ)] == arqs
    with inventory.lost_answer():
        store.bind(arqs, rp_uuid)
    assert store.states() == ["Bound", "Bound"]
    assert store.in_use() == 2
    assert len(store.rows(models.Notification)) == 2
    with inventory.lost_answer():
        binding.unbind(store.context, arqs, PROJECT)
    assert store.states() == ["Unbound", "Unbound"]
    unknown = str(uuid.uuid4())
    with (
        inventory.lost_answer(),
        pytest.raises(exception.ARQNotFound) as error,
    ):
        store.delete([*arqs, unknown])
    assert arqs[0] not in str(error.value)
    assert store.rows(models.ARQ) == []


def test_arqs_that_cannot_all_be_made_are_not_made(
    store: inventory.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = store.profile(3)

    def fail() -> None:
        raise exception.QuotaExceeded("no room")

    _meanwhile(monkeypatch, fail, quota, "created")
    with pytest.raises(exception.QuotaExceeded):
        store.arqs(profile=profile)
    # They were inserted, and taken back.
    assert store.rows(models.ARQ) == []
    assert len(store.arqs(profile=profile)) == 3


def test_a_card_removed_during_a_bind_is_no_error_of_ours(
    store: inventory.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    (rp_uuid,) = store.report(inventory.device())
    lock = deployable_db.lock_for_programming

    def lock_late(context: object, *ids: object) -> object:
        """What the report of another conductor leaves of it."""
        monkeypatch.setattr(deployable_db, "lock_for_programming", lock)
        monkeypatch.setattr(deployable_db, "for_bind", lambda *args: [])
        return []

    monkeypatch.setattr(deployable_db, "lock_for_programming", lock_late)
    arqs = store.arqs(profile=store.profile(1, **{"accel:function_id": "a"}))
    with pytest.raises(exception.ProviderNotFound):
        store.bind(arqs, rp_uuid)


def test_binds_and_deletes_at_once_leak_nothing(
    store: inventory.Store,
) -> None:
    (rp_uuid,) = store.report(inventory.device(handles=4))

    def cycle(_number: int) -> None:
        arqs = store.arqs(1)
        instance = str(uuid.uuid4())
        try:
            store.bind(arqs, rp_uuid, instance)
        except exception.NoFreeHandle:
            store.delete(arqs)
        else:
            store.delete(instance=instance)

    with futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(cycle, range(40)))
    assert store.rows(models.ARQ) == []
    assert store.in_use() == 0
    for table in (models.BoundInstance, models.Notification, models.Job):
        assert store.rows(table) == []


def test_binds_while_reports_add_and_remove_handles(
    store: inventory.Store,
) -> None:
    (rp_uuid,) = store.report(inventory.device(handles=8))

    def cycle(number: int) -> None:
        if number % 4 == 0:
            store.report(inventory.device(handles=2 if number % 8 else 8))
            return
        arqs = store.arqs(1)
        try:
            instance = store.bind(arqs, rp_uuid)
        except exception.NoFreeHandle:
            store.delete(arqs)
        else:
            if number % 2:
                store.delete(instance=instance)

    with futures.ThreadPoolExecutor(6) as pool:
        list(pool.map(cycle, range(24)))
    held = [row.attach_handle_id for row in store.rows(models.ARQ)]
    handles = {row.id: row for row in store.rows(models.AttachHandle)}
    assert len(set(held)) == len(held)
    assert None not in held
    assert {id_ for id_, row in handles.items() if row.in_use} == set(held)


def test_a_card_disabled_during_a_boot_is_bound_all_the_same(
    store: inventory.Store,
) -> None:
    (rp_uuid,) = store.report(inventory.device())
    # Nova has chosen it before, and has an allocation.
    store.execute(
        sa.update(models.Device.__table__).values(status="maintaining")
    )
    store.bind(store.arqs(1), rp_uuid)
    assert store.states() == ["Bound"]


def _counts(store: inventory.Store, rp_uuid: str) -> dict[str, int]:
    counts = {}
    profile = store.profile(8)
    with inventory.counted() as statements:
        arqs = store.arqs(profile=profile)
    counts["create"] = len(statements)
    with inventory.counted() as statements:
        instance = store.bind(arqs, rp_uuid)
    counts["bind"] = len(statements)
    with inventory.counted() as statements:
        assert len(arq_db.find(store.context, instances=[instance])) == 8
    counts["read"] = len(statements)
    with inventory.counted() as statements:
        store.delete(instance=instance)
    counts["delete"] = len(statements)
    return counts


def _insert_arqs(store: inventory.Store, count: int) -> None:
    """Insert ARQs of the first profile, half of them bound."""
    if not store.rows(models.DeviceProfile):
        store.profile()
    profile = store.rows(models.DeviceProfile)[0].id
    for begin in range(0, count, 1000):
        store.execute(
            sa.insert(models.ARQ.__table__).values(
                [
                    {
                        "uuid": str(uuid.uuid4()),
                        "project_id": PROJECT,
                        "device_profile_id": profile,
                        "device_profile_group_id": 0,
                        "state": "Bound" if number % 2 else "Initial",
                        "instance_uuid": (
                            str(uuid.uuid4()) if number % 2 else None
                        ),
                        "substate": "Initial",
                    }
                    for number in range(begin, min(begin + 1000, count))
                ]
            )
        )


def test_costs_do_not_grow_with_the_table(store: inventory.Store) -> None:
    (rp_uuid,) = store.report(inventory.device())
    empty = _counts(store, rp_uuid)
    _insert_arqs(store, 10_000)
    full = _counts(store, rp_uuid)
    assert empty == full
    assert full["read"] == 1
    # One deployable: 8 statements, 3 for it, and its device's history.
    assert full["bind"] <= 12
    # Of these 2 for the state of the device, 1 whether it is to be cleaned.
    assert full["delete"] <= 9
    assert full["create"] <= 4


def _rows_read(store: inventory.Store, rp_uuid: str) -> dict[str, int]:
    """Return how many rows MariaDB reads for each step."""
    profile = store.profile()
    read: dict[str, int] = {}

    def total() -> int:
        # One thread, so one connection of the pool.
        with engine.reading(store.context) as connection:
            rows = connection.exec_driver_sql(
                "SHOW SESSION STATUS LIKE 'Handler_read%%'"
            )
            return sum(int(value) for _name, value in rows)

    def step(name: str, work: Callable[[], T]) -> T:
        before = total()
        result = work()
        read[name] = total() - before
        return result

    arqs = step("create", lambda: store.arqs(profile=profile))
    instance = step("bind", lambda: store.bind(arqs, rp_uuid))
    step("read", lambda: arq_db.find(store.context, instances=[instance]))
    step("delete", lambda: store.delete(instance=instance))
    return read


@pytest.mark.parametrize("database_url", ["mysql"], indirect=True)
def test_rows_read_do_not_grow_with_the_table(store: inventory.Store) -> None:
    (rp_uuid,) = store.report(inventory.device())
    _insert_arqs(store, 500)
    some = _rows_read(store, rp_uuid)
    _insert_arqs(store, 2000)
    many = _rows_read(store, rp_uuid)
    for name, rows in many.items():
        assert rows <= some[name] + 20, (name, some, many)
