"""How the API and the agents call a conductor.

One interface, reached in two ways chosen by ``[conductor] mode``: over the
message bus, or in the calling process. Either way a method of
:class:`cyborg.conductor.manager.ConductorManager` of the same name runs with
the same arguments, and its errors arrive as the same classes.
"""

from collections.abc import Callable
import functools
from typing import Any

from oslo_config import cfg
from oslo_log import log as logging
import oslo_messaging as messaging

from cyborg.common import constants
from cyborg.common import exception
from cyborg.common import rpc
from cyborg.context import get_admin_context
from cyborg.context import RequestContext
from cyborg.objects import base

CONF = cfg.CONF
LOG = logging.getLogger(__name__)

# 1.0: report_data, device_profile_create/delete, arq_create,
#      arq_delete_by_uuid, arq_delete_by_instance_uuid, arq_apply_patch
# 1.1: everything else; report_data takes rpc_host, digest and drivers
# 1.2: agent_register, report_heartbeat and report_data take agent, the
#      first two in_use, and answer with it
# 1.3: report_data takes what is withheld
# 1.4: device_set_condition, arq_report_fault, service_discover
# 1.5: report_guests
# 1.6: cleaning_ended, device_clean, device_release
# 1.7: cleaning_ended takes agent
# 1.8: report_health
VERSION = "1.8"
# What a call is sent as that has not changed since: conductors and those that
# call them are not upgraded at one moment.
_BASE = "1.1"

Call = Callable[..., Any]

# Seconds in which a report of a whole host has to be stored.
_REPORT_TIMEOUT = 300


def _call_remote(
    client: Any, context: RequestContext, method: str, **kwargs: Any
) -> Any:
    timeout = kwargs.pop("timeout", None)
    if "rounds" in kwargs:
        # As many answers in a row as the call has to wait for.
        timeout = kwargs.pop("rounds") * CONF.rpc_response_timeout
    if "version" in kwargs:
        client = client.prepare(version=kwargs.pop("version"))
    if timeout is not None:
        # The answer may take long; the server's heartbeats show it is alive.
        client = client.prepare(
            timeout=timeout,
            call_monitor_timeout=CONF.rpc_response_timeout,
        )
    try:
        return rpc.call(client, context, "conductor", method, **kwargs)
    except messaging.MessagingTimeout as error:
        raise exception.ConductorUnavailable() from error
    except messaging.MessageDeliveryFailure as error:
        raise exception.ConductorUnavailable() from error


def _call_local(
    manager: Any, context: RequestContext, method: str, **kwargs: Any
) -> Any:
    for name in ("timeout", "rounds", "version"):
        kwargs.pop(name, None)
    try:
        return getattr(manager, method)(context, **kwargs)
    except messaging.ExpectedException as expected:
        # How an endpoint tells the RPC server that this is no failure.
        raise expected.exc_info[1] from None


class Reports:
    """The signatures of what agents tell."""

    def __init__(self, call: Call) -> None:
        self._call = call

    def _call_since(
        self,
        version: str,
        new: dict[str, Any],
        context: RequestContext,
        method: str,
        **kwargs: Any,
    ) -> Any:
        """Call with the arguments that came with a version, or without."""
        try:
            return self._call(
                context, method, version=version, **kwargs, **new
            )
        except exception.PeerTooOld:
            return self._call(context, method, **kwargs)

    def agent_register(
        self,
        context: RequestContext,
        names: list[str],
        rpc_host: str,
        agent: dict[str, Any],
        in_use: str,
    ) -> dict[str, Any]:
        """Find the provider name of a host.

        :param names: candidates, in order
        :param agent: who speaks: ``{"machine_id", "boot_id",
            "rpc_version"}``
        :param in_use: as for :meth:`report_heartbeat`
        :returns: ``{"hostname": name or None, "in_use": ...}``
        """
        return self._call_since(
            "1.2",
            {"agent": agent, "in_use": in_use},
            context,
            "agent_register",
            names=names,
            rpc_host=rpc_host,
        )

    def report_heartbeat(
        self,
        context: RequestContext,
        hostname: str,
        rpc_host: str,
        digest: str | None,
        agent: dict[str, Any],
        in_use: str,
    ) -> dict[str, Any]:
        """Say that a host is alive and its hardware unchanged.

        :param in_use: digest of what the agent was told is in use, or ""
        :returns: ``{"need_full_report": bool, "in_use": None or {"digest",
            "handles"}}``: None if the agent knows it
        """
        return self._call_since(
            "1.2",
            {"agent": agent, "in_use": in_use},
            context,
            "report_heartbeat",
            hostname=hostname,
            rpc_host=rpc_host,
            digest=digest,
        )

    def report_data(
        self,
        context: RequestContext,
        hostname: str,
        driver_device_list: list[Any],
        rpc_host: str,
        digest: str,
        drivers: list[dict[str, Any]],
        agent: dict[str, Any],
    ) -> None:
        """Report everything a host has.

        Conductors that do not know what is withheld have nothing to schedule
        of it.

        :param drivers: ``{"name", "complete", "error", "capabilities",
            "cpids"}`` for each driver: entry point name, whether it saw all
            it has, what went wrong, names of its optional interfaces, and
            the ``cpid_info`` texts of its devices
        """
        known = {
            "hostname": hostname,
            "rpc_host": rpc_host,
            "digest": digest,
            "drivers": drivers,
            "timeout": _REPORT_TIMEOUT,
        }
        try:
            return self._call(
                context,
                "report_data",
                version="1.3",
                driver_device_list=driver_device_list,
                agent=agent,
                **known,
            )
        except exception.PeerTooOld:
            return self._call_since(
                "1.2",
                {"agent": agent},
                context,
                "report_data",
                driver_device_list=[
                    device.to_1_2() for device in driver_device_list
                ],
                **known,
            )

    def report_guests(
        self,
        context: RequestContext,
        hostname: str,
        agent: dict[str, Any],
        findings: list[dict[str, Any]],
    ) -> None:
        """Say all that is wrong between the guests and devices of a host.

        :param findings: see :class:`cyborg.agent.guests.Finding`
        :raises PeerTooOld: the conductor has no use for it
        """
        return self._call(
            context,
            "report_guests",
            version="1.5",
            hostname=hostname,
            agent=agent,
            findings=findings,
        )

    def cleaning_ended(
        self,
        context: RequestContext,
        hostname: str,
        job_uuid: str,
        agent: dict[str, Any],
    ) -> None:
        """Say that a host has done what a cleaning asked for, or failed.

        :raises PeerTooOld: the conductor does not want to know; it asks
        """
        self._call(
            context,
            "cleaning_ended",
            version="1.7",
            hostname=hostname,
            job_uuid=job_uuid,
            agent=agent,
        )

    def report_health(
        self,
        context: RequestContext,
        hostname: str,
        agent: dict[str, Any],
        whole: bool,
        bad: list[dict[str, Any]],
        well: list[dict[str, Any]],
    ) -> dict[str, bool]:
        """Say what changed of the health of a host's devices.

        :param whole: ``bad`` is all there is
        :param bad: ``{"place", "key", "text", "unknown"}`` of each sign of
            :mod:`cyborg.common.health`: ``place`` is the device's
            ``cpid_info``; ``unknown``: the sensor can no longer be read
        :param well: ``{"place", "key"}`` of each that is over
        :returns: ``{"stored", "again"}``: whether it is known now, and
            whether all of it should be said again later
        :raises PeerTooOld: the conductor has no use for it
        """
        return self._call(
            context,
            "report_health",
            version="1.8",
            hostname=hostname,
            agent=agent,
            whole=whole,
            bad=bad,
            well=well,
        )

    def report_data_1_0(
        self,
        context: RequestContext,
        hostname: str,
        driver_device_list: list[Any],
    ) -> None:
        """Report everything a host has to a conductor of an earlier release.

        It does not learn of what it has no name for.
        """
        primitives = [device.to_1_0() for device in driver_device_list]
        return self._call(
            context,
            "report_data",
            version="1.0",
            hostname=hostname,
            driver_device_list=[p for p in primitives if p is not None],
            timeout=_REPORT_TIMEOUT,
        )


class AgentsDoorAPI(Reports):
    """How agents that have a bus of their own call a conductor.

    Each call shows the host's key, in ``agent``. Versions are those of the
    other bus: what is behind this door knows all that agents say.
    """

    def __init__(self, call: Call) -> None:
        def unversioned(*args: Any, **kwargs: Any) -> Any:
            kwargs.pop("version", None)
            return call(*args, **kwargs)

        super().__init__(unversioned)

    def _call_since(
        self,
        version: str,
        new: dict[str, Any],
        context: RequestContext,
        method: str,
        **kwargs: Any,
    ) -> Any:
        return self._call(context, method, **kwargs, **new)

    def errands(
        self, context: RequestContext, hostname: str, agent: dict[str, Any]
    ) -> list[dict[str, Any]]:
        """Ask what there is to do.

        :returns: ``{"uuid", "method", "arguments": {...}}`` each, in order;
            until the result of one is there it comes again
        """
        return list(
            self._call(context, "errands", hostname=hostname, agent=agent)
        )

    def errand_done(
        self,
        context: RequestContext,
        hostname: str,
        agent: dict[str, Any],
        uuid: str,
        result: dict[str, Any],
    ) -> None:
        """Bring a result; again is harmless.

        :param result: ``{"answer": ...}`` or ``{"error": {"name", "text"}}``
        """
        return self._call(
            context,
            "errand_done",
            hostname=hostname,
            agent=agent,
            uuid=uuid,
            result=result,
        )


class ConductorAPI(Reports):
    """The signatures of the conductor's use cases."""

    # -- device profiles

    def device_profiles_create(
        self, context: RequestContext, profiles: list[dict[str, Any]]
    ) -> list[Any]:
        """Store validated profiles, all or none.

        :param profiles: ``{"uuid" or None, "name", "description", "groups"}``
        :returns: list of :class:`cyborg.objects.device_profile.DeviceProfile`
        :raises DeviceProfileExists: if a name or uuid is taken
        """
        return self._call(context, "device_profiles_create", profiles=profiles)

    def device_profile_update(
        self, context: RequestContext, uuid: str, values: dict[str, Any]
    ) -> Any:
        """Change name, description or groups of a profile.

        :param uuid: uuid or name
        :raises DeviceProfileNotFound: no such profile
        :raises DeviceProfileInUse: ARQs were made from it
        :raises DeviceProfileExists: the new name is taken
        """
        return self._call(
            context, "device_profile_update", uuid=uuid, values=values
        )

    def device_profiles_delete(
        self, context: RequestContext, names: list[str]
    ) -> None:
        """Delete profiles by uuid or name, all or none.

        :raises DeviceProfileNotFound: naming every one that is missing
        :raises DeviceProfileInUse: ARQs were made from one of them
        """
        return self._call(context, "device_profiles_delete", names=names)

    # -- accelerator requests

    def arqs_create(
        self, context: RequestContext, devprof_uuid: str, project_id: str
    ) -> list[Any]:
        """Create the ARQs of a profile in one transaction.

        :returns: list of :class:`cyborg.objects.arq.ARQ`, in group order
        :raises DeviceProfileNotFound: no such profile
        :raises QuotaExceeded: the project has too many
        """
        return self._call(
            context,
            "arqs_create",
            devprof_uuid=devprof_uuid,
            project_id=project_id,
        )

    def arqs_bind(
        self,
        context: RequestContext,
        bindings: list[dict[str, Any]],
        scope: str | None,
    ) -> None:
        """Bind ARQs, all or none.

        See :mod:`cyborg.conductor.requests.binding`.

        :param bindings: ``{"uuid", "hostname", "device_rp_uuid",
            "instance_uuid"}`` each, and ``"project_id"`` where an
            administrator says whose it is
        :param scope: project whose ARQs the caller may touch; None = all
        """
        return self._call(context, "arqs_bind", bindings=bindings, scope=scope)

    def arqs_unbind(
        self, context: RequestContext, uuids: list[str], scope: str | None
    ) -> None:
        """Give back what the ARQs hold; they can be bound again.

        :raises ARQNotFound: naming every one that is missing, and nothing is
            changed
        """
        return self._call(context, "arqs_unbind", uuids=uuids, scope=scope)

    def arqs_delete(
        self,
        context: RequestContext,
        uuids: list[str] | None = None,
        instance: str | None = None,
        scope: str | None = None,
    ) -> None:
        """Delete ARQs by uuid, or all of an instance.

        :raises ARQNotFound: naming the uuids that are missing, after the
            others were deleted
        :raises ServiceTokenRequired: one of ``uuids`` has an instance and no
            service token came along; nothing is deleted
        """
        return self._call(
            context,
            "arqs_delete",
            uuids=uuids,
            instance=instance,
            scope=scope,
        )

    # -- devices and deployables

    def device_set_status(
        self,
        context: RequestContext,
        uuid: str,
        status: str,
        reason: str | None = None,
    ) -> None:
        """Enable a device, or fence it off in Placement.

        :param reason: shown until it is enabled; None = the one before
        :raises DeviceNotFound: no such device
        :raises ResourceClassMissing: a deployable has no resource class;
            nothing is changed
        :raises PlacementUnavailable: the status is stored and Placement will
            be told later
        """
        return self._call(
            context,
            "device_set_status",
            uuid=uuid,
            status=status,
            reason=reason,
        )

    def device_set_condition(
        self,
        context: RequestContext,
        uuid: str,
        key: str,
        condition: dict[str, Any] | None,
    ) -> None:
        """Have a condition of the operator's hold of a device, or clear it.

        :param condition: ``{"effect", "reason", "until"}``, the last as ISO
            8601 in UTC or None; None = clear it
        :raises DeviceNotFound: no such device
        """
        return self._call(
            context,
            "device_set_condition",
            version="1.4",
            uuid=uuid,
            key=key,
            condition=condition,
        )

    def device_clean(
        self, context: RequestContext, uuid: str, reason: str | None
    ) -> None:
        """Have all of a device cleaned that nobody has.

        :raises DeviceNotFound: no such device
        :raises Conflict: it is in use, or being cleaned
        """
        return self._call(
            context,
            "device_clean",
            version="1.6",
            uuid=uuid,
            reason=reason,
        )

    def device_release(
        self, context: RequestContext, uuid: str, reason: str | None
    ) -> None:
        """Let a device be given out that is not clean.

        :raises DeviceNotFound: no such device
        :raises Conflict: it is not held back, or being cleaned
        """
        return self._call(
            context,
            "device_release",
            version="1.6",
            uuid=uuid,
            reason=reason,
        )

    def arq_report_fault(
        self,
        context: RequestContext,
        uuid: str,
        reason: str,
        scope: str | None,
    ) -> None:
        """Note that the owner of an ARQ says that its device is faulty.

        :param scope: project whose ARQs the caller may touch; None = all
        :raises ARQNotFound: no such ARQ
        :raises ARQBadState: it has no device
        """
        return self._call(
            context,
            "arq_report_fault",
            version="1.4",
            uuid=uuid,
            reason=reason,
            scope=scope,
        )

    def device_update(
        self, context: RequestContext, uuid: str, image: str
    ) -> None:
        """Queue a firmware update.

        :raises DeviceNotFound: no such device
        :raises NotUpdatable: its driver has no ``update()``
        :raises DeviceInUse: an ARQ is bound to it
        """
        return self._call(context, "device_update", uuid=uuid, image=image)

    def device_get_stats(
        self, context: RequestContext, uuid: str
    ) -> dict[str, Any]:
        """Return ``{"device": {...}}``, what the driver measures now.

        :raises DeviceNotFound: no such device
        :raises NotMeasurable: its agent does not find it
        :raises AgentNotResponding: the agent is silent or down
        """
        # The conductor has to be able to tell that the agent did not answer.
        return self._call(
            context,
            "device_get_stats",
            uuid=uuid,
            rounds=2,
        )

    def deployable_program(
        self, context: RequestContext, uuid: str, image: str, wait: bool
    ) -> None:
        """Load a bitstream.

        :param wait: return when it is done; otherwise when it is queued
        :raises DeployableNotFound: no such deployable
        :raises NotProgrammable: not an FPGA, or its driver cannot
        :raises DeployableInUse: an ARQ is bound to it
        :raises ImageNotFound: no such image
        :raises ProgrammingFailed: the driver said no (``wait``)
        :raises AgentNotResponding: no answer within ``program_timeout``;
            the work goes on
        """
        return self._call(
            context,
            "deployable_program",
            uuid=uuid,
            image=image,
            wait=wait,
            timeout=CONF.program_timeout + CONF.bind_timeout + 30
            if wait
            else None,
        )

    # -- attributes

    def attributes_create(
        self,
        context: RequestContext,
        deployable_uuid: str,
        attributes: list[dict[str, Any]],
        unique_keys: bool = False,
    ) -> list[Any]:
        """Add attributes that reports leave alone.

        :param attributes: ``{"key", "value"}`` and optionally ``"uuid"``
        :param unique_keys: refuse a key the deployable has already
        :returns: list of :class:`cyborg.objects.device.Attribute`
        :raises DeployableNotFound: no such deployable
        :raises DuplicateUUID: a uuid is taken
        :raises AttributeExists: a key is taken (``unique_keys``)
        """
        return self._call(
            context,
            "attributes_create",
            deployable_uuid=deployable_uuid,
            attributes=attributes,
            unique_keys=unique_keys,
        )

    def attribute_update(
        self, context: RequestContext, uuid: str, value: str
    ) -> None:
        """Give an attribute another value.

        :raises AttributeNotFound: no such attribute
        """
        return self._call(context, "attribute_update", uuid=uuid, value=value)

    def attributes_delete(
        self,
        context: RequestContext,
        uuids: list[str] | None = None,
        deployable_uuid: str | None = None,
    ) -> None:
        """Delete attributes by uuid, or all of a deployable.

        :raises AttributeNotFound: naming every one that is missing; nothing
            is deleted
        """
        return self._call(
            context,
            "attributes_delete",
            uuids=uuids,
            deployable_uuid=deployable_uuid,
        )

    # -- services

    def service_update(
        self, context: RequestContext, uuid: str, forced_down: bool
    ) -> None:
        """Force a host down, fencing its devices off, or lift that.

        :raises ServiceNotFound: no such service
        :raises Conflict: it is a conductor
        """
        return self._call(
            context, "service_update", uuid=uuid, forced_down=forced_down
        )

    def service_discover(self, context: RequestContext, uuid: str) -> None:
        """Have an agent look at its host's hardware now.

        :raises ServiceNotFound: no such service
        :raises Conflict: it is a conductor
        :raises AgentNotResponding: the agent is silent or down
        :raises PeerTooOld: it is of an earlier release
        """
        return self._call(
            context,
            "service_discover",
            version="1.4",
            uuid=uuid,
            rounds=2,
        )

    def placement_sync(
        self, context: RequestContext, hostname: str | None = None
    ) -> None:
        """Have the providers of a host, or of all, compared and repaired."""
        return self._call(context, "placement_sync", hostname=hostname)


def remote(version_cap: str | None = None) -> ConductorAPI:
    """Return the interface over the message bus.

    :param version_cap: what the oldest conductor knows, where that is known;
        ``[upgrade_levels] conductor`` goes before
    """
    client = rpc.get_client(
        messaging.Target(topic=constants.CONDUCTOR_TOPIC, version=_BASE),
        base.CyborgObjectSerializer(),
        rpc.pinned("conductor") or version_cap,
    )
    return ConductorAPI(functools.partial(_call_remote, client))


def agents_door() -> AgentsDoorAPI:
    """Return the interface for an agent on the bus that agents have."""
    client = rpc.get_client(
        rpc.reports_target(),
        base.CyborgObjectSerializer(),
        None,
        rpc.AGENTS,
    )
    return AgentsDoorAPI(functools.partial(_call_remote, client))


def notifier() -> Callable[[list[str]], None]:
    """Return what tells a conductor of which works there are in the database.

    It is a courtesy: conductors look by themselves every few seconds.
    """
    client = rpc.get_client(
        messaging.Target(topic=constants.CONDUCTOR_TOPIC, version=_BASE),
        base.CyborgObjectSerializer(),
        rpc.pinned("conductor"),
    )

    def notify(works: list[str]) -> None:
        try:
            rpc.cast(client, get_admin_context(), "wake", works=works)
        except messaging.MessagingException:
            LOG.warning("The message bus is away; conductors will notice")

    return notify


def local(manager: Any) -> ConductorAPI:
    """Return the interface to a conductor in this process."""
    return ConductorAPI(functools.partial(_call_local, manager))
