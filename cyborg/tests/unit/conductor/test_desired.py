"""What rows ask for, and what Placement lacks: no database, no HTTP."""

import datetime
import types
from typing import Any

import pytest

from cyborg.conductor.placement import desired
from cyborg.db import host_sync as sync_db

ROOT = "root-uuid"
NOW = datetime.datetime.fromisoformat("2026-11-21")
OWNER = "OWNER_CYBORG"
FUNCTION = "CUSTOM_FPGA_FUNCTION_ID_INTEL_"


def _row(**values: Any) -> Any:
    return types.SimpleNamespace(**values)


def _device(id_: int = 1, **values: Any) -> Any:
    return _row(
        **{
            "id": id_,
            "status": "enabled",
            "device_state": "available",
            "missing_since": None,
            "carve": None,
        }
        | values
    )


def _deployable(id_: int = 1, **values: Any) -> Any:
    return _row(
        **{
            "id": id_,
            "uuid": f"uuid-{id_}",
            "device_id": id_,
            "name": f"cn1_{id_}",
            "num_accelerators": 2,
            "rp_uuid": None,
            "rp_name": None,
            "rp_traits": None,
            "rp_generation": None,
            "rp_pool": None,
            "rp_moving": False,
            "missing_since": None,
            "withheld": None,
        }
        | values
    )


def _attribute(key: str, value: str, deployable_id: int = 1) -> Any:
    return _row(key=key, value=value, deployable_id=deployable_id)


def _desired(
    *deployables: Any,
    devices: list[Any] | None = None,
    attributes: list[Any] | None = None,
    forced_down: bool = False,
    layout: str = "device",
) -> list[desired.Provider]:
    if attributes is None:
        attributes = [_attribute("rc", "FPGA", d.id) for d in deployables]
    rows = sync_db.Rows(
        _row(
            hostname="cn1.example.org",
            root_rp_uuid=ROOT,
            forced_down=forced_down,
            uuid="host-uuid",
            provider_layout=layout,
        ),
        devices or [_device(d.id) for d in deployables],
        deployables,
        attributes,
    )
    return list(desired.desired(rows).values())


def test_a_host_cannot_take_the_name_of_a_compute_node() -> None:
    (provider,) = _desired(_deployable(name="cn2.example.org"))
    assert provider.names == (
        "cn1.example.org_cn2.example.org",
        "cn1.example.org_cn2.example.org_uuid-1",
    )
    (provider,) = _desired(_deployable(name="cn1_pmem_GOLD"))
    assert provider.names[0] == "cn1_pmem_GOLD"
    # One that is there stays what it is.
    (provider,) = _desired(_deployable(name="cn2", rp_uuid="there"))
    assert (provider.uuid, provider.names) == ("there", ("cn2",))


def test_identity_of_a_new_deployable() -> None:
    (provider,) = _desired(_deployable(name="cn1_0000:3b:00.0"))
    # As every release has made them.
    assert provider.uuid == "c4495cb0-6e02-30ef-a093-3d180191a736"
    assert provider.names == (
        "cn1_0000:3b:00.0",
        "cn1.example.org_cn1_0000:3b:00.0",
        "cn1.example.org_cn1_0000:3b:00.0_uuid-1",
    )
    assert not provider.stored


def test_identity_of_a_known_deployable() -> None:
    (provider,) = _desired(
        _deployable(name="new", rp_uuid="kept", rp_name="old")
    )
    assert (provider.uuid, provider.names) == ("kept", ("old",))
    assert provider.stored


def test_the_compute_nodes_provider_is_never_a_deployables() -> None:
    (provider,) = _desired(_deployable(rp_uuid=ROOT, rp_name="cn1"))
    assert provider.uuid == desired.provider_uuid("cn1_1")
    assert not provider.stored


def test_a_long_name_is_shortened_and_stays_unique() -> None:
    first, second = (
        _desired(_deployable(name="n" * 190 + last))[0].names[1]
        for last in "ab"
    )
    assert len(first) == len(second) == 200
    assert first != second
    assert first.startswith("cn1.example.org_nnn")


def test_deployables_of_one_name_get_providers_of_their_own() -> None:
    one, two, three = _desired(
        *(_deployable(number, name="cn1_same") for number in (1, 2, 3))
    )
    assert len({one.uuid, two.uuid, three.uuid}) == 3
    assert one.name == "cn1_same"
    assert two.name == "cn1.example.org_cn1_same"
    assert three.name == "cn1.example.org_cn1_same_uuid-3"


@pytest.mark.parametrize(
    ("device", "deployable", "forced_down", "reserved"),
    [
        ({}, {}, False, 0),
        ({"status": "maintaining"}, {}, False, 2),
        ({"device_state": "allocated"}, {}, False, 0),
        ({"device_state": None}, {}, False, 0),
        ({"device_state": "pending_cleaning"}, {}, False, 2),
        ({"device_state": "cleaning"}, {}, False, 2),
        ({"device_state": "error"}, {}, False, 2),
        ({"missing_since": NOW}, {}, False, 2),
        ({}, {"missing_since": NOW}, False, 2),
        ({}, {"withheld": '[{"rule": "has-parts", "text": "x"}]'}, False, 2),
        ({}, {}, True, 2),
    ],
)
def test_reserved(
    device: dict[str, Any],
    deployable: dict[str, Any],
    forced_down: bool,
    reserved: int,
) -> None:
    (provider,) = _desired(
        _deployable(**deployable),
        devices=[_device(**device)],
        forced_down=forced_down,
    )
    assert (provider.total, provider.reserved) == (2, reserved)


def test_all_deployables_of_a_device_are_fenced() -> None:
    found = _desired(
        _deployable(1, device_id=7),
        _deployable(2, device_id=7),
        _deployable(3, device_id=8),
        devices=[_device(7, status="maintaining"), _device(8)],
    )
    assert [provider.reserved for provider in found] == [2, 2, 0]


def test_traits_and_class_are_written_as_placement_wants() -> None:
    (provider,) = _desired(
        _deployable(),
        attributes=[
            _attribute("rc", " custom_qat "),
            _attribute("trait0", "custom-fpga intel"),
            _attribute("traits1", "HW_GPU_API_VULKAN"),
            _attribute("trait2", " "),
            _attribute("trait3", "CUSTOM_" + "A" * 300),
            _attribute("memory", "CUSTOM_NOT_A_TRAIT"),
        ],
    )
    assert provider.resource_class == "CUSTOM_QAT"
    assert provider.traits == {
        OWNER,
        "CUSTOM_FPGA_INTEL",
        "HW_GPU_API_VULKAN",
        "CUSTOM_" + "A" * 248,
    }


def test_without_a_class_there_is_nothing_to_count() -> None:
    (provider,) = _desired(_deployable(), attributes=[])
    assert provider.problem is not None
    assert "uuid-1" in provider.problem
    assert provider.to_write.inventories == {}
    there = desired.Actual(
        provider.uuid, "cn1_1", ROOT, 1, {}, frozenset({OWNER})
    )
    assert desired.differences(provider, there, ROOT) == []


def test_deployables_of_one_provider_are_counted_together() -> None:
    (provider,) = _desired(
        _deployable(1, rp_uuid="pool", num_accelerators=2),
        _deployable(2, rp_uuid="pool", num_accelerators=3),
        devices=[_device(1), _device(2, status="maintaining")],
    )
    assert (provider.total, provider.reserved) == (5, 3)
    assert provider.deployable_ids == (1, 2)
    (mixed,) = _desired(
        _deployable(1, rp_uuid="pool"),
        _deployable(2, rp_uuid="pool"),
        attributes=[_attribute("rc", "FPGA", 1), _attribute("rc", "PGPU", 2)],
    )
    assert mixed.problem is not None
    assert mixed.total == 2


# -- plan


def _provider(**values: Any) -> desired.Provider:
    written = desired.Written(
        frozenset({OWNER, "CUSTOM_OLD"}),
        {"FPGA": {"total": 2, "reserved": 0}},
    )
    return desired.Provider(
        **{
            "uuid": "p",
            "names": ("cn1_1",),
            "resource_class": "FPGA",
            "total": 2,
            "reserved": 0,
            "traits": frozenset({OWNER}),
            "deployable_ids": (1,),
            "stored": True,
            "written": written,
            "generation": 3,
        }
        | values
    )


def _inventory(total: int = 2, **values: Any) -> dict[str, Any]:
    return {
        "total": total,
        "reserved": 0,
        "min_unit": 1,
        "max_unit": total,
        "step_size": 1,
        "allocation_ratio": 1.0,
    } | values


def _planned(
    provider: desired.Provider, **actual: Any
) -> list[desired.Change]:
    there = desired.Actual(
        **{
            "uuid": "p",
            "name": provider.name,
            "parent": ROOT,
            "generation": 3,
            "inventories": {"FPGA": _inventory()},
            "traits": frozenset({OWNER}),
        }
        | actual
    )
    return desired.plan({"p": provider}, {"p": there}, ROOT)


def test_nothing_differs() -> None:
    assert _planned(_provider()) == []
    # What was not looked at is not judged.
    assert _planned(_provider(), inventories=None, traits=None) == []


def test_a_provider_is_missing() -> None:
    changes = desired.plan({"p": _provider()}, {}, ROOT)
    assert [change.action for change in changes] == [
        "create",
        "traits",
        "inventory",
    ]
    assert [str(change) for change in changes] == [
        "cn1_1: provider is missing",
        "cn1_1: traits +OWNER_CYBORG",
        "cn1_1: inventory +FPGA total=2 reserved=0",
    ]


@pytest.mark.parametrize(
    ("actual", "text"),
    [
        (
            {"parent": "numa"},
            "cn1_1: is cn1_1 below numa, not cn1_1 below root-uuid",
        ),
        (
            {"name": "other"},
            "cn1_1: is other below root-uuid, not cn1_1 below root-uuid",
        ),
        (
            {"traits": frozenset({"CUSTOM_OLD", "CUSTOM_THEIRS"})},
            "cn1_1: traits +OWNER_CYBORG -CUSTOM_OLD",
        ),
        (
            {"inventories": {"FPGA": _inventory(5, reserved=1)}},
            "cn1_1: inventory FPGA max_unit=5->2 reserved=1->0 total=5->2",
        ),
        (
            {"inventories": {"FPGA": _inventory(), "VCPU": _inventory(8)}},
            None,
        ),
        (
            {"inventories": {"FPGA": _inventory(allocation_ratio=0.5)}},
            None,
        ),
        (
            {"inventories": {"FPGA": _inventory(allocation_ratio=4.0)}},
            "cn1_1: inventory FPGA allocation_ratio=4.0->1.0",
        ),
        (
            {"inventories": {"FPGA": _inventory(min_unit=4)}},
            "cn1_1: inventory FPGA min_unit=4->2",
        ),
    ],
)
def test_differences(actual: dict[str, Any], text: str | None) -> None:
    texts = [str(change) for change in _planned(_provider(), **actual)]
    assert texts == ([text] if text else [])


def test_a_class_that_was_ours_goes() -> None:
    provider = _provider(resource_class="CUSTOM_NIC")
    (change,) = _planned(provider)
    assert str(change) == (
        "cn1_1: inventory +CUSTOM_NIC total=2 reserved=0, "
        "-FPGA total=2 reserved=0"
    )


def test_nothing_is_known_of_an_earlier_releases_writes() -> None:
    provider = _provider(written=None)
    # Its inventory was all ours; its traits may be anybody's.
    (change,) = _planned(
        provider,
        inventories={"FPGA": _inventory(), "CUSTOM_OLD": _inventory()},
        traits=frozenset({OWNER, "CUSTOM_THEIRS", FUNCTION + "1"}),
    )
    assert change.action == "inventory"
    assert list(change.after) == ["FPGA"]


def test_a_card_runs_one_function() -> None:
    provider = _provider(traits=frozenset({OWNER, FUNCTION + "2"}))
    (change,) = _planned(
        provider, traits=frozenset({OWNER, "CUSTOM_A", FUNCTION + "1"})
    )
    assert change.after == {OWNER, "CUSTOM_A", FUNCTION + "2"}


def test_what_was_written_survives_storing() -> None:
    written = _provider().written
    assert written is not None
    assert desired.Written.from_text(written.to_text()) == written
    assert desired.Written.from_text(None) is None


# -- settle


def _node(name: str, uuid: str | None = None) -> desired.Actual:
    uuid = uuid or desired.provider_uuid(name)
    return desired.Actual(uuid, name, ROOT, 1)


def test_what_an_interrupted_attempt_made_is_adopted() -> None:
    (provider,) = _desired(_deployable(name="card"))
    second = provider.names[1]
    wanted = {provider.uuid: provider}
    for there in (provider.name, second):
        tree = {desired.provider_uuid(there): _node(there)}
        (settled,) = desired.settle(wanted, tree).values()
        assert settled.names == (there,)
        assert settled.uuid == desired.provider_uuid(there)
    assert desired.settle(wanted, {}) == wanted


def test_a_provider_of_another_deployable_is_not_adopted() -> None:
    first, second = _desired(
        _deployable(1, name="cn1_card"),
        _deployable(2, name="cn1.example.org_cn1_card"),
    )
    tree = {second.uuid: _node(second.name)}
    settled = desired.settle({first.uuid: first, second.uuid: second}, tree)
    assert settled[first.uuid].name == "cn1_card"
    assert settled[second.uuid].names == ("cn1.example.org_cn1_card",)


def test_an_earlier_releases_provider_keeps_its_name() -> None:
    provider = _provider(written=None, names=("renamed",))
    settled = desired.settle({"p": provider}, {"p": _node("old", "p")})
    assert settled["p"].name == "old"
