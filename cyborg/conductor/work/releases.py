"""Gives back what a request had: at once, or when it is clean.

One home for the question whether a handle may be given out again. A handle
that has to be cleaned first stays in use, with a job that has it; the job is
queued in the transaction in which the request gives it back.
"""

from collections.abc import Collection
from collections.abc import Mapping
import dataclasses
from typing import Any

from oslo_config import cfg

from cyborg.common import constants
from cyborg.context import RequestContext
from cyborg.db import attach_handle as handle_db
from cyborg.db import cleaning as cleaning_db
from cyborg.db import device_state
from cyborg.db import engine
from cyborg.db import host as host_db
from cyborg.db import host_sync as sync_db
from cyborg.db import job as job_db

CONF = cfg.CONF

Policy = constants.CleaningPolicy

# In the payload of a cleaning that an operator wants.
ASKED = "asked"

UNCLEANED = "released uncleaned by policy"
UNTOUCHED = "released; nothing was done to it"
TO_CLEAN = "released to be cleaned"
USED_UP = "released; it is given out once, and waits for the operator"


def policy_of(subject: Any) -> Policy:
    """Return what has to be done to a handle before it is given out again.

    :param subject: a row of :func:`cyborg.db.cleaning.subjects`
    """
    enabled = CONF.cleaning.enabled
    if not (subject.cleans if enabled is None else enabled):
        return Policy.OFF
    wanted: Mapping[str, str] = CONF.cleaning.policy
    found = wanted.get(
        subject.device_uuid, wanted.get(subject.device_type, Policy.OFF.value)
    )
    if subject.is_one_time and found == Policy.WANTED:
        # Only a cleaning that succeeds makes it available.
        return Policy.REQUIRED
    return Policy(found)


@dataclasses.dataclass
class Given:
    """What became of handles that were given back.

    :ivar kept: ids of those that stay as they were: what was made for them
        has to be removed from the host first
    :ivar jobs: uuids of the jobs that clean others
    :ivar hosts: those that Placement has to be told of
    :ivar reasons: what the history says of each, by id
    """

    kept: set[int] = dataclasses.field(default_factory=set)
    jobs: list[str] = dataclasses.field(default_factory=list)
    hosts: set[str] = dataclasses.field(default_factory=set)
    reasons: dict[int, str] = dataclasses.field(default_factory=dict)

    def why(self, handle_id: int) -> str:
        return self.reasons.get(handle_id, UNCLEANED)


@engine.writer
def give_back(
    context: RequestContext,
    handle_ids: Collection[int],
    *,
    keep_host_work: bool = False,
    untouched: bool = False,
) -> Given:
    """Free handles, or have them cleaned, in the caller's transaction.

    :param keep_host_work: leave those as they are that exist on the host
        only while somebody has them
    :param untouched: nobody has had them, and nothing was done to them
    """
    given = Given()
    if not handle_ids:
        return given
    subjects = cleaning_db.subjects(context, handle_ids)
    dirty, used_up = [], []
    if untouched:
        given.reasons = dict.fromkeys(handle_ids, UNTOUCHED)
    else:
        dirty = [row for row in subjects if policy_of(row) != Policy.OFF]
        used_up = [
            row for row in subjects if row.is_one_time and row not in dirty
        ]
    if keep_host_work and (dirty or used_up):
        given.kept = handle_db.needing_host_work(context, handle_ids)
        dirty = [row for row in dirty if row.id not in given.kept]
        used_up = [row for row in used_up if row.id not in given.kept]
    queued = {row.id for row in dirty}
    free = set(handle_ids) - queued - given.kept
    given.hosts = {
        row.hostname for row in subjects if row in dirty or row.is_one_time
    }
    _mark(context, given.hosts)
    given.jobs = queue(context, dirty)
    given.reasons |= dict.fromkeys(queued, TO_CLEAN)
    if used_up:
        device_state.hold(context, [row.id for row in used_up])
        given.reasons |= {row.id: USED_UP for row in used_up}
    if free:
        count, hosts = handle_db.release(context, free, keep_host_work)
        _mark(context, hosts - given.hosts)
        given.hosts |= hosts
        if keep_host_work and count < len(free):
            given.kept |= handle_db.needing_host_work(context, free)
    return given


def _mark(context: RequestContext, hostnames: Collection[str]) -> None:
    """Have Placement hold back what is not clean, before all else."""
    for hostname in sorted(hostnames):
        host_db.lock_or_create(context, hostname)
        sync_db.mark(context, hostname, urgent=True)


@engine.writer
def queue(
    context: RequestContext, dirty: Collection[Any], *, is_asked: bool = False
) -> list[str]:
    """Queue the cleaning of handles that are in use; returns the jobs.

    :param dirty: rows of :func:`cyborg.db.cleaning.subjects`
    :param is_asked: an operator wants it, whatever the policy says
    """
    if not dirty:
        return []
    jobs = job_db.create(
        context,
        [
            {
                "kind": constants.JobKind.CLEAN.value,
                "deployable_id": row.deployable_id,
                "attach_handle_id": row.id,
                "payload": {ASKED: True} if is_asked else {},
            }
            for row in dirty
        ],
        None,
    )
    device_state.to_be_cleaned(context, [row.id for row in dirty])
    return jobs
