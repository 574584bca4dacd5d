"""Complaints about what is away, and about what is wrong."""

import logging
from typing import Any

import pytest

from cyborg.common import constants
from cyborg.common import exception
from cyborg.conductor import worker
from cyborg.conductor.work import jobs
from cyborg.conductor.work import steps
from cyborg.db import job as job_db


class _Job:
    uuid = "00000000-0000-4000-8000-000000000001"
    kind = constants.JobKind.PROGRAM
    attempt = 1
    deadline_at = None


def _away(*args: Any, **kwargs: Any) -> None:
    raise exception.DatabaseUnavailable(reason="read-only")


def test_jobs_without_a_database(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(steps, "do", _away)
    monkeypatch.setattr(job_db, "postpone", _away)
    done: list[int] = []
    agent: Any = None
    runner = jobs.JobRunner(agent, lambda: done.append(1))
    for _ in range(3):
        runner._run(_Job())
    (record,) = caplog.records
    assert "read-only" in record.message
    assert record.exc_info is None
    assert len(done) == 3


def test_each_that_is_away_has_a_line_a_minute(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = 1000.0
    monkeypatch.setattr(worker.time, "monotonic", lambda: now)
    complaints = worker.Complaints()
    errors = (
        exception.DatabaseUnavailable(reason="a"),
        exception.NovaUnavailable(reason="b"),
    )
    for moment in (1000.0, 1059.0, 1060.0):
        now = moment
        for error in errors:
            complaints.log("it", error)
    assert len(caplog.records) == 4


def test_what_is_wrong_has_a_traceback_each_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.ERROR)
    complaints = worker.Complaints()
    for _ in range(2):
        complaints.log("it", KeyError("x"))
    assert all(record.exc_info for record in caplog.records)
    assert len(caplog.records) == 2
