"""The background work of a conductor process."""

from collections.abc import Iterable
import enum
from typing import Any

from oslo_config import cfg
from oslo_log import log as logging

from cyborg.conductor import rpcapi
from cyborg.conductor import worker
from cyborg.conductor.placement import sync
from cyborg.conductor.requests import servers
from cyborg.conductor.requests import sweeps
from cyborg.conductor.telling import outbox
from cyborg.conductor.work import jobs
from cyborg.context import get_admin_context
from cyborg.context import RequestContext
from cyborg.db import bound_instance as bound_db
from cyborg.db import conductor as conductor_db

CONF = cfg.CONF
LOG = logging.getLogger(__name__)

# Seconds between two looks for work that other processes left.
_POLL = 5.0
# Seconds that events wait for others to share a POST with. Nova does not wait
# for them yet: it looks at the requests itself when it has a host.
_GATHER = 0.1


class Work(enum.StrEnum):
    """What there may be to do."""

    EVENTS = enum.auto()
    JOBS = enum.auto()
    PROVIDERS = enum.auto()


class Background:
    """Sends events, drives jobs, keeps Placement in step, tidies up.

    Everything it works on is in the database, so any number of conductors
    may run one each.
    """

    def __init__(self, agent: Any) -> None:
        # What another conductor leaves is due when its lease has ended.
        poll = min(_POLL, CONF.conductor.job_lease)
        self._sweeper = sweeps.Sweeper()
        self._jobs = jobs.JobRunner(agent, self._on_job_done)
        self._outbox = worker.Worker(
            "outbox", self._send_events, poll, _GATHER
        )
        self._placement = worker.Worker(
            "placement", self._sync_placement, poll
        )
        self._periodic = worker.Worker(
            "repair", self._repair, CONF.periodic_interval
        )
        self._servers = worker.Worker("servers", self._check_servers, poll)
        self._workers: dict[Work, Any] = {
            Work.EVENTS: self._outbox,
            Work.JOBS: self._jobs,
            Work.PROVIDERS: self._placement,
        }

    def start(self) -> None:
        conductor_db.seen(get_admin_context(), CONF.host, rpcapi.VERSION)
        self._jobs.start()
        for part in self._parts():
            part.start()

    def wake(self, works: Iterable[Work]) -> None:
        """Look for these works now."""
        for work in works:
            self._workers[work].wake()

    def stop(self) -> None:
        self._jobs.stop()
        for part in reversed(self._parts()):
            part.stop()

    def _parts(self) -> list[worker.Worker]:
        return [self._outbox, self._placement, self._periodic, self._servers]

    def _on_job_done(self) -> None:
        self._outbox.wake()
        self._placement.wake()

    def _send_events(self) -> bool:
        context = get_admin_context()
        return outbox.send_due(
            context,
            lambda instances: bound_db.look_soon(context, instances),
        )

    def _sync_placement(self) -> bool:
        return sync.sync_due()

    def _check_servers(self) -> bool:
        context = get_admin_context()
        return self._is_first(context) and servers.check_due(context)

    def _repair(self) -> bool:
        context = get_admin_context()
        conductor_db.seen(context, CONF.host, rpcapi.VERSION)
        if self._is_first(context):
            self._sweeper.run(context)
        return False

    def _is_first(self, context: RequestContext) -> bool:
        return conductor_db.is_first(
            context, CONF.host, CONF.conductor.service_down_time
        )
