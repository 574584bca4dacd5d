"""Tells the conductor what this host has, and that it is alive."""

from collections.abc import Callable
import contextlib
import threading
import time
from typing import Any

from oslo_config import cfg
from oslo_log import log as logging

from cyborg import context as cyborg_context
from cyborg.agent import guests
from cyborg.agent import in_use
from cyborg.agent import machine
from cyborg.agent import report
from cyborg.agent.health import damping
from cyborg.clients import placement
from cyborg.common import exception
from cyborg.common import faults
from cyborg.conductor import rpcapi

CONF = cfg.CONF
LOG = logging.getLogger(__name__)

# Seconds between two looks whether an old conductor was upgraded.
_STILL_OLD = 600.0


class Reporter:
    """Sends reports where something changed, heartbeats where nothing did.

    No failure of the conductor leaves these methods: it is logged, and the
    next period tries again.

    :param here: the machine
    :param known: what the conductor says is in use goes here
    :param key: shows that it is this host which speaks
    """

    def __init__(
        self,
        conductor: rpcapi.Reports,
        host: str,
        cache: report.Cache,
        here: machine.Machine,
        known: in_use.InUse,
        key: str | None = None,
    ) -> None:
        self._conductor = conductor
        self._host = host
        self._cache = cache
        self.speaker = here.speaker()
        if key is not None:
            self.speaker["key"] = key
        self._in_use = known
        self._lock = threading.Lock()
        self._report: report.Report | None = None
        self._sent_at = 0.0
        self._old_since: float | None = None
        self.hostname: str | None = None

    def register(self, ended: threading.Event) -> str | None:
        """Ask until the conductor knows this host's provider name.

        Blocks; pauses of 1, 2, 4 ... seconds first, then one
        ``periodic_interval`` each. Returns None if ``ended`` was set.
        """
        names = list(
            dict.fromkeys([CONF.agent.resource_provider_name, self._host])
        )
        attempt = 0
        while not ended.is_set():
            reason = self._look_up(names)
            if self.hostname is not None:
                LOG.info("This host is %s in Placement", self.hostname)
                return self.hostname
            if attempt < CONF.agent.resource_provider_startup_retries:
                pause = 2.0**attempt
                LOG.warning("%s Trying again in %d s", reason, pause)
            else:
                pause = CONF.periodic_interval
                LOG.error("%s Trying again in %d s", reason, pause)
            attempt += 1
            ended.wait(pause)
        return None

    def _look_up(self, names: list[str]) -> str:
        """Set the host's name, or return why there is none."""
        context = cyborg_context.get_admin_context()
        try:
            asked_at = time.monotonic()
            answer = self._conductor.agent_register(
                context,
                names,
                self._host,
                agent=self.speaker,
                # Which of the names it is, only the answer will say.
                in_use="",
            )
        except exception.PeerTooOld:
            return self._look_up_alone(names)
        except exception.CyborgException as error:
            return error.faultstring
        except Exception as error:
            LOG.exception("The conductor failed to look up %s", names)
            return str(error)
        hostname = answer.get("hostname")
        if hostname is not None:
            self._in_use.take(hostname, answer.get("in_use"), asked_at)
        return self._found(names, hostname)

    def _look_up_alone(self, names: list[str]) -> str:
        """Do what a conductor of an earlier release cannot."""
        try:
            client = placement.Client()
            found = next(filter(client.find_provider, names), None)
        except exception.CyborgException as error:
            return error.faultstring
        return self._found(names, found)

    def _found(self, names: list[str], hostname: str | None) -> str:
        self.hostname = hostname
        if self.hostname is not None and self.hostname != names[0]:
            LOG.warning(
                "Placement has no resource provider %s; using %s",
                names[0],
                self.hostname,
            )
        return exception.PlacementResourceProviderNotFound(
            names=", ".join(names)
        ).faultstring

    def publish(self, current: report.Report | None) -> None:
        """Make the conductor know this report; None: no driver is enabled."""
        with self._lock:
            self._report = current
            self._send()

    def change(
        self, change: Callable[[dict[str, Any]], dict[str, Any]]
    ) -> None:
        """Change what is known of the devices; the next call tells it."""
        with self._lock:
            if self._report is not None:
                self._report = self._report.changed(change, self._host)

    def cleaning_ended(self, job_uuid: str) -> None:
        """Say that a cleaning has ended; who asked for it asks again."""
        if self.hostname is None:
            return
        with contextlib.suppress(exception.PeerTooOld):
            try:
                self._conductor.cleaning_ended(
                    cyborg_context.get_admin_context(),
                    self.hostname,
                    job_uuid,
                    self.speaker,
                )
            except (
                exception.ServiceUnavailable,
                exception.HostKeyRefused,
            ) as error:
                LOG.warning("Not told: %s", error.faultstring)

    def heartbeat(self) -> None:
        """Say that the host is alive, if nothing has said so lately."""
        with self._lock:
            if (
                self.seconds_silent() >= CONF.agent.heartbeat_interval
                and not self._is_old()
            ):
                self._send()

    def tell_guests(self, findings: list[guests.Finding]) -> bool:
        """Make the conductor know what is wrong; returns whether it does."""
        if self.hostname is None or self._is_old():
            return False
        try:
            self._conductor.report_guests(
                cyborg_context.get_admin_context(),
                self.hostname,
                self.speaker,
                [finding.as_dict() for finding in findings],
            )
        except exception.PeerTooOld:
            return False
        except exception.CyborgException as error:
            LOG.warning("What guests have is not told: %s", error.faultstring)
            return False
        return True

    def tell_health(self, changes: damping.Changes) -> bool | None:
        """Make the conductor know how the cards are.

        :returns: whether it wants to be told all of it again later; None if
            it was not told
        """
        if self.hostname is None or self._is_old():
            return None
        try:
            answer = self._conductor.report_health(
                cyborg_context.get_admin_context(),
                self.hostname,
                self.speaker,
                whole=changes.whole,
                bad=changes.bad,
                well=changes.well,
            )
        except exception.PeerTooOld:
            return None
        except exception.CyborgException as error:
            LOG.warning("Health is not told: %s", error.faultstring)
            return None
        return bool(answer["again"]) if answer["stored"] else None

    def seconds_silent(self) -> float:
        return time.monotonic() - self._sent_at

    def _is_old(self) -> bool:
        """Tell whether the conductor is of an earlier release."""
        return (
            self._old_since is not None
            and time.monotonic() - self._old_since < _STILL_OLD
        )

    def _send(self) -> None:
        if self.hostname is None:
            return
        try:
            self._send_to(self.hostname)
        except exception.HostKeyRefused as error:
            LOG.error("Not reported: %s", error.faultstring)
        except exception.CyborgException as error:
            LOG.warning("Not reported: %s", error.faultstring)
        except Exception:
            LOG.exception("The conductor failed to take the report")
        finally:
            # A conductor that is away is not asked more often for it.
            self._sent_at = time.monotonic()

    def _send_to(self, hostname: str) -> None:
        if not self._is_old():
            try:
                self._send_new(hostname)
            except exception.PeerTooOld as error:
                LOG.warning("%s It gets whole reports.", error.faultstring)
                self._old_since = time.monotonic()
            else:
                self._old_since = None
                return
        if self._report is not None:
            self._conductor.report_data_1_0(
                cyborg_context.get_admin_context(),
                hostname,
                self._report.objects(),
            )

    def _send_new(self, hostname: str) -> None:
        context = cyborg_context.get_admin_context()
        current = self._report
        digest = current.digest if current else None
        if current is None or self._cache.was_reported(
            hostname, current.digest
        ):
            asked_at = time.monotonic()
            answer = self._conductor.report_heartbeat(
                context,
                hostname,
                self._host,
                digest,
                agent=self.speaker,
                in_use=self._in_use.digest(hostname),
            )
            self._in_use.take(hostname, answer.get("in_use"), asked_at)
            # Without drivers there is nothing to report: an empty report
            # would say that every device of the host is gone.
            if current is None or not answer.get("need_full_report"):
                return
        self._conductor.report_data(
            context,
            hostname,
            current.objects(),
            rpc_host=self._host,
            digest=current.digest,
            drivers=current.drivers,
            agent=self.speaker,
        )
        faults.point("agent-reported")
        self._cache.set_reported(hostname, current.digest)
        LOG.info(
            "Reported %d devices of %d drivers",
            len(current.devices),
            len(current.drivers),
        )
