"""What an agent withholds is fenced off, and what is bound of it stays."""

import json

import pytest

from cyborg.common import exception
from cyborg.conductor.placement import desired
from cyborg.db import host_sync as sync_db
from cyborg.db import models
from cyborg.objects import report
from cyborg.tests.fixtures import inventory
from cyborg.tests.fixtures.inventory import HOST

REASON = {"rule": "host-uses-it", "text": "0000:0c:00.0 is mounted on /"}


def _device(*reasons: dict[str, str]) -> report.DriverDevice:
    device = inventory.device(handles=2)
    device.deployable_list[0].withheld = list(reasons)
    return device


def _reserved(store: inventory.Store) -> int:
    rows = sync_db.load(store.context, HOST)
    (provider,) = desired.desired(rows).values()
    assert provider.total == 2
    return provider.reserved


def test_what_is_withheld_is_reserved_until_it_is_not(
    store: inventory.Store,
) -> None:
    store.report(_device())
    assert _reserved(store) == 0
    store.report(_device(REASON))
    (row,) = store.rows(models.Deployable)
    assert json.loads(row.withheld) == [REASON]
    assert _reserved(store) == 2
    store.report(_device(REASON, {"rule": "has-parts", "text": "x"}))
    (row,) = store.rows(models.Deployable)
    assert len(json.loads(row.withheld)) == 2
    store.report(_device())
    (row,) = store.rows(models.Deployable)
    assert row.withheld is None
    assert _reserved(store) == 0


def test_what_is_new_may_be_withheld(store: inventory.Store) -> None:
    store.report(_device(REASON))
    assert _reserved(store) == 2


def test_what_is_withheld_is_not_bound_and_what_is_bound_stays(
    store: inventory.Store,
) -> None:
    (rp_uuid,) = store.report(_device())
    before, after = store.arqs(1), store.arqs(1)
    store.bind(before, rp_uuid)
    store.report(_device(REASON))
    with pytest.raises(exception.NoFreeHandle):
        store.bind(after, rp_uuid)
    assert sorted(store.states()) == ["Bound", "Initial"]
    assert store.in_use() == 1


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_reasons_that_are_too_many_or_too_long_are_cut(
    store: inventory.Store,
) -> None:
    store.report(_device(*[{"rule": "x", "text": "\N{SNOWMAN}" * 999}] * 99))
    (row,) = store.rows(models.Deployable)
    assert 8 < len(json.loads(row.withheld)) < 99
    assert len(row.withheld.encode()) < 65536
