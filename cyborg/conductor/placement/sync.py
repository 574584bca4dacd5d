"""Makes Placement agree with what is stored of a host's accelerators.

Every change of a device ends in :func:`sync_host`, or waits for
:func:`sync_due`. What either does with a host is a
:class:`cyborg.conductor.placement.passes.Pass`. Cyborg's providers are
children of the compute node's, which others make; providers it does not know
it leaves alone.
"""

from collections.abc import Iterator
from collections.abc import Sequence
from concurrent import futures
import contextlib
import datetime
import random
import threading
from typing import Any
import weakref

from oslo_config import cfg
from oslo_log import log as logging
from oslo_utils import uuidutils

from cyborg import context as cyborg_context
from cyborg.clients import placement
from cyborg.common import clock
from cyborg.common import exception
from cyborg.common import faults
from cyborg.common.i18n import _
from cyborg.conductor.placement import desired
from cyborg.conductor.placement import moving
from cyborg.conductor.placement import passes
from cyborg.conductor.placement import removal
from cyborg.context import RequestContext
from cyborg.db import host as host_db
from cyborg.db import host_sync as sync_db

CONF = cfg.CONF
# Whose turn it is in this process, by host.
_turns: weakref.WeakValueDictionary[str, threading.Lock] = (
    weakref.WeakValueDictionary()
)
_turns_lock = threading.Lock()
LOG = logging.getLogger(__name__)

# Hosts one conductor synchronises at a time.
CONCURRENCY = 4
# How long a host that failed waits at most, in seconds.
_LONGEST_PAUSE = 120
# Seconds that a caller waits for another conductor that is at its host.
_PATIENCE = 5
# Seconds until what Placement has allocated may have been released.
_NEXT_MOVE = 10


def sync_host(
    context: RequestContext,
    hostname: str,
    *,
    full: bool = False,
    wait: float = 30,
    behind: bool = False,
) -> dict[int, str]:
    """Bring Placement in step with a host's rows.

    :param full: look at every provider, also where nothing seems to have
        changed
    :param wait: seconds to wait for another conductor that is at it
    :param behind: only if something changed that it was not told of
    :returns: why providers are not as they should be, by deployable id
    :raises PlacementUnavailable: Placement is not in step, and will be as
        soon as it can be
    :raises ConfigInvalid: the options do not say how to reach Placement
    :raises HostNotFound: nobody has reported the host
    """
    try:
        with _turn(hostname, wait):
            return _sync(context, hostname, full, wait, behind)
    except (
        exception.PlacementUnavailable,
        exception.ConfigInvalid,
        exception.HostNotFound,
    ):
        raise
    except exception.CyborgException as error:
        raise exception.PlacementUnavailable(
            reason=error.faultstring
        ) from error


@contextlib.contextmanager
def _turn(hostname: str, wait: float) -> Iterator[None]:
    """Let one thread of this process wait for a host's lease, not many.

    :raises PlacementUnavailable: others took too long
    """
    with _turns_lock:
        lock = _turns.setdefault(hostname, threading.Lock())
    if not lock.acquire(timeout=wait):
        raise exception.PlacementUnavailable(
            reason=_("others are still busy with host %s") % hostname
        )
    try:
        yield
    finally:
        lock.release()


def try_host(context: RequestContext, hostname: str) -> bool:
    """As :func:`sync_host`, where the caller has an answer in any case.

    :returns: whether Placement is in step; what is wrong is logged, and done
        later
    """
    try:
        return not sync_host(context, hostname, wait=_PATIENCE, behind=True)
    except exception.CyborgException as error:
        LOG.warning(
            "Providers of host %s will follow: %s", hostname, error.faultstring
        )
    except Exception:
        LOG.exception("Providers of host %s will follow", hostname)
    return False


def _sync(
    context: RequestContext,
    hostname: str,
    full: bool,
    wait: float,
    behind: bool = False,
) -> dict[int, str]:
    owner = uuidutils.generate_uuid()
    row = passes.claim(context, hostname, owner, full, wait, behind)
    while row is not None:
        faults.point("sync-claimed")
        try:
            lease = passes.Lease(context, hostname, owner)
            pass_ = passes.Pass(context, hostname, full, lease)
            stayed = False
            if pass_.rows.deployables or pass_.rows.devices:
                pass_.read_tree()
                removal.remove_gone(pass_)
                stayed = moving.move(pass_)
                pass_.read()
                pass_.apply()
                removal.remove_left_over(pass_)
        except Exception as error:
            # An outage is nothing that this host has to wait longer for.
            pause = 0.0 if placement.is_away() else _pause(row)
            sync_db.fail(
                context,
                hostname,
                owner,
                row.sync_wanted,
                passes.reason(error),
                pause,
            )
            raise
        if pass_.errors:
            text = "; ".join(pass_.errors.values())
            sync_db.fail(
                context, hostname, owner, row.sync_wanted, text, _pause(row)
            )
            return pass_.errors
        if sync_db.finish(
            context,
            hostname,
            owner,
            row.sync_wanted,
            _next_look(context, hostname, stayed),
        ):
            break
        # Something changed meanwhile, or another conductor took over.
        row = passes.claim(context, hostname, owner, full, wait, True)
    return {}


def _next_look(context: RequestContext, hostname: str, stayed: bool) -> Any:
    """Return when to look again although nothing will have changed."""
    times = [removal.next_look(context, hostname)]
    if stayed:
        times.append(clock.utcnow() + datetime.timedelta(seconds=_NEXT_MOVE))
    return min((time for time in times if time is not None), default=None)


def _pause(row: Any) -> float:
    pause = min(2.0 ** min(row.sync_attempts + 1, 10), _LONGEST_PAUSE)
    return pause * random.uniform(0.75, 1.25)


def sync_due(limit: int = 32) -> bool:
    """Bring Placement in step with hosts that are due, some at a time.

    What changed goes first, and before that what must not be given out.

    If Placement is away, the rest is left for the next time.

    :returns: whether there may be more
    """
    if placement.is_away():
        return False
    names = sync_db.due(
        cyborg_context.get_admin_context(),
        limit,
        CONF.conductor.reconcile_interval,
    )
    away = sync_many(names)
    return len(names) == limit and not away


def sync_many(names: Sequence[str], full: bool = False) -> bool:
    """Bring Placement in step with hosts; True if Placement is away."""
    away = threading.Event()

    def one(hostname: str) -> None:
        if away.is_set():
            return
        try:
            _sync(cyborg_context.get_admin_context(), hostname, full, 0)
        except (
            exception.PlacementUnavailable,
            exception.ConfigInvalid,
        ) as error:
            LOG.error("Providers of host %s: %s", hostname, error.faultstring)
            away.set()
        except exception.CyborgException as error:
            LOG.error("Providers of host %s: %s", hostname, error.faultstring)
        except Exception:
            LOG.exception("Providers of host %s", hostname)

    # The first finds out whether Placement is there.
    for hostname in names[:1]:
        one(hostname)
    if names[1:] and not away.is_set():
        with futures.ThreadPoolExecutor(
            CONCURRENCY, thread_name_prefix="placement"
        ) as executor:
            list(executor.map(one, names[1:]))
    return away.is_set()


def audit(
    context: RequestContext, hostname: str
) -> tuple[list[desired.Change], list[str]]:
    """Compare a host with Placement without changing anything there.

    :returns: differences, and what cannot be repaired from here
    :raises PlacementUnavailable: Placement does not answer
    :raises PlacementResourceProviderNotFound: the host has no provider
    :raises HostNotFound: nobody has reported the host
    """
    host_db.ensure(context, hostname)
    pass_ = passes.Pass(context, hostname, full=True)
    if not (pass_.rows.deployables or pass_.rows.devices):
        return [], []
    pass_.read_tree()
    pass_.read()
    problems = [p.problem for p in pass_.wanted.values() if p.problem]
    return pass_.plan() + pass_.orphans(), problems


def delete_orphan(context: RequestContext, orphan: desired.Change) -> bool:
    """Delete a provider nobody knows; False if it is allocated from."""
    try:
        placement.Client(context.global_id).delete_provider(orphan.uuid)
    except exception.PlacementConflict:
        return False
    LOG.info("Deleted provider %s (%s)", orphan.uuid, orphan.name)
    return True
