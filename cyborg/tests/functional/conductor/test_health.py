"""What sensors see, as conditions, on every engine."""

from collections.abc import Iterator
import threading
from typing import Any
import uuid

from oslo_config import fixture as config_fixture
import oslo_messaging as messaging
import pytest

from cyborg.conductor import manager
from cyborg.conductor.inventory import devices
from cyborg.conductor.inventory import health
from cyborg.conductor.inventory import reports
from cyborg.conductor.placement import desired
from cyborg.db import host_sync as sync_db
from cyborg.db import models
from cyborg.tests.fixtures import inventory

AGENT = {"machine_id": "dmi:1", "boot_id": "b1", "rpc_version": "1.2"}
HOST = inventory.HOST


def _places(host: str, count: int, kind: str = "FPGA") -> list[Any]:
    return [
        inventory.device(
            f"{kind}{bus}", 1, kind=kind, bus=f"{bus:02x}", host=host
        )
        for bus in range(16, 16 + count)
    ]


def _report(store: inventory.Store, *cards: Any, host: str = HOST) -> None:
    reports.report_data(
        store.context,
        host,
        list(cards),
        host,
        "1.2",
        uuid.uuid4().hex,
        inventory.driver_entry(*cards),
        AGENT,
    )


def _tell(
    store: inventory.Store,
    *bad: tuple[Any, str],
    well: tuple[tuple[Any, str], ...] = (),
    whole: bool = False,
    host: str = HOST,
    unknown: bool = False,
) -> health.Stored:
    def place(card: Any) -> str:
        return str(card.controlpath_id.cpid_info)

    return health.store(
        store.context,
        host,
        AGENT,
        whole,
        [
            {
                "place": place(card),
                "key": key,
                "text": "so it is",
                "unknown": unknown,
            }
            for card, key in bad
        ],
        [{"place": place(card), "key": key} for card, key in well],
    )


def _conditions(store: inventory.Store) -> list[tuple[str, str]]:
    return [
        (row.key, row.effect) for row in store.rows(models.DeviceCondition)
    ]


def _fenced(store: inventory.Store) -> int:
    return [effect for _key, effect in _conditions(store)].count("no-schedule")


def _reserved(store: inventory.Store, host: str = HOST) -> int:
    rows = sync_db.load(store.context, host)
    return sum(p.reserved for p in desired.desired(rows).values())


@pytest.fixture
def card(store: inventory.Store) -> Iterator[Any]:
    """The one card of the one host."""
    (found,) = _places(HOST, 1)
    _report(store, found)
    yield found


def test_hard_evidence_fences_until_it_is_over(
    store: inventory.Store, card: Any
) -> None:
    assert _tell(store, (card, "config-unreadable")) == health.Stored(
        is_known=True, fences=True
    )
    assert _reserved(store) == 1
    (row,) = store.rows(models.DeviceCondition)
    assert (row.source, row.reason) == (
        "agent",
        "Its registers read as ones. so it is",
    )
    event = store.rows(models.DeviceEvent)[-1]
    assert (event.kind, event.who) == ("condition_set", "agent of cn1")
    assert not _tell(store, (card, "config-unreadable")).fences
    _tell(store, well=((card, "config-unreadable"),))
    assert _conditions(store) == []
    assert _reserved(store) == 0
    assert store.rows(models.DeviceEvent)[-1].kind == "condition_cleared"


def test_an_upgrade_fences_nothing_for_what_may_be(
    store: inventory.Store, card: Any, config: config_fixture.Config
) -> None:
    _tell(store, (card, "link-width"), (card, "port-down"))
    assert sorted(_conditions(store)) == [
        ("link-width", "none"),
        ("port-down", "none"),
    ]
    config.config(group="health", fence="all")
    _tell(store, (card, "link-width"), (card, "port-down"))
    assert sorted(_conditions(store)) == [
        ("link-width", "no-schedule"),
        ("port-down", "none"),
    ]
    config.config(group="health", fence="none")
    _tell(store, (card, "link-width"), (card, "nvme-dead"))
    assert _fenced(store) == 0


def test_what_is_no_longer_known_fences_nobody(
    store: inventory.Store, card: Any
) -> None:
    _tell(store, (card, "nvme-dead"))
    assert _fenced(store) == 1
    _tell(store, (card, "nvme-dead"), unknown=True)
    assert _conditions(store) == [("nvme-dead", "none")]
    _tell(store, (card, "nvme-dead"))
    assert _fenced(store) == 1


def test_all_that_there_is_takes_the_place_of_what_was(
    store: inventory.Store, card: Any
) -> None:
    _tell(store, (card, "nvme-dead"), (card, "port-down"), (card, "xid-79"))
    _tell(store, (card, "nvme-dead"), whole=True)
    # What needs a reset is not over because nobody speaks of it.
    assert sorted(_conditions(store)) == [
        ("nvme-dead", "no-schedule"),
        ("xid-79", "no-schedule"),
    ]
    _tell(store, whole=True)
    assert _conditions(store) == [("xid-79", "no-schedule")]
    (row,) = store.rows(models.Device)
    assert devices.set_condition(store.context, row.uuid, "xid-79", None)
    assert _conditions(store) == []


def test_an_operator_cannot_delete_what_a_sensor_sees(
    store: inventory.Store, card: Any
) -> None:
    _tell(store, (card, "nvme-dead"))
    (row,) = store.rows(models.Device)
    assert not devices.set_condition(
        store.context, row.uuid, "nvme-dead", None
    )
    assert _fenced(store) == 1


def test_a_sensor_that_is_wrong_everywhere_takes_no_cloud_down(
    store: inventory.Store, config: config_fixture.Config
) -> None:
    config.config(group="health", fence="all", max_fenced_percent=10)
    hosts = {f"cn{number}": _places(f"cn{number}", 8) for number in range(5)}
    for host, cards in hosts.items():
        _report(store, *cards, host=host)
    for host, cards in hosts.items():
        told = _tell(
            store, *((card, "hwmon-critical") for card in cards), host=host
        )
        assert told.again
    # One in ten of forty, and one of each host.
    assert len(_conditions(store)) == 40
    assert _fenced(store) == 8
    # Evidence that it cannot be given has no limit.
    for host, cards in hosts.items():
        _tell(store, *((card, "nvme-dead") for card in cards), host=host)
    assert _fenced(store) == 48
    # What gets well makes room for what was said before.
    cards = hosts["cn0"]
    for host in hosts:
        _tell(store, whole=True, host=host)
    assert _conditions(store) == []
    told = _tell(store, *((c, "hwmon-critical") for c in cards), host="cn0")
    assert (_fenced(store), told.again) == (4, True)


def test_the_limit_is_for_each_type_as_well(
    store: inventory.Store, config: config_fixture.Config
) -> None:
    config.config(group="health", fence="all", max_fenced_percent=20)
    many, few = _places(HOST, 20), _places("cn2", 4, "GPU")
    _report(store, *many)
    _report(store, *few, host="cn2")
    assert _tell(
        store, *((card, "link-width") for card in few), host="cn2"
    ).again
    assert _fenced(store) == 1
    # A card that is fenced may have a second reason.
    _tell(store, (few[0], "hwmon-critical"), host="cn2")
    assert _fenced(store) == 2
    assert _tell(store, *((card, "link-width") for card in many)).again
    assert _fenced(store) == 2 + 3


def test_hosts_that_speak_at_once_share_the_limit(
    store: inventory.Store, config: config_fixture.Config
) -> None:
    config.config(group="health", fence="all", max_fenced_percent=10)
    hosts = {f"cn{number}": _places(f"cn{number}", 10) for number in range(4)}
    for host, cards in hosts.items():
        _report(store, *cards, host=host)
    threads = [
        threading.Thread(
            target=lambda host=host, cards=cards: _tell(
                store, *((card, "link-width") for card in cards), host=host
            )
        )
        for host, cards in hosts.items()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(_conditions(store)) == 40
    assert 4 <= _fenced(store) <= 7


def test_statements_do_not_depend_on_how_many(
    store: inventory.Store, config: config_fixture.Config
) -> None:
    config.config(group="health", fence="all", max_fenced_percent=100)
    cards = _places(HOST, 40)
    _report(store, *cards)
    counts = []
    for some in (cards[:1], cards[1:]):
        with inventory.counted() as statements:
            _tell(store, *((card, "link-width") for card in some))
        counts.append(len(statements))
        with inventory.counted() as statements:
            _tell(store, well=tuple((card, "link-width") for card in some))
        counts.append(len(statements))
    assert counts[:2] == counts[2:]


def test_who_is_not_known_is_not_heard(
    store: inventory.Store, card: Any
) -> None:
    conductor = manager.ConductorManager()
    sign = {
        "place": card.controlpath_id.cpid_info,
        "key": "nvme-dead",
        "text": "x",
    }

    def tell(host: str, boot: str, *bad: Any) -> Any:
        return conductor.report_health(
            store.context,
            host,
            AGENT | {"boot_id": boot},
            False,
            list(bad),
            [],
        )

    assert tell("nobody", "b1", sign) == {"stored": False, "again": False}
    assert tell(HOST, "b2", sign) == {"stored": False, "again": False}
    # A card that is reported later; a sign of a later release.
    assert tell(HOST, "b1", sign | {"place": "{}"}) == {
        "stored": True,
        "again": True,
    }
    assert tell(HOST, "b1", sign | {"key": "new"}) == {
        "stored": True,
        "again": False,
    }
    assert _conditions(store) == []
    for wrong in (7, {"place": "x"}, sign | {"text": None}):
        with pytest.raises(messaging.ExpectedException):
            tell(HOST, "b1", wrong)
