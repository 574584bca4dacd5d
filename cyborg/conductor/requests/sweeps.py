"""Periodic repair: what a crash, or a peer that forgot, left behind.

Every repair looks again under lock before it changes anything, so running it
twice, or beside the work itself, is harmless.
"""

from collections.abc import Sequence
import contextlib
import dataclasses
import datetime
import time
from typing import Any

from oslo_config import cfg
from oslo_log import log as logging

from cyborg.clients import nova
from cyborg.common import constants
from cyborg.common import exception
from cyborg.common import states
from cyborg.conductor import quota
from cyborg.conductor.life import conditions
from cyborg.conductor.life import events
from cyborg.conductor.requests import servers
from cyborg.conductor.telling import notifications
from cyborg.conductor.work import releases
from cyborg.context import RequestContext
from cyborg.db import arq as arq_db
from cyborg.db import attach_handle as handle_db
from cyborg.db import bound_instance as bound_db
from cyborg.db import data_migrations
from cyborg.db import device_event as event_db
from cyborg.db import device_identity as identity_db
from cyborg.db import engine
from cyborg.db import host_sync as sync_db
from cyborg.db import job as job_db
from cyborg.db import orphans as orphans_db
from cyborg.db import outbox as outbox_db
from cyborg.db import quota as quota_db

CONF = cfg.CONF
LOG = logging.getLogger(__name__)

State = states.ARQState

# Most records one round of each repair changes, or asks peers for.
BATCH = 100
# Most records one round reads to find some.
SPAN = 10_000
# Seconds between two counts of what projects use.
_RECOUNT_INTERVAL = 86400


@dataclasses.dataclass
class Sweeper:
    """Runs the repairs, and remembers how far it has looked."""

    _marker: str = ""
    # Ids, by table, that this round goes on after.
    _seen: dict[str, int] = dataclasses.field(default_factory=dict)
    _owners_known: bool = False
    _recounted_at: float | None = None

    def run(self, context: RequestContext) -> None:
        """One round of all repairs; an error in one spares the others."""
        for repair in (
            resume_stuck,
            self.free_leaked_handles,
            self.forget_empty_instances,
            delete_never_bound,
            quota_db.delete_expired,
            self.find_owners,
            self.look_for_servers,
            self.recount_quotas,
            end_conditions,
            self.forget_history,
        ):
            try:
                repair(context)
            except (
                exception.ServiceUnavailable,
                exception.ConfigInvalid,
            ) as error:
                LOG.warning(
                    "%s waits for a peer: %s",
                    repair.__name__,
                    error.faultstring,
                )
            except Exception:
                LOG.exception("%s failed", repair.__name__)

    def free_leaked_handles(self, context: RequestContext) -> None:
        """Free handles in use that no ARQ and no work owns."""
        before = engine.ago(CONF.bind_timeout)
        rows = orphans_db.leaked_handles(
            context,
            before,
            BATCH,
            within=self._next(context, orphans_db.HANDLES),
        )
        if rows:
            _free_leaked(context, [row.id for row in rows], before)

    def forget_empty_instances(self, context: RequestContext) -> None:
        """Forget instances that are entered and have no ARQs."""
        instances = orphans_db.instances_without_arqs(
            context, BATCH, self._next(context, orphans_db.BOUND)
        )
        if instances:
            _forget_instances(context, instances)

    def _next(
        self, context: RequestContext, table: Any
    ) -> tuple[int, int | None]:
        """Return which ids of a table to look at in this round.

        However great it is, a round costs the same.
        """
        first = self._seen.get(table.name, 0)
        last = orphans_db.last_after(context, table, first, SPAN)
        self._seen[table.name] = last or 0
        return first, last

    def find_owners(self, context: RequestContext) -> None:
        """Once in a process: whose ARQs are those of early releases?"""
        if not self._owners_known:
            outcome = data_migrations.fill_project_ids(
                context, nova.find_owner, BATCH
            )
            self._owners_known = not (outcome.failed or outcome.more)
            if outcome.migrated:
                self._recounted_at = None

    def recount_quotas(self, context: RequestContext) -> None:
        """Once a day, and at first: do the usages say what there is?"""
        now = time.monotonic()
        if not quota.is_on() or (
            self._recounted_at is not None
            and now - self._recounted_at < _RECOUNT_INTERVAL
        ):
            return
        for (project, resource), (before, after) in quota.recount(
            context
        ).items():
            LOG.warning(
                "Project %s: %s was counted as %s (in use, reserved), is %s",
                project,
                resource,
                before,
                after,
            )
        self._recounted_at = now

    def forget_history(self, context: RequestContext) -> None:
        """Forget events that are old, and cards that nothing is left of."""
        event_db.trim(context, CONF.conductor.device_event_days, SPAN)
        identity_db.forget(
            context, self._next(context, identity_db.IDENTITIES)
        )

    def look_for_servers(self, context: RequestContext) -> None:
        """Look at the next instances that have ARQs."""
        instances = orphans_db.instances_after(context, self._marker, BATCH)
        self._marker = instances[-1] if len(instances) == BATCH else ""
        servers.check(context, instances)


def end_conditions(context: RequestContext) -> None:
    """Clear the conditions of devices whose time is over."""
    conditions.end(context, BATCH)


# -- ARQs that stand where nobody stays


def resume_stuck(context: RequestContext) -> None:
    """Move on ARQs in a passing state that have lost their work."""
    patience = CONF.bind_timeout + CONF.conductor.job_lease
    before = engine.ago(patience)
    for row in orphans_db.arqs_without_work(
        context, State.BIND_STARTED, before, BATCH
    ):
        fail_stuck_bind(context, row)
    for row in orphans_db.arqs_without_work(
        context, State.DELETING, before, BATCH
    ):
        LOG.warning("ARQ %s was left in state Deleting", row.uuid)
        servers.free([row.uuid], None, event=notifications.Event.ARQ_DELETED)


@engine.use_case
def fail_stuck_bind(context: RequestContext, row: Any) -> None:
    """Give up a bind that has no job, as an earlier release left them."""
    locked = arq_db.lock(context, [row.id])
    if (
        not locked
        or locked[0].state != State.BIND_STARTED
        or job_db.unfinished_for_arq(context, row.id)
    ):
        return
    LOG.warning("ARQ %s was left in state BindStarted; it fails", row.uuid)
    quota.move_one(context, row.id, State.BIND_FAILED)
    reason = "its work on the host was lost"
    arq_db.move(
        context,
        row.id,
        State.BIND_FAILED,
        substate="Failed",
        **arq_db.failure(states.Reason.LOST, reason),
    )
    notifications.arq(
        context, notifications.Event.ARQ_BIND_FAILED, row.id, reason=reason
    )
    if row.attach_handle_id is not None:
        job_db.create(
            context,
            [
                {
                    "kind": constants.JobKind.CLEANUP.value,
                    "arq_id": row.id,
                    "deployable_id": row.deployable_id,
                    "attach_handle_id": row.attach_handle_id,
                }
            ],
            None,
        )
    if row.instance_uuid is not None:
        outbox_db.create(
            context,
            [
                {
                    "instance_uuid": row.instance_uuid,
                    "arq_uuid": row.uuid,
                    "status": constants.NovaEventStatus.FAILED.value,
                }
            ],
        )


# -- handles nobody owns


@engine.use_case
def _forget_instances(
    context: RequestContext, instances: Sequence[str]
) -> None:
    # A bind may have come first: only behind the lock it is seen.
    bound_db.lock(context, instances)
    bound_db.delete_empty(context, instances)


@engine.use_case
def _free_leaked(
    context: RequestContext, ids: Sequence[int], before: datetime.datetime
) -> None:
    # Two conductors may look at once: whoever comes second finds them freed,
    # or the clean-up that the first has queued.
    handle_db.lock(context, ids)
    rows = orphans_db.leaked_handles(context, before, BATCH, ids)
    on_host = [
        row
        for row in rows
        if handle_db.needs_host_work(row.attach_type, row.attach_info)
    ]
    simple = [row for row in rows if row not in on_host]
    for row in rows:
        LOG.warning(
            "Handle %s is in use by nobody; it is given back", row.uuid
        )
    if simple:
        given = releases.give_back(context, [row.id for row in simple])
        for hostname in handle_db.hosts_of(context, [r.id for r in simple]):
            # It has them reserved.
            sync_db.mark(context, hostname)
        events.record(
            context,
            [
                events.at(
                    row.deployable_id,
                    events.Kind.RELEASED,
                    f"in use by nobody; {given.why(row.id)}",
                    handle=row.uuid,
                )
                for row in simple
            ],
        )
    if on_host:
        job_db.create(
            context,
            [
                {
                    "kind": constants.JobKind.CLEANUP.value,
                    "deployable_id": row.deployable_id,
                    "attach_handle_id": row.id,
                }
                for row in on_host
            ],
            None,
        )


# -- ARQs whose server is gone


def delete_never_bound(context: RequestContext) -> None:
    """Delete ARQs that were made for a boot which never came to a bind."""
    age = CONF.conductor.unbound_arq_max_age
    if age <= 0:
        return
    for row in orphans_db.never_bound(context, engine.ago(age), BATCH):
        LOG.warning(
            "ARQ %s of project %s was never bound%s",
            row.uuid,
            row.project_id,
            servers.action_text(),
        )
        if CONF.conductor.orphan_action == "free":
            # Without a service token: if it was bound just now, it stays.
            with contextlib.suppress(exception.ServiceTokenRequired):
                servers.free([row.uuid], None, as_service=False)
