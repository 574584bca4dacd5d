"""The message bus: one transport per process, clients and servers."""

from collections.abc import Iterator
import contextlib
import functools
import inspect
import socket
import threading
import types
from typing import Any

from kombu import exceptions as kombu_exceptions
from oslo_config import cfg
import oslo_messaging as messaging
from oslo_messaging import opts as messaging_opts

from cyborg import context as cyborg_context
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

_lock = threading.Lock()
_transport: Any = None
# Whether anything was ever sent.
_connected = False


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
    """Return the process's transport, connected on first use.

    :raises ConfigInvalid: ``transport_url`` cannot be used
    """
    global _transport
    with _lock:
        if _transport is None:
            try:
                # Exceptions of this package cross the wire as what they are.
                _transport = messaging.get_rpc_transport(
                    CONF, allowed_remote_exmods=["cyborg.common.exception"]
                )
            except (
                messaging.InvalidTransportURL,
                messaging.DriverLoadFailure,
                ValueError,
            ) as error:
                raise exception.ConfigInvalid(
                    option="[DEFAULT] transport_url", reason=str(error)
                ) from error
        return _transport


def cleanup() -> None:
    """Close the transport. For tests and forks."""
    global _connected, _transport
    with _lock:
        if _transport is not None:
            _transport.cleanup()
        _transport = None
        _connected = False


def check_bus() -> None:
    """Pass if one of the message bus' hosts accepts connections.

    :raises OSError: none does
    """
    url = messaging.TransportURL.parse(CONF)
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


def get_client(target: Any, serializer: Any, version_cap: str | None) -> Any:
    """Return a client of the peer that ``target`` names."""
    # Which finds out whether the URL is one.
    transport = get_transport()
    hosts = messaging.TransportURL.parse(CONF).hosts
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
        with _sending():
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
    with _sending():
        client.cast(context, method, **kwargs)


@contextlib.contextmanager
def _sending() -> Iterator[None]:
    """Give a message up where its driver would try for ever.

    It does until it is connected for the first time, and lets through what
    its library raises. Once a message could not be sent, the next ones do not
    wait for that again until something listens.
    """
    global _connected
    if not _connected:
        try:
            check_bus()
        except OSError as error:
            raise messaging.MessageDeliveryFailure(str(error)) from error
    try:
        yield
    except messaging.MessageDeliveryFailure:
        _connected = False
        raise
    except kombu_exceptions.OperationalError as error:
        _connected = False
        raise messaging.MessageDeliveryFailure(str(error)) from error
    _connected = True


def get_server(target: Any, endpoints: list[Any], serializer: Any) -> Any:
    """Return a server, not started, with a thread per running call."""
    return messaging.get_rpc_server(
        get_transport(),
        target,
        endpoints,
        executor="threading",
        serializer=ContextSerializer(serializer),
        access_policy=UseCases,
    )
