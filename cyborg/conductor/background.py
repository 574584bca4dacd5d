"""The background work of a conductor process."""

from typing import Any

from oslo_config import cfg
from oslo_log import log as logging

from cyborg.conductor import jobs
from cyborg.conductor import outbox
from cyborg.conductor import providers
from cyborg.conductor import rpcapi
from cyborg.conductor import sweeps
from cyborg.conductor import worker
from cyborg.context import get_admin_context
from cyborg.db import conductor as conductor_db

CONF = cfg.CONF
LOG = logging.getLogger(__name__)

# Seconds between two looks for work that other processes left.
_POLL = 5.0


class Background:
    """Sends events, drives jobs, keeps Placement in step, tidies up.

    Everything it works on is in the database, so any number of conductors
    may run one each.
    """

    def __init__(self, agent: Any) -> None:
        self._sweeper = sweeps.Sweeper()
        self._jobs = jobs.JobRunner(agent, self._on_job_done)
        self._outbox = worker.Worker("outbox", self._send_events, _POLL)
        self._placement = worker.Worker(
            "placement", self._sync_placement, _POLL
        )
        self._periodic = worker.Worker(
            "repair", self._repair, CONF.periodic_interval
        )

    def start(self) -> None:
        conductor_db.seen(get_admin_context(), CONF.host, rpcapi.VERSION)
        self._jobs.start()
        for part in (self._outbox, self._placement, self._periodic):
            part.start()

    def wake(self) -> None:
        """Look for work now."""
        self._outbox.wake()
        self._jobs.wake()
        self._placement.wake()

    def stop(self) -> None:
        self._jobs.stop()
        for part in (self._periodic, self._placement, self._outbox):
            part.stop()

    def _on_job_done(self) -> None:
        self._outbox.wake()
        self._placement.wake()

    def _send_events(self) -> bool:
        context = get_admin_context()
        return outbox.send_due(
            context,
            lambda instances: sweeps.check_instances(context, instances),
        )

    def _sync_placement(self) -> bool:
        return providers.sync_due()

    def _repair(self) -> bool:
        context = get_admin_context()
        conductor_db.seen(context, CONF.host, rpcapi.VERSION)
        if conductor_db.is_first(
            context, CONF.host, CONF.conductor.service_down_time
        ):
            self._sweeper.run(context)
        return False
