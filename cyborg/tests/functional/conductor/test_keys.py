"""Who may speak for a host, and how agents apart are asked to do things."""

from concurrent import futures
import datetime
from typing import Any
import uuid

from oslo_config import cfg
from oslo_config import fixture as config_fixture
import oslo_messaging as messaging
from oslo_messaging import conffixture
from oslo_utils import timeutils
import pytest
import sqlalchemy as sa

from cyborg.agent import errands as agent_errands
from cyborg.common import exception
from cyborg.conductor import agents
from cyborg.conductor import manager
from cyborg.conductor import rpcapi
from cyborg.conductor.inventory import keys
from cyborg.conductor.work import errands
from cyborg.db import errand as errand_db
from cyborg.db import host as host_db
from cyborg.db import models
from cyborg.manage import host as manage_host
from cyborg.tests.fixtures import inventory
from cyborg.tests.fixtures.inventory import HOST

CONF = cfg.CONF
KEY = "k" * 43
OTHER = "o" * 43

on_one_engine = pytest.mark.parametrize(
    "database_url", ["sqlite"], indirect=True
)


def speaker(
    key: str | None = KEY, machine: str | None = None
) -> dict[str, Any]:
    who = {"machine_id": machine, "boot_id": "b1", "rpc_version": "1.1"}
    if machine is not None:
        who["boot_id"] = f"b {machine}"
    return who if key is None else who | {"key": key}


class Agent:
    """Speaks for a host, over the common bus or through the agents' door."""

    def __init__(
        self,
        store: inventory.Store,
        key: str | None,
        apart: bool = False,
        machine: str | None = None,
    ) -> None:
        self._context = store.context
        conductor = manager.ConductorManager()
        self._api: rpcapi.Reports = store.conductor
        if apart:
            door = rpcapi.local(agents.AgentsDoor(conductor))
            self._api = rpcapi.AgentsDoorAPI(door._call)
        self._who = speaker(key, machine)

    def report(self, digest: str = "d1") -> None:
        device = inventory.device()
        self._api.report_data(
            self._context,
            HOST,
            [device],
            HOST,
            digest,
            inventory.driver_entry(device),
            self._who,
        )

    def register(self) -> str | None:
        answer = self._api.agent_register(
            self._context, [HOST], HOST, self._who, ""
        )
        return answer["hostname"]

    def find(self) -> None:
        self._api.report_guests(self._context, HOST, self._who, [])

    def ail(self) -> bool:
        answer = self._api.report_health(
            self._context, HOST, self._who, True, [], []
        )
        return answer["stored"]

    def cleaned(self) -> None:
        self._api.cleaning_ended(
            self._context, HOST, str(uuid.uuid4()), self._who
        )

    def beat(self, digest: str = "d1") -> bool:
        answer = self._api.report_heartbeat(
            self._context, HOST, HOST, digest, self._who, ""
        )
        return not answer["need_full_report"]


def host(store: inventory.Store) -> Any:
    (row,) = store.rows(models.Host)
    return row


def test_a_host_is_known_by_the_first_key_it_shows(
    store: inventory.Store,
) -> None:
    Agent(store, None).report()
    assert host(store).key_hash is None
    assert Agent(store, KEY).beat()
    assert host(store).key_hash == keys.hash_of(KEY)
    before = host(store)
    for stranger in (Agent(store, None), Agent(store, OTHER)):
        for speak in (
            stranger.report,
            stranger.beat,
            stranger.find,
            stranger.ail,
            stranger.cleaned,
        ):
            with pytest.raises(exception.HostKeyRefused):
                speak()
    # What was refused changed nothing, and is shown.
    after = host(store)
    assert (after.last_seen_at, after.report_digest, after.key_hash) == (
        before.last_seen_at,
        before.report_digest,
        before.key_hash,
    )
    assert after.refused_at is not None
    assert Agent(store, KEY).beat()
    assert Agent(store, KEY, apart=True).ail()
    host_db.rekey(store.context, HOST, None)
    assert Agent(store, OTHER).beat()
    assert host(store).key_hash == keys.hash_of(OTHER)
    assert host(store).refused_at is None


@on_one_engine
def test_another_machine_does_not_bring_its_key(
    store: inventory.Store,
) -> None:
    Agent(store, None, machine="dmi:1").report()
    stranger = Agent(store, OTHER, machine="dmi:2")
    for speak in (stranger.register, stranger.report):
        with pytest.raises(exception.HostTaken):
            speak()
    assert not stranger.beat()
    assert host(store).key_hash is None
    # Once the host is gone, one that reports it with all it has takes it.
    store.execute(
        sa.update(models.Host.__table__).values(
            last_seen_at=timeutils.utcnow() - datetime.timedelta(hours=1)
        )
    )
    assert not stranger.beat()
    assert host(store).key_hash is None
    stranger.report()
    assert host(store).key_hash == keys.hash_of(OTHER)
    # A host that has a key is replaced when an operator says so.
    replacing = Agent(store, KEY, machine="dmi:3")
    with pytest.raises(exception.HostKeyRefused):
        replacing.report()
    manage_host.replace(store.context, HOST)
    replacing.report()
    assert host(store).key_hash == keys.hash_of(KEY)


@on_one_engine
def test_a_new_host_has_its_key_from_its_first_report(
    store: inventory.Store,
) -> None:
    Agent(store, KEY).report()
    assert host(store).key_hash == keys.hash_of(KEY)
    with pytest.raises(exception.HostKeyRefused):
        Agent(store, None).report("d2")


@on_one_engine
def test_an_operator_may_lay_the_key_down_first(
    store: inventory.Store,
) -> None:
    Agent(store, None).report()
    host_db.rekey(store.context, HOST, keys.hash_of(KEY))
    with pytest.raises(exception.HostKeyRefused):
        Agent(store, OTHER).beat()
    assert Agent(store, KEY).beat()


@on_one_engine
def test_without_a_key_nobody_reports_where_keys_are_needed(
    store: inventory.Store, config: config_fixture.Config
) -> None:
    Agent(store, None).report()
    config.config(group="conductor", accept_unkeyed_reports=False)
    for speak in (Agent(store, None).report, Agent(store, None).beat):
        with pytest.raises(exception.HostKeyRefused):
            speak()
    assert Agent(store, KEY).beat()


@on_one_engine
@pytest.mark.parametrize(
    "key", ["", "short", "k" * 256, 17, "é" * 43, "k" * 42 + "\n"]
)
def test_what_is_no_key_is_refused(store: inventory.Store, key: Any) -> None:
    with pytest.raises(exception.Invalid):
        Agent(store, key).report()


@on_one_engine
def test_agents_apart_always_need_a_key(store: inventory.Store) -> None:
    with pytest.raises(exception.HostKeyRefused):
        Agent(store, None, apart=True).report()
    Agent(store, KEY, apart=True).report()
    assert host(store).apart
    assert Agent(store, KEY, apart=True).beat()
    Agent(store, KEY, apart=True).find()
    Agent(store, KEY, apart=True).cleaned()
    # It went back to the common bus, with its key.
    assert Agent(store, KEY).beat()
    assert not host(store).apart


@on_one_engine
def test_an_unchanged_host_with_a_key_is_one_statement(
    store: inventory.Store,
) -> None:
    Agent(store, KEY).report()
    with inventory.counted() as seen:
        assert host_db.heartbeat(
            store.context, HOST, HOST, "d1", None, keys.hash_of(KEY)
        )
    assert len(seen) == 1


# -- errands


class Host:
    """An agent's side of the agents' door, with no bus between."""

    speaker = speaker()
    hostname = HOST

    def __init__(self, store: inventory.Store) -> None:
        door = rpcapi.local(agents.AgentsDoor(manager.ConductorManager()))
        self.api = rpcapi.AgentsDoorAPI(door._call)
        self.calls: list[Any] = []
        self.errors: list[Exception] = []
        self.lost = 0

    def _answer(self, *call: Any) -> None:
        self.calls.append(call)
        if self.errors:
            raise self.errors.pop(0)

    def prepare_handle(
        self, context: Any, handle: dict[str, Any], sequence: int
    ) -> None:
        self._answer("prepare", handle["uuid"], sequence)

    def device_get_stats(self, context: Any, **kwargs: Any) -> dict[str, Any]:
        self._answer("stats", kwargs["driver"])
        return {"device": {"device_name": "x"}}

    def init_host(self) -> None:
        pass

    def stop(self) -> None:
        pass

    def on_registered(self, callback: Any) -> None:
        callback()


@pytest.fixture
def apart(store: inventory.Store, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A host whose agent is apart, and told of errands without a bus."""
    Agent(store, KEY, apart=True).report()
    there = Host(store)
    told = agent_errands.Errands(there.api, there)
    told.init_host()

    def tell(self: Any, context: Any, rpc_host: str) -> None:
        if there.lost:
            there.lost -= 1
            return
        told.wake(context)

    monkeypatch.setattr(errands.Errands, "_tell", tell)
    # Has the options of the bus, which nobody uses here.
    with conffixture.ConfFixture(CONF, transport_url="fake://"):
        yield there
    told.stop()


def prepare(store: inventory.Store, sequence: int = 7) -> None:
    errands.Errands(HOST).prepare_handle(
        store.context,
        HOST,
        handle={"uuid": "h1", "attach_type": "MDEV"},
        sequence=sequence,
        timeout=9,
    )


def test_an_errand_is_a_call(store: inventory.Store, apart: Host) -> None:
    prepare(store)
    assert apart.calls == [("prepare", "h1", 7)]
    answer = errands.Errands(HOST).device_get_stats(
        store.context, HOST, controlpath_id={}, driver="fake_driver"
    )
    assert answer == {"device": {"device_name": "x"}}
    # Nothing is left of it.
    assert store.rows(models.Errand) == []


@on_one_engine
@pytest.mark.parametrize(
    ("raised", "arrives"),
    [
        (exception.DriverError(reason="no room"), exception.DriverError),
        (
            exception.Overtaken(subject="h1", sequence=7, latest=8),
            exception.Overtaken,
        ),
        (LookupError("no such card"), exception.AgentFailed),
        (ZeroDivisionError("oops"), exception.DriverError),
    ],
)
def test_errors_arrive_as_what_they_were(
    store: inventory.Store,
    apart: Host,
    raised: Exception,
    arrives: type[Exception],
) -> None:
    try:
        raise raised
    except Exception:
        apart.errors = [messaging.ExpectedException()]
    with pytest.raises(arrives) as caught:
        prepare(store)
    assert str(raised) in str(caught.value.args[0])


@on_one_engine
def test_what_got_lost_is_said_again(
    store: inventory.Store, apart: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(errands, "_TELL_AGAIN", 0.05)
    apart.lost = 2
    prepare(store)
    assert apart.calls == [("prepare", "h1", 7)]


@on_one_engine
def test_an_agent_that_does_not_ask_does_not_respond(
    store: inventory.Store, apart: Host, config: config_fixture.Config
) -> None:
    apart.lost = 1000
    config.config(rpc_response_timeout=0)
    with pytest.raises(exception.AgentNotResponding):
        prepare(store)
    assert store.rows(models.Errand) == []


@on_one_engine
def test_a_silent_agent_is_not_waited_for(
    store: inventory.Store, apart: Host
) -> None:
    apart.lost = 1000
    store.execute(
        sa.update(models.Host.__table__).values(
            last_seen_at=timeutils.utcnow() - datetime.timedelta(hours=1)
        )
    )
    with pytest.raises(exception.AgentNotResponding):
        prepare(store)


def test_only_the_host_itself_takes_and_brings(
    store: inventory.Store,
) -> None:
    Agent(store, KEY, apart=True).report()
    uuid_ = errand_db.create(store.context, HOST, "fence", {"a": 1}, 60)
    door = agents.AgentsDoor(manager.ConductorManager())
    api = rpcapi.AgentsDoorAPI(rpcapi.local(door)._call)
    for who in (speaker(None), speaker(OTHER)):
        with pytest.raises(exception.HostKeyRefused):
            api.errands(store.context, HOST, who)
        with pytest.raises(exception.HostKeyRefused):
            api.errand_done(store.context, HOST, who, uuid_, {"answer": 1})
    # Another host has its own key, and finds nothing.
    store.execute(
        sa.insert(models.Host.__table__).values(
            uuid=str(uuid.uuid4()), hostname="cn2"
        )
    )
    assert api.errands(store.context, "cn2", speaker(OTHER)) == []
    api.errand_done(store.context, "cn2", speaker(OTHER), uuid_, {"answer": 1})
    assert errand_db.get(store.context, uuid_).result is None
    # Until its result is there it comes again; the first one counts.
    for _ in range(2):
        (errand,) = api.errands(store.context, HOST, speaker())
        assert errand == {
            "uuid": uuid_,
            "method": "fence",
            "arguments": {"a": 1},
        }
    for answer in (1, 2):
        api.errand_done(
            store.context, HOST, speaker(), uuid_, {"answer": answer}
        )
    row = errand_db.get(store.context, uuid_)
    assert errand_db.decoded(row.result) == {"answer": 1}
    assert api.errands(store.context, HOST, speaker()) == []


@on_one_engine
@pytest.mark.parametrize(
    "result", [None, [], {}, {"error": "x"}, {"error": {"name": 1}}]
)
def test_what_is_no_result_is_refused(
    store: inventory.Store, result: Any
) -> None:
    Agent(store, KEY, apart=True).report()
    uuid_ = errand_db.create(store.context, HOST, "fence", {}, 60)
    door = agents.AgentsDoor(manager.ConductorManager())
    api = rpcapi.AgentsDoorAPI(rpcapi.local(door)._call)
    with pytest.raises(exception.Invalid):
        api.errand_done(store.context, HOST, speaker(), uuid_, result)


@on_one_engine
def test_what_a_dead_conductor_wanted_goes(store: inventory.Store) -> None:
    old = errand_db.create(store.context, HOST, "fence", {}, -60)
    assert errand_db.take(store.context, HOST) == []
    new = errand_db.create(store.context, HOST, "fence", {}, 60)
    assert [row.uuid for row in store.rows(models.Errand)] == [new]
    assert old != new


def test_many_errands_at_once(store: inventory.Store, apart: Host) -> None:
    with futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: prepare(store, number), range(16)))
    assert sorted(number for *_, number in apart.calls) == list(range(16))
