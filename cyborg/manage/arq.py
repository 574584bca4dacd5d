"""Shows accelerator requests, finds stuck ones, and lets go of them."""

from collections.abc import Sequence
from typing import Any

from oslo_config import cfg
from oslo_log import log as logging

from cyborg import manage
from cyborg.common import constants
from cyborg.common import exception
from cyborg.common import states
from cyborg.conductor.life import events
from cyborg.conductor.requests import binding
from cyborg.context import RequestContext
from cyborg.db import arq as arq_db
from cyborg.db import attach_handle as handle_db
from cyborg.db import engine
from cyborg.db import host_sync as sync_db
from cyborg.db import job as job_db
from cyborg.db import orphans as orphans_db
from cyborg.manage import output

CONF = cfg.CONF
LOG = logging.getLogger(__name__)

State = states.ARQState

COLUMNS = (
    "uuid",
    "state",
    "substate",
    "project_id",
    "instance_uuid",
    "hostname",
    "device_rp_uuid",
    "attach_handle_uuid",
)
# Most findings of a kind that are shown.
LIMIT = 1000


def list_arqs(context: RequestContext, use_json: bool, **filters: Any) -> int:
    """List accelerator requests."""
    rows = [dict(row._mapping) for row in arq_db.find(context, **filters)]
    output.table(COLUMNS, rows, use_json)
    return manage.CLEAN


def audit(context: RequestContext, use_json: bool) -> int:
    """Show requests and handles that nobody seems to look after."""
    rows = findings(context)
    if rows or use_json:
        output.table(("kind", "uuid", "detail"), rows, use_json)
    else:
        output.line("Nothing is left over.")
    return manage.FINDINGS if rows else manage.CLEAN


def findings(context: RequestContext) -> list[dict[str, Any]]:
    """Return ``{"kind", "uuid", "detail"}`` of each."""
    patience = engine.ago(CONF.bind_timeout + CONF.conductor.job_lease)
    found = [
        _finding("stuck", row, f"{state} without work on a host")
        for state in (State.BIND_STARTED, State.DELETING)
        for row in orphans_db.arqs_without_work(
            context, state, patience, LIMIT
        )
    ]
    found += [
        _finding(
            "refused",
            row,
            "its agent does not clean its handle: "
            f"{row.state_detail or 'it was not noted why'}",
        )
        for row in arq_db.find(context, states=[State.UNBIND_FAILED.value])
    ]
    found += [
        _finding(
            "waiting",
            job,
            f"clean-up failed {job.attempt} times: {job.last_error}",
        )
        for job in job_db.failing(
            context, constants.JobKind.CLEANUP.value, LIMIT
        )
    ]
    found += [
        _finding("leaked", row, f"{row.attach_type} handle in use by nobody")
        for row in orphans_db.leaked_handles(
            context, engine.ago(CONF.bind_timeout), LIMIT
        )
    ]
    age = CONF.conductor.unbound_arq_max_age
    if age > 0:
        found += [
            _finding("never-bound", row, f"created {row.created_at}")
            for row in orphans_db.never_bound(context, engine.ago(age), LIMIT)
        ]
    found += [
        _finding(
            "orphan",
            row,
            f"instance {row.instance_uuid} is in neither Nova nor Placement",
        )
        for row in orphans_db.orphans(context, LIMIT)
    ]
    return found


def _finding(kind: str, row: Any, detail: str) -> dict[str, Any]:
    return {"kind": kind, "uuid": row.uuid, "detail": detail}


def release(
    context: RequestContext,
    uuids: Sequence[str],
    use_json: bool,
    force: bool = False,
) -> int:
    """Delete requests and free what they hold.

    What has to be cleaned on a host is: by its agent, when it can.

    :param force: do not wait for that; the host was cleaned by hand, or is
        no more
    :raises ARQNotFound: none is there of a uuid; the others are deleted
    """
    service = RequestContext(
        is_admin=True,
        roles=["admin"],
        is_service_request=True,
        overwrite=False,
    )
    _outcome, missing = binding.delete(service, uuids, None, None)
    if force:
        forget_host(context, uuids)
    waiting = arq_db.find_by_uuids(context, uuids)
    left = {row.uuid for row in waiting}
    outcomes = {
        uuid: "waits for its host" if uuid in left else "released"
        for uuid in uuids
        if uuid not in missing
    }
    if use_json:
        output.as_json(
            [
                {"uuid": uuid, "outcome": text}
                for uuid, text in outcomes.items()
            ]
        )
    else:
        for uuid, text in outcomes.items():
            output.line(f"{uuid}: {text}")
    if missing:
        raise exception.ARQNotFound(uuids=", ".join(missing))
    return manage.FINDINGS if waiting else manage.CLEAN


@engine.use_case
def forget_host(context: RequestContext, uuids: Sequence[str]) -> None:
    """Free the handles of requests being deleted without cleaning them."""
    rows = arq_db.lock(
        context, [row.id for row in arq_db.for_release(context, uuids)]
    )
    rows = [row for row in rows if row.state == State.DELETING]
    if not rows:
        return
    job_db.delete_for_arqs(context, [row.id for row in rows])
    handles = [row.attach_handle_id for row in rows if row.attach_handle_id]
    arq_db.delete(context, [row.id for row in rows])
    handle_db.release(context, handles)
    for hostname in handle_db.hosts_of(context, handles):
        # Placement has them reserved.
        sync_db.mark(context, hostname)
    events.record(
        context,
        [
            events.at(
                row.deployable_id,
                events.Kind.RELEASED,
                "its host was not cleaned: an operator answers for it",
                arq=row.uuid,
                project=row.project_id,
            )
            for row in rows
            if row.attach_handle_id and row.deployable_id
        ],
        "cyborg-manage",
    )
    for row in rows:
        LOG.warning("ARQ %s was released without cleaning its host", row.uuid)
