"""How a conductor calls an agent."""

from typing import Any

from oslo_config import cfg
import oslo_messaging as messaging

from cyborg.common import constants
from cyborg.common import exception
from cyborg.common import rpc
from cyborg.context import RequestContext
from cyborg.objects import base

CONF = cfg.CONF

# 1.0: fpga_program, create_vgpu_mdev, remove_vgpu_mdev
# 1.1: program, prepare_handle, cleanup_handle, fence, device_get_stats,
#      device_update
# 1.2: discover
# 1.3: clean
VERSION = "1.3"
# What a call is sent as that has not changed since.
_BASE = "1.1"


def can_clean(rpc_version: str | None) -> bool:
    """Tell whether an agent that speaks a version cleans devices."""
    major, _dot, minor = (rpc_version or "1.0").partition(".")
    return (int(major), int(minor or 0)) >= (1, 3)


class AgentAPI:
    """The signatures of an agent's work; every call names the host.

    :param rpc_host: ``hosts.rpc_host``, the agent's name on the bus
    """

    def __init__(self) -> None:
        self._client = rpc.get_client(
            messaging.Target(topic=constants.AGENT_TOPIC, version=VERSION),
            base.CyborgObjectSerializer(),
            rpc.pinned("agent"),
        )

    def _is_old(self, rpc_version: str | None) -> bool:
        """Tell whether to speak RPC 1.0 to an agent.

        One of an earlier release never said which it speaks.
        """
        return rpc_version in (
            None,
            "1.0",
        ) or not self._client.can_send_version(_BASE)

    def _call(
        self,
        context: RequestContext,
        rpc_host: str,
        method: str,
        timeout: float,
        version: str = _BASE,
        expected: type[Exception] = exception.CyborgException,
        **kwargs: Any,
    ) -> Any:
        """Call an agent.

        :param expected: what the caller knows that it raises, besides errors
            made on purpose
        :raises AgentNotResponding: it is away
        :raises AgentFailed: it raised anything else
        """
        try:
            return self._send(
                context, rpc_host, method, timeout, version, **kwargs
            )
        except (
            messaging.MessagingTimeout,
            messaging.MessageDeliveryFailure,
        ) as error:
            raise exception.AgentNotResponding(host=rpc_host) from error
        except (exception.CyborgException, expected):
            raise
        except Exception as error:
            raise exception.AgentFailed(
                host=rpc_host, reason=exception.text(error)
            ) from error

    def _send(
        self,
        context: RequestContext,
        rpc_host: str,
        method: str,
        timeout: float,
        version: str,
        **kwargs: Any,
    ) -> Any:
        """Return an agent's answer, or raise what it raised."""
        client = self._client.prepare(
            server=rpc_host,
            version=version,
            timeout=timeout,
            call_monitor_timeout=min(timeout, CONF.rpc_response_timeout),
        )
        return rpc.call(client, context, "agent", method, **kwargs)

    def program(
        self,
        context: RequestContext,
        rpc_host: str,
        *,
        job_uuid: str,
        controlpath_id: dict[str, Any],
        image: dict[str, Any],
        driver_name: str,
        sequence: int,
        timeout: float,
        rpc_version: str | None = _BASE,
    ) -> dict[str, Any]:
        """Load an image; repeating it with the same job is harmless.

        :param sequence: grows from job to job, see
            :mod:`cyborg.agent.intents`
        :param controlpath_id: ``{"cpid_type", "cpid_info": {...}}``
        :param image: ``{"id", "owner", "size", "hash_algo", "hash_value"}``
        :param driver_name: the deployable's ``driver_name``
        :returns: ``{"code": 0..3, "detail": text}``; 0 done, 1 failed, 2 no
            such device, 3 image not to be had
        :raises Overtaken: the card was loaded by later work
        """
        if self._is_old(rpc_version):
            done = self._call(
                context,
                rpc_host,
                "fpga_program",
                timeout,
                version="1.0",
                controlpath_id=controlpath_id,
                bitstream_uuid=image["id"],
                driver_name=driver_name,
            )
            # It tells only whether; programming that failed is not success.
            return {"code": 0 if done else 1, "detail": "the driver failed"}
        return self._call(
            context,
            rpc_host,
            "program",
            timeout,
            job_uuid=job_uuid,
            controlpath_id=controlpath_id,
            image=image,
            driver_name=driver_name,
            sequence=sequence,
        )

    def prepare_handle(
        self,
        context: RequestContext,
        rpc_host: str,
        *,
        handle: dict[str, Any],
        sequence: int,
        timeout: float,
        rpc_version: str | None = _BASE,
    ) -> None:
        """Make ready what a guest is to be given; "there already" is success.

        :param handle: ``{"uuid", "attach_type", "attach_info": {...}}``
        :raises Overtaken: later work on the handle came before it
        """
        if self._is_old(rpc_version):
            self._call_mdev(
                context, rpc_host, "create_vgpu_mdev", handle, timeout
            )
            return
        self._call(
            context,
            rpc_host,
            "prepare_handle",
            timeout,
            handle=handle,
            sequence=sequence,
        )

    def cleanup_handle(
        self,
        context: RequestContext,
        rpc_host: str,
        *,
        handle: dict[str, Any],
        sequence: int,
        controlpath_id: dict[str, Any] | None,
        timeout: float,
        rpc_version: str | None = _BASE,
    ) -> None:
        """Undo :meth:`prepare_handle`; "gone already" is success.

        :param controlpath_id: card that was to be loaded for the handle:
            nothing older may be loaded into it afterwards
        :raises Overtaken: later work on the handle came before it
        """
        if self._is_old(rpc_version):
            self._call_mdev(
                context, rpc_host, "remove_vgpu_mdev", handle, timeout
            )
            return
        self._call(
            context,
            rpc_host,
            "cleanup_handle",
            timeout,
            handle=handle,
            sequence=sequence,
            controlpath_id=controlpath_id,
        )

    def fence(
        self,
        context: RequestContext,
        rpc_host: str,
        *,
        controlpath_id: dict[str, Any],
        sequence: int,
        timeout: float,
        rpc_version: str | None = _BASE,
    ) -> None:
        """Wait until a card is not being loaded, and keep older work out."""
        if self._is_old(rpc_version):
            return
        self._call(
            context,
            rpc_host,
            "fence",
            timeout,
            controlpath_id=controlpath_id,
            sequence=sequence,
        )

    def _call_mdev(
        self,
        context: RequestContext,
        rpc_host: str,
        method: str,
        handle: dict[str, Any],
        timeout: float,
    ) -> None:
        """Ask an agent of RPC 1.0, which knows mediated devices only."""
        if handle["attach_type"] != constants.AttachHandleType.MDEV:
            return
        info = handle["attach_info"]
        address = "{domain}:{bus}:{device}.{function}".format(**info)
        self._call(
            context,
            rpc_host,
            method,
            timeout,
            version="1.0",
            pci_addr=address,
            asked_type=info["asked_type"],
            ah_uuid=handle["uuid"],
        )

    def device_get_stats(
        self,
        context: RequestContext,
        rpc_host: str,
        *,
        controlpath_id: dict[str, Any],
        driver: str,
    ) -> dict[str, Any]:
        """Return what the driver measures now.

        :param driver: entry point name
        :raises LookupError: it has no such device, or driver
        """
        return self._call(
            context,
            rpc_host,
            "device_get_stats",
            CONF.rpc_response_timeout,
            expected=LookupError,
            controlpath_id=controlpath_id,
            driver=driver,
        )

    def device_update(
        self,
        context: RequestContext,
        rpc_host: str,
        *,
        job_uuid: str,
        controlpath_id: dict[str, Any],
        image: dict[str, Any],
        driver: str,
        sequence: int,
        timeout: float,
    ) -> dict[str, Any]:
        """Load firmware; answers like :meth:`program`."""
        return self._call(
            context,
            rpc_host,
            "device_update",
            timeout,
            job_uuid=job_uuid,
            controlpath_id=controlpath_id,
            image=image,
            driver=driver,
            sequence=sequence,
        )

    def discover(self, context: RequestContext, rpc_host: str) -> None:
        """Have the agent look at the hardware now; returns at once.

        :raises PeerTooOld: it is of an earlier release
        """
        self._call(
            context,
            rpc_host,
            "discover",
            CONF.rpc_response_timeout,
            version="1.2",
        )

    def clean(
        self,
        context: RequestContext,
        rpc_host: str,
        *,
        job_uuid: str,
        attempt: int,
        handle: dict[str, Any],
        controlpath_id: dict[str, Any],
        driver: str,
        sequence: int,
    ) -> dict[str, Any]:
        """Have what a guest had cleaned; answers at once.

        Repeating it with the same job and attempt asks how far it is.

        :param attempt: how many have failed before; a greater one than the
            last begins anew
        :param handle: ``{"uuid", "attach_type", "attach_info": {...}}``
        :param driver: entry point name
        :returns: ``{"state", "reason", "is_final", "steps"}``; the state is
            ``running``, ``done``, ``failed`` or ``busy`` (somebody has it
            yet); steps are ``{"name", "destroys", "seconds"}`` of each that
            is done; ``is_final``: another attempt would fail as well
        :raises Overtaken: later work on the handle came before it
        :raises PeerTooOld: the agent does not know how
        """
        return self._call(
            context,
            rpc_host,
            "clean",
            CONF.rpc_response_timeout,
            version="1.3",
            job_uuid=job_uuid,
            attempt=attempt,
            handle=handle,
            controlpath_id=controlpath_id,
            driver=driver,
            sequence=sequence,
        )
