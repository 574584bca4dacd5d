"""Cleans what guests had, step by step, in the background.

A conductor asks once to begin and afterwards how far it is; what is done is
written down before and after each step (:mod:`cyborg.agent.intents`), so that
an agent that died goes on where it was when it is asked again.
"""

from collections.abc import Callable
from concurrent import futures
import contextlib
import dataclasses
import threading
import time
from typing import Any

from oslo_log import log as logging

from cyborg.accelerator import driver as driver_api
from cyborg.agent import discovery
from cyborg.agent import intents
from cyborg.agent import work
from cyborg.common import exception
from cyborg.common import faults

LOG = logging.getLogger(__name__)

Plain = dict[str, Any]

# Seconds that a call waits: most resets have ended by then.
_PATIENCE = 1.0
# Seconds to wait for a driver that looks at its cards.
_TURN = 60.0


class Busy(Exception):
    """Somebody has it open."""


class Cleaner:
    """Does cleanings, each in a thread of its own.

    :param ended: told the uuid of a job that has ended
    """

    def __init__(
        self,
        found: discovery.Discovery,
        log: intents.IntentLog,
        ended: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._found = found
        self._log = log
        self._ended = ended
        self._lock = threading.Lock()
        self._running: dict[str, futures.Future[Plain]] = {}

    def clean(
        self,
        job_uuid: str,
        attempt: int,
        handle: Plain,
        controlpath_id: Plain,
        name: str,
        sequence: int | None = None,
    ) -> Plain:
        """Begin a cleaning, or say how far it is.

        :param name: entry point of the driver
        :returns: see :meth:`cyborg.agent.rpcapi.AgentAPI.clean`
        :raises Overtaken: later work on the handle came before it
        """
        with self._lock:
            future = self._running.get(job_uuid)
            if future is None:
                known = self._log.cleaning(job_uuid)
                if known is not None and _is_answered(known, attempt):
                    return _answer(known)
                self._log.check(handle["uuid"], sequence)
                future = self._running[job_uuid] = futures.Future()
                threading.Thread(
                    target=self._run,
                    args=(
                        future,
                        _Cleaning(
                            job_uuid,
                            attempt,
                            handle,
                            controlpath_id,
                            name,
                            sequence,
                        ),
                    ),
                    name=f"clean-{job_uuid}",
                    daemon=True,
                ).start()
        try:
            return future.result(_PATIENCE)
        except futures.TimeoutError:
            known = self._log.cleaning(job_uuid) or {}
            return _running(known)

    def _run(self, future: futures.Future[Plain], job: "_Cleaning") -> None:
        began = time.monotonic()
        try:
            answer = self._outcome(job)
        except BaseException as error:
            LOG.exception("Cleaning %s failed", job.handle["uuid"])
            self._forget(job)
            future.set_exception(error)
        else:
            # Whoever hears it may ask again at once.
            self._forget(job)
            future.set_result(answer)
        if time.monotonic() - began >= _PATIENCE:
            # Nobody waits for the answer any more.
            self._ended(job.uuid)

    def _forget(self, job: "_Cleaning") -> None:
        with self._lock:
            del self._running[job.uuid]

    def _outcome(self, job: "_Cleaning") -> Plain:
        try:
            enabled, driver = self._driver(job)
            _check_free(driver, job)
        except Busy as error:
            return _now("busy", str(error))
        except (LookupError, driver_api.CannotClean) as error:
            return _now("failed", _text(error), is_final=True)
        self._log.cleaning_started(
            job.uuid, job.handle["uuid"], job.attempt, job.sequence
        )
        faults.point("agent-clean-intended")
        try:
            for step in driver.cleaning_steps(job.controlpath_id, job.handle):
                self._do(enabled, driver, job, step)
        except Busy as error:
            return _now("busy", str(error))
        except exception.Overtaken:
            raise
        except Exception as error:
            is_final = isinstance(error, driver_api.CannotClean)
            LOG.warning(
                "Cleaning handle %s failed: %s",
                job.handle["uuid"],
                _text(error),
                exc_info=not isinstance(error, exception.CyborgException),
            )
            self._log.cleaning_ended(
                job.uuid, "failed", _text(error), is_final
            )
        else:
            self._log.cleaning_ended(job.uuid, "done")
            LOG.info("Handle %s is clean", job.handle["uuid"])
        faults.point("agent-clean-recorded")
        return _answer(self._log.cleaning(job.uuid) or {})

    def _do(
        self,
        enabled: discovery.Enabled,
        driver: driver_api.Cleanable,
        job: "_Cleaning",
        step: driver_api.Step,
    ) -> None:
        known = self._log.cleaning(job.uuid) or {"steps": []}
        if step.name in [done["name"] for done in known["steps"]]:
            return
        key = work.device_key(job.controlpath_id)
        with contextlib.ExitStack() as stack:
            if step.hides:
                stack.enter_context(enabled.turns.work(key, _TURN))
            _check_free(driver, job)
            self._log.cleaning_step_started(job.uuid, step.name)
            faults.point("agent-clean-step")
            LOG.info("Cleaning %s: %s", job.handle["uuid"], step.name)
            began = time.monotonic()
            driver.clean(job.controlpath_id, job.handle, step)
            faults.point("agent-clean-stepped")
            self._log.cleaning_step_done(
                job.uuid,
                step.name,
                step.destroys,
                time.monotonic() - began,
                step.lasts,
            )

    def _driver(
        self, job: "_Cleaning"
    ) -> tuple[discovery.Enabled, driver_api.Cleanable]:
        for enabled in self._found.drivers:
            if enabled.name == job.name:
                driver: Any = enabled.get()
                if isinstance(driver, driver_api.Cleanable):
                    return enabled, driver
                raise driver_api.CannotClean(
                    reason=f"driver {job.name} cleans nothing"
                )
        raise LookupError(f"driver {job.name} is not enabled")


@dataclasses.dataclass(frozen=True)
class _Cleaning:
    """What is to be cleaned, and for which job."""

    uuid: str
    attempt: int
    handle: Plain
    controlpath_id: Plain
    name: str
    sequence: int | None


def _check_free(driver: driver_api.Cleanable, job: _Cleaning) -> None:
    holder = driver.holder(job.controlpath_id, job.handle)
    if holder is not None:
        raise Busy(holder)


def _is_answered(known: Plain, attempt: int) -> bool:
    """Tell whether a question is about what has ended already.

    A message that was long on its way must not begin it again.
    """
    if known["state"] == "done":
        return True
    return bool(known["state"] == "failed" and attempt <= known["attempt"])


def _answer(known: Plain) -> Plain:
    return {
        "state": known["state"],
        "reason": known.get("reason", ""),
        "is_final": known.get("is_final", False),
        "steps": [
            {name: step[name] for name in ("name", "destroys", "seconds")}
            for step in known["steps"]
        ],
    }


def _running(known: Plain) -> Plain:
    step = known.get("step")
    return _now("running", f"{step} goes on" if step else "it goes on")


def _now(state: str, reason: str, is_final: bool = False) -> Plain:
    return {
        "state": state,
        "reason": reason,
        "is_final": is_final,
        "steps": [],
    }


def _text(error: BaseException) -> str:
    if isinstance(error, exception.CyborgException):
        return error.faultstring
    return f"{type(error).__name__}: {error}"
