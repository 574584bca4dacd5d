"""Does what a conductor wants done, for an agent on a bus of its own.

There nobody can call an agent: to answer, it would have to be able to write
into every queue. A cast says that there is something to do; it says nothing
else, so whoever can forge it gains nothing. What there is to do the agent
asks a conductor, in a call that shows the host's key, and another call brings
the result.

Everything may come twice: a conductor that hears nothing says again that
there is something to do, and an errand is listed until its result is there.
"""

import collections
from concurrent import futures
import threading
from typing import Any

from oslo_config import cfg
from oslo_log import log as logging
import oslo_messaging as messaging

from cyborg import context as cyborg_context
from cyborg.agent import manager
from cyborg.agent import rpcapi as agent_rpcapi
from cyborg.common import exception
from cyborg.common import faults
from cyborg.conductor import rpcapi

CONF = cfg.CONF
LOG = logging.getLogger(__name__)

# What conductors call, on either bus.
METHODS = frozenset(
    name for name in vars(agent_rpcapi.AgentAPI) if not name.startswith("_")
)
# Errands that are known to be done.
_REMEMBERED = 1000
# Seconds after a conductor did not answer.
_PAUSE = 5.0


class Errands:
    """The RPC endpoint of an agent that takes no calls, and what it runs.

    :param agent: the agent, started and stopped with this
    """

    target = messaging.Target(version="1.0")

    def __init__(
        self,
        conductor: rpcapi.AgentsDoorAPI,
        agent: manager.AgentManager,
    ) -> None:
        self._conductor = conductor
        self._agent = agent
        self._ended = threading.Event()
        self._wanted = threading.Event()
        self._lock = threading.Lock()
        self._running: set[str] = set()
        # Those whose result is there: a list may be older than that.
        self._brought: collections.deque[str] = collections.deque(
            maxlen=_REMEMBERED
        )
        self._pool: futures.ThreadPoolExecutor | None = None
        self._thread: threading.Thread | None = None

    # -- life

    def init_host(self) -> None:
        self._agent.on_registered(self._wanted.set)
        self._agent.init_host()
        self._pool = futures.ThreadPoolExecutor(
            CONF.thread_pool_size, thread_name_prefix="errand"
        )
        self._thread = threading.Thread(
            target=self._run, name="errands", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Take no more; what is going on ends, or is asked for again."""
        self._ended.set()
        self._wanted.set()
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
        self._agent.stop()

    # -- RPC

    def wake(self, context: cyborg_context.RequestContext) -> None:
        """A cast: a conductor wants something done."""
        self._wanted.set()

    # -- work

    def _run(self) -> None:
        while not self._ended.is_set():
            self._wanted.wait()
            self._wanted.clear()
            if self._ended.is_set():
                return
            try:
                self.fetch()
            except exception.CyborgException as error:
                LOG.warning("Not asked what to do: %s", error.faultstring)
                self._again()
            except Exception:
                LOG.exception("Asking what there is to do failed")
                self._again()

    def _again(self) -> None:
        self._ended.wait(_PAUSE)
        self._wanted.set()

    def fetch(self) -> None:
        """Start whatever there is to do and is not being done."""
        hostname = self._agent.hostname
        if hostname is None:
            # Once it is registered it is told again.
            return
        wanted = self._conductor.errands(
            cyborg_context.get_admin_context(), hostname, self._agent.speaker
        )
        faults.point("agent-errands-fetched")
        assert self._pool is not None
        for errand in wanted:
            with self._lock:
                uuid = errand["uuid"]
                if uuid in self._running or uuid in self._brought:
                    continue
                self._running.add(uuid)
            self._pool.submit(self._do, hostname, errand)

    def _do(self, hostname: str, errand: dict[str, Any]) -> None:
        try:
            result = self._result(errand["method"], errand["arguments"])
            faults.point("agent-errand-done")
            self._conductor.errand_done(
                cyborg_context.get_admin_context(),
                hostname,
                self._agent.speaker,
                errand["uuid"],
                result,
            )
            with self._lock:
                self._brought.append(errand["uuid"])
        except exception.CyborgException as error:
            # Asked for again, it is done again, or seen to be done.
            LOG.warning(
                "Nobody takes the result of %s: %s",
                errand["method"],
                error.faultstring,
            )
        except Exception:
            LOG.exception("An errand (%s) failed", errand.get("method"))
        finally:
            with self._lock:
                self._running.discard(errand["uuid"])

    def _result(
        self, method: str, arguments: dict[str, Any]
    ) -> dict[str, Any]:
        """Return ``{"answer": ...}`` or ``{"error": {"name", "text"}}``."""
        context = cyborg_context.get_admin_context()
        error: BaseException
        try:
            if method not in METHODS:
                raise exception.DriverError(
                    reason=f"This agent knows no errand {method}."
                )
            answer = getattr(self._agent, method)(context, **arguments)
        except messaging.ExpectedException as expected:
            # How an endpoint tells an RPC server that this is no failure.
            error = expected.exc_info[1]
        except Exception as raised:
            LOG.exception("Work on the host failed")
            error = raised
        else:
            return {"answer": answer}
        text = getattr(error, "faultstring", None) or str(error)
        return {"error": {"name": type(error).__name__, "text": text}}
