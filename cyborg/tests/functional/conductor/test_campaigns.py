"""Firmware for many devices, on every engine, whatever dies in between."""

from collections.abc import Iterator
import contextlib
import json
from typing import Any

from oslo_config import fixture as config_fixture
import pytest
import sqlalchemy as sa

from cyborg.clients import glance
from cyborg.common import exception
from cyborg.conductor.life import conditions
from cyborg.conductor.placement import desired
from cyborg.conductor.work import campaigns
from cyborg.conductor.work import cleaning
from cyborg.conductor.work import programming
from cyborg.conductor.work import steps
from cyborg.db import host_sync as sync_db
from cyborg.db import job as job_db
from cyborg.db import models
from cyborg.manage import firmware
from cyborg.tests.fixtures import inventory

IMAGE = "11111111-1111-4111-8111-111111111111"
HOST = inventory.HOST


class Agent:
    """Takes firmware, or does not, and cleans."""

    def __init__(self) -> None:
        self.updated: list[str] = []
        self.code = 0

    def device_update(
        self, context: Any, rpc_host: str, *, job_uuid: str, **rest: Any
    ) -> dict[str, Any]:
        self.updated.append(job_uuid)
        return {"code": self.code, "detail": "the card said no"}

    def clean(self, *args: Any, **named: Any) -> dict[str, Any]:
        return {"state": "done", "steps": []}


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch) -> Iterator[Agent]:
    monkeypatch.setattr(glance, "own_project", lambda: "operators")
    monkeypatch.setattr(
        glance,
        "get_image",
        lambda image, request_id=None: {
            "id": image,
            "status": "active",
            "visibility": "public",
            "owner": "operators",
            "size": 3,
            "checksum": "x",
            "tags": ["FPGA"],
            "name": "new",
        },
    )
    yield Agent()


@pytest.fixture
def cards(store: inventory.Store) -> Iterator[list[str]]:
    """Four cards; returns their providers."""
    yield store.report(
        *(
            inventory.device(f"Card{bus}", 1, bus=f"{bus:02x}")
            for bus in range(16, 20)
        )
    )


def _run(store: inventory.Store, agent: Agent) -> None:
    for uuid_ in job_db.due(store.context, 100):
        job = job_db.claim(store.context, uuid_, "me", 30)
        with contextlib.suppress(steps.Cancelled, steps.TryLater):
            do = cleaning.do if job.kind == "clean" else steps.do
            do(store.context, job, agent)


def _phases(store: inventory.Store, wanted: campaigns.Campaign) -> list[str]:
    return [each.phase for each in campaigns.advance(store.context, wanted)]


def _reserved(store: inventory.Store) -> int:
    rows = sync_db.load(store.context, HOST)
    return sum(p.reserved for p in desired.desired(rows).values())


def _conditions(store: inventory.Store) -> list[tuple[str, str, str]]:
    return [
        (row.key, row.effect, row.reason.partition(":")[0])
        for row in store.rows(models.DeviceCondition)
    ]


def test_a_canary_first_then_as_many_as_the_budget_lets(
    store: inventory.Store, agent: Agent, cards: list[str]
) -> None:
    wanted = campaigns.Campaign(IMAGE, budget=2, canary=1)
    assert _phases(store, wanted) == ["waiting", "queued", "queued", "queued"]
    assert _conditions(store) == [
        (f"firmware-{IMAGE}", "no-schedule", "waiting")
    ]
    assert _reserved(store) == 1
    assert _phases(store, wanted)[0] == "updating"
    # Whoever looks again, or begins again, changes nothing.
    assert _phases(store, wanted) == ["updating", "queued", "queued", "queued"]
    assert len(store.rows(models.Job)) == 1
    _run(store, agent)
    assert _phases(store, wanted) == ["done", "waiting", "waiting", "queued"]
    assert _phases(store, wanted) == ["done", "updating", "updating", "queued"]
    _run(store, agent)
    assert _phases(store, wanted) == ["done", "done", "done", "waiting"]
    _phases(store, wanted)
    _run(store, agent)
    assert _phases(store, wanted) == ["done"] * 4
    assert _conditions(store) == []
    assert _reserved(store) == 0
    assert len(agent.updated) == len(set(agent.updated)) == 4
    kinds = [row.kind for row in store.rows(models.DeviceEvent)]
    assert kinds.count("firmware") == 4
    # It is over, and stays so.
    assert firmware.campaign(store.context, wanted, True, None) == 0
    assert len(store.rows(models.Job)) == 4


def test_what_a_server_has_is_waited_for(
    store: inventory.Store, agent: Agent, cards: list[str]
) -> None:
    instance = store.bind(store.arqs(1), cards[0])
    _run(store, agent)
    wanted = campaigns.Campaign(IMAGE, budget=4, canary=0)
    _phases(store, wanted)
    assert _phases(store, wanted) == ["waiting"] + ["updating"] * 3
    _run(store, agent)
    assert _phases(store, wanted) == ["waiting"] + ["done"] * 3
    store.delete(instance=instance)
    _run(store, agent)
    assert _phases(store, wanted)[0] == "updating"
    _run(store, agent)
    assert _phases(store, wanted) == ["done"] * 4


def test_a_failure_stops_it_until_the_operator_goes_on(
    store: inventory.Store,
    agent: Agent,
    cards: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    wanted = campaigns.Campaign(IMAGE, budget=4, canary=1)
    agent.code = 1
    _phases(store, wanted)
    _phases(store, wanted)
    _run(store, agent)
    assert _phases(store, wanted) == ["failed", "queued", "queued", "queued"]
    # What is broken may be: nobody is given it.
    assert _reserved(store) == 1
    assert campaigns.is_over(campaigns.look(store.context, wanted))
    assert firmware.campaign(store.context, wanted, True, 0.01) == 1
    shown = json.loads(capsys.readouterr().out)
    assert (shown[0]["phase"], shown[1]["phase"]) == ("failed", "queued")
    assert "the card said no" in shown[0]["reason"]
    agent.code = 0
    assert firmware.campaign(store.context, wanted, True, None, True) == 1
    _run(store, agent)
    assert _phases(store, wanted) == ["done"] + ["waiting"] * 3


def test_a_device_that_takes_no_firmware_stays_in_use(
    store: inventory.Store,
    agent: Agent,
    cards: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*args: Any) -> None:
        raise exception.NotUpdatable(uuid="x", reason="its driver cannot")

    monkeypatch.setattr(programming, "update_firmware", refuse)
    wanted = campaigns.Campaign(IMAGE)
    _phases(store, wanted)
    assert _phases(store, wanted)[0] == "failed"
    assert _conditions(store) == [(f"firmware-{IMAGE}", "none", "failed")]
    assert _reserved(store) == 0


def test_it_is_cleaned_where_that_is_wanted(
    store: inventory.Store,
    agent: Agent,
    cards: list[str],
    config: config_fixture.Config,
) -> None:
    config.config(group="cleaning", enabled=True, policy={"FPGA": "required"})
    store.execute(sa.update(models.Host.__table__).values(rpc_version="9.9"))
    first = store.rows(models.Device)[0]
    conditions.put(
        store.context,
        [
            conditions.Condition(first, key, conditions.Source.AGENT)
            for key in ("xid-48", "nvme-dead")
        ],
    )
    wanted = campaigns.Campaign(IMAGE)
    _phases(store, wanted)
    _phases(store, wanted)
    _run(store, agent)
    assert _phases(store, wanted)[0] == "cleaning"
    assert _phases(store, wanted)[0] == "cleaning"
    _run(store, agent)
    assert _phases(store, wanted)[0] == "done"
    kinds = [row.kind for row in store.rows(models.DeviceEvent)]
    assert kinds.count("cleaned") == 1
    # What needed a reset is over with it, what a sensor sees is not.
    assert [row.key for row in store.rows(models.DeviceCondition)] == [
        "nvme-dead",
        f"firmware-{IMAGE}",
    ]


@pytest.mark.parametrize(
    ("selector", "count"),
    [
        ({"type": "FPGA"}, 4),
        ({"type": "GPU"}, 0),
        ({"vendor": "abcd"}, 4),
        ({"vendor": "0xABCD", "product": "0b2b"}, 2),
        ({"firmware": "1.0"}, 1),
    ],
)
def test_devices_are_chosen(
    store: inventory.Store, selector: dict[str, str], count: int
) -> None:
    devices = [
        inventory.device(f"Card{bus}", 1, bus=f"{bus:02x}")
        for bus in range(16, 20)
    ]
    devices[0].std_board_info = json.dumps(
        {"product_id": "0x0b2b", "firmware_version": "1.0"}
    )
    devices[1].std_board_info = json.dumps({"product_id": "0b2b"})
    store.report(*devices)
    wanted = campaigns.Campaign(IMAGE, **selector)
    assert len(campaigns.look(store.context, wanted)) == count
