"""What the credentials of a compute host are good for, on a real RabbitMQ."""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import dataclasses
import os
import pathlib
import subprocess
import threading
from typing import Any
import urllib.parse

import amqp
from oslo_config import cfg
from oslo_config import fixture as config_fixture
import oslo_messaging as messaging
from oslo_messaging import conffixture
import pytest

from cyborg.common import exception
from cyborg.common import rpc
from cyborg.conductor import agents
from cyborg.conductor import manager
from cyborg.conductor import rpcapi
from cyborg.context import get_admin_context
from cyborg.db import models
from cyborg.manage import bus
from cyborg.objects import base
from cyborg.tests.fixtures import database
from cyborg.tests.fixtures import inventory
from cyborg.tests.fixtures import rabbit

CONF = cfg.CONF
EXCHANGE = rpc.AGENTS_EXCHANGE
REPORTS = "cyborg-agent-reports"
HOSTS = ("cn1", "cn2.example.org")
PATIENCE = 30


def _ctl(*arguments: str) -> None:
    subprocess.run(
        ["rabbitmqctl", "--quiet", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=120,
        check=True,
    )


@dataclasses.dataclass
class Broker:
    """A virtual host for agents; each host has a user there.

    :ivar users: name of the user of each host; the password is its name
    """

    address: str
    vhost: str
    users: dict[str, str]

    def url(self, host: str) -> str:
        user = self.users[host]
        return f"rabbit://{user}:{user}@{self.address}/{self.vhost}"

    @contextlib.contextmanager
    def channel(
        self, host: str, vhost: str | None = None
    ) -> Iterator[amqp.Channel]:
        connection = amqp.Connection(
            self.address,
            userid=self.users[host],
            password=self.users[host],
            virtual_host=vhost or self.vhost,
        )
        connection.connect()
        try:
            yield connection.channel()
        finally:
            with contextlib.suppress(amqp.AMQPError, OSError):
                connection.close()


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    with rabbit.virtual_host() as url:
        parts = urllib.parse.urlsplit(url)
        vhost = parts.path.lstrip("/")
        if not vhost.startswith("cyborg-test-"):
            pytest.skip("USERS need a RabbitMQ that the suite may change")
        users = {"conductor": "guest"}
        try:
            for host in HOSTS:
                users[host] = f"{vhost}-{host}"
                _ctl("add_user", users[host], users[host])
                for command in bus.commands(host, users[host], vhost):
                    _ctl(*command)
            yield Broker(
                f"{parts.hostname}:{parts.port or 5672}", vhost, users
            )
        finally:
            for host in users.keys() & set(HOSTS):
                _ctl("delete_user", users[host])


@dataclasses.dataclass
class At(rpc.Bus):
    """The agents' bus as seen by one of those on it."""

    broker: Any = None
    who: str = ""

    @property
    def url(self) -> Any:
        url = messaging.TransportURL.parse(CONF, self.broker.url(self.who))
        url.query.update(self.query)
        return url


@pytest.fixture
def at(
    broker: Broker, tmp_path: pathlib.Path
) -> Iterator[Callable[[str], rpc.Bus]]:
    """Return how somebody sees the bus."""
    with (
        conffixture.ConfFixture(CONF, transport_url="fake://"),
        config_fixture.Config(CONF) as config,
    ):
        config.config(state_path=str(tmp_path), rpc_response_timeout=20)
        before = dict(rpc.AGENTS.query)
        seen: list[rpc.Bus] = []

        def get(who: str) -> rpc.Bus:
            if who in HOSTS:
                rpc.be_agent(who)
            seen.append(
                At(
                    "agent_transport",
                    "transport_url",
                    query=dict(rpc.AGENTS.query),
                    broker=broker,
                    who=who,
                )
            )
            rpc.AGENTS.query = dict(before)
            return seen[-1]

        yield get
        for each in seen:
            each.cleanup()


class Woken:
    """An agent that hears that there is something to do."""

    target = messaging.Target(version="1.0")

    def __init__(self) -> None:
        self.woken = threading.Event()

    def wake(self, context: Any) -> None:
        self.woken.set()


@contextlib.contextmanager
def serving(target: Any, endpoint: Any, on: rpc.Bus) -> Iterator[None]:
    # Queues are named by the leader of the process group, who may have ended
    # where tests run in the background.
    if not pathlib.Path(f"/proc/{os.getpgrp()}").exists():
        os.setpgid(0, 0)
    server = rpc.get_server(
        target, [endpoint], base.CyborgObjectSerializer(), on
    )
    server.start()
    try:
        yield
    finally:
        server.stop()
        server.wait()


def door(on: rpc.Bus) -> rpcapi.AgentsDoorAPI:
    client = rpc.get_client(
        rpc.reports_target(), base.CyborgObjectSerializer(), None, on
    )

    def call(context: Any, method: str, **kwargs: Any) -> Any:
        kwargs.pop("timeout", None)
        return client.call(context, method, **kwargs)

    return rpcapi.AgentsDoorAPI(call)


def report(api: rpcapi.AgentsDoorAPI, host: str, key: str) -> None:
    device = inventory.device(host=host)
    api.report_data(
        get_admin_context(),
        host,
        [device],
        host,
        "d1",
        inventory.driver_entry(device),
        {"machine_id": None, "boot_id": "b", "rpc_version": "1.1", "key": key},
    )


def test_a_host_reports_itself_and_hears_its_own_calls(
    broker: Broker, at: Callable[[str], rpc.Bus]
) -> None:
    """All that it needs it may do; what it may not fails in its tests."""
    first, second = HOSTS
    conductor, mine, other = at("conductor"), at(first), at(second)
    agent = Woken()
    with (
        database.with_tables("sqlite") as url,
        database.configured(url),
        serving(
            rpc.reports_target("c1"),
            agents.AgentsDoor(manager.ConductorManager()),
            conductor,
        ),
        serving(rpc.agent_target(first), agent, mine),
    ):
        report(door(mine), first, "k" * 43)
        report(door(other), second, "o" * 43)
        for name, key in ((first, "o" * 43), (second, "k" * 43)):
            with pytest.raises(exception.HostKeyRefused):
                report(door(other if name == first else mine), name, key)
        store = inventory.Store()
        assert {
            (row.hostname, row.apart) for row in store.rows(models.Host)
        } == {(first, True), (second, True)}
        rpc.get_client(
            rpc.agent_target(first),
            base.CyborgObjectSerializer(),
            None,
            conductor,
        ).cast(get_admin_context(), "wake")
        assert agent.woken.wait(PATIENCE)


def _own(channel: amqp.Channel) -> str:
    """Declare the queue of the first host, as its agent does."""
    name = f"cyborg-agent-{HOSTS[0]}"
    channel.queue_declare(name, durable=True, auto_delete=False)
    channel.queue_bind(name, EXCHANGE, name)
    return name


def _publish(exchange: str, key: str) -> Callable[[amqp.Channel], Any]:
    def attempt(channel: amqp.Channel) -> None:
        channel.confirm_select()
        channel.basic_publish_confirm(
            amqp.Message("{}"), exchange=exchange, routing_key=key
        )

    return attempt


def _bind(key: str) -> Callable[[amqp.Channel], Any]:
    return lambda channel: channel.queue_bind(_own(channel), EXCHANGE, key)


OTHERS = f"cyborg-agent-{HOSTS[1]}"
REPLIES = f"reply_{HOSTS[1]}:cyborg-agent:99"


@pytest.mark.parametrize(
    "attempt",
    [
        pytest.param(_publish(EXCHANGE, OTHERS), id="call another agent"),
        pytest.param(
            _publish(EXCHANGE, f"{OTHERS}.{HOSTS[1]}"),
            id="call another agent by its server",
        ),
        pytest.param(_publish("", OTHERS), id="call it past the exchange"),
        pytest.param(_publish("", REPLIES), id="answer it as a conductor"),
        pytest.param(
            _publish("", "cyborg-conductor"), id="call the conductor"
        ),
        pytest.param(
            _publish(EXCHANGE, "cyborg-conductor"),
            id="call the conductor by the exchange",
        ),
        pytest.param(
            _publish(f"{OTHERS}_fanout", ""), id="call it by its fanout"
        ),
        pytest.param(
            lambda channel: channel.basic_get(OTHERS), id="read its calls"
        ),
        pytest.param(
            lambda channel: channel.basic_get(REPLIES), id="read its answers"
        ),
        pytest.param(
            lambda channel: channel.basic_get(REPORTS), id="read reports"
        ),
        pytest.param(
            lambda channel: channel.basic_consume(REPORTS),
            id="pose as a conductor",
        ),
        pytest.param(_bind(OTHERS), id="have its calls copied"),
        pytest.param(_bind(REPORTS), id="have reports copied"),
        pytest.param(_bind("#"), id="have everything copied"),
        pytest.param(
            lambda channel: channel.queue_delete(OTHERS), id="delete its queue"
        ),
        pytest.param(
            lambda channel: channel.queue_purge(REPORTS), id="lose reports"
        ),
        pytest.param(
            lambda channel: channel.exchange_delete(EXCHANGE),
            id="delete the exchange",
        ),
        pytest.param(
            lambda channel: channel.queue_declare(
                f"reply_{HOSTS[0]}:cyborg-agent:9",
                arguments={"x-dead-letter-exchange": ""},
            ),
            id="have the broker pass it on",
        ),
        pytest.param(
            lambda channel: channel.queue_declare("mine"), id="fill the broker"
        ),
    ],
)
def test_it_is_good_for_nothing_else(
    broker: Broker, attempt: Callable[[amqp.Channel], Any]
) -> None:
    with broker.channel("conductor") as channel:
        for name in (OTHERS, REPLIES, REPORTS, "cyborg-conductor"):
            channel.queue_declare(name, durable=True, auto_delete=False)
        channel.exchange_declare(
            f"{OTHERS}_fanout", "fanout", auto_delete=False
        )
    with (
        broker.channel(HOSTS[0]) as channel,
        pytest.raises(amqp.AccessRefused),
    ):
        attempt(channel)


def test_it_opens_no_other_virtual_host(broker: Broker) -> None:
    with (
        pytest.raises((amqp.NotAllowed, amqp.AccessRefused)),
        broker.channel(HOSTS[0], "/"),
    ):
        pass
