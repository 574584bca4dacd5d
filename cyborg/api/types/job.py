"""What is shown of work on a host."""

from collections.abc import Mapping
from typing import Any

from cyborg.api import versions
from cyborg.api.types import base


def _state(job: Any, related: base.Related) -> str:
    if job.finished_at is not None:
        return "failed" if job.last_error else "done"
    return "queued" if job.step == "queued" else "running"


class LastJob(base.Part):
    """The last work on the host that a record is of."""

    action = base.member(
        base.Choice("program", "firmware"),
        "What is done.",
        value=lambda job, related: job.kind,
    )
    state = base.member(
        base.Choice("queued", "running", "done", "failed"),
        "How far it is.",
        value=_state,
    )
    detail = base.member(
        base.TEXT,
        "What went wrong.",
        nullable=True,
        value=lambda job, related: job.last_error,
    )
    updated_at = base.member(
        base.TIME,
        "Since when that is so.",
        value=lambda job, related: job.updated_at or job.created_at,
    )


def last_job() -> Any:
    """Declare the member ``last_job``.

    What is related to a row has ``jobs``, the last one by the row's id.
    """
    return base.member(
        LastJob,
        "The last work on the host: ``action`` (``program`` or "
        "``firmware``), ``state`` (``queued``, ``running``, ``done`` or "
        "``failed``), ``detail`` (what went wrong) and ``updated_at``. Null "
        "if there was none.",
        since=versions.RESOURCES,
        nullable=True,
        value=_of_row,
    )


def _of_row(row: Any, related: base.Related) -> Any:
    jobs: Mapping[int, Any] = related.jobs
    return jobs.get(row.id)
