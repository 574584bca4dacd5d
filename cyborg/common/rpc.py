"""The message bus: one transport per process, clients and servers."""

import functools
import inspect
import threading
import types
from typing import Any

from oslo_config import cfg
import oslo_messaging as messaging

from cyborg import context as cyborg_context
from cyborg.common import exception

CONF = cfg.CONF
EXCHANGE = "cyborg"

_lock = threading.Lock()
_transport: Any = None


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


def set_defaults() -> None:
    """Set the control exchange before the configuration is read."""
    messaging.set_transport_defaults(EXCHANGE)


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
    global _transport
    with _lock:
        if _transport is not None:
            _transport.cleanup()
        _transport = None


def get_client(target: Any, serializer: Any, version_cap: str | None) -> Any:
    """Return a client of the peer that ``target`` names."""
    return messaging.get_rpc_client(
        get_transport(),
        target,
        version_cap=version_cap,
        serializer=ContextSerializer(serializer),
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
    """
    try:
        return client.call(context, method, **kwargs)
    except (messaging.RPCVersionCapError, messaging.UnsupportedVersion) as err:
        raise exception.PeerTooOld(peer=peer, method=method) from err
    except messaging.RemoteError as error:
        # How that error arrives over a real bus.
        if error.exc_type != messaging.UnsupportedVersion.__name__:
            raise
        raise exception.PeerTooOld(peer=peer, method=method) from error


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
