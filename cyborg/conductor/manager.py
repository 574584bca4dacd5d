"""RPC endpoints of the conductor: a few lines each, use cases elsewhere.

The same object serves the message bus, the API in local mode and
cyborg-standalone. Only where :meth:`ConductorManager.init_host` was called
does it work in the background; elsewhere it tells those that do.
"""

from collections.abc import Callable
import functools
from typing import Any

from oslo_config import cfg
from oslo_log import log as logging
import oslo_messaging as messaging

from cyborg.agent import rpcapi as agent_rpcapi
from cyborg.common import exception
from cyborg.common import faults
from cyborg.common.i18n import _
from cyborg.conductor import background
from cyborg.conductor import legacy
from cyborg.conductor import quota
from cyborg.conductor import rpcapi
from cyborg.conductor.inventory import attributes as attribute_cases
from cyborg.conductor.inventory import checking
from cyborg.conductor.inventory import devices
from cyborg.conductor.inventory import discovering
from cyborg.conductor.inventory import guests
from cyborg.conductor.inventory import health
from cyborg.conductor.inventory import keys
from cyborg.conductor.inventory import registration
from cyborg.conductor.inventory import reports
from cyborg.conductor.inventory import told
from cyborg.conductor.placement import sync
from cyborg.conductor.requests import binding
from cyborg.conductor.requests import faults as reporting
from cyborg.conductor.requests import profiles as profile_cases
from cyborg.conductor.work import cleaning
from cyborg.conductor.work import errands
from cyborg.conductor.work import loads
from cyborg.conductor.work import programming
from cyborg.context import RequestContext
from cyborg.db import cleaning as cleaning_db
from cyborg.db import device as device_db
from cyborg.db import host as host_db
from cyborg.db import host_sync as sync_db
from cyborg.db import inventory as inventory_db

CONF = cfg.CONF
LOG = logging.getLogger(__name__)

Work = background.Work

_STATS_SHAPE = {"device_name": "", "device_number": "", "properties": {}}


def endpoint(method: Callable[..., Any]) -> Callable[..., Any]:
    """Send errors made on purpose to the caller, without a traceback here."""
    return functools.wraps(method)(
        messaging.expected_exceptions(exception.CyborgException)(method)
    )


class ConductorManager(legacy.Methods):
    """The only writer of state."""

    target = messaging.Target(version=rpcapi.VERSION)

    def __init__(
        self,
        agent: Any = None,
        notify: Callable[[list[str]], None] | None = None,
    ) -> None:
        """:param agent: how agents are called; RPC if not given
        :param notify: tells conductors that work in the background that
            there is something to do; needed where this one does not
        """
        self._agent = agent
        self._notify = notify
        self._background: background.Background | None = None

    @property
    def agent(self) -> Any:
        if self._agent is None:
            self._agent = agent_rpcapi.AgentAPI()
        return self._agent

    def init_host(self) -> None:
        self._background = background.Background(self.agent)
        self._background.start()

    def stop(self) -> None:
        if self._background is not None:
            self._background.stop()

    def _wake(self, *works: background.Work) -> None:
        if self._background is not None:
            self._background.wake(works)
        elif self._notify is not None:
            self._notify([str(work) for work in works])

    def wake(
        self, context: RequestContext, works: list[str] | None = None
    ) -> None:
        """A cast: another process left work in the database.

        :param works: values of :class:`background.Work`; None = any
        """
        self._wake(
            *(
                work
                for work in background.Work
                if works is None or work in works
            )
        )

    # -- agents

    @endpoint
    def agent_register(
        self,
        context: RequestContext,
        names: list[str],
        rpc_host: str,
        agent: dict[str, Any] | None = None,
        in_use: str | None = None,
        apart: bool = False,
    ) -> dict[str, Any]:
        checking.check_names(names)
        checking.check_host(rpc_host)
        checking.check_agent(agent)
        hostname = registration.find_host(context, names)
        if hostname is not None:
            keys.check(context, hostname, agent, apart)
        answer: dict[str, Any] = {"hostname": hostname}
        if hostname is not None and agent is not None:
            registration.check_machine(
                context, host_db.get(context, hostname), agent
            )
        if hostname is not None and in_use is not None:
            answer["in_use"] = told.in_use(context, hostname, in_use)
        return answer

    @endpoint
    def report_heartbeat(
        self,
        context: RequestContext,
        hostname: str,
        rpc_host: str,
        digest: str | None,
        agent: dict[str, Any] | None = None,
        in_use: str | None = None,
        apart: bool = False,
    ) -> dict[str, Any]:
        checking.check_host(hostname, rpc_host, digest)
        checking.check_agent(agent)
        known = reports.heartbeat(
            context, hostname, rpc_host, digest, agent, apart
        )
        answer: dict[str, Any] = {"need_full_report": not known}
        if in_use is not None:
            answer["in_use"] = told.in_use(context, hostname, in_use)
            if answer["in_use"] is not None and told.has_to_look_again(
                context, hostname
            ):
                answer["need_full_report"] = True
        return answer

    @endpoint
    def report_guests(
        self,
        context: RequestContext,
        hostname: str,
        agent: dict[str, Any],
        findings: list[dict[str, Any]],
        apart: bool = False,
    ) -> None:
        checking.check_host(hostname)
        checking.check_agent(agent)
        guests.check(findings)
        keys.check(context, hostname, agent, apart)
        if guests.store(context, hostname, agent, findings):
            self._wake(Work.PROVIDERS)

    @endpoint
    def report_health(
        self,
        context: RequestContext,
        hostname: str,
        agent: dict[str, Any],
        whole: bool,
        bad: list[dict[str, Any]],
        well: list[dict[str, Any]],
        apart: bool = False,
    ) -> dict[str, bool]:
        checking.check_host(hostname)
        checking.check_agent(agent)
        health.check(whole, bad, well)
        keys.check(context, hostname, agent, apart)
        stored = health.store(context, hostname, agent, whole, bad, well)
        if stored.fences:
            self._wake(Work.PROVIDERS)
        return {"stored": stored.is_known, "again": stored.again}

    @endpoint
    def report_data(
        self,
        context: RequestContext,
        hostname: str,
        driver_device_list: list[Any],
        rpc_host: str | None = None,
        digest: str | None = None,
        drivers: list[dict[str, Any]] | None = None,
        agent: dict[str, Any] | None = None,
        apart: bool = False,
    ) -> None:
        checking.check_host(hostname, rpc_host, digest)
        checking.check_agent(agent)
        # Those of RPC 1.1 say no version, but send a digest.
        version = "1.0" if digest is None else "1.1"
        if agent is not None:
            version = agent["rpc_version"]
        if digest is None:
            digest = reports.canonical_digest(
                checking.checked_devices(driver_device_list)
            )
        if reports.report_data(
            context,
            hostname,
            driver_device_list,
            rpc_host,
            version,
            digest,
            drivers,
            agent,
            apart,
        ):
            faults.point("report-stored")
            self._wake(Work.PROVIDERS)

    @endpoint
    def cleaning_ended(
        self,
        context: RequestContext,
        hostname: str,
        job_uuid: str,
        agent: dict[str, Any] | None = None,
        apart: bool = False,
    ) -> None:
        checking.check_host(hostname)
        checking.check_agent(agent)
        keys.check(context, hostname, agent, apart)
        if cleaning_db.make_due(context, hostname, job_uuid):
            self._wake(Work.JOBS)

    # -- device profiles

    @endpoint
    def device_profiles_create(
        self, context: RequestContext, profiles: list[dict[str, Any]]
    ) -> list[Any]:
        return profile_cases.create(context, profiles)

    @endpoint
    def device_profile_update(
        self, context: RequestContext, uuid: str, values: dict[str, Any]
    ) -> Any:
        return profile_cases.update(context, uuid, values)

    @endpoint
    def device_profiles_delete(
        self, context: RequestContext, names: list[str]
    ) -> None:
        profile_cases.delete(context, names)

    # -- accelerator requests

    @endpoint
    def arqs_create(
        self, context: RequestContext, devprof_uuid: str, project_id: str
    ) -> list[Any]:
        rows = binding.create(context, devprof_uuid, project_id)
        faults.point("create-committed")
        return [legacy.to_arq(row) for row in rows]

    @endpoint
    def arqs_bind(
        self,
        context: RequestContext,
        bindings: list[dict[str, Any]],
        scope: str | None,
    ) -> None:
        limits = quota.limits_to_bind(
            context, [values["uuid"] for values in bindings]
        )
        wanted = [binding.Binding(**values) for values in bindings]
        meant = loads.look_up(
            context, {each.uuid: each.project_id for each in wanted}
        )
        outcome = binding.bind(context, wanted, scope, limits, meant)
        faults.point("bind-committed")
        self._wake_for(outcome)

    @endpoint
    def arqs_unbind(
        self, context: RequestContext, uuids: list[str], scope: str | None
    ) -> None:
        outcome = binding.unbind(context, uuids, scope)
        faults.point("unbind-committed")
        self._wake_for(outcome)
        self._fence(context, outcome)

    @endpoint
    def arqs_delete(
        self,
        context: RequestContext,
        uuids: list[str] | None = None,
        instance: str | None = None,
        scope: str | None = None,
    ) -> None:
        outcome, missing = binding.delete(context, uuids, instance, scope)
        faults.point("delete-committed")
        self._wake_for(outcome)
        self._fence(context, outcome)
        if missing:
            raise exception.ARQNotFound(uuids=", ".join(missing))

    def _fence(
        self, context: RequestContext, outcome: binding.Outcome
    ) -> None:
        """Tell Placement at once of what is released and not free."""
        for hostname in outcome.hosts:
            if not sync.try_host(context, hostname):
                # It is the first thing that is written when that can be.
                self._wake(Work.PROVIDERS)

    def _wake_for(self, outcome: binding.Outcome) -> None:
        works = []
        if outcome.events:
            works.append(Work.EVENTS)
        if outcome.jobs:
            works.append(Work.JOBS)
        if outcome.providers:
            works.append(Work.PROVIDERS)
        if works:
            self._wake(*works)

    # -- devices and deployables

    @endpoint
    def device_set_status(
        self,
        context: RequestContext,
        uuid: str,
        status: str,
        reason: str | None = None,
    ) -> None:
        devices.set_status(context, uuid, status, reason)

    @endpoint
    def device_set_condition(
        self,
        context: RequestContext,
        uuid: str,
        key: str,
        condition: dict[str, Any] | None,
    ) -> None:
        if devices.set_condition(context, uuid, key, condition):
            self._wake(Work.PROVIDERS)

    @endpoint
    def device_clean(
        self, context: RequestContext, uuid: str, reason: str | None
    ) -> None:
        cleaning.clean(context, uuid, reason)
        self._wake(Work.JOBS, Work.PROVIDERS)

    @endpoint
    def device_release(
        self, context: RequestContext, uuid: str, reason: str | None
    ) -> None:
        cleaning.release(context, uuid, reason)
        self._wake(Work.PROVIDERS)

    @endpoint
    def arq_report_fault(
        self,
        context: RequestContext,
        uuid: str,
        reason: str,
        scope: str | None,
    ) -> None:
        if reporting.report_fault(context, uuid, reason, scope):
            self._wake(Work.PROVIDERS)

    @endpoint
    def device_update(
        self, context: RequestContext, uuid: str, image: str
    ) -> None:
        programming.update_firmware(context, uuid, image)
        self._wake(Work.JOBS)

    @endpoint
    def device_get_stats(
        self, context: RequestContext, uuid: str
    ) -> dict[str, Any]:
        device = device_db.get(context, uuid)
        if device is None:
            raise exception.DeviceNotFound(uuid=uuid)
        host = host_db.get(context, device.hostname)
        paths = inventory_db.control_paths(context, device.id)
        if host is None or not paths or device.driver is None:
            raise exception.AgentNotResponding(
                _("The agent of host %s has not reported the device yet.")
                % device.hostname,
                host=device.hostname,
            )
        programming.check_host(host)
        try:
            measured = errands.way_to(
                host.hostname, host.apart, self.agent
            ).device_get_stats(
                context,
                host.rpc_host or host.hostname,
                controlpath_id=inventory_db.control_path_id(paths[0]),
                driver=device.driver,
            )
        except LookupError as error:
            # Not there any more, or its driver is no longer enabled.
            raise exception.NotMeasurable(
                uuid=uuid, reason=error.args[0]
            ) from error
        return measured or {"device": dict(_STATS_SHAPE)}

    @endpoint
    def deployable_program(
        self, context: RequestContext, uuid: str, image: str, wait: bool
    ) -> None:
        job = programming.program(context, uuid, image)
        self._wake(Work.JOBS)
        if wait:
            programming.wait(context, uuid, job)

    # -- attributes

    @endpoint
    def attributes_create(
        self,
        context: RequestContext,
        deployable_uuid: str,
        attributes: list[dict[str, Any]],
        unique_keys: bool = False,
    ) -> list[Any]:
        created = attribute_cases.create(
            context, deployable_uuid, attributes, unique_keys
        )
        self._wake(Work.PROVIDERS)
        return created

    @endpoint
    def attribute_update(
        self, context: RequestContext, uuid: str, value: str
    ) -> None:
        attribute_cases.update(context, uuid, value)
        self._wake(Work.PROVIDERS)

    @endpoint
    def attributes_delete(
        self,
        context: RequestContext,
        uuids: list[str] | None = None,
        deployable_uuid: str | None = None,
    ) -> None:
        attribute_cases.delete(context, uuids, deployable_uuid)
        self._wake(Work.PROVIDERS)

    # -- services

    @endpoint
    def service_update(
        self, context: RequestContext, uuid: str, forced_down: bool
    ) -> None:
        devices.force_down(context, uuid, forced_down)

    @endpoint
    def service_discover(self, context: RequestContext, uuid: str) -> None:
        discovering.discover(context, self.agent, uuid)

    @endpoint
    def placement_sync(
        self, context: RequestContext, hostname: str | None = None
    ) -> None:
        sync_db.mark_for_check(context, hostname)
        self._wake(Work.PROVIDERS)
