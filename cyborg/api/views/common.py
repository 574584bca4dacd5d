"""Pieces that the representations of several resources share."""

import datetime
from typing import Any


def timestamp(value: datetime.datetime | None) -> str | None:
    """Return a UTC time as ISO 8601 with its offset.

    The database has no offset, objects have.
    """
    if value is None:
        return None
    if value.tzinfo is None:
        value = value.replace(tzinfo=datetime.UTC)
    return value.isoformat()


def times(record: Any) -> dict[str, str | None]:
    return {
        "created_at": timestamp(record.created_at),
        "updated_at": timestamp(record.updated_at),
    }


def last_job(job: Any | None) -> dict[str, Any] | None:
    """Return what the last work on a host came to, None if there was none."""
    if job is None:
        return None
    if job.finished_at is not None:
        state = "failed" if job.last_error else "done"
    else:
        state = "queued" if job.step == "queued" else "running"
    return {
        "action": job.kind,
        "state": state,
        "detail": job.last_error,
        "updated_at": timestamp(job.updated_at or job.created_at),
    }
