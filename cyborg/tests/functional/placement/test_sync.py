"""Providers in a real Placement follow the rows of a host."""

from collections.abc import Callable
import datetime
import json
import threading
import time
from typing import Any
import uuid

from oslo_utils import timeutils
from oslo_utils import uuidutils
import pytest
import sqlalchemy as sa

from cyborg import manage
from cyborg.clients import auth
from cyborg.clients import placement as client
from cyborg.common import constants
from cyborg.common import exception
from cyborg.conductor import manager
from cyborg.conductor.inventory import devices
from cyborg.conductor.placement import desired
from cyborg.conductor.placement import removal
from cyborg.conductor.placement import sync
from cyborg.conf import CONF
from cyborg.db import engine
from cyborg.db import host as host_db
from cyborg.db import host_sync as sync_db
from cyborg.db import models
from cyborg.db import removal as removal_db
from cyborg.manage import host as manage_host
from cyborg.manage import placement as manage_placement
from cyborg.tests.fixtures import cards
from cyborg.tests.fixtures import inventory
from cyborg.tests.functional.placement.site import Site

OWNER = constants.OWNER_TRAIT


def _name(site: Site, suffix: str) -> str:
    return f"{site.host.name}_{suffix}"


# -- what is written, and what it costs


def test_a_new_card_becomes_a_provider(site: Site) -> None:
    name = _name(site, "0000:3b:00.0")
    id_ = site.host.add_card(name, 2, traits=("CUSTOM_FPGA_INTEL",))
    assert site.sync() == {}
    assert site.tree == {
        name: {
            "uuid": str(uuid.uuid3(uuid.NAMESPACE_DNS, name)),
            "parent": site.root,
            "inventories": {
                "FPGA": {
                    "total": 2,
                    "reserved": 0,
                    "min_unit": 1,
                    "max_unit": 2,
                    "step_size": 1,
                    "allocation_ratio": 1.0,
                }
            },
            "traits": {"CUSTOM_FPGA_INTEL", OWNER},
            "usages": {"FPGA": 0},
        }
    }
    row = site.host.deployable(id_)
    assert row.rp_uuid == site.tree[name]["uuid"]
    assert row.rp_name == name
    assert site.host.row.sync_done == site.host.row.sync_wanted
    assert site.host.row.sync_due_at is None
    assert site.host.row.root_rp_uuid == site.root


@pytest.mark.parametrize("cards_there", [1, 8])
def test_requests_do_not_grow_with_unchanged_cards(
    site: Site, cards_there: int
) -> None:
    ids = [
        site.host.add_card(_name(site, str(number)), 2, rc="CUSTOM_QAT")
        for number in range(cards_there)
    ]
    site.sync()
    # Find the root once, read the tree, ensure names once; then three each:
    # create, traits, inventory.
    assert len(site.requests) == 2 + 2 + 3 * cards_there
    site.sync()
    assert [method for method, _path in site.requests] == ["GET"]
    # One provider changes in everything: at most four for it.
    site.host.change(models.Deployable, ids[0], num_accelerators=5)
    site.host.add_attribute(ids[0], "trait0", OWNER)
    site.host.add_attribute(ids[0], "trait1", "HW_GPU_API_VULKAN")
    site.sync()
    others = [p for _m, p in site.requests if not p.startswith("/traits")]
    assert len(others) == 1 + 4


def test_zero_accelerators_is_an_empty_inventory(site: Site) -> None:
    name = _name(site, "a")
    id_ = site.host.add_card(name, 0)
    site.sync()
    assert site.tree[name]["inventories"] == {}
    assert site.audit() == []
    site.host.change(models.Deployable, id_, num_accelerators=3)
    site.sync()
    assert site.tree[name]["inventories"]["FPGA"]["max_unit"] == 3


@pytest.mark.parametrize("how", ["maintaining", "missing", "forced_down"])
def test_a_fenced_card_is_reserved_and_comes_back(
    site: Site, how: str
) -> None:
    name, other = _name(site, "a"), _name(site, "b")
    id_ = site.host.add_card(name, 2)
    site.host.add_card(other, 1)
    site.sync()
    site.allocate(site.tree[name]["uuid"])
    host_id = site.host.row.id
    device = site.host.device_of(id_)

    def fence(on: bool) -> None:
        if how == "maintaining":
            status = "maintaining" if on else "enabled"
            site.host.change(models.Device, device, status=status)
        elif how == "missing":
            since = site.host.row.last_seen_at if on else None
            site.host.change(models.Deployable, id_, missing_since=since)
        else:
            site.host.change(models.Host, host_id, forced_down=on)

    def reserved() -> list[int]:
        tree = site.tree
        return [
            tree[key]["inventories"]["FPGA"]["reserved"]
            for key in (name, other)
        ]

    fence(True)
    site.sync()
    assert reserved() == [2, 1 if how == "forced_down" else 0]
    assert site.tree[name]["inventories"]["FPGA"]["max_unit"] == 2
    # A report cannot make it available.
    site.host.change(models.Deployable, id_, num_accelerators=3)
    site.sync()
    assert reserved()[0] == 3
    fence(False)
    site.sync()
    assert reserved() == [0, 0]


def test_an_operators_units_survive(site: Site) -> None:
    name = _name(site, "a")
    id_ = site.host.add_card(name, 8)
    site.sync()
    rp_uuid = site.tree[name]["uuid"]
    there = site.tree[name]["inventories"]["FPGA"]
    site.set_inventories(
        rp_uuid,
        FPGA=there | {"min_unit": 2, "step_size": 2, "allocation_ratio": 16.0},
        VCPU={"total": 5},
    )
    site.host.change(
        models.Device, site.host.device_of(id_), status="maintaining"
    )
    site.sync()
    inventories = site.tree[name]["inventories"]
    assert inventories["FPGA"] == there | {
        "min_unit": 2,
        "step_size": 2,
        "reserved": 8,
    }
    assert inventories["VCPU"]["total"] == 5


def test_a_resource_class_changes(site: Site) -> None:
    name = _name(site, "a")
    id_ = site.host.add_card(name, 1, rc="CUSTOM_PCI")
    site.sync()
    rp_uuid = site.tree[name]["uuid"]
    consumer = site.allocate(rp_uuid, "CUSTOM_PCI")
    with engine.writing(site.host.context):
        site.host.context.connection.execute(
            sa.update(models.Attribute)
            .where(models.Attribute.deployable_id == id_)
            .values(value="CUSTOM_NIC")
        )
    # The old class is allocated: it stays, and takes nobody new.
    assert site.sync() == {}
    inventories = site.tree[name]["inventories"]
    assert inventories["CUSTOM_PCI"]["reserved"] == 1
    assert inventories["CUSTOM_NIC"]["reserved"] == 0
    site.peer.deallocate(consumer)
    site.sync()
    assert list(site.tree[name]["inventories"]) == ["CUSTOM_NIC"]


def test_traits_of_drivers_users_and_programming(site: Site) -> None:
    name = _name(site, "a")
    id_ = site.host.add_card(name, traits=("custom-fpga x",))
    function = f"{constants.FUNCTION_TRAIT_PREFIX}_INTEL_1"
    api = site.host.add_attribute(id_, "trait9", "CUSTOM_MINE", "api")
    bound = site.host.add_attribute(id_, "trait8", function, "bind")
    site.sync()
    rp_uuid = site.tree[name]["uuid"]
    expected = {OWNER, "CUSTOM_FPGA_X", "CUSTOM_MINE", function}
    assert site.tree[name]["traits"] == expected
    # What others put there stays; what was ours goes with its attribute.
    site.set_traits(rp_uuid, *expected, "CUSTOM_THEIRS")
    site.host.remove_attribute(api)
    site.host.remove_attribute(bound)
    site.sync()
    assert site.tree[name]["traits"] == {
        OWNER,
        "CUSTOM_FPGA_X",
        "CUSTOM_THEIRS",
    }


def test_one_bad_card_does_not_stop_the_others(site: Site) -> None:
    bad, good = _name(site, "bad"), _name(site, "good")
    id_ = site.host.add_card(bad, traits=("HW_NO_SUCH_TRAIT", "CUSTOM_OK"))
    none = site.host.add_card(_name(site, "none"), rc=None)
    site.host.add_card(good)
    errors = site.sync()
    assert sorted(errors) == [id_, none]
    assert "HW_NO_SUCH_TRAIT" in errors[id_]
    assert site.tree[bad]["traits"] == {OWNER, "CUSTOM_OK"}
    assert site.tree[bad]["inventories"]["FPGA"]["total"] == 1
    assert site.tree[good]["inventories"]["FPGA"]["total"] == 1
    row = site.host.row
    assert "HW_NO_SUCH_TRAIT" in row.sync_error
    assert row.sync_done < row.sync_wanted
    assert row.sync_due_at is not None and row.sync_owner is None
    # It is not forgotten by trying again.
    assert sorted(site.sync()) == [id_, none]


# -- identity


def test_a_name_of_another_host_is_left_alone(
    make_site: Callable[[], Site],
) -> None:
    first, second = make_site(), make_site()
    name = f"ascend-{uuid.uuid4().hex[:8]}"
    first.host.add_card(name)
    first.sync()
    before = first.tree
    id_ = second.host.add_card(name)
    second.sync()
    assert first.tree == before
    renamed = f"{second.host.name}_{name}"
    assert list(second.tree) == [renamed]
    assert second.host.deployable(id_).rp_name == renamed
    second.sync()
    assert len(second.requests) == 1
    # An attempt that died before it remembered the provider.
    second.host.change(
        models.Deployable, id_, rp_uuid=None, rp_name=None, rp_traits=None
    )
    second.sync()
    assert list(second.tree) == [renamed]
    assert second.host.deployable(id_).rp_name == renamed


def test_two_hosts_that_were_given_one_provider_part(
    make_site: Callable[[], Site],
) -> None:
    first, second = make_site(), make_site()
    name = f"ascend-{uuid.uuid4().hex[:8]}"
    shared = desired.provider_uuid(name)
    mine = first.host.add_card(name, rp_uuid=shared)
    theirs = second.host.add_card(name, rp_uuid=shared)
    first.sync()
    before = first.tree
    second.sync()
    assert first.tree == before
    assert list(second.tree) == [f"{second.host.name}_{name}"]
    assert first.host.deployable(mine).rp_uuid == shared
    assert second.host.deployable(theirs).rp_uuid != shared
    assert second.audit() == first.audit() == []


def test_two_cards_of_one_name_in_one_host(site: Site) -> None:
    name = _name(site, "same")
    first, second = site.host.add_card(name), site.host.add_card(name)
    assert site.sync() == {}
    assert len(site.tree) == 2
    assert (
        site.host.deployable(first).rp_uuid
        != site.host.deployable(second).rp_uuid
    )


def test_a_name_that_is_a_foreign_providers(site: Site) -> None:
    name = _name(site, "a")
    site.create_child(name, uuidutils.generate_uuid(), site.root)
    site.host.add_card(name)
    assert site.sync() == {}
    assert set(site.tree) == {name, f"{site.host.name}_{name}"}
    assert site.tree[name]["inventories"] == {}


def test_a_tree_of_an_earlier_release_is_adopted(site: Site) -> None:
    name = _name(site, "a")
    rp_uuid = desired.provider_uuid(name)
    site.create_child(name, rp_uuid, site.root)
    function = f"{constants.FUNCTION_TRAIT_PREFIX}_INTEL_7"
    site.set_traits(rp_uuid, "CUSTOM_X", function)
    site.set_inventories(
        rp_uuid, FPGA={"total": 1, "reserved": 1, "max_unit": 1}
    )
    consumer_before = site.generation(site.root)
    id_ = site.host.add_card(name, rp_uuid=rp_uuid, traits=("CUSTOM_X",))
    site.sync()
    provider = site.tree[name]
    assert provider["uuid"] == rp_uuid
    # It never remembered what it had programmed.
    assert provider["traits"] == {OWNER, "CUSTOM_X", function}
    assert provider["inventories"]["FPGA"]["reserved"] == 0
    assert site.generation(site.root) == consumer_before
    # A renamed deployable keeps its provider, name and all.
    site.host.change(models.Deployable, id_, name="renamed")
    site.sync()
    assert site.tree[name]["uuid"] == rp_uuid
    # What is programmed now replaces what was.
    new = f"{constants.FUNCTION_TRAIT_PREFIX}_INTEL_8"
    site.host.add_attribute(id_, "trait1", new, "bind")
    site.sync()
    assert site.tree[name]["traits"] == {OWNER, "CUSTOM_X", new}


def test_no_root_provider_is_ever_made(
    make_site: Callable[[], Site],
) -> None:
    site = make_site()
    host = cards.Host("absent-" + site.host.name)
    host.add_card("absent-card")
    with pytest.raises(exception.PlacementUnavailable, match="nova-compute"):
        sync.sync_host(host.context, host.name)
    assert "nova-compute" in host.row.sync_error
    assert {method for method, _path in site.requests} == {"GET"}
    found = site.peer.get("/resource_providers", name=host.name)
    assert found["resource_providers"] == []


def test_the_first_look_at_a_host_spares_its_own_provider(
    site: Site,
) -> None:
    site.set_inventories(site.root, VCPU={"total": 64})
    path = f"/resource_providers/{site.root}/inventories"
    before = site.peer.get(path)
    name = _name(site, "a")
    site.host.add_card(name, rp_uuid=site.root)
    assert site.sync() == {}
    assert site.peer.get(path) == before
    assert list(site.tree) == [name]


def test_a_host_that_nova_registered_anew(site: Site) -> None:
    name = _name(site, "a")
    site.host.add_card(name)
    site.sync()
    rp_uuid = site.tree[name]["uuid"]
    site.peer.client.delete(f"/resource_providers/{rp_uuid}")
    site.peer.client.delete(f"/resource_providers/{site.root}")
    site.root = site.peer.create_provider(site.host.name)
    site.sync()
    assert site.tree[name]["uuid"] == rp_uuid
    assert site.tree[name]["parent"] == site.root


# -- what goes wrong


def test_somebody_writes_at_the_same_time(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = _name(site, "a")
    id_ = site.host.add_card(name, 2)
    site.sync()
    rp_uuid = site.tree[name]["uuid"]
    put = client.Client.put_inventories
    raced: list[str] = []

    def racing(self: Any, *args: Any) -> int:
        if len(raced) < 2:
            # Allocations count as changes, too.
            raced.append(site.allocate(rp_uuid))
        return put(self, *args)

    monkeypatch.setattr(client.Client, "put_inventories", racing)
    site.host.change(models.Deployable, id_, num_accelerators=4)
    assert site.sync() == {}
    assert len(raced) == 2
    assert site.tree[name]["inventories"]["FPGA"]["total"] == 4
    assert site.tree[name]["usages"] == {"FPGA": 2}


def test_a_trait_that_was_deleted_is_made_again(site: Site) -> None:
    trait = f"CUSTOM_{uuid.uuid4().hex.upper()}"
    id_ = site.host.add_card(_name(site, "a"), traits=(trait,))
    site.sync()
    # Forgotten here, so that the attribute alone brings it back.
    rp_uuid = site.tree[_name(site, "a")]["uuid"]
    site.set_traits(rp_uuid, OWNER)
    site.peer.client.delete(f"/traits/{trait}")
    site.host.change(models.Deployable, id_, num_accelerators=2)
    assert site.sync() == {}
    assert site.tree[_name(site, "a")]["traits"] == {OWNER, trait}


def test_placement_is_away(site: Site) -> None:
    name = _name(site, "a")
    id_ = site.host.add_card(name)
    site.sync()
    site.host.change(
        models.Device, site.host.device_of(id_), status="maintaining"
    )
    CONF.set_override("connect_retries", 0, group="placement")
    CONF.set_override(
        "endpoint_override", "http://127.0.0.1:1", group="placement"
    )
    auth.reset()
    for attempt in (1, 2):
        with pytest.raises(exception.PlacementUnavailable):
            site.sync()
        assert site.host.row.sync_attempts == attempt
    row = site.host.row
    assert row.sync_done < row.sync_wanted
    assert row.sync_owner is None
    assert sync.sync_due() is False
    # Nobody tried.
    assert site.host.row == row
    CONF.clear_override("endpoint_override", group="placement")
    auth.reset()
    # It was an outage, so the host itself does not have to wait.
    sync.sync_due()
    assert site.tree[name]["inventories"]["FPGA"]["reserved"] == 1
    assert site.host.row.sync_error is None


def test_a_change_during_the_work_is_not_lost(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = _name(site, "a")
    id_ = site.host.add_card(name)
    record = sync_db.record_providers
    changed: list[int] = []

    def recording(context: Any, values: Any) -> None:
        record(context, values)
        if values and not changed:
            changed.append(id_)
            site.host.change(models.Deployable, id_, num_accelerators=7)

    monkeypatch.setattr(sync_db, "record_providers", recording)
    site.sync()
    assert changed
    assert site.tree[name]["inventories"]["FPGA"]["total"] == 7
    assert site.host.row.sync_done == site.host.row.sync_wanted


def test_one_conductor_works_on_a_host_at_a_time(site: Site) -> None:
    site.host.add_card(_name(site, "a"))
    sync_db.claim(site.host.context, site.host.name, "other", 60)
    with pytest.raises(exception.PlacementUnavailable, match="busy"):
        site.sync(wait=0.3)
    # A sweep leaves it to who works on it; a dead owner's lease ends.
    sync.sync_due()
    assert site.tree == {}
    done: list[Any] = []
    waiting = threading.Thread(target=lambda: done.append(site.sync()))
    waiting.start()
    sync_db.fail(site.host.context, site.host.name, "other", 0, "died")
    waiting.join(30)
    assert done == [{}]
    assert len(site.tree) == 1


def test_an_outage_costs_one_attempt_however_many_hosts(
    make_site: Callable[[], Site],
) -> None:
    sites = [make_site() for _ in range(6)]
    for site in sites:
        site.host.add_card(_name(site, "a"))
    CONF.set_override("connect_retries", 0, group="placement")
    CONF.set_override(
        "endpoint_override", "http://127.0.0.1:1", group="placement"
    )
    auth.reset()
    assert sync.sync_due() is False
    assert [site.host.row.sync_attempts for site in sites].count(0) == 5
    assert client.is_away()


def test_a_lease_is_kept_during_long_work(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    CONF.set_override("job_lease", 1, group="conductor")
    lease = 4
    for suffix in "abc":
        site.host.add_card(_name(site, suffix))
    create = client.Client.create_provider
    claimed = []

    def slow(self: client.Client, *args: str) -> dict[str, Any]:
        # Each call is short enough, all of them together are not.
        time.sleep(lease * 0.6)
        claimed.append(
            sync_db.claim(site.host.context, site.host.name, "other", 60)
        )
        return create(self, *args)

    monkeypatch.setattr(client.Client, "create_provider", slow)
    try:
        assert site.sync() == {}
    finally:
        CONF.clear_override("job_lease", group="conductor")
    assert claimed == [None, None, None]
    assert len(site.tree) == 3


def test_a_lease_that_was_lost_ends_the_work(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    CONF.set_override("job_lease", 1, group="conductor")
    for suffix in "ab":
        site.host.add_card(_name(site, suffix))
    create = client.Client.create_provider
    made = []

    def stalled(self: client.Client, *args: str) -> dict[str, Any]:
        made.append(create(self, *args))
        with engine.writing(site.host.context):
            site.host.context.connection.execute(
                sa.update(models.Host).values(sync_owner="other")
            )
        time.sleep(1.2)
        return made[-1]

    monkeypatch.setattr(client.Client, "create_provider", stalled)
    try:
        with pytest.raises(exception.PlacementUnavailable, match="taken over"):
            site.sync()
    finally:
        CONF.clear_override("job_lease", group="conductor")
    assert len(made) == 1
    # What the other one does is not disturbed.
    assert site.host.row.sync_owner == "other"
    assert site.host.row.sync_error is None


def test_a_lease_that_was_lost_at_the_end_is_not_success(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.host.add_card(_name(site, "a"))
    finish = sync_db.finish

    def late(context: Any, hostname: str, owner: str, *args: Any) -> bool:
        # Another conductor took over, and has not got to the end yet.
        sync_db.renew(context, hostname, owner, -1)
        sync_db.claim(context, hostname, "other", 60)
        return finish(context, hostname, owner, *args)

    monkeypatch.setattr(sync_db, "finish", late)
    with pytest.raises(exception.PlacementUnavailable, match="busy"):
        site.sync(wait=0.3)
    assert site.host.row.sync_owner == "other"


def test_what_changed_during_a_failure_is_tried_at_once(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = site.host.add_card(_name(site, "good"))
    site.host.add_card(_name(site, "bad"), rc=None)
    fail = sync_db.fail
    changed: list[int] = []

    def failing(*args: Any) -> None:
        if not changed:
            changed.append(good)
            site.host.change(models.Deployable, good, num_accelerators=7)
        fail(*args)

    monkeypatch.setattr(sync_db, "fail", failing)
    monkeypatch.setattr(sync, "_pause", lambda row: 100.0)
    assert len(site.sync()) == 1
    # No request waits for this change: it is the repair tasks' to find.
    sync.sync_due()
    inventories = site.tree[_name(site, "good")]["inventories"]
    assert inventories["FPGA"]["total"] == 7
    # What failed alone waits.
    assert sync_db.due(site.host.context, 1, 3600) == []


def test_a_card_that_is_removed_meanwhile_cannot_be_disabled(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.host.add_card(_name(site, "a"))
    (device,) = sync_db.load(site.host.context, site.host.name).devices
    lock = host_db.lock_or_create

    def late(context: Any, hostname: str) -> Any:
        monkeypatch.undo()
        removal_db.delete(context, hostname)
        return lock(context, hostname)

    monkeypatch.setattr(host_db, "lock_or_create", late)
    with pytest.raises(exception.DeviceNotFound):
        devices.set_status(site.host.context, device.uuid, "maintaining", None)


def test_hosts_are_compared_again_after_a_while(
    make_site: Callable[[], Site],
) -> None:
    sites = [make_site() for _ in range(3)]
    for site in sites:
        site.host.add_card(_name(site, "a"))
    context = sites[0].host.context
    names = [site.host.name for site in sites]
    assert sorted(sync_db.due(context, 10, 3600)) == sorted(names)
    assert len(sync_db.due(context, 2, 3600)) == 2
    sync.sync_due()
    assert [len(site.tree) for site in sites] == [1, 1, 1]
    assert sync_db.due(context, 10, 3600) == []
    site = sites[0]
    rp_uuid = site.tree[_name(site, "a")]["uuid"]
    site.set_inventories(rp_uuid)
    assert sorted(sync_db.due(context, 10, 0)) == sorted(names)
    assert sync.sync_many(names) is False
    assert site.tree[_name(site, "a")]["inventories"]["FPGA"]["total"] == 1


# -- removal


@pytest.fixture
def gone(site: Site) -> int:
    """A card that has been missing for longer than the grace."""
    id_ = site.host.add_card(_name(site, "gone"), 2)
    site.host.add_card(_name(site, "stays"))
    site.sync()
    site.host.miss(id_, CONF.conductor.removal_grace + 60)
    return id_


def _rows(site: Site) -> dict[str, int]:
    return {
        table.__tablename__: site.host.count(table)
        for table in (
            models.Device,
            models.ControlPathID,
            models.Deployable,
            models.Attribute,
            models.AttachHandle,
        )
    }


WITHOUT = {
    "devices": 1,
    "controlpath_ids": 1,
    "deployables": 1,
    "attributes": 1,
    "attach_handles": 1,
}


def test_what_is_gone_is_removed(site: Site, gone: int) -> None:
    assert site.sync() == {}
    assert list(site.tree) == [_name(site, "stays")]
    assert site.host.deployable(gone) is None
    assert _rows(site) == WITHOUT
    assert site.host.row.sync_due_at is None


def test_a_provider_that_was_made_and_not_recorded_goes_too(
    site: Site, gone: int
) -> None:
    # The conductor died between the two, and then the card went.
    site.host.change(models.Deployable, gone, rp_uuid=None, rp_name=None)
    assert site.sync() == {}
    assert list(site.tree) == [_name(site, "stays")]
    assert site.host.deployable(gone) is None


def test_what_is_gone_stays_during_the_grace(site: Site) -> None:
    id_ = site.host.add_card(_name(site, "a"), 2)
    site.sync()
    site.host.miss(id_, CONF.conductor.removal_grace - 60)
    site.sync()
    inventory = site.tree[_name(site, "a")]["inventories"]["FPGA"]
    assert inventory["reserved"] == 2
    assert site.host.deployable(id_) is not None
    # Somebody looks again by the time it may go.
    row = site.host.row
    assert row.sync_done == row.sync_wanted
    assert row.sync_due_at is not None


def test_what_is_gone_stays_while_the_host_is_silent(
    site: Site, gone: int
) -> None:
    site.host.change(
        models.Host,
        site.host.row.id,
        last_seen_at=site.host.deployable(gone).missing_since,
    )
    site.sync()
    assert site.host.deployable(gone) is not None
    assert _name(site, "gone") in site.tree


def test_what_is_gone_stays_while_it_is_bound(site: Site, gone: int) -> None:
    arq = site.host.add_arq(gone)
    site.sync()
    assert site.host.deployable(gone) is not None
    assert _name(site, "gone") in site.tree
    site.host.remove_arq(arq)
    site.sync()
    assert site.host.deployable(gone) is None
    assert _name(site, "gone") not in site.tree


def test_what_is_gone_stays_while_it_is_allocated(
    site: Site, gone: int
) -> None:
    consumer = site.allocate(site.tree[_name(site, "gone")]["uuid"])
    assert site.sync() == {}
    assert site.host.deployable(gone) is not None
    assert site.tree[_name(site, "gone")]["usages"] == {"FPGA": 1}
    site.peer.deallocate(consumer)
    site.sync()
    assert _rows(site) == WITHOUT


def test_what_is_gone_may_be_gone_in_placement_already(
    site: Site, gone: int
) -> None:
    rp_uuid = site.tree[_name(site, "gone")]["uuid"]
    site.peer.client.delete(f"/resource_providers/{rp_uuid}")
    site.sync()
    assert _rows(site) == WITHOUT


def test_a_card_that_comes_back_while_it_is_removed(
    site: Site, gone: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    delete = client.Client.delete_provider

    def deleting(self: Any, rp_uuid: str) -> bool:
        site.host.change(models.Deployable, gone, missing_since=None)
        return delete(self, rp_uuid)

    monkeypatch.setattr(client.Client, "delete_provider", deleting)
    before = site.host.deployable(gone).rp_uuid
    site.sync()
    assert site.host.deployable(gone).rp_uuid == before
    assert site.tree[_name(site, "gone")]["uuid"] == before


def test_handles_that_are_gone_are_removed(site: Site) -> None:
    id_ = site.host.add_card(_name(site, "a"), 3)
    site.host.add_arq(id_)
    since = site.host.row.last_seen_at
    with engine.writing(site.host.context):
        site.host.context.connection.execute(
            sa.update(models.AttachHandle).values(missing_since=since)
        )
    CONF.set_override("removal_grace", 0, group="conductor")
    site.sync()
    # The one that is bound stays.
    assert site.host.count(models.AttachHandle) == 1


# -- hosts that are gone for good


@pytest.fixture
def lost(site: Site) -> Site:
    """A host that has been silent for long, with two cards."""
    site.host.add_card(_name(site, "a"))
    site.host.add_card(_name(site, "b"))
    site.sync()
    _silence(site)
    return site


def _silence(site: Site) -> None:
    long_ago = timeutils.utcnow() - datetime.timedelta(days=2)
    with engine.writing(site.host.context):
        site.host.context.connection.execute(
            sa.update(models.Host)
            .where(models.Host.hostname == site.host.name)
            .values(last_seen_at=long_ago)
        )


def test_a_lost_host_is_deleted(
    lost: Site, make_site: Callable[[], Site], capsys: Any
) -> None:
    other = make_site()
    other.host.add_card(_name(other, "a"))
    other.sync()
    # One that the database has forgotten, below one that it has not.
    parent = providers_of(lost)[0]
    orphan = f"{lost.host.name}_orphan"
    lost.create_child(orphan, desired.provider_uuid(orphan), parent)
    assert len(lost.tree) == 3

    code = manage_host.delete(lost.host.context, lost.host.name, False)
    assert code == manage.CLEAN
    assert capsys.readouterr().out == f"{lost.host.name}: deleted\n"
    assert lost.tree == {}
    # Nova's provider is Nova's.
    assert lost.generation(lost.root) >= 0
    assert host_db.all_hostnames(lost.host.context) == [other.host.name]
    assert len(other.tree) == 1
    assert other.audit() == []
    with pytest.raises(exception.HostNotFound):
        manage_host.delete(lost.host.context, lost.host.name, False)


def providers_of(site: Site) -> list[str]:
    return [record["uuid"] for record in site.tree.values()]


def test_a_lost_host_that_is_allocated_stays(lost: Site) -> None:
    consumer = lost.allocate(providers_of(lost)[1])
    with pytest.raises(exception.HostInUse, match=consumer):
        removal.remove_host(lost.host.context, lost.host.name)
    assert len(lost.tree) == 2
    assert lost.host.count(models.Deployable) == 2
    assert lost.host.row.sync_owner is None


def test_a_host_that_reports_stays(site: Site) -> None:
    site.host.add_card(_name(site, "a"))
    site.sync()
    with pytest.raises(exception.HostInUse, match="its agent is running"):
        removal.remove_host(site.host.context, site.host.name)
    assert len(site.tree) == 1


def test_a_lost_host_that_nova_has_forgotten(lost: Site) -> None:
    adopted = providers_of(lost)
    # Its tree hangs below another root by now.
    root = lost.peer.create_provider(f"{lost.host.name}-renamed")
    for uuid_ in adopted:
        lost.put(
            f"/resource_providers/{uuid_}",
            name=f"moved-{uuid_}",
            parent_provider_uuid=root,
        )
    lost.peer.client.delete(f"/resource_providers/{lost.root}")
    removal.remove_host(lost.host.context, lost.host.name)
    assert lost.peer.tree(root) == {}
    assert host_db.get(lost.host.context, lost.host.name) is None


def test_a_deletion_that_is_overtaken_is_undone(
    lost: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    consumers: list[str] = []
    delete = client.Client.delete_provider

    def late(self: client.Client, rp_uuid: str) -> bool:
        # Somebody allocates from the second, when the first is gone.
        if consumers:
            return delete(self, rp_uuid)
        result = delete(self, rp_uuid)
        (left,) = providers_of(lost)
        consumers.append(lost.allocate(left))
        return result

    monkeypatch.setattr(client.Client, "delete_provider", late)
    with pytest.raises(exception.PlacementConflict):
        removal.remove_host(lost.host.context, lost.host.name)
    assert len(lost.tree) == 1
    assert lost.host.count(models.Deployable) == 2
    sync.sync_due()
    assert len(lost.tree) == 2


# -- drift: each damage is found, and repaired


def _delete_provider(site: Site, rp_uuid: str) -> None:
    site.peer.client.delete(f"/resource_providers/{rp_uuid}")


def _remove_traits(site: Site, rp_uuid: str) -> None:
    site.set_traits(rp_uuid)


def _remove_inventory(site: Site, rp_uuid: str) -> None:
    site.set_inventories(rp_uuid)


def _edit_inventory(site: Site, rp_uuid: str) -> None:
    site.set_inventories(
        rp_uuid, FPGA={"total": 9, "reserved": 4, "max_unit": 1}
    )


def _change_class(site: Site, rp_uuid: str) -> None:
    site.set_inventories(rp_uuid, PGPU={"total": 2})


def _touch(site: Site, rp_uuid: str) -> None:
    site.peer.deallocate(site.allocate(rp_uuid))


def _oversell(site: Site, rp_uuid: str) -> None:
    site.set_inventories(
        rp_uuid,
        FPGA={"total": 2, "max_unit": 2, "allocation_ratio": 16.0},
    )


def _rename(site: Site, rp_uuid: str) -> None:
    site.put(
        f"/resource_providers/{rp_uuid}",
        name=f"renamed-{rp_uuid}",
        parent_provider_uuid=site.root,
    )


def _move_aside(site: Site, rp_uuid: str) -> None:
    parent = uuidutils.generate_uuid()
    site.create_child(f"numa-{parent}", parent, site.root)
    name = site.peer.get(f"/resource_providers/{rp_uuid}")["name"]
    site.put(
        f"/resource_providers/{rp_uuid}",
        name=name,
        parent_provider_uuid=parent,
    )


def _move_away(site: Site, rp_uuid: str) -> None:
    other = site.peer.create_provider(f"other-{uuid.uuid4()}")
    name = site.peer.get(f"/resource_providers/{rp_uuid}")["name"]
    site.put(
        f"/resource_providers/{rp_uuid}", name=name, parent_provider_uuid=other
    )


def _make_root(site: Site, rp_uuid: str) -> None:
    name = site.peer.get(f"/resource_providers/{rp_uuid}")["name"]
    site.put(
        f"/resource_providers/{rp_uuid}", name=name, parent_provider_uuid=None
    )


def _take_name(site: Site, rp_uuid: str) -> None:
    """Give the provider another name, and its name to another root."""
    name = site.peer.get(f"/resource_providers/{rp_uuid}")["name"]
    _rename(site, rp_uuid)
    site.peer.create_provider(name)


def _replace(site: Site, rp_uuid: str) -> None:
    """Delete the provider; a foreign one beside it gets its name."""
    name = site.peer.get(f"/resource_providers/{rp_uuid}")["name"]
    _delete_provider(site, rp_uuid)
    site.create_child(name, uuidutils.generate_uuid(), site.root)


def _forget_uuid(site: Site, rp_uuid: str) -> None:
    _change_row(
        site, rp_uuid=None, rp_name=None, rp_traits=None, rp_generation=None
    )


def _forget_written(site: Site, rp_uuid: str) -> None:
    _change_row(site, rp_traits=None, rp_generation=None)


def _count_more(site: Site, rp_uuid: str) -> None:
    _change_row(site, num_accelerators=5)


def _change_row(site: Site, **values: Any) -> None:
    with engine.writing(site.host.context):
        site.host.context.connection.execute(
            sa.update(models.Deployable).values(**values)
        )


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (_delete_provider, ["create", "traits", "inventory"]),
        (_remove_traits, ["traits"]),
        (_remove_inventory, ["inventory"]),
        (_edit_inventory, ["inventory"]),
        (_change_class, ["inventory"]),
        (_oversell, ["inventory"]),
        (_touch, []),
        (_rename, ["move"]),
        (_move_aside, ["move"]),
        (_move_away, ["create", "traits", "inventory"]),
        (_make_root, ["create", "traits", "inventory"]),
        (_take_name, ["move"]),
        (_replace, ["create", "traits", "inventory"]),
        (_forget_uuid, []),
        (_forget_written, []),
        (_count_more, ["inventory"]),
    ],
)
@pytest.mark.parametrize("full", [True, False])
def test_drift_is_found_and_repaired(
    site: Site,
    damage: Callable[[Site, str], None],
    found: list[str],
    full: bool,
) -> None:
    name = _name(site, "a")
    site.host.add_card(name, 2, traits=("CUSTOM_X",))
    site.sync()
    good = site.tree[name]
    theirs = _name(site, "theirs")
    site.create_child(theirs, uuidutils.generate_uuid(), site.root)
    foreign = site.tree[theirs]
    damage(site, good["uuid"])
    site.requests.clear()
    assert site.audit() == found
    assert {method for method, _path in site.requests} == {"GET"}
    assert site.sync(full=full) == {}
    if damage is _count_more:
        good["inventories"]["FPGA"] |= {"total": 5, "max_unit": 5}
    if damage is _change_class:
        # Nobody knows that it is not somebody else's.
        good["inventories"]["PGPU"] = site.tree[name]["inventories"]["PGPU"]
        good["usages"]["PGPU"] = 0
    if damage in (_take_name, _replace):
        name = f"{site.host.name}_{name}"
    assert site.tree[name] == good
    assert site.tree[theirs] == foreign
    assert site.audit() == []
    site.sync()
    assert [method for method, _path in site.requests] == ["GET"]


def test_a_restored_placement_is_looked_at_as_a_whole(site: Site) -> None:
    ids = {suffix: site.host.add_card(_name(site, suffix)) for suffix in "ab"}
    site.sync()
    good = site.tree
    # One has fewer changes than were recorded, the other as many others.
    other = good[_name(site, "b")]["uuid"]
    _remove_inventory(site, other)
    for suffix, more in (("a", 1), ("b", 0)):
        generation = site.generation(good[_name(site, suffix)]["uuid"])
        site.host.change(
            models.Deployable, ids[suffix], rp_generation=generation + more
        )
    site.sync()
    assert site.tree == good
    site.sync()
    assert [method for method, _path in site.requests] == ["GET"]


# The same of the database, which only its host knows how to repair.


def _execute(site: Site, *statements: Any) -> None:
    with engine.writing(site.host.context):
        for statement in statements:
            site.host.context.connection.execute(statement)


def _lose_attributes(site: Site) -> None:
    _execute(site, sa.delete(models.Attribute))


def _edit_attributes(site: Site) -> None:
    _execute(site, sa.update(models.Attribute).values(value="CUSTOM_EDITED"))


def _lose_deployables(site: Site) -> None:
    _lose_attributes(site)
    _execute(
        site, sa.delete(models.AttachHandle), sa.delete(models.Deployable)
    )


def _lose_devices(site: Site) -> None:
    _lose_deployables(site)
    _execute(site, sa.delete(models.ControlPathID), sa.delete(models.Device))


def _lose_handles(site: Site) -> None:
    _execute(site, sa.delete(models.AttachHandle))


def _edit_count(site: Site) -> None:
    _change_row(site, num_accelerators=5)


def _edit_name(site: Site) -> None:
    _change_row(site, name="edited")


def _edit_provider(site: Site) -> None:
    _change_row(site, rp_uuid=uuidutils.generate_uuid())


def _point_at_the_root(site: Site) -> None:
    _change_row(site, rp_uuid=site.root, rp_name=site.host.name)


def _edit_missing(site: Site) -> None:
    _execute(
        site, sa.update(models.Device).values(missing_since=timeutils.utcnow())
    )


def _lose_host(site: Site) -> None:
    _execute(site, sa.delete(models.Host))


def _edit_root(site: Site) -> None:
    _execute(
        site,
        sa.update(models.Host).values(root_rp_uuid=uuidutils.generate_uuid()),
    )


def _swap_root(site: Site) -> None:
    other = site.peer.create_provider(f"other-{uuid.uuid4()}")
    _execute(site, sa.update(models.Host).values(root_rp_uuid=other))


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (_lose_attributes, "rc"),
        (_edit_attributes, "CUSTOM_EDITED"),
        (_lose_deployables, "(orphan)"),
        # A host without devices is not looked at unless it is named.
        (_lose_devices, None),
        # Placement has nothing to do with these.
        (_lose_handles, None),
        (_edit_count, "total=2->5"),
        (_edit_name, None),
        (_edit_provider, None),
        (_point_at_the_root, None),
        (_edit_missing, "reserved=0->2"),
        (_lose_host, None),
        (_edit_root, None),
        (_swap_root, None),
    ],
)
def test_a_damaged_database_is_repaired_from_the_host(
    site: Site,
    capsys: pytest.CaptureFixture[str],
    damage: Callable[[Site], None],
    found: str | None,
) -> None:
    context, host = site.host.context, site.host.name
    conductor = manager.ConductorManager()
    device = inventory.device(handles=2, host=host)
    drivers = inventory.driver_entry(device)

    def report() -> None:
        conductor.report_data(context, host, [device], host, "1", drivers)

    def heartbeat() -> bool:
        answer = conductor.report_heartbeat(context, host, host, "1")
        return bool(answer["need_full_report"])

    report()
    site.sync()
    site.set_inventories(site.root, VCPU={"total": 64})
    good = site.peer.get(f"/resource_providers/{site.root}"), site.tree
    assert not heartbeat()
    damage(site)
    audit, heal = manage_placement.audit, manage_placement.heal
    code, text = _manage(capsys, audit, context, [host], False)
    assert (code == 1) is (found is not None)
    assert (found or "agrees") in text
    if found:
        # All hosts that something is wrong with.
        _manage(capsys, heal, context, [], False)
    else:
        _manage(capsys, heal, context, [host], False)
    assert heartbeat()
    report()
    assert not heartbeat()
    site.sync()
    assert site.audit() == []
    assert site.peer.get(f"/resource_providers/{site.root}") == good[0]
    assert site.tree.keys() >= good[1].keys()
    (provider,) = sync_db.load(context, host).deployables
    there = {p["uuid"]: p for p in site.tree.values()}[provider.rp_uuid]
    (before,) = good[1].values()
    for part in ("inventories", "traits", "usages"):
        assert there[part] == before[part]
    assert _rows(site) == {
        "devices": 1,
        "controlpath_ids": 1,
        "deployables": 1,
        "attributes": 2,
        "attach_handles": 2,
    }


def test_foreign_things_are_no_drift(site: Site) -> None:
    name = _name(site, "a")
    site.host.add_card(name, traits=("CUSTOM_X",))
    site.sync()
    rp_uuid = site.tree[name]["uuid"]
    site.set_traits(rp_uuid, OWNER, "CUSTOM_X", "CUSTOM_THEIRS")
    there = site.tree[name]["inventories"]["FPGA"]
    site.set_inventories(rp_uuid, FPGA=there, VCPU={"total": 4})
    child = _name(site, "child")
    site.create_child(child, uuidutils.generate_uuid(), rp_uuid)
    site.set_inventories(site.root, VCPU={"total": 64})
    before = site.tree
    assert site.audit() == []
    site.sync(full=True)
    assert site.tree == before


def test_orphans_are_reported(site: Site) -> None:
    site.host.add_card(_name(site, "a"))
    site.sync()
    marked = uuidutils.generate_uuid()
    site.create_child(_name(site, "marked"), marked, site.root)
    site.set_traits(marked, OWNER)
    old = _name(site, "old")
    site.create_child(old, desired.provider_uuid(old), site.root)
    site.create_child(
        _name(site, "foreign"), uuidutils.generate_uuid(), site.root
    )
    changes, _problems = sync.audit(site.host.context, site.host.name)
    orphans = {change.name: change for change in changes}
    assert set(orphans) == {old, _name(site, "marked")}
    # Nobody deletes them without being asked to.
    site.sync(full=True)
    assert len(site.tree) == 4
    site.set_inventories(marked, FPGA={"total": 1})
    site.allocate(marked)
    deleted = {
        name: sync.delete_orphan(site.host.context, orphan)
        for name, orphan in orphans.items()
    }
    assert deleted == {old: True, _name(site, "marked"): False}


# -- cyborg-manage


def _manage(
    capsys: pytest.CaptureFixture[str], run: Any, *args: Any, **options: Any
) -> tuple[int, str]:
    capsys.readouterr()
    return run(*args, **options), capsys.readouterr().out


def test_audit_and_heal_of_a_cloud(
    make_site: Callable[[], Site], capsys: pytest.CaptureFixture[str]
) -> None:
    good, damaged = make_site(), make_site()
    context = good.host.context
    for site in (good, damaged):
        site.host.add_card(_name(site, "a"), 2, traits=("CUSTOM_X",))
        site.sync()
    name = _name(damaged, "a")
    before = damaged.tree[name]
    _edit_inventory(damaged, before["uuid"])
    audit, heal = manage_placement.audit, manage_placement.heal
    code, text = _manage(capsys, audit, context, [], False)
    assert code == 1
    assert text == (
        f"{damaged.host.name}:\n"
        f"  {name}: inventory FPGA max_unit=1->2 reserved=4->0 "
        "total=9->2\n"
    )
    code, text = _manage(capsys, audit, context, [], True)
    assert code == 1
    (change,) = json.loads(text)[damaged.host.name]["changes"]
    assert (change["action"], change["provider"]) == (
        "inventory",
        before["uuid"],
    )
    # Named hosts only.
    code, text = _manage(capsys, audit, context, [good.host.name], False)
    assert code == 0
    assert text == "Placement agrees with the database.\n"
    code, text = _manage(capsys, heal, context, [good.host.name], False)
    assert code == 0
    assert damaged.tree[name] != before
    code, text = _manage(capsys, heal, context, [], False)
    assert code == 0
    assert text.endswith("Placement agrees with the database.\n")
    assert damaged.tree[name] == before
    assert _manage(capsys, audit, context, [], False)[0] == 0


def test_heal_says_what_it_cannot_do(
    make_site: Callable[[], Site], capsys: pytest.CaptureFixture[str]
) -> None:
    site = make_site()
    context = site.host.context
    site.host.add_card(_name(site, "none"), rc=None)
    lost = cards.Host("lost-" + site.host.name)
    lost.add_card("lost-card")
    heal = manage_placement.heal
    code, text = _manage(capsys, heal, context, [], True)
    assert code == 1
    left = json.loads(text)["left"]
    assert "nova-compute" in left[lost.name]["problems"][0]
    assert "rc" in left[site.host.name]["problems"][0]
    with pytest.raises(exception.HostNotFound):
        heal(context, ["nobody"], False)


def test_heal_deletes_orphans_when_told_to(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    context = site.host.context
    site.host.add_card(_name(site, "a"))
    site.sync()
    old, used = _name(site, "old"), _name(site, "used")
    for name in (old, used):
        site.create_child(name, desired.provider_uuid(name), site.root)
    site.set_inventories(desired.provider_uuid(used), FPGA={"total": 1})
    site.allocate(desired.provider_uuid(used))
    heal = manage_placement.heal
    code, text = _manage(capsys, heal, context, [], False)
    assert (code, len(site.tree)) == (1, 3)
    assert f"{old}: provider" in text
    code, text = _manage(capsys, heal, context, [], False, orphans=True)
    assert code == 1
    assert set(site.tree) == {_name(site, "a"), used}
