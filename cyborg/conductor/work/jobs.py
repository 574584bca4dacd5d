"""Drives durable work on hosts: the jobs that transactions left behind.

A job is a row. Whoever holds its lease works on it; a conductor that dies
lets the lease run out, and any other takes the job over. What is done for
each kind of job is in :mod:`cyborg.conductor.work.steps`.
"""

from collections.abc import Callable
from concurrent import futures
import threading
import time
from typing import Any

from oslo_config import cfg
from oslo_log import log as logging
from oslo_utils import uuidutils

from cyborg.agent import rpcapi as agent_rpcapi
from cyborg.common import clock
from cyborg.common import constants
from cyborg.common import faults
from cyborg.common import service
from cyborg.conductor import worker
from cyborg.conductor.work import cleaning
from cyborg.conductor.work import steps
from cyborg.context import get_admin_context
from cyborg.context import RequestContext
from cyborg.db import job as job_db

CONF = cfg.CONF
LOG = logging.getLogger(__name__)

# Seconds between two looks for work that nobody announced.
_POLL = 5.0
_LONGEST_PAUSE = 60
# Most binds that are given up at once while all threads are at work.
_MOST_LATE = 100
# One of so many threads is kept for work that takes an instant: neither cards
# that are loaded for minutes nor hosts that do not answer hold that up.
_KEPT = 3
# Seconds that stop() waits for work that is going on, if it has them.
_PATIENCE = 10.0


def _pause(job: Any) -> float:
    """Return for how many seconds a job waits: longer each time.

    But not past its deadline, when whoever waits for it is to be told.
    """
    pause = float(min(2**job.attempt, _LONGEST_PAUSE))
    if job.deadline_at is None:
        return pause
    left = (job.deadline_at - clock.utcnow()).total_seconds()
    # Columns have whole seconds: one more, and it has passed.
    return min(pause, left + 1) if left > 0 else pause


class JobRunner:
    """Works on jobs in a pool of threads.

    :param on_done: called after each job: there may be something to tell
        Nova or Placement
    """

    def __init__(
        self, agent: agent_rpcapi.AgentAPI, on_done: Callable[[], None]
    ) -> None:
        self._agent = agent
        self._on_done = on_done
        self._complaints = worker.Complaints()
        self._owner = uuidutils.generate_uuid()
        # {uuid: whether it takes an instant}
        self._running: dict[str, bool] = {}
        self._lock = threading.Lock()
        self._pool: futures.ThreadPoolExecutor | None = None
        # What another conductor leaves is due when its lease has ended.
        self._poller = worker.Worker(
            "jobs", self._start_due, min(_POLL, CONF.conductor.job_lease)
        )
        self._renewer = worker.Worker(
            "job leases", self._renew, max(1.0, CONF.conductor.job_lease / 3)
        )

    def start(self) -> None:
        self._pool = futures.ThreadPoolExecutor(
            CONF.thread_pool_size, thread_name_prefix="job"
        )
        self._poller.start()
        self._renewer.start()

    def wake(self) -> None:
        """Look for work now."""
        self._poller.wake()

    def stop(self) -> None:
        """Finish what ends soon; leave the rest to other conductors."""
        self._poller.stop()
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
        end = time.monotonic() + min(_PATIENCE, service.grace() / 4)
        while self._running and time.monotonic() < end:
            time.sleep(0.1)
        self._renewer.stop()
        with self._lock:
            unfinished = list(self._running)
        if unfinished:
            # Ours no more: what our threads still do will not be stored.
            LOG.info("Leaving %d jobs to other conductors", len(unfinished))
            job_db.release(get_admin_context(), unfinished, self._owner)

    def _start_due(self) -> bool:
        context = get_admin_context()
        more = [self._start(context, short) for short in (True, False)]
        if not self._free(short=False):
            # A bind does not wait for a thread past its deadline. To give it
            # up takes none: the host is not asked.
            for uuid in job_db.late_binds(context, _MOST_LATE):
                job = self._claim(context, uuid, short=True)
                if job is not None:
                    self._run(job)
        return any(more)

    def _free(self, short: bool) -> int:
        """Return how many threads there are for a job."""
        size = CONF.thread_pool_size
        with self._lock:
            free = size - len(self._running)
            if not short:
                long = list(self._running.values()).count(False)
                free = min(free, size - size // _KEPT - long)
        return max(0, free)

    def _start(self, context: RequestContext, short: bool) -> bool:
        """Start jobs that are due; returns whether there may be more."""
        assert self._pool is not None
        free, started = self._free(short), 0
        for uuid in job_db.due(context, free, short) if free else ():
            job = self._claim(context, uuid, short)
            if job is not None:
                self._pool.submit(self._run, job)
                started += 1
        return 0 < free == started

    def _claim(self, context: RequestContext, uuid: str, short: bool) -> Any:
        with self._lock:
            if uuid in self._running:
                # The database was away for longer than the lease.
                return None
        job = job_db.claim(
            context, uuid, self._owner, CONF.conductor.job_lease
        )
        if job is not None:
            with self._lock:
                self._running[uuid] = short
        return job

    def _renew(self) -> bool:
        with self._lock:
            running = list(self._running)
        if running:
            job_db.renew(
                get_admin_context(),
                running,
                self._owner,
                CONF.conductor.job_lease,
            )
        return False

    def _run(self, job: Any) -> None:
        context = get_admin_context()
        try:
            faults.point(f"{job.kind}-claimed")
            if job.kind == constants.JobKind.CLEAN:
                cleaning.do(context, job, self._agent)
            else:
                steps.do(context, job, self._agent)
        except steps.Cancelled:
            LOG.info("Job %s (%s) was cancelled", job.uuid, job.kind)
        except steps.TryLater as error:
            self._postpone(context, job, error.delay, str(error))
        except Exception as error:
            self._complaints.log(f"Job {job.uuid} ({job.kind})", error)
            self._postpone(context, job, None, str(error))
        finally:
            with self._lock:
                self._running.pop(job.uuid, None)
            self._poller.wake()
            self._on_done()

    def _postpone(
        self,
        context: RequestContext,
        job: Any,
        delay: float | None,
        error: str,
    ) -> None:
        if delay is None:
            delay = _pause(job)
        try:
            job_db.postpone(context, job.uuid, self._owner, delay, error)
            faults.point("job-postponed")
        except Exception as failure:
            # The database is away: the lease runs out and does the same.
            self._complaints.log(f"Job {job.uuid} ({job.kind})", failure)
