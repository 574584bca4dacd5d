"""Quotas on every engine: limits, races, and that usages equal a recount."""

from collections.abc import Iterator
from concurrent import futures
import datetime
import uuid

from oslo_config import cfg
from oslo_config import fixture as config_fixture
from oslo_utils import timeutils
import pytest
import sqlalchemy as sa

from cyborg.agent import rpcapi
from cyborg.common import exception
from cyborg.conductor import quota
from cyborg.conductor.requests import binding
from cyborg.conductor.requests import sweeps
from cyborg.conductor.work import steps
from cyborg.db import job as job_db
from cyborg.db import models
from cyborg.tests.fixtures import inventory
from cyborg.tests.fixtures import limits as limits_fixture
from cyborg.tests.fixtures import standin
from cyborg.tests.fixtures.inventory import HOST
from cyborg.tests.fixtures.inventory import PROJECT

CONF = cfg.CONF
ARQS = models.ARQ.__table__

REQUESTS = "accelerator_requests"
FPGA = "class:FPGA"


@pytest.fixture
def config() -> Iterator[config_fixture.Config]:
    with config_fixture.Config(CONF) as fixture:
        yield fixture


@pytest.fixture
def limits(
    config: config_fixture.Config,
) -> Iterator[limits_fixture.Limits]:
    """Quotas are on and everything is unlimited."""
    with limits_fixture.quotas(config) as found:
        found.registered = {REQUESTS: -1, FPGA: -1, "class:CUSTOM_X": -1}
        yield found


def _usages(store: inventory.Store, project: str = PROJECT) -> dict:
    return {
        row.resource: (row.in_use, row.reserved)
        for row in store.rows(models.QuotaUsage)
        if row.project_id == project and (row.in_use or row.reserved)
    }


def _is_exact(store: inventory.Store) -> bool:
    return quota.recount(store.context, dry_run=True) == {}


@standin.of(rpcapi.AgentAPI)
class Agent:
    """An agent that does, or refuses, what it is asked."""

    def __init__(self) -> None:
        self.error: Exception | None = None

    def prepare_handle(self, *args: object, **kwargs: object) -> None:
        if self.error is not None:
            raise self.error

    cleanup_handle = prepare_handle


def _work(store: inventory.Store, agent: Agent) -> None:
    """Do the next job that is due."""
    uuid_ = job_db.due(store.context, 1)[0]
    job = job_db.claim(store.context, uuid_, "me", 60)
    steps.do(store.context, job, agent)


# -- counting along


def test_usages_follow_an_arq_through_its_life(
    store: inventory.Store, limits: limits_fixture.Limits
) -> None:
    (rp_uuid,) = store.report(inventory.device())
    arqs = store.arqs(2)
    assert _usages(store) == {REQUESTS: (0, 2), FPGA: (0, 2)}
    instance = store.bind(arqs, rp_uuid)
    assert _usages(store) == {REQUESTS: (2, 0), FPGA: (2, 0)}
    binding.unbind(store.context, arqs[:1], PROJECT)
    assert _usages(store) == {REQUESTS: (2, 0), FPGA: (1, 0)}
    assert _is_exact(store)
    binding.unbind(store.context, arqs[:1], PROJECT)
    assert _is_exact(store)
    store.bind(arqs[:1], rp_uuid)
    assert _usages(store) == {REQUESTS: (2, 0), FPGA: (2, 0)}
    store.delete(instance=instance)
    store.delete(arqs[:1])
    assert _usages(store) == {}
    assert _is_exact(store)


def test_usages_follow_work_on_hosts(
    store: inventory.Store, limits: limits_fixture.Limits
) -> None:
    (rp_uuid,) = store.report(
        inventory.device(handles=4, attach_type="MDEV", kind="GPU")
    )
    agent = Agent()
    good, bad = store.arqs(1), store.arqs(1)
    store.bind(good, rp_uuid)
    assert _usages(store) == {REQUESTS: (0, 2), FPGA: (0, 2)}
    _work(store, agent)
    assert _usages(store) == {REQUESTS: (1, 1), FPGA: (1, 1)}
    store.bind(bad, rp_uuid)
    agent.error = exception.DriverError(reason="no more room")
    _work(store, agent)
    assert store.states() == ["Bound", "BindFailed"]
    assert _usages(store) == {REQUESTS: (2, 0), FPGA: (1, 0)}
    assert _is_exact(store)
    # Being cleaned, and cleaned.
    store.delete(good + bad)
    assert store.states() == ["Deleting", "Deleting"]
    assert _usages(store) == {}
    assert _is_exact(store)


def test_a_handle_that_cannot_be_cleaned_is_not_the_projects(
    store: inventory.Store, limits: limits_fixture.Limits
) -> None:
    (rp_uuid,) = store.report(
        inventory.device(handles=4, attach_type="MDEV", kind="GPU")
    )
    agent = Agent()
    arqs = store.arqs(1)
    store.bind(arqs, rp_uuid)
    _work(store, agent)
    binding.unbind(store.context, arqs, PROJECT)
    assert _usages(store) == {REQUESTS: (1, 0)}
    agent.error = exception.DriverError(reason="busy")
    for _ in range(steps.REFUSALS):
        try:
            _work(store, agent)
        except steps.TryLater:
            store.execute(
                sa.update(models.Job.__table__).values(
                    lease_expires_at=sa.text("'2020-01-01 00:00:00'")
                )
            )
    assert store.states() == ["UnbindFailed"]
    assert _usages(store) == {}
    assert _is_exact(store)


def test_a_bind_that_lost_its_work_gives_back(
    store: inventory.Store, limits: limits_fixture.Limits
) -> None:
    (rp_uuid,) = store.report(
        inventory.device(handles=1, attach_type="MDEV", kind="GPU")
    )
    store.bind(store.arqs(1), rp_uuid)
    store.execute(sa.delete(models.Job.__table__))
    (row,) = store.rows(models.ARQ)
    sweeps.fail_stuck_bind(store.context, row)
    assert store.states() == ["BindFailed"]
    assert _usages(store) == {REQUESTS: (1, 0)}
    assert _is_exact(store)


def test_the_usage_goes_with_the_arq_to_its_owner(
    store: inventory.Store,
    limits: limits_fixture.Limits,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (rp_uuid,) = store.report(inventory.device())
    arqs = store.arqs(2)
    admin = store.context
    admin.is_admin = True
    monkeypatch.setattr(
        "cyborg.clients.nova.find_owner", lambda *args: "the-owner"
    )
    binding.bind(
        admin,
        [
            binding.Binding(arqs[0], HOST, rp_uuid, str(uuid.uuid4())),
            binding.Binding(
                arqs[1], HOST, rp_uuid, str(uuid.uuid4()), "named"
            ),
        ],
        None,
    )
    assert _usages(store, "named") == {REQUESTS: (1, 0), FPGA: (1, 0)}
    _work(store, Agent())
    assert _usages(store) == {}
    assert _usages(store, "the-owner") == {REQUESTS: (1, 0), FPGA: (1, 0)}
    assert _is_exact(store)


def test_two_functions_of_a_xilinx_card_are_one_unit(
    store: inventory.Store, limits: limits_fixture.Limits
) -> None:
    limits.projects[PROJECT, FPGA] = 3
    (rp_uuid,) = store.report(inventory.device())
    profile = store.profile(1, **{"trait:CUSTOM_FPGA_XILINX": "required"})
    for _ in range(3):
        instance = store.bind(store.arqs(profile=profile), rp_uuid)
    assert _usages(store) == {REQUESTS: (6, 0), FPGA: (3, 0)}
    with pytest.raises(exception.QuotaExceeded):
        store.arqs(profile=profile)
    store.delete(instance=instance)
    assert _usages(store) == {REQUESTS: (4, 0), FPGA: (2, 0)}
    assert _is_exact(store)


# -- limits


def test_what_would_exceed_a_limit_is_refused(
    store: inventory.Store, limits: limits_fixture.Limits
) -> None:
    limits.registered[REQUESTS] = 10
    limits.projects[PROJECT, FPGA] = 3
    store.arqs(2)
    with pytest.raises(exception.QuotaExceeded) as caught:
        store.arqs(2)
    assert caught.value.kwargs == {
        "resource": FPGA,
        "limit": 3,
        "used": 2,
        "asked": 2,
    }
    assert caught.value.code == 403
    store.arqs(1)
    limits.projects[PROJECT, FPGA] = -1
    limits.registered[REQUESTS] = 3
    quota.reset()
    with pytest.raises(exception.QuotaExceeded, match=REQUESTS):
        store.arqs(1)
    # Another project has limits of its own.
    store.conductor.arqs_create(store.context, store.profile(3), "another")
    assert _usages(store, "another") == {REQUESTS: (0, 3), FPGA: (0, 3)}
    assert len(store.rows(models.ARQ)) == 6


def test_a_resource_without_a_limit_cannot_be_had(
    store: inventory.Store, limits: limits_fixture.Limits
) -> None:
    del limits.registered[FPGA]
    with pytest.raises(exception.QuotaExceeded, match="limit 0"):
        store.arqs(1)


def test_binding_again_takes_the_device_from_the_quota_again(
    store: inventory.Store, limits: limits_fixture.Limits
) -> None:
    limits.registered[FPGA] = 1
    (rp_uuid,) = store.report(inventory.device())
    first = store.arqs(1)
    store.bind(first, rp_uuid)
    binding.unbind(store.context, first, PROJECT)
    second = store.arqs(1)
    binding_of_first = {
        "uuid": first[0],
        "hostname": HOST,
        "device_rp_uuid": rp_uuid,
        "instance_uuid": str(uuid.uuid4()),
    }
    with pytest.raises(exception.QuotaExceeded, match=FPGA):
        store.conductor.arqs_bind(store.context, [binding_of_first], PROJECT)
    assert store.states() == ["Unbound", "Initial"]
    store.delete(second)
    store.conductor.arqs_bind(store.context, [binding_of_first], PROJECT)
    assert store.states() == ["Bound"]
    assert _is_exact(store)


def test_a_keystone_that_does_not_answer_is_named(
    store: inventory.Store, limits: limits_fixture.Limits
) -> None:
    limits.stop()
    with pytest.raises(exception.KeystoneUnavailable):
        store.arqs(1)
    assert store.rows(models.ARQ) == []


def test_limits_that_nobody_can_ask_for_are_the_operators_matter(
    store: inventory.Store,
    limits: limits_fixture.Limits,
    config: config_fixture.Config,
) -> None:
    config.load_raw_values(group="oslo_limit", endpoint_id="")
    config.config(group="oslo_limit", endpoint_id=None)
    with pytest.raises(exception.ConfigInvalid, match="oslo_limit"):
        store.arqs(1)


def test_requests_racing_for_the_last_of_a_quota(
    store: inventory.Store, limits: limits_fixture.Limits
) -> None:
    limits.registered[FPGA] = 6
    (rp_uuid,) = store.report(inventory.device(handles=4))
    profile = store.profile(2)

    def create(_number: int) -> list[str]:
        try:
            return store.arqs(profile=profile)
        except exception.QuotaExceeded:
            return []

    with futures.ThreadPoolExecutor(8) as pool:
        won = [arqs for arqs in pool.map(create, range(12)) if arqs]
    assert len(won) == 3
    assert _usages(store) == {REQUESTS: (0, 6), FPGA: (0, 6)}

    def cycle(_number: int) -> None:
        instance = str(uuid.uuid4())
        try:
            arqs = store.arqs(profile=profile)
            store.bind(arqs, rp_uuid, instance)
        except exception.QuotaExceeded:
            return
        except exception.NoFreeHandle:
            store.delete(arqs)
        else:
            store.delete(instance=instance)

    store.delete(won.pop())
    with futures.ThreadPoolExecutor(8) as pool:
        work = [pool.submit(cycle, number) for number in range(24)]
        recounts = [
            pool.submit(quota.recount, store.context) for _ in range(3)
        ]
        for done in work + recounts:
            done.result(timeout=120)
    # What was counted along was right whenever it was counted again.
    assert [done.result() for done in recounts] == [{}, {}, {}]
    assert _usages(store) == {REQUESTS: (0, 4), FPGA: (0, 4)}
    assert _is_exact(store)


# -- counting again


def test_what_was_made_before_quotas_is_counted_at_the_first_sweep(
    store: inventory.Store,
    config: config_fixture.Config,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cyborg.clients.nova.find_owner", lambda *args: None)
    (rp_uuid,) = store.report(inventory.device())
    plain = store.arqs(2)
    xilinx = store.profile(2, **{"trait:CUSTOM_FPGA_XILINX": "required"})
    store.arqs(profile=xilinx)
    store.bind(plain, rp_uuid)
    # Two of them as an earlier release left them.
    store.execute(
        sa.update(ARQS).values(
            resource_class=None, updated_at=sa.text("'2020-01-01 00:00:00'")
        )
    )
    assert store.rows(models.QuotaUsage) == []
    sweeper = sweeps.Sweeper()
    sweeper.recount_quotas(store.context)
    assert store.rows(models.QuotaUsage) == []
    with limits_fixture.quotas(config):
        sweeper.recount_quotas(store.context)
        assert _usages(store) == {REQUESTS: (2, 4), FPGA: (2, 2)}
        rows = store.rows(models.ARQ)
        assert sorted(row.resource_class for row in rows) == [
            *("", ""),
            *["FPGA"] * 4,
        ]
        assert {row.updated_at.year for row in rows} == {2020}
        store.delete(plain)
        assert _usages(store) == {REQUESTS: (0, 4), FPGA: (0, 2)}
        # Once a day.
        store.execute(sa.update(models.QuotaUsage.__table__).values(in_use=7))
        sweeper.recount_quotas(store.context)
        assert not _is_exact(store)


def test_reservations_of_earlier_releases_expire(
    store: inventory.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cyborg.clients.nova.find_owner", lambda *args: None)
    usage = {"resource": "FPGA", "in_use": 0, "reserved": 2}
    store.execute(sa.insert(models.QuotaUsage.__table__).values(usage))
    (row,) = store.rows(models.QuotaUsage)
    day = datetime.timedelta(days=1)
    for expire in (timeutils.utcnow() - day, timeutils.utcnow() + day, None):
        store.execute(
            sa.insert(models.Reservation.__table__).values(
                uuid=str(uuid.uuid4()),
                usage_id=row.id,
                delta=1,
                expire=expire,
            )
        )
    sweeps.Sweeper().run(store.context)
    assert [row.id for row in store.rows(models.Reservation)] == [2, 3]


def test_giving_back_what_was_never_counted(
    store: inventory.Store, config: config_fixture.Config
) -> None:
    arqs = store.arqs(2)
    with limits_fixture.quotas(config) as limits:
        limits.registered = {REQUESTS: -1, FPGA: -1}
        store.delete(arqs[:1])
        assert _usages(store) == {}
        store.arqs(1)
        quota.recount(store.context)
        assert _usages(store) == {REQUESTS: (0, 2), FPGA: (0, 2)}


# -- cost


def test_quotas_cost_two_statements_each_time_and_none_when_off(
    store: inventory.Store, config: config_fixture.Config
) -> None:
    (rp_uuid,) = store.report(inventory.device())
    profile = store.profile(4)

    def costs() -> list[int]:
        found = []
        with inventory.counted() as statements:
            arqs = store.arqs(profile=profile)
        found.append(len(statements))
        with inventory.counted() as statements:
            instance = store.bind(arqs, rp_uuid)
        found.append(len(statements))
        with inventory.counted() as statements:
            store.delete(instance=instance)
        found.append(len(statements))
        assert not any("quota" in text for text in statements) or quota.is_on()
        return found

    off = costs()
    with limits_fixture.quotas(config) as limits:
        limits.registered = {REQUESTS: -1, FPGA: -1}
        costs()
        on = costs()
    # Creating also reads the profile and the usages before it begins.
    assert [b - a for a, b in zip(off, on, strict=True)] == [4, 2, 2]
