"""Which providers count a host's devices, and how they move between them."""

from typing import Any

from oslo_utils import uuidutils
import pytest
import sqlalchemy as sa

from cyborg import context as cyborg_context
from cyborg.clients import auth
from cyborg.clients import placement as client
from cyborg.common import exception
from cyborg.common import faults
from cyborg.conductor import manager
from cyborg.conductor.placement import moving
from cyborg.conductor.requests import binding
from cyborg.conf import CONF
from cyborg.db import engine
from cyborg.db import host as host_db
from cyborg.db import host_sync as sync_db
from cyborg.db import models
from cyborg.tests.fixtures import cards
from cyborg.tests.functional.placement.site import Site


def _add(site: Site, number: int, **values: Any) -> list[int]:
    return [
        site.host.add_card(f"{site.host.name}_0000:{n:02x}:00.0", **values)
        for n in range(number)
    ]


def _lay_out(site: Site, layout: str) -> None:
    sync_db.set_layout(site.host.context, site.host.name, layout)


def _counts(site: Site) -> dict[str, tuple[int, int, int]]:
    """Return total, reserved and used of each provider, without its host."""
    found = {}
    for name, provider in site.tree.items():
        for rc, inventory in provider["inventories"].items():
            found[name.removeprefix(f"{site.host.name}_")] = (
                inventory["total"],
                inventory["reserved"],
                provider["usages"][rc],
            )
    return found


def _rows(site: Site, ids: list[int]) -> list[Any]:
    return [site.host.deployable(id_) for id_ in ids]


def _pool(site: Site, ids: list[int]) -> str:
    (rp_uuid,) = {row.rp_uuid for row in _rows(site, ids)}
    return str(rp_uuid)


def _waiting(site: Site) -> int:
    rows = sync_db.load(site.host.context, site.host.name)
    return len(moving.waiting(rows))


def _set_handles(site: Site, deployable: int, in_use: bool) -> None:
    with engine.writing(site.host.context):
        site.host.context.connection.execute(
            sa.update(models.AttachHandle)
            .where(models.AttachHandle.deployable_id == deployable)
            .values(in_use=in_use)
        )
        sync_db.mark(site.host.context, site.host.name)


def test_a_pool_counts_what_is_alike(site: Site) -> None:
    _lay_out(site, "pool")
    alike = _add(site, 3, count=2, traits=("CUSTOM_A",))
    other = site.host.add_card(
        f"{site.host.name}_0000:80:00.0", 1, traits=("CUSTOM_B",)
    )
    assert site.sync() == {}
    # Find the root, read the tree, ensure two traits; three for each.
    assert len(site.requests) <= 6 + 3 * 2
    assert sorted(_counts(site).values()) == [(1, 0, 0), (6, 0, 0)]
    pool = _pool(site, alike)
    assert pool != site.host.deployable(other).rp_uuid
    (name,) = {row.rp_name for row in _rows(site, alike)}
    assert name == f"{site.host.name}_FPGA_{_rows(site, alike)[0].rp_pool}"
    assert site.tree[name]["traits"] == {"CUSTOM_A", "OWNER_CYBORG"}
    site.sync()
    assert [method for method, _path in site.requests] == ["GET"]
    assert site.audit() == []


def test_auto_pools_where_there_is_more_than_one(site: Site) -> None:
    _lay_out(site, "auto")
    (first,) = _add(site, 1)
    site.sync()
    assert _counts(site) == {"0000:00:00.0": (1, 0, 0)}
    second = site.host.add_card(f"{site.host.name}_0000:99:00.0")
    site.sync()
    assert list(_counts(site).values()) == [(2, 0, 0)]
    assert _pool(site, [first, second])


@pytest.mark.parametrize("number", [2, 5])
def test_free_devices_move_at_once_and_back(site: Site, number: int) -> None:
    ids = _add(site, number)
    site.sync()
    own = {row.rp_uuid for row in _rows(site, ids)}
    _lay_out(site, "pool")
    assert site.sync() == {}
    assert list(_counts(site).values()) == [(number, 0, 0)]
    assert site.audit() == []
    _lay_out(site, "device")
    assert site.sync() == {}
    assert set(_counts(site).values()) == {(1, 0, 0)}
    assert {row.rp_uuid for row in _rows(site, ids)} == own
    assert len(site.tree) == number
    assert site.audit() == []


def test_what_is_in_use_moves_when_it_is_released(site: Site) -> None:
    first, second = _add(site, 2)
    site.sync()
    before = site.host.deployable(first).rp_uuid
    consumer = site.allocate(before)
    site.host.add_arq(first)
    _set_handles(site, first, True)
    _lay_out(site, "pool")
    assert site.sync() == {}
    assert sorted(_counts(site).values()) == [(1, 0, 0), (1, 0, 1)]
    assert site.host.deployable(first).rp_uuid == before
    assert site.host.deployable(first).rp_moving
    assert _waiting(site) == 1
    # Nova deletes requests first: the device is free, and still allocated.
    with engine.writing(site.host.context):
        site.host.context.connection.execute(sa.delete(models.ARQ))
    _set_handles(site, first, False)
    assert site.sync() == {}
    assert site.host.deployable(first).rp_uuid == before
    assert site.host.row.sync_due_at is not None
    site.peer.client.delete(f"/allocations/{consumer}")
    site.sync()
    assert list(_counts(site).values()) == [(2, 0, 0)]
    assert not site.host.deployable(first).rp_moving
    assert _waiting(site) == 0
    assert _pool(site, [first, second])


def test_a_pool_keeps_as_many_as_are_allocated(site: Site) -> None:
    _lay_out(site, "pool")
    ids = _add(site, 4)
    site.sync()
    pool = _pool(site, ids)
    consumers = [site.allocate(pool) for _ in range(3)]
    # Given out, and not bound yet: which ones they get is not known.
    _lay_out(site, "device")
    site.sync()
    assert sorted(_counts(site).values()) == [(1, 0, 0), (3, 0, 3)]
    site.peer.client.delete(f"/allocations/{consumers.pop()}")
    site.sync()
    assert sorted(_counts(site).values()) == [(1, 0, 0)] * 2 + [(2, 0, 2)]
    for consumer in consumers:
        site.peer.client.delete(f"/allocations/{consumer}")
    site.sync()
    assert set(_counts(site).values()) == {(1, 0, 0)}
    assert pool not in {row.rp_uuid for row in _rows(site, ids)}
    assert site.audit() == []


@pytest.mark.parametrize("layouts", [("pool", "device"), ("device", "pool")])
@pytest.mark.parametrize(
    "point", ["move-left", "move-recorded", "providers-made"]
)
def test_a_move_that_was_cut_short_goes_on(
    site: Site,
    layouts: tuple[str, str],
    point: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _lay_out(site, layouts[0])
    ids = _add(site, 3)
    site.sync()
    if layouts[0] == "pool":
        kept = site.allocate(_pool(site, ids))
    else:
        kept = site.allocate(site.host.deployable(ids[0]).rp_uuid)
    _lay_out(site, layouts[1])

    class Killed(Exception):
        pass

    def die(name: str) -> None:
        if name == point:
            raise Killed()

    with monkeypatch.context() as patch:
        patch.setattr(faults, "point", die)
        with pytest.raises(Killed):
            site.sync()
    # Never more than there are, whenever it ends.
    assert sum(total for total, *_ in _counts(site).values()) <= 3
    assert site.sync() == {}
    assert sum(total for total, *_ in _counts(site).values()) == 3
    assert sum(used for *_, used in _counts(site).values()) == 1
    site.peer.client.delete(f"/allocations/{kept}")
    site.sync()
    assert site.audit() == []
    assert _waiting(site) == 0


def test_an_allocation_that_comes_meanwhile_keeps_the_device(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = _add(site, 2)
    site.sync()
    _lay_out(site, "pool")
    delete = client.Client.delete_provider
    raced: list[str] = []

    def racing(self: client.Client, rp_uuid: str) -> bool:
        if not raced:
            raced.append(rp_uuid)
            site.allocate(rp_uuid)
        return delete(self, rp_uuid)

    monkeypatch.setattr(client.Client, "delete_provider", racing)
    assert site.sync() == {}
    assert sorted(_counts(site).values()) == [(1, 0, 0), (1, 0, 1)]
    assert raced[0] in {row.rp_uuid for row in _rows(site, ids)}


def test_what_others_marked_keeps_its_provider(site: Site) -> None:
    first, _second = _add(site, 2)
    site.sync()
    before = site.host.deployable(first).rp_uuid
    site.set_traits(before, "OWNER_CYBORG", "CUSTOM_RACK_7")
    _lay_out(site, "pool")
    site.sync()
    assert site.host.deployable(first).rp_uuid == before
    assert len(_counts(site)) == 2


def test_a_change_of_traits_takes_a_device_out_of_its_pool(
    site: Site,
) -> None:
    _lay_out(site, "auto")
    first, second, third = _add(site, 3)
    site.sync()
    pool = _pool(site, [first, second, third])
    site.host.add_attribute(first, "trait0", "CUSTOM_NEW")
    site.sync()
    assert sorted(_counts(site).values()) == [(1, 0, 0), (2, 0, 0)]
    assert _pool(site, [second, third]) == pool


def test_a_carve_takes_a_device_out_of_its_pool(site: Site) -> None:
    _lay_out(site, "pool")
    first, second, third = _add(site, 3)
    site.sync()
    device = site.host.device_of(first)
    site.host.change(models.Device, device, carve="burn-in")
    site.sync()
    assert sorted(_counts(site).values()) == [(1, 0, 0), (2, 0, 0)]
    site.host.change(models.Device, device, carve=None)
    site.sync()
    assert _pool(site, [first, second, third])


def test_one_fenced_device_of_a_pool_is_reserved(site: Site) -> None:
    _lay_out(site, "pool")
    ids = _add(site, 3)
    site.sync()
    device = site.host.device_of(ids[0])
    site.host.change(models.Device, device, status="maintaining")
    site.sync()
    assert list(_counts(site).values()) == [(3, 1, 0)]
    # What its instance has is allocated, and not counted twice.
    site.host.add_arq(ids[0])
    _set_handles(site, ids[0], True)
    site.allocate(_pool(site, ids))
    site.sync()
    assert list(_counts(site).values()) == [(3, 0, 1)]


def test_a_bind_takes_what_is_not_fenced_first(site: Site) -> None:
    _lay_out(site, "pool")
    ids = _add(site, 2)
    site.sync()
    device = site.host.device_of(ids[0])
    site.host.change(models.Device, device, status="maintaining")
    given = [_bind(site, _pool(site, ids)) for _ in range(2)]
    assert given == [ids[1], ids[0]]
    with pytest.raises(exception.NoFreeHandle):
        _bind(site, _pool(site, ids))


def _bind(site: Site, rp_uuid: str) -> int:
    """Bind a new request; return the deployable it was given."""
    context = site.host.context
    with engine.writing(context):
        profile = context.connection.execute(
            sa.insert(models.DeviceProfile).values(
                uuid=uuidutils.generate_uuid(),
                name=uuidutils.generate_uuid(),
                profile_json='{"groups": [{"resources:FPGA": "1"}]}',
            )
        ).inserted_primary_key[0]
        name = context.connection.execute(
            sa.select(models.DeviceProfile.name).where(
                models.DeviceProfile.id == profile
            )
        ).scalar_one()
    (arq,) = binding.create(context, name, "project")
    binding.bind(
        context,
        [
            binding.Binding(
                arq.uuid,
                site.host.name,
                rp_uuid,
                uuidutils.generate_uuid(),
            )
        ],
        None,
    )
    with engine.reading(context):
        return int(
            context.connection.execute(
                sa.select(models.ARQ.deployable_id).where(
                    models.ARQ.uuid == arq.uuid
                )
            ).scalar_one()
        )


def test_a_bind_begins_anew_where_its_device_has_left(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    _lay_out(site, "pool")
    ids = _add(site, 2)
    site.sync()
    pool = _pool(site, ids)
    take = binding._take_of
    moved: list[int] = []

    def late(context: Any, usable: Any, arqs: Any) -> Any:
        taken = take(context, usable, arqs)
        if not moved:
            # As if a move had come between the two looks.
            moved.append(ids[0])
            context.connection.execute(
                sa.update(models.Deployable)
                .where(models.Deployable.id == ids[0])
                .values(rp_uuid=None)
            )
        return taken

    monkeypatch.setattr(binding, "_take_of", late)
    # The first attempt was undone whole, and what it moved as well.
    assert _bind(site, pool) in ids
    assert moved


def test_new_hosts_are_laid_out_as_configured(configured: None) -> None:
    context = cyborg_context.get_admin_context()
    with engine.writing(context):
        assert host_db.lock_or_create(context, "a").provider_layout == "auto"
        CONF.set_override("provider_layout", "pool", group="placement")
        assert host_db.lock_or_create(context, "b").provider_layout == "pool"
        # An earlier release has stored its devices, and made their providers.
        context.connection.execute(
            sa.insert(models.Device).values(
                uuid=uuidutils.generate_uuid(),
                type="FPGA",
                vendor="8086",
                model="A10",
                hostname="c",
            )
        )
        assert host_db.lock_or_create(context, "c").provider_layout == "device"
    CONF.clear_override("provider_layout", group="placement")


# -- what is reserved


def _add_mdev(site: Site) -> int:
    """Add a card whose handles exist on the host while they are in use."""
    id_ = site.host.add_card(f"{site.host.name}_0000:70:00.0", 2)
    with engine.writing(site.host.context):
        site.host.context.connection.execute(
            sa.update(models.AttachHandle)
            .where(models.AttachHandle.deployable_id == id_)
            .values(attach_type="MDEV")
        )
    return id_


def _hold(site: Site, deployable: int) -> str:
    """Give a handle to a bound request; return the request's uuid."""
    arq = site.host.add_arq(deployable)
    with engine.writing(site.host.context):
        connection = site.host.context.connection
        row = connection.execute(
            sa.select(models.ARQ.uuid, models.ARQ.attach_handle_id).where(
                models.ARQ.id == arq
            )
        ).one()
        connection.execute(
            sa.update(models.AttachHandle)
            .where(models.AttachHandle.id == row.attach_handle_id)
            .values(in_use=True)
        )
    return str(row.uuid)


def _service() -> Any:
    return cyborg_context.RequestContext(
        is_admin=True, roles=["admin"], is_service_request=True
    )


def test_what_is_cleaned_is_reserved_before_the_answer(site: Site) -> None:
    card = _add_mdev(site)
    site.sync()
    own = site.host.deployable(card).rp_uuid
    consumer = site.allocate(own)
    arq = _hold(site, card)
    manager.ConductorManager().arqs_delete(_service(), [arq])
    # Nova has its allocation yet, and deletes it now.
    assert _counts(site) == {"0000:70:00.0": (2, 1, 1)}
    site.peer.client.delete(f"/allocations/{consumer}")
    assert _bind(site, own) == card
    with pytest.raises(exception.NoFreeHandle) as caught:
        _bind(site, own)
    assert "1 in use until cleaned up on the host" in str(caught.value)
    # Its allocation may be rewritten, whatever is reserved.
    (inventory,) = site.tree[_rows(site, [card])[0].rp_name][
        "inventories"
    ].values()
    assert inventory["max_unit"] == 2


def test_a_deletion_is_answered_while_placement_is_away(site: Site) -> None:
    card = _add_mdev(site)
    site.sync()
    arq = _hold(site, card)
    CONF.set_override(
        "endpoint_override", "http://127.0.0.1:1", group="placement"
    )
    auth.reset()
    manager.ConductorManager(notify=lambda works: None).arqs_delete(
        _service(), [arq]
    )
    assert site.host.row.sync_urgent
    CONF.clear_override("endpoint_override", group="placement")
    auth.reset()
    # Others wait longer, and are told later.
    other = cards.Host(f"{site.host.name}-b")
    other.add_card("x")
    with engine.writing(site.host.context):
        site.host.context.connection.execute(
            sa.update(models.Host)
            .where(models.Host.hostname == other.name)
            .values(sync_due_at=engine.after(-100))
        )
    assert sync_db.due(site.host.context, 5, 600)[0] == site.host.name
    site.sync()
    assert _counts(site) == {"0000:70:00.0": (2, 1, 0)}
    assert not site.host.row.sync_urgent


def test_what_is_free_at_once_costs_no_request(site: Site) -> None:
    (card,) = _add(site, 1)
    site.sync()
    arq = _hold(site, card)
    site.requests.clear()
    manager.ConductorManager().arqs_delete(_service(), [arq])
    assert site.requests == []


def test_a_fenced_device_of_a_pool_stays_reserved(site: Site) -> None:
    _lay_out(site, "pool")
    ids = _add(site, 2)
    site.sync()
    arq = _hold(site, ids[0])
    site.host.change(
        models.Device, site.host.device_of(ids[0]), status="maintaining"
    )
    site.allocate(_pool(site, ids))
    site.sync()
    assert list(_counts(site).values()) == [(2, 0, 1)]
    manager.ConductorManager().arqs_delete(_service(), [arq])
    assert list(_counts(site).values()) == [(2, 1, 1)]


def test_a_released_device_that_belongs_elsewhere_moves(site: Site) -> None:
    ids = _add(site, 2)
    site.sync()
    arq = _hold(site, ids[0])
    _lay_out(site, "pool")
    site.sync()
    assert len(_counts(site)) == 2
    manager.ConductorManager().arqs_delete(_service(), [arq])
    assert _pool(site, ids)


# -- what nothing is counted in


def test_a_pool_whose_devices_are_all_gone_goes_with_them(site: Site) -> None:
    _lay_out(site, "pool")
    ids = _add(site, 2)
    site.sync()
    for id_ in ids:
        site.host.miss(id_, CONF.conductor.removal_grace + 60)
    site.sync()
    assert site.tree == {}
    assert site.audit() == []


@pytest.mark.parametrize(
    ("before", "after"), [("pool", "device"), ("device", "pool")]
)
def test_what_was_made_and_not_recorded_goes_when_it_is_not_wanted(
    site: Site, before: str, after: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _lay_out(site, before)
    _add(site, 2)

    class Killed(Exception):
        pass

    def die(context: Any, values: Any) -> None:
        raise Killed()

    with monkeypatch.context() as patch:
        patch.setattr(sync_db, "record_providers", die)
        with pytest.raises(Killed):
            site.sync()
    assert site.tree
    _lay_out(site, after)
    site.sync()
    assert sum(total for total, *_ in _counts(site).values()) == 2
    assert site.audit() == []
