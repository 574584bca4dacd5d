"""The message bus: its transports, clients and servers.

Services share one. Agents may have another of their own, ``[agent_transport]
transport_url``, where each host has a user that may do little: there every
name that an agent uses has its host's name in it, and what agents and
conductors share is an exchange that nobody can delete.
"""

from collections.abc import Iterator
import contextlib
import dataclasses
import functools
import inspect
import os
import re
import socket
import threading
import types
from typing import Any

from kombu import exceptions as kombu_exceptions
from oslo_concurrency import lockutils
from oslo_config import cfg
import oslo_messaging as messaging
from oslo_messaging import opts as messaging_opts

from cyborg import context as cyborg_context
from cyborg.common import constants
from cyborg.common import exception

CONF = cfg.CONF
EXCHANGE = "cyborg"
# What the queue manager puts in names of queues. Its default is the program
# that was started, which may be any WSGI server.
_PROCESS_NAME = ("oslo_messaging_rabbit", "processname")

# Times that each host of the bus is tried before a message is given up.
_TRIES = 2
# Seconds to wait for one of them to accept a connection.
_TIMEOUT = 2
_PORTS = {"rabbit": 5672, "amqp": 5672, "kafka": 9092}

# Brought by every broker, and kept: who may use it cannot delete it.
AGENTS_EXCHANGE = "amq.topic"
# The process' part in the names of an agent's queues.
_AGENT_PROCESS = "cyborg-agent"

_lock = threading.Lock()


@dataclasses.dataclass
class Bus:
    """A bus, and this process's transport on it.

    :ivar connected: whether anything was sent since something went wrong
    """

    group: str
    option: str
    transport: Any = None
    connected: bool = False
    # Given to the driver with the URL: names by which an agent is known.
    query: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def url(self) -> Any:
        """The URL of the configuration, parsed.

        :raises ConfigInvalid: it cannot be
        """
        # The library registers its own option, and only then.
        own = None if self is SERVICES else CONF[self.group][self.option]
        with self._complaining():
            url = messaging.TransportURL.parse(CONF, own)
        if self.query and url.transport in _RABBIT:
            url.query.update(self.query)
        return url

    @contextlib.contextmanager
    def _complaining(self) -> Iterator[None]:
        try:
            yield
        except (
            messaging.InvalidTransportURL,
            messaging.DriverLoadFailure,
            ValueError,
        ) as error:
            raise exception.ConfigInvalid(
                option=f"[{self.group}] {self.option}", reason=str(error)
            ) from error

    def get_transport(self) -> Any:
        """Return the transport, made on first use.

        :raises ConfigInvalid: its URL cannot be used
        """
        with _lock:
            if self.transport is None:
                with self._complaining():
                    # Exceptions of this package cross as what they are.
                    self.transport = messaging.get_rpc_transport(
                        CONF,
                        url=self.url,
                        allowed_remote_exmods=["cyborg.common.exception"],
                    )
            return self.transport

    def cleanup(self) -> None:
        with _lock:
            if self.transport is not None:
                self.transport.cleanup()
            self.transport = None
            self.connected = False


_RABBIT = ("rabbit", "amqp", "kombu+rabbit")

SERVICES = Bus("DEFAULT", "transport_url")
# Its exchange is durable, and so are the queues on it.
AGENTS = Bus(
    "agent_transport",
    "transport_url",
    query={"amqp_durable_queues": "true", "amqp_auto_delete": "false"},
)
_BUSES = (SERVICES, AGENTS)


def has_agents_bus() -> bool:
    """Tell whether agents have a bus of their own."""
    return CONF.agent_transport.transport_url is not None


def be_agent(host: str) -> None:
    """Name the queues of this process after its host, on the agents' bus.

    Before the transport is made.
    """
    # The names are counted in a file that processes lock.
    lockutils.set_defaults(os.path.join(CONF.state_path, "lock"))
    AGENTS.query |= {
        "use_queue_manager": "true",
        "hostname": host,
        "processname": _AGENT_PROCESS,
    }


def agent_target(host: str) -> Any:
    """Return where the agent of a host listens on the agents' bus.

    :param host: the agent's name on the bus
    """
    return messaging.Target(
        exchange=AGENTS_EXCHANGE,
        topic=f"{constants.AGENT_TOPIC}-{host}",
        server=host,
        version="1.0",
    )


def reports_target(server: str | None = None) -> Any:
    """Return where conductors listen on the agents' bus."""
    return messaging.Target(
        exchange=AGENTS_EXCHANGE,
        topic=constants.REPORTS_TOPIC,
        server=server,
        version="1.0",
    )


@dataclasses.dataclass(frozen=True)
class Permissions:
    """What RabbitMQ lets a user do: regular expressions of names.

    :ivar topic_write: routing keys it may publish with, on the exchange that
        all agents share
    :ivar topic_read: routing keys it may bind its queues with, there
    """

    exchange: str
    configure: str
    write: str
    read: str
    topic_write: str
    topic_read: str


def agent_permissions(host: str) -> Permissions:
    """Return what the user of one host needs on the agents' bus."""
    topic = re.escape(f"{constants.AGENT_TOPIC}-{host}")
    name = re.escape(host)
    mine = f"{name}:{_AGENT_PROCESS}:[0-9]+"
    exchange = re.escape(AGENTS_EXCHANGE)
    own = (
        f"{topic}|{topic}[.]{name}|{topic}_fanout|{topic}_fanout_{mine}"
        f"|reply_{mine}"
    )
    everything = f"^({exchange}|{own})$"
    return Permissions(
        exchange=AGENTS_EXCHANGE,
        configure=everything,
        write=everything,
        read=everything,
        topic_write=f"^{re.escape(constants.REPORTS_TOPIC)}$",
        topic_read=f"^{topic}([.]{name})?$",
    )


class ContextSerializer(messaging.Serializer):
    """Carries the caller's identity as a dict; a token never travels."""

    def __init__(self, base: Any) -> None:
        self._base = base

    def serialize_entity(self, context: Any, entity: Any) -> Any:
        return self._base.serialize_entity(context, entity)

    def deserialize_entity(self, context: Any, entity: Any) -> Any:
        return self._base.deserialize_entity(context, entity)

    def serialize_context(self, context: Any) -> dict[str, Any]:
        return dict(context.to_dict())

    def deserialize_context(
        self, context: dict[str, Any]
    ) -> cyborg_context.RequestContext:
        return cyborg_context.RequestContext.from_dict(context)


class UseCases(messaging.RPCAccessPolicyBase):
    """Admits a manager's use cases: what takes the caller's context first.

    Starting and stopping are public methods too, and nobody else's affair.
    """

    def is_allowed(self, endpoint: Any, method: str) -> bool:
        if method.startswith("_"):
            return False
        function = inspect.getattr_static(type(endpoint), method, None)
        return inspect.isfunction(function) and _takes_context(function)


@functools.cache
def _takes_context(function: types.FunctionType) -> bool:
    parameters = list(inspect.signature(function).parameters)
    return parameters[1:2] == ["context"]


def set_defaults(program: str) -> None:
    """Set what the bus is told of this process, before options are read.

    :param program: makes names of queues that processes of other programs on
        this host must not have
    """
    messaging.set_transport_defaults(EXCHANGE)
    # The driver registers its options when it is loaded, this one again.
    for group, options in messaging_opts.list_opts():
        for option in options:
            if (group, option.dest) == _PROCESS_NAME:
                CONF.register_opt(option, group=group)
    group, name = _PROCESS_NAME
    CONF.set_default(name, program, group=group)


def get_transport() -> Any:
    """Return the transport that services share; see :class:`Bus`."""
    return SERVICES.get_transport()


def cleanup() -> None:
    """Close the transports. For tests and forks."""
    for bus in _BUSES:
        bus.cleanup()


def check_bus(bus: Bus = SERVICES) -> None:
    """Pass if one of the message bus' hosts accepts connections.

    :raises OSError: none does
    """
    url = bus.url
    port = _PORTS.get(url.transport)
    if port is None:
        return
    failure: OSError | None = None
    for host in url.hosts:
        address = (host.hostname or "localhost", host.port or port)
        try:
            socket.create_connection(address, _TIMEOUT).close()
        except OSError as error:
            failure = error
        else:
            return
    if failure is not None:
        raise failure


def get_client(
    target: Any,
    serializer: Any,
    version_cap: str | None,
    bus: Bus = SERVICES,
) -> Any:
    """Return a client of the peer that ``target`` names."""
    # Which finds out whether the URL is one.
    transport = bus.get_transport()
    hosts = bus.url.hosts
    return messaging.get_rpc_client(
        transport,
        target,
        version_cap=version_cap,
        serializer=ContextSerializer(serializer),
        retry=_TRIES * max(1, len(hosts)),
    )


def pinned(peer: str) -> str | None:
    """Return the RPC version that the operator holds a peer's calls to.

    :param peer: an option of ``[upgrade_levels]``
    :returns: None where the peers themselves say what they know
    """
    level: str = getattr(CONF.upgrade_levels, peer)
    return None if level == "auto" else level


def call(
    client: Any,
    context: cyborg_context.RequestContext,
    peer: str,
    method: str,
    **kwargs: Any,
) -> Any:
    """Call a method and return its answer.

    :raises PeerTooOld: the peer does not know it, or is not to be asked
    :raises MessageDeliveryFailure: the message bus is away
    """
    try:
        with _sending(client):
            return client.call(context, method, **kwargs)
    except (messaging.RPCVersionCapError, messaging.UnsupportedVersion) as err:
        raise exception.PeerTooOld(peer=peer, method=method) from err
    except messaging.RemoteError as error:
        # How that error arrives over a real bus.
        if error.exc_type != messaging.UnsupportedVersion.__name__:
            raise
        raise exception.PeerTooOld(peer=peer, method=method) from error


def cast(
    client: Any,
    context: cyborg_context.RequestContext,
    method: str,
    **kwargs: Any,
) -> None:
    """Have a method called, and do not wait.

    :raises MessageDeliveryFailure: the message bus is away
    """
    with _sending(client):
        client.cast(context, method, **kwargs)


@contextlib.contextmanager
def _sending(client: Any) -> Iterator[None]:
    """Give a message up where its driver would try for ever.

    It does until it is connected for the first time, and lets through what
    its library raises. Once a message could not be sent, the next ones do not
    wait for that again until something listens.
    """
    bus = AGENTS if client.transport is AGENTS.transport else SERVICES
    if not bus.connected:
        try:
            check_bus(bus)
        except OSError as error:
            raise messaging.MessageDeliveryFailure(str(error)) from error
    try:
        yield
    except messaging.MessageDeliveryFailure:
        bus.connected = False
        raise
    except kombu_exceptions.OperationalError as error:
        bus.connected = False
        raise messaging.MessageDeliveryFailure(str(error)) from error
    bus.connected = True


def get_server(
    target: Any,
    endpoints: list[Any],
    serializer: Any,
    bus: Bus = SERVICES,
) -> Any:
    """Return a server, not started, with a thread per running call."""
    return messaging.get_rpc_server(
        bus.get_transport(),
        target,
        endpoints,
        executor="threading",
        serializer=ContextSerializer(serializer),
        access_policy=UseCases,
    )
