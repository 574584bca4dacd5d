"""Cards that come, go and come back, on every engine."""

import datetime
import json
from typing import Any

from oslo_config import fixture as config_fixture
import pytest
import sqlalchemy as sa

from cyborg.agent import rpcapi
from cyborg.common import constants
from cyborg.common import exception
from cyborg.conductor.inventory import devices
from cyborg.conductor.inventory import identifying
from cyborg.conductor.life import conditions
from cyborg.conductor.placement import desired
from cyborg.conductor.placement import sync
from cyborg.conductor.requests import binding
from cyborg.conductor.requests import sweeps
from cyborg.conductor.work import releases
from cyborg.conductor.work import steps
from cyborg.db import host_sync as sync_db
from cyborg.db import job as job_db
from cyborg.db import models
from cyborg.db import removal as removal_db
from cyborg.objects import report
from cyborg.tests.fixtures import inventory
from cyborg.tests.fixtures import standin

HOST = inventory.HOST
Source = constants.ConditionSource


def _card(**values: Any) -> report.DriverDevice:
    device = inventory.device()
    for name, value in values.items():
        setattr(device, name, value)
    return device


def _product(product: str) -> report.DriverDevice:
    return _card(std_board_info=json.dumps({"product_id": product}))


def _device(store: inventory.Store) -> Any:
    (row,) = store.rows(models.Device)
    return row


def _disable(store: inventory.Store) -> None:
    conditions.put(
        store.context,
        [
            conditions.Condition(
                _device(store), "maintaining", Source.OPERATOR, reason="fan"
            )
        ],
    )


def _remove(store: inventory.Store) -> None:
    """Have a card go, and its rows as well."""
    store.report()
    deployables = [row.id for row in store.rows(models.Deployable)]
    assert removal_db.delete_gone(store.context, HOST, deployables)
    assert store.rows(models.Device) == []


def _reserved(store: inventory.Store) -> list[int]:
    rows = sync_db.load(store.context, HOST)
    return [p.reserved for p in desired.desired(rows).values()]


def _kinds(store: inventory.Store) -> list[str]:
    return [row.kind for row in store.rows(models.DeviceEvent)]


def test_a_card_that_comes_back_is_as_it_was_left(
    store: inventory.Store,
) -> None:
    store.report(inventory.device())
    before = _device(store)
    _disable(store)
    _remove(store)
    store.report(inventory.device())
    after = _device(store)
    assert (after.uuid, after.identity_id) == (before.uuid, before.identity_id)
    assert (after.status, after.status_reason) == ("maintaining", "fan")
    assert _reserved(store) == [16]
    assert _kinds(store) == ["found", "condition_set", "lost", "back"]
    assert {r.identity_id for r in store.rows(models.DeviceEvent)} == {
        before.identity_id
    }
    assert {r.who for r in store.rows(models.DeviceEvent)} == {
        f"agent of {HOST}",
        "cyborg",
    }


def test_one_that_was_away_for_short_is_back(store: inventory.Store) -> None:
    store.report(inventory.device())
    _disable(store)
    store.report()
    store.report(inventory.device())
    assert _device(store).status == "maintaining"
    assert _kinds(store) == ["found", "condition_set", "lost", "back"]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
class TestAnother:
    def test_card_in_the_place_of_one_that_is_gone(
        self, store: inventory.Store
    ) -> None:
        store.report(_product("1111"))
        before = _device(store)
        _disable(store)
        _remove(store)
        store.report(_product("2222"))
        other = _device(store)
        assert other.status == "enabled"
        assert other.identity_id != before.identity_id
        assert other.uuid != before.uuid
        _remove(store)
        store.report(_product("1111"))
        assert _device(store).uuid == before.uuid
        assert _device(store).status == "maintaining"

    def test_vendor_in_the_place_of_one_that_is_there(
        self, store: inventory.Store
    ) -> None:
        store.report(inventory.device())
        before = _device(store)
        _disable(store)
        store.report(_card(vendor="10de"))
        other = _device(store)
        assert other.uuid == before.uuid
        assert other.identity_id != before.identity_id
        assert (other.status, _reserved(store)) == ("enabled", [0])
        found = store.rows(models.DeviceEvent)[-1]
        assert (found.kind, found.why) == (
            "found",
            "it is in the place of another card",
        )
        store.report(inventory.device())
        assert _device(store).identity_id == before.identity_id
        assert _device(store).status == "maintaining"
        assert _kinds(store)[-1] == "back"

    def test_product_may_be_the_same_card_with_something_else_loaded(
        self, store: inventory.Store
    ) -> None:
        store.report(_product("1111"))
        before = _device(store)
        _disable(store)
        store.report(_product("2222"))
        assert _device(store).identity_id == before.identity_id
        assert _device(store).status == "maintaining"
        (identity,) = store.rows(models.DeviceIdentity)
        assert identity.product == "2222"

    def test_vendor_while_a_guest_has_it(self, store: inventory.Store) -> None:
        (rp_uuid,) = store.report(inventory.device())
        before = _device(store)
        store.bind(store.arqs(1), rp_uuid)
        store.report(_card(vendor="10de"))
        assert _device(store).identity_id == before.identity_id

    def test_text_of_the_same_vendor(self, store: inventory.Store) -> None:
        store.report(_card(vendor="0xABCD"))
        _disable(store)
        store.report(_card(vendor="abcd"))
        assert len(store.rows(models.DeviceIdentity)) == 1
        assert _device(store).status == "maintaining"


class TestEarlierRelease:
    @pytest.mark.parametrize(
        ("status", "reserved"), [("enabled", 0), ("maintaining", 16)]
    )
    def test_its_rows_get_identities_and_keep_their_status(
        self,
        store: inventory.Store,
        config: config_fixture.Config,
        status: str,
        reserved: int,
    ) -> None:
        # It is not seen for the first time.
        config.config(new_device_status="maintaining", group="conductor")
        store.report(inventory.device())
        store.execute(sa.delete(models.DeviceCondition.__table__))
        store.execute(
            sa.update(models.Device.__table__).values(
                identity_id=None, status=status, status_reason="fan"
            )
        )
        store.execute(sa.delete(models.DeviceIdentity.__table__))
        store.report(inventory.device())
        device = _device(store)
        assert device.status == status
        assert _reserved(store) == [reserved]
        assert device.identity_id is not None
        found = [
            (row.key, row.reason) for row in store.rows(models.DeviceCondition)
        ]
        assert found == [("maintaining", "fan")] * bool(reserved)


def test_a_new_card_waits_for_the_operator(
    store: inventory.Store, config: config_fixture.Config
) -> None:
    store.report(inventory.device())
    config.config(new_device_status="maintaining", group="conductor")
    store.report(inventory.device(), inventory.device("D2", bus="0d"))
    first, second = store.rows(models.Device)
    assert (first.status, second.status) == ("enabled", "maintaining")
    assert second.status_reason == "seen first; an operator has to enable it"
    assert _reserved(store) == [0, 16]
    conditions.clear(store.context, [second], source=Source.OPERATOR)
    assert _reserved(store) == [0, 0]
    # It was approved once.
    store.report(inventory.device())
    store.report(inventory.device(), inventory.device("D2", bus="0d"))
    assert _reserved(store) == [0, 0]


def test_what_nothing_is_left_of_is_forgotten(
    store: inventory.Store,
) -> None:
    devices = [inventory.device(f"D{n}", bus=f"0{n}") for n in range(3)]
    store.report(*devices)
    first, second, _third = store.rows(models.Device)
    conditions.put(
        store.context,
        [conditions.Condition(second, "hot", Source.AGENT)],
    )
    store.report(devices[2])
    removal_db.delete_gone(
        store.context, HOST, [row.id for row in store.rows(models.Deployable)]
    )
    sweeper = sweeps.Sweeper()
    sweeper.forget_history(store.context)
    assert len(store.rows(models.DeviceIdentity)) == 3
    store.execute(
        sa.update(models.DeviceEvent.__table__).values(
            at=datetime.datetime.fromisoformat("2020-01-01")
        )
    )
    sweeper.forget_history(store.context)
    sweeper.forget_history(store.context)
    left = {row.id for row in store.rows(models.DeviceIdentity)}
    assert first.identity_id not in left
    assert second.identity_id in left
    assert len(left) == 2
    assert store.rows(models.DeviceEvent) == []


@pytest.mark.parametrize(
    ("info", "product"),
    [
        ('{"product_id": "0x15F7", "controller": "3D"}', "15f7"),
        ('{"controller": "3D"}', None),
        ("no JSON", None),
        ("[1]", None),
        (None, None),
    ],
)
def test_product(info: str | None, product: str | None) -> None:
    card = identifying.Card.of(_card(std_board_info=info))
    assert (card.vendor, card.product, card.serial) == ("abcd", product, None)


def _told(store: inventory.Store) -> list[tuple[Any, ...]]:
    """Return what happened to the card after it was found."""
    return [
        (row.kind, row.identity_id == _device(store).identity_id, row.why)
        for row in store.rows(models.DeviceEvent)[1:]
    ]


def test_binds_and_releases_are_in_its_history(
    store: inventory.Store,
) -> None:
    (rp_uuid,) = store.report(inventory.device())
    arqs = store.arqs(3)
    instance = store.bind(arqs, rp_uuid)
    binding.unbind(store.context, arqs[:1], inventory.PROJECT)
    store.delete(arqs)
    assert _told(store) == [
        *[("bound", True, None)] * 3,
        *[("released", True, releases.UNCLEANED)] * 3,
    ]
    rows = store.rows(models.DeviceEvent)[1:]
    assert {row.device_uuid for row in rows} == {_device(store).uuid}
    details = [json.loads(row.detail) for row in rows]
    assert sorted(d["arq"] for d in details[:3]) == sorted(arqs)
    assert sorted(d["arq"] for d in details[3:]) == sorted(arqs)
    assert {d["instance"] for d in details} == {instance}
    assert {d["project"] for d in details} == {inventory.PROJECT}


def test_what_is_refused_is_in_no_history(store: inventory.Store) -> None:
    (rp_uuid,) = store.report(inventory.device(handles=1))
    with pytest.raises(exception.NoFreeHandle):
        store.bind(store.arqs(2), rp_uuid)
    assert _told(store) == []


@standin.of(rpcapi.AgentAPI)
class _Agent:
    """An agent that prepares nothing, and cleans what it is told."""

    def prepare_handle(self, *args: object, **kwargs: object) -> None:
        raise exception.DriverError(reason="no more room")

    def cleanup_handle(self, *args: object, **kwargs: object) -> None:
        pass


def test_work_on_the_host_is_in_its_history(store: inventory.Store) -> None:
    (rp_uuid,) = store.report(inventory.device(attach_type="MDEV", kind="GPU"))
    arqs = store.arqs(1)
    store.bind(arqs, rp_uuid)
    for _step in ("bind", "clean up"):
        (uuid_,) = job_db.due(store.context, 1)
        job = job_db.claim(store.context, uuid_, "me", 60)
        steps.do(store.context, job, _Agent())
    assert _told(store) == [
        ("failed", True, "no more room"),
        ("released", True, releases.UNCLEANED),
    ]


def test_an_operator_disables_and_enables(
    store: inventory.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.report(inventory.device())
    monkeypatch.setattr(sync, "sync_host", lambda *args, **how: {})
    uuid_ = _device(store).uuid
    devices.set_status(store.context, uuid_, "maintaining", "a fan")
    assert (_device(store).status_reason, _reserved(store)) == ("a fan", [16])
    _remove(store)
    store.report(inventory.device())
    assert _reserved(store) == [16]
    devices.set_status(store.context, uuid_, "enabled", None)
    assert (_device(store).status, _reserved(store)) == ("enabled", [0])
    assert [kind for kind, *_rest in _told(store)] == [
        "condition_set",
        "lost",
        "back",
        "condition_cleared",
    ]


def test_what_is_withheld_is_in_its_history(store: inventory.Store) -> None:
    def report_withheld(*texts: str) -> None:
        device = inventory.device()
        device.deployable_list[0].withheld = [
            {"rule": f"rule-{text}", "text": text} for text in texts
        ]
        store.report(device)

    report_withheld("mounted", "no IOMMU")
    report_withheld("mounted")
    report_withheld("mounted")
    report_withheld()
    rows = store.rows(models.DeviceEvent)
    assert [(row.kind, row.why) for row in rows] == [
        ("found", None),
        ("withheld", "mounted; no IOMMU"),
        ("withheld", "mounted"),
        ("offered", None),
    ]
    assert len({(row.identity_id, row.device_uuid) for row in rows}) == 1
    assert json.loads(rows[1].detail) == {
        "deployable": "cn1_FakeDevice",
        "rules": ["rule-mounted", "rule-no IOMMU"],
    }
