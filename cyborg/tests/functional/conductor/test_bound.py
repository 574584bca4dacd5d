"""What is bound stays as it was promised, whatever a report says."""

from collections.abc import Iterator
import datetime
import json
from typing import Any
import uuid

import oslo_messaging as messaging
from oslo_utils import timeutils
import pytest

from cyborg.common import exception
from cyborg.conductor import manager
from cyborg.conductor.inventory import registration
from cyborg.conductor.inventory import reports
from cyborg.db import host as host_db
from cyborg.db import models
from cyborg.db import topology as topology_db
from cyborg.manage import host as manage_host
from cyborg.manage import topology
from cyborg.objects import report
from cyborg.tests.fixtures import database
from cyborg.tests.fixtures import inventory
from cyborg.tests.fixtures.inventory import HOST

AGENT = {"machine_id": "dmi:1", "boot_id": "b1", "rpc_version": "1.1"}


@pytest.fixture
def database_url() -> Iterator[str]:
    """Nothing here depends on the engine."""
    with database.with_tables("sqlite") as url:
        yield url


def gpu(
    model: str = "A2",
    product: str = "25b6",
    bus: str = "5e",
    traits: tuple[str, ...] = ("CUSTOM_NVIDIA_A2",),
    vendor: str = "10de",
    handles: int = 1,
    **info: str,
) -> report.DriverDevice:
    """A card as its driver reports it.

    :param info: more keys of each handle's ``attach_info``
    """
    address = {"domain": "0000", "bus": bus, "device": "00"}
    return report.DriverDevice(
        vendor=vendor,
        model=model,
        type="GPU",
        std_board_info=json.dumps({"product_id": product, "controller": "x"}),
        vendor_board_info="gpu_vb_info",
        controlpath_id=report.DriverControlPathID(
            cpid_type="PCI", cpid_info=json.dumps({**address, "function": "0"})
        ),
        deployable_list=[
            report.DriverDeployable(
                name=f"{HOST}_0000:{bus}:00.0",
                num_accelerators=handles,
                driver_name="NVIDIA",
                attribute_list=[
                    report.DriverAttribute(key="rc", value="PGPU"),
                    *(
                        report.DriverAttribute(key=f"trait{n}", value=trait)
                        for n, trait in enumerate(traits)
                    ),
                ],
                attach_handle_list=[
                    report.DriverAttachHandle(
                        attach_type="PCI",
                        attach_info=json.dumps(
                            {**address, "function": str(n), **info}
                        ),
                    )
                    for n in range(handles)
                ],
            )
        ],
    )


def told(
    store: inventory.Store,
    *devices: report.DriverDevice,
    agent: dict[str, Any] | None = AGENT,
) -> None:
    """Report devices under the digest "known"."""
    host_db.ask_for_report(store.context, HOST)
    reports.report_data(
        store.context,
        HOST,
        devices,
        HOST,
        "1.1",
        "known",
        inventory.driver_entry(*devices),
        agent,
    )


def beat(store: inventory.Store, known: str) -> dict[str, Any]:
    return manager.ConductorManager().report_heartbeat(
        store.context, HOST, HOST, "known", agent=AGENT, in_use=known
    )


def bound(store: inventory.Store, *devices: report.DriverDevice) -> list[str]:
    """Bind the first card; returns its request."""
    (first, *_rest) = store.report(*devices)
    arqs = store.arqs()
    store.bind(arqs, first)
    return arqs


def stored(store: inventory.Store) -> list[list[dict[str, Any]]]:
    """Return what a holder was promised, without what is noted beside it."""
    return [
        [
            {
                name: value
                for name, value in row._mapping.items()
                if name != "updated_at"
                and (model is not models.Device or name in KEPT)
            }
            for row in store.rows(model)
        ]
        for model in (
            models.Deployable,
            models.Attribute,
            models.AttachHandle,
            models.Device,
        )
    ]


KEPT = ("uuid", "vendor", "model", "type", "std_board_info")


def problems(store: inventory.Store) -> list[str]:
    tree = topology.build(
        topology_db.load(store.context),
        store.rows(models.Host)[0].last_seen_at,
    )
    return list(tree["hosts"][0]["devices"][0]["problems"])


def conditions(store: inventory.Store) -> list[tuple[str, str, str]]:
    return [
        (row.key, row.effect, row.source)
        for row in store.rows(models.DeviceCondition)
    ]


L4 = {"model": "L4", "product": "27b8", "traits": ("CUSTOM_NVIDIA_L4",)}


@pytest.mark.parametrize(
    ("now", "text"),
    [
        (
            gpu(**L4),
            "the card at 0000:5e:00.0 is now L4 [10de:27b8]; bound is A2 "
            "[10de:25b6]",
        ),
        (
            gpu("PM9A3", "a80a", vendor="144d", traits=()),
            "the card at 0000:5e:00.0 is now PM9A3 [144d:a80a]; bound is A2 "
            "[10de:25b6]",
        ),
    ],
)
def test_another_card_in_its_place(
    store: inventory.Store, now: report.DriverDevice, text: str
) -> None:
    arqs = bound(store, gpu())
    before = stored(store)
    told(store, now, gpu(bus="60"))
    for rows, kept in zip(stored(store), before, strict=True):
        assert rows[: len(kept)] == kept
    assert problems(store)[0] == text
    assert conditions(store) == [("drift", "no-schedule", "agent")]
    # Its driver may not be able to tell for a while.
    now.stub = True
    told(store, now, gpu(bus="60"))
    assert conditions(store) == [("drift", "no-schedule", "agent")]
    now.stub = False
    # It stays so, and is said once.
    known = beat(store, "")["in_use"]["digest"]
    told(store, now, gpu(bus="60"))
    assert len(store.rows(models.DeviceCondition)) == 1
    # Given back, it is what it is: the agent is asked to say it once more.
    assert not beat(store, known)["need_full_report"]
    store.delete(arqs)
    assert beat(store, known)["need_full_report"]
    told(store, now, gpu(bus="60"))
    (card, _other) = store.rows(models.Device)
    assert (card.model, card.seen) == (now.model, None)
    assert conditions(store) == []
    assert problems(store) == []


def test_the_card_that_was_bound_comes_back(store: inventory.Store) -> None:
    bound(store, gpu())
    before = stored(store)
    told(store, gpu(**L4))
    told(store, gpu())
    assert stored(store) == before
    assert problems(store) == []
    assert conditions(store) == []


def test_a_physical_network_that_is_not_known_any_more(
    store: inventory.Store,
) -> None:
    bound(
        store,
        gpu(
            traits=("CUSTOM_PHYSNET_1",),
            handles=2,
            physical_network="physnet1",
        ),
    )
    handles = store.rows(models.AttachHandle)
    told(store, gpu(traits=(), handles=2))
    now = store.rows(models.AttachHandle)
    # The one that is free is what it is.
    assert [
        row.attach_info == old.attach_info
        for row, old in zip(now, handles, strict=True)
    ] == [True, False]
    assert "CUSTOM_PHYSNET_1" in {
        row.value for row in store.rows(models.Attribute)
    }
    assert problems(store) == [
        f"{HOST}_0000:5e:00.0 has lost CUSTOM_PHYSNET_1",
        "physical_network of 0000:5e:00.0 is now not known; bound with "
        "physnet1",
    ]
    assert conditions(store) == [("drift", "no-schedule", "agent")]


def test_what_only_adds_withholds_nothing(store: inventory.Store) -> None:
    bound(store, gpu(handles=2))
    told(store, gpu("A2 16GB", traits=("CUSTOM_NVIDIA_A2", "B"), handles=2))
    (card,) = store.rows(models.Device)
    assert card.model == "A2"
    assert conditions(store) == [("drift", "none", "agent")]


def test_a_card_that_was_loaded_is_the_same_card(
    store: inventory.Store,
) -> None:
    device = inventory.device(handles=1)
    bound(store, device)
    device.model = "loaded"
    device.std_board_info = json.dumps({"product_id": "09c5"})
    device.deployable_list[0].attribute_list[1].value = "CUSTOM_FUNCTION"
    told(store, device)
    (card,) = store.rows(models.Device)
    assert (card.model, card.seen) == ("loaded", None)
    assert "CUSTOM_FUNCTION" in {
        row.value for row in store.rows(models.Attribute)
    }


def test_cost_does_not_depend_on_how_many_are_held(
    store: inventory.Store,
) -> None:
    def cost(count: int) -> int:
        host = uuid.uuid4().hex
        held = [gpu(bus=f"{n:02x}") for n in range(count)]
        for device in held:
            device.deployable_list[0].name += host
        others = [gpu(**L4, bus=f"{n:02x}") for n in range(count)]
        store.report(*held, host=host)
        ids = {
            row.id
            for row in store.rows(models.Deployable)
            if row.name.endswith(host)
        }
        store.execute(
            models.AttachHandle.__table__.update()
            .where(models.AttachHandle.deployable_id.in_(ids))
            .values(in_use=True)
        )
        with inventory.counted() as statements:
            reports.report_data(
                store.context,
                host,
                others,
                host,
                "1.1",
                "x",
                inventory.driver_entry(*others),
            )
        return len(statements)

    assert cost(2) == cost(8)


# -- one host, one machine

OTHER = {"machine_id": "dmi:2", "boot_id": "b2", "rpc_version": "1.1"}


def silence(store: inventory.Store) -> None:
    """Let the agent have been silent for long."""
    long_ago = timeutils.utcnow() - datetime.timedelta(days=1)
    store.execute(models.Host.__table__.update().values(last_seen_at=long_ago))


def machine(store: inventory.Store) -> tuple[str | None, str | None]:
    (host,) = store.rows(models.Host)
    return host.machine_id, host.boot_id


def test_a_second_machine_is_refused(
    store: inventory.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    told(store, gpu())
    monkeypatch.setattr(
        registration, "find_host", lambda context, names: names[0]
    )
    conductor = manager.ConductorManager()
    expected = "dmi:2 says that it is host cn1, which is machine dmi:1"
    with pytest.raises(messaging.ExpectedException) as raised:
        conductor.agent_register(
            store.context, [HOST], HOST, agent=OTHER, in_use=""
        )
    assert expected in str(raised.value.exc_info[1])
    answer = conductor.report_heartbeat(
        store.context, HOST, HOST, "known", agent=OTHER, in_use=""
    )
    assert answer["need_full_report"]
    with pytest.raises(exception.HostTaken, match=expected):
        told(store, gpu(**L4), agent=OTHER)
    assert machine(store) == ("dmi:1", "b1")
    (card,) = store.rows(models.Device)
    assert card.model == "A2"


@pytest.mark.parametrize(
    "agent",
    [
        # Whatever its firmware says now, it has not been booted since.
        OTHER | {"boot_id": "b1"},
        # The same machine after a boot.
        AGENT | {"boot_id": "b2"},
        # It cannot tell.
        OTHER | {"machine_id": None},
        None,
    ],
)
def test_what_is_no_other_machine(
    store: inventory.Store, agent: dict[str, Any] | None
) -> None:
    told(store, gpu())
    told(store, gpu("A2 16GB"), agent=agent)
    (card,) = store.rows(models.Device)
    assert card.model == "A2 16GB"
    if agent is not None:
        assert machine(store) == (agent["machine_id"], agent["boot_id"])


def test_another_machine_takes_the_place_of_one_that_is_gone(
    store: inventory.Store,
) -> None:
    told(store, gpu())
    silence(store)
    told(store, gpu(), agent=OTHER)
    assert machine(store) == ("dmi:2", "b2")


def test_another_machine_without_what_servers_have(
    store: inventory.Store, capsys: pytest.CaptureFixture[str]
) -> None:
    bound(store, gpu())
    told(store, gpu())
    silence(store)
    with pytest.raises(exception.HostTaken, match="host replace cn1"):
        told(store, gpu(bus="60"), agent=OTHER)
    assert machine(store) == ("dmi:1", "b1")
    with pytest.raises(exception.HostNotFound):
        manage_host.replace(store.context, "nobody")
    assert manage_host.replace(store.context, HOST) == 0
    assert "cn1" in capsys.readouterr().out
    told(store, gpu(bus="60"), agent=OTHER)
    assert machine(store) == ("dmi:2", "b2")


# -- what guests have


def test_what_is_wrong_with_guests_is_said_until_it_is_right(
    store: inventory.Store,
) -> None:
    bound(store, gpu(), gpu(bus="60"))
    told(store, gpu(), gpu(bus="60"))
    conductor = manager.ConductorManager()

    def tell(*findings: dict[str, Any], agent: dict[str, Any] = AGENT) -> None:
        conductor.report_guests(store.context, HOST, agent, list(findings))

    first = store.rows(models.Device)[0]
    lost = {"kind": "guest-lost", "text": "lost", "device": first.uuid}
    (_path, place) = store.rows(models.ControlPathID)
    held = {
        "kind": "guest-held",
        "text": "held",
        "device": None,
        "cpid_info": place.cpid_info,
    }
    unknown = {"kind": "guest-double", "text": "x", "device": "nobody"}
    tell(lost, held, unknown)
    assert sorted(conditions(store)) == [
        ("guest-held", "no-schedule", "agent"),
        ("guest-lost", "none", "agent"),
    ]
    events = len(store.rows(models.DeviceEvent))
    tell(lost, held)
    assert len(store.rows(models.DeviceEvent)) == events
    # Another machine's guests are not this one's.
    tell(agent=OTHER)
    assert len(conditions(store)) == 2
    tell(held)
    assert conditions(store) == [("guest-held", "no-schedule", "agent")]
    tell()
    assert conditions(store) == []
    for wrong in ([{"kind": "x", "text": "y"}], [7], "z"):
        with pytest.raises(messaging.ExpectedException):
            conductor.report_guests(store.context, HOST, AGENT, wrong)
