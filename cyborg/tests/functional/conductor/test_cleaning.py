"""What is given back is clean before anybody else is given it."""

import contextlib
import json
from typing import Any

from oslo_config import fixture as config_fixture
import pytest
import sqlalchemy as sa

from cyborg.agent import rpcapi
from cyborg.common import exception
from cyborg.conductor.placement import desired
from cyborg.conductor.work import cleaning
from cyborg.conductor.work import steps
from cyborg.db import engine
from cyborg.db import host_sync
from cyborg.db import job as job_db
from cyborg.db import models
from cyborg.tests.fixtures import inventory
from cyborg.tests.fixtures import standin
from cyborg.tests.fixtures.inventory import HOST

HOSTS = models.Host.__table__
DEVICES = models.Device.__table__


@standin.of(rpcapi.AgentAPI)
class Agent:
    """The far end of RPC: what was asked of it, and what it answers."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.calls: list[dict[str, Any]] = []

    def clean(
        self,
        context: Any,
        rpc_host: str,
        *,
        job_uuid: str,
        attempt: int,
        handle: dict[str, Any],
        controlpath_id: dict[str, Any],
        driver: str,
        sequence: int,
    ) -> dict[str, Any]:
        self.calls.append(
            {"job": job_uuid, "attempt": attempt, "handle": handle["uuid"]}
        )
        answer = self.answers.pop(0) if self.answers else done()
        if isinstance(answer, Exception):
            raise answer
        return answer


def done() -> dict[str, Any]:
    step = {"name": "wipe", "destroys": "all", "seconds": 1.5}
    return {"state": "done", "reason": "", "steps": [step]}


def failed(is_final: bool = False) -> dict[str, Any]:
    return {
        "state": "failed",
        "reason": "it does not answer",
        "is_final": is_final,
        "steps": [],
    }


def run(store: inventory.Store, agent: Agent) -> None:
    """Look at the cleanings that there are, due or not."""
    for row in store.rows(models.Job):
        store.execute(
            sa.update(models.Job).values(lease_expires_at=engine.after(0))
        )
        job = job_db.claim(store.context, row.uuid, "me", 30)
        assert job is not None
        with contextlib.suppress(steps.Cancelled):
            try:
                cleaning.do(store.context, job, agent)
            except steps.TryLater as error:
                job_db.postpone(store.context, row.uuid, "me", 0, str(error))


def report(store: inventory.Store, kind: str = "SSD", handles: int = 1) -> str:
    """Have an agent that cleans report a card; returns its provider."""
    device = inventory.device(kind=kind, handles=handles)
    (rp_uuid,) = store.report(device)
    store.execute(sa.update(HOSTS).values(rpc_version="1.3"))
    return rp_uuid


def give_back(store: inventory.Store, rp_uuid: str) -> None:
    arqs = store.arqs()
    store.bind(arqs, rp_uuid)
    store.delete(arqs)
    assert arqs[0] not in [row.uuid for row in store.rows(models.ARQ)]


def state(store: inventory.Store) -> str:
    (row,) = store.rows(models.Device)
    return row.device_state


def reserved(store: inventory.Store) -> int:
    rows = host_sync.load(store.context, HOST)
    (provider,) = desired.desired(rows).values()
    return provider.reserved


def history(store: inventory.Store) -> list[tuple[str, str | None]]:
    return [
        (row.kind, row.why)
        for row in store.rows(models.DeviceEvent)
        if row.kind not in ("found", "bound", "offered")
    ]


def conditions(store: inventory.Store) -> list[tuple[str, str]]:
    return [
        (row.key, row.effect) for row in store.rows(models.DeviceCondition)
    ]


def test_it_is_cleaned_before_it_is_given_again(
    store: inventory.Store,
) -> None:
    rp_uuid = report(store)
    assert reserved(store) == 0
    give_back(store, rp_uuid)
    assert (state(store), reserved(store)) == ("pending_cleaning", 1)
    again = store.arqs()
    with pytest.raises(exception.NoFreeHandle):
        store.bind(again, rp_uuid)
    (wanted,) = [row.sync_wanted for row in store.rows(models.Host)]
    going = {"state": "running", "reason": "wipe goes on", "steps": []}
    agent = Agent(exception.AgentNotResponding(host=HOST), going)
    run(store, agent)
    run(store, agent)
    assert (state(store), reserved(store)) == ("cleaning", 1)
    (job,) = store.rows(models.Job)
    assert job.last_error == "wipe goes on"
    with pytest.raises(exception.NoFreeHandle):
        store.bind(again, rp_uuid)
    run(store, agent)
    assert (state(store), reserved(store)) == ("available", 0)
    (now,) = [row.sync_wanted for row in store.rows(models.Host)]
    assert now == wanted + 1
    assert len({json.dumps(call) for call in agent.calls}) == 1
    assert store.rows(models.Job) == []
    assert history(store) == [
        ("released", "released to be cleaned"),
        ("cleaned", None),
    ]
    (event,) = [
        row for row in store.rows(models.DeviceEvent) if row.kind == "cleaned"
    ]
    assert json.loads(event.detail)["steps"] == done()["steps"]
    store.bind(again, rp_uuid)


def test_unbind_cleans_and_the_request_can_be_bound_elsewhere(
    store: inventory.Store,
) -> None:
    rp_uuid = report(store)
    arqs = store.arqs()
    store.bind(arqs, rp_uuid)
    store.conductor.arqs_unbind(store.context, arqs, None)
    (arq,) = store.rows(models.ARQ)
    assert (arq.state, arq.attach_handle_id) == ("Unbound", None)
    assert state(store) == "pending_cleaning"
    run(store, Agent())
    store.bind(arqs, rp_uuid)


def test_one_handle_of_several_is_held_back_alone(
    store: inventory.Store,
) -> None:
    rp_uuid = report(store, handles=3)
    kept = store.arqs()
    store.bind(kept, rp_uuid)
    give_back(store, rp_uuid)
    assert (state(store), reserved(store)) == ("allocated", 1)
    other = store.arqs()
    store.bind(other, rp_uuid)
    with pytest.raises(exception.NoFreeHandle):
        store.bind(store.arqs(), rp_uuid)
    store.delete(other)
    assert (state(store), reserved(store)) == ("allocated", 2)
    store.delete(kept)
    # Now there is nothing else to give.
    assert (state(store), reserved(store)) == ("pending_cleaning", 3)
    run(store, Agent())
    assert (state(store), reserved(store)) == ("available", 0)


@pytest.mark.parametrize("enabled", (None, False))
def test_an_upgrade_erases_nothing(
    store: inventory.Store,
    config: config_fixture.Config,
    enabled: bool | None,
) -> None:
    rp_uuid = report(store)
    # The host was there before.
    store.execute(sa.update(HOSTS).values(cleans=False))
    config.config(enabled=enabled, group="cleaning")
    give_back(store, rp_uuid)
    assert (state(store), store.rows(models.Job)) == ("available", [])
    assert history(store) == [("released", "released uncleaned by policy")]
    config.config(enabled=True, group="cleaning")
    give_back(store, rp_uuid)
    assert state(store) == "pending_cleaning"


def test_hosts_whose_devices_were_stored_before_are_known(
    store: inventory.Store,
) -> None:
    report(store)
    store.execute(sa.delete(HOSTS))
    store.report(inventory.device(kind="SSD", handles=1))
    (host,) = store.rows(models.Host)
    assert not host.cleans


@pytest.mark.parametrize("by", ("type", "uuid"))
def test_policy_by_type_and_device(
    store: inventory.Store, config: config_fixture.Config, by: str
) -> None:
    rp_uuid = report(store, kind="GPU")
    give_back(store, rp_uuid)
    assert state(store) == "available"
    (device,) = store.rows(models.Device)
    policy = {"GPU": "wanted"}
    if by == "uuid":
        policy = {"GPU": "off", device.uuid: "required"}
    config.config(policy=policy, group="cleaning")
    give_back(store, rp_uuid)
    assert state(store) == "pending_cleaning"


def test_what_fails_is_repeated_then_kept(store: inventory.Store) -> None:
    rp_uuid = report(store)
    give_back(store, rp_uuid)
    agent = Agent(failed(), failed())
    run(store, agent)
    run(store, agent)
    assert (state(store), conditions(store)) == ("cleaning", [])
    agent.answers = [failed()]
    run(store, agent)
    assert [call["attempt"] for call in agent.calls] == [0, 1, 2]
    assert (state(store), reserved(store)) == ("error", 1)
    assert conditions(store) == [("unclean", "no-schedule")]
    assert store.rows(models.Job) == []
    assert ("failed", "it does not answer") in history(store)
    with pytest.raises(exception.NoFreeHandle):
        store.bind(store.arqs(), rp_uuid)


def test_one_handle_of_several_that_fails_keeps_all(
    store: inventory.Store,
) -> None:
    rp_uuid = report(store, handles=3)
    kept = store.arqs()
    store.bind(kept, rp_uuid)
    give_back(store, rp_uuid)
    run(store, Agent(failed(is_final=True)))
    assert (state(store), reserved(store)) == ("error", 3)
    # Which of them is dirty nobody could tell any more.
    with pytest.raises(exception.NoFreeHandle):
        store.bind(store.arqs(), rp_uuid)
    store.delete(kept)
    run(store, Agent())
    assert (state(store), reserved(store)) == ("error", 3)
    assert conditions(store) == [("unclean", "no-schedule")]
    (device,) = store.rows(models.Device)
    cleaning.clean(store.context, device.uuid)
    run(store, Agent())
    assert (state(store), reserved(store)) == ("available", 0)
    assert conditions(store) == []


def test_an_agent_that_breaks_down_has_failed(store: inventory.Store) -> None:
    give_back(store, report(store))
    # As a call of an agent ends that raises what nobody has thought of.
    error = exception.AgentFailed(host=HOST, reason="KeyError: nvme0")
    agent = Agent(error, error, error)
    for _ in range(3):
        run(store, agent)
    assert state(store) == "error"
    assert store.rows(models.Job) == []
    assert ("failed", error.faultstring) in history(store)


@pytest.mark.parametrize("what", ("clean", "release"))
def test_until_the_operator_says_so(store: inventory.Store, what: str) -> None:
    rp_uuid = report(store)
    give_back(store, rp_uuid)
    run(store, Agent(failed(is_final=True)))
    assert state(store) == "error"
    (device,) = store.rows(models.Device)
    if what == "clean":
        cleaning.clean(store.context, device.uuid)
        assert (state(store), reserved(store)) == ("pending_cleaning", 1)
        with pytest.raises(exception.Conflict, match="already"):
            cleaning.clean(store.context, device.uuid)
        run(store, Agent())
    else:
        assert cleaning.release(store.context, device.uuid) == "available"
        assert (
            "released",
            "released uncleaned by the operator",
        ) in history(store)
    assert (state(store), conditions(store)) == ("available", [])
    assert reserved(store) == 0
    arqs = store.arqs()
    store.bind(arqs, rp_uuid)
    with pytest.raises(exception.Conflict, match="in use"):
        cleaning.clean(store.context, device.uuid)
    with pytest.raises(exception.Conflict, match="allocated"):
        cleaning.release(store.context, device.uuid)


def test_it_is_not_released_while_its_agent_may_be_at_work(
    store: inventory.Store,
) -> None:
    rp_uuid = report(store)
    give_back(store, rp_uuid)
    (device,) = store.rows(models.Device)
    agent = Agent(exception.AgentNotResponding(host=HOST))
    run(store, agent)
    with pytest.raises(exception.Conflict, match="may be cleaning"):
        cleaning.release(store.context, device.uuid)
    cleaning.release(store.context, device.uuid, force=True)
    assert (state(store), store.rows(models.Job)) == ("available", [])
    give_back(store, rp_uuid)
    # Nobody has asked the agent yet.
    cleaning.release(store.context, device.uuid)
    assert (state(store), store.rows(models.Job)) == ("available", [])


def test_wanted_goes_on_without(
    store: inventory.Store, config: config_fixture.Config
) -> None:
    config.config(policy={"SSD": "wanted"}, group="cleaning")
    rp_uuid = report(store)
    give_back(store, rp_uuid)
    run(store, Agent(failed(is_final=True)))
    assert (state(store), reserved(store)) == ("available", 0)
    assert conditions(store) == [("unclean", "none")]
    assert history(store)[-1] == (
        "released",
        "released uncleaned: it does not answer",
    )
    give_back(store, rp_uuid)
    run(store, Agent())
    assert conditions(store) == []


@pytest.mark.parametrize("policy", ("required", "wanted"))
def test_an_agent_of_before_cleans_nothing(
    store: inventory.Store, config: config_fixture.Config, policy: str
) -> None:
    config.config(policy={"SSD": policy}, group="cleaning")
    rp_uuid = report(store)
    store.execute(sa.update(HOSTS).values(rpc_version="1.1"))
    give_back(store, rp_uuid)
    agent = Agent()
    run(store, agent)
    assert agent.calls == []
    expected = {"required": "pending_cleaning", "wanted": "available"}
    assert state(store) == expected[policy]


def test_in_use_is_waited_for_and_said(store: inventory.Store) -> None:
    rp_uuid = report(store)
    give_back(store, rp_uuid)
    reason = "0000:0c:00.0 is open in process 7, qemu"
    agent = Agent(*[{"state": "busy", "reason": reason, "steps": []}] * 10)
    for _ in range(9):
        run(store, agent)
    assert conditions(store) == []
    run(store, agent)
    assert conditions(store) == [("unclean", "none")]
    assert (state(store), reserved(store)) == ("cleaning", 1)
    # These are no attempts that failed.
    assert {call["attempt"] for call in agent.calls} == {0}
    run(store, agent)
    assert (state(store), conditions(store)) == ("available", [])


def test_a_bind_that_failed_before_the_host_was_touched_cleans_nothing(
    store: inventory.Store,
) -> None:
    device = inventory.device(kind="SSD", handles=1, attach_type="MDEV")
    (rp_uuid,) = store.report(device)
    arqs = store.arqs()
    store.bind(arqs, rp_uuid)
    assert store.states() == ["BindStarted"]
    store.delete(arqs)
    (job,) = store.rows(models.Job)
    assert (job.kind, json.loads(job.payload)) == (
        "cleanup",
        {"untouched": True},
    )


def test_one_time_use(
    store: inventory.Store, config: config_fixture.Config
) -> None:
    rp_uuid = report(store, kind="GPU")
    store.execute(
        sa.update(models.Attribute)
        .where(models.Attribute.key == "trait0")
        .values(value="HW_PCI_ONE_TIME_USE")
    )
    arqs = store.arqs()
    assert reserved(store) == 0
    (before,) = [row.sync_wanted for row in store.rows(models.Host)]
    store.bind(arqs, rp_uuid)
    (after,) = [row.sync_wanted for row in store.rows(models.Host)]
    assert (reserved(store), after - before) == (1, 1)
    store.delete(arqs)
    assert (state(store), reserved(store)) == ("pending_cleaning", 1)
    assert store.in_use() == 0
    with pytest.raises(exception.NoFreeHandle):
        store.bind(store.arqs(), rp_uuid)
    (device,) = store.rows(models.Device)
    cleaning.clean(store.context, device.uuid)
    # It is not given out again as it is, though its type need not be clean.
    run(store, Agent(failed(is_final=True)))
    assert (state(store), reserved(store)) == ("error", 1)
    cleaning.clean(store.context, device.uuid)
    run(store, Agent())
    assert (state(store), reserved(store)) == ("available", 0)


def test_the_agent_says_that_it_has_ended(store: inventory.Store) -> None:
    rp_uuid = report(store)
    give_back(store, rp_uuid)
    (job,) = store.rows(models.Job)
    store.execute(
        sa.update(models.Job).values(lease_expires_at=engine.after(999))
    )
    assert job_db.due(store.context, 10) == []
    who = {"machine_id": None, "boot_id": "b", "rpc_version": "1.3"}
    store.conductor.cleaning_ended(store.context, "another", job.uuid, who)
    assert job_db.due(store.context, 10) == []
    store.conductor.cleaning_ended(store.context, HOST, job.uuid, who)
    assert job_db.due(store.context, 10) == [job.uuid]


def test_the_api_has_it_cleaned_or_released(store: inventory.Store) -> None:
    rp_uuid = report(store)
    (device,) = store.rows(models.Device)
    store.conductor.device_clean(store.context, device.uuid, "a new image")
    assert state(store) == "pending_cleaning"
    assert history(store) == [("released", "to be cleaned: a new image")]
    run(store, Agent(failed(is_final=True)))
    assert state(store) == "error"
    store.conductor.device_release(store.context, device.uuid, "overwritten")
    assert state(store) == "available"
    assert history(store)[-1] == (
        "released",
        "released uncleaned by the operator: overwritten",
    )
    store.bind(store.arqs(), rp_uuid)
