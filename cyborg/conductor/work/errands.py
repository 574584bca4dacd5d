"""How agents on a bus of their own are called.

See :mod:`cyborg.agent.errands`. What is wanted is a row for as long as
somebody waits for it; any conductor hands it out, and any takes the result.
"""

import threading
import time
from typing import Any

from oslo_config import cfg
import oslo_messaging as messaging

from cyborg.agent import rpcapi as agent_rpcapi
from cyborg.common import exception
from cyborg.common import faults
from cyborg.common import liveness
from cyborg.common import rpc
from cyborg.context import RequestContext
from cyborg.db import errand as errand_db
from cyborg.objects import base

CONF = cfg.CONF

# Seconds between two looks for a result: at first, and in the end.
_FIRST_LOOK = 0.02
_LAST_LOOK = 1.0
# Seconds after which an agent is told again that there is something to do.
_TELL_AGAIN = 10.0
_LONGEST_TEXT = 2000

# Told in this process that a result has come.
_arrived = threading.Condition()


def finish(
    context: RequestContext, hostname: str, uuid: str, result: Any
) -> None:
    """Store what an agent brings.

    :raises Invalid: it is not ``{"answer"}`` or ``{"error"}``
    """
    error = result.get("error") if isinstance(result, dict) else ""
    if not isinstance(result, dict) or not (
        "answer" in result
        or (
            isinstance(error, dict)
            and all(isinstance(error.get(k), str) for k in ("name", "text"))
        )
    ):
        raise exception.Invalid("result is neither an answer nor an error.")
    errand_db.finish(context, hostname, uuid, result)
    faults.point("errand-result-stored")
    with _arrived:
        _arrived.notify_all()


def way_to(
    hostname: str, apart: bool, agents: agent_rpcapi.AgentAPI
) -> agent_rpcapi.AgentAPI:
    """Return how the agent of a host is called.

    :param apart: it is on the bus that agents have of their own
    :param agents: calls those on the bus of all services
    """
    return Errands(hostname) if apart else agents


class Errands(agent_rpcapi.AgentAPI):
    """Calls the agent of one host.

    :param hostname: whose key has to come with what it brings
    """

    def __init__(self, hostname: str) -> None:
        self._hostname = hostname

    def _is_old(self, rpc_version: str | None) -> bool:
        # Those of earlier releases know no other bus.
        return False

    def _send(
        self,
        context: RequestContext,
        rpc_host: str,
        method: str,
        timeout: float,
        version: str,
        **kwargs: Any,
    ) -> Any:
        uuid = errand_db.create(
            context, self._hostname, method, kwargs, timeout
        )
        faults.point("errand-created")
        try:
            result = self._wait(context, rpc_host, uuid, timeout)
        finally:
            errand_db.delete(context, uuid)
        if "error" in result:
            raise _to_raise(**result["error"])
        return result["answer"]

    def _wait(
        self, context: RequestContext, rpc_host: str, uuid: str, timeout: float
    ) -> dict[str, Any]:
        """Return the result once it is there.

        :raises AgentNotResponding: it does not come in time, the agent does
            not ask what there is to do, or it has fallen silent
        """
        began = time.monotonic()
        told_at, pause = float("-inf"), _FIRST_LOOK
        while True:
            now = time.monotonic()
            if now - told_at >= _TELL_AGAIN:
                self._tell(context, rpc_host)
                told_at = now
            row = errand_db.get(context, uuid)
            if row is not None and row.result is not None:
                return errand_db.decoded(row.result)
            waited = now - began
            if (
                row is None
                or waited > timeout
                or (not row.taken and waited > CONF.rpc_response_timeout)
                or liveness.is_silent(row.last_seen_at)
            ):
                raise exception.AgentNotResponding(host=self._hostname)
            with _arrived:
                _arrived.wait(pause)
            pause = min(pause * 1.5, _LAST_LOOK)

    def _tell(self, context: RequestContext, rpc_host: str) -> None:
        client = rpc.get_client(
            rpc.agent_target(rpc_host),
            base.CyborgObjectSerializer(),
            None,
            rpc.AGENTS,
        )
        try:
            rpc.cast(client, context, "wake")
        except messaging.MessagingException as error:
            raise exception.AgentNotResponding(host=self._hostname) from error


def _to_raise(name: str, text: str) -> Exception:
    """Return an error of an agent as what it was there."""
    text = text[:_LONGEST_TEXT]
    if name in ("LookupError", "KeyError"):
        return LookupError(text)
    kind = getattr(exception, name, None)
    if not isinstance(kind, type) or not issubclass(
        kind, exception.CyborgException
    ):
        return exception.DriverError(text)
    return kind(text)
