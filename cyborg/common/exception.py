"""The one tree of errors raised on purpose.

::

    CyborgException                 500
    ├── Invalid                     400   what was asked makes no sense
    ├── Forbidden                   403   who asks may not
    ├── NotFound                    404   what was named does not exist
    ├── NotAcceptable               406   not in this microversion
    ├── Conflict                    409   right, but not now
    ├── Unresolved                  423   still being worked on
    ├── ServiceUnavailable          503   a peer that is needed is away
    └── ConfigInvalid               500   the operator has to change an option

Errors keep their arguments over RPC, so a conductor's answer reaches the
client as the same class with the same text.
"""

from http import HTTPStatus
from typing import Any

from cyborg.common.i18n import _


class CyborgException(Exception):
    """Base of every error raised on purpose; RPC keeps args and kwargs."""

    code: HTTPStatus = HTTPStatus.INTERNAL_SERVER_ERROR
    template: str = _("An unexpected error occurred.")

    def __init__(self, message: str | None = None, **kwargs: Any) -> None:
        self.kwargs = kwargs
        super().__init__(message or self.template % kwargs)

    @property
    def faultstring(self) -> str:
        """What a client is shown; str() of a remote error adds a traceback."""
        return str(self.args[0])


def text(error: Exception) -> str:
    """Return one line that says what an error is, wherever it was raised."""
    if isinstance(error, CyborgException):
        return error.faultstring
    # One that came over RPC and whose class is not known here names it.
    name = getattr(error, "exc_type", type(error).__name__)
    said = getattr(error, "value", None) or next(iter(error.args), "")
    if not isinstance(said, str):
        said = str(error)
    # One that did, and is known, has its traceback after the first line.
    lines = said.strip().splitlines() or [""]
    return f"{name.removesuffix('_Remote')}: {lines[0]}".removesuffix(": ")


class Invalid(CyborgException):
    code = HTTPStatus.BAD_REQUEST
    template = _("The request is not valid.")


class Forbidden(CyborgException):
    code = HTTPStatus.FORBIDDEN
    template = _("You are not allowed to do this.")


class NotFound(CyborgException):
    code = HTTPStatus.NOT_FOUND
    template = _("The resource could not be found.")


class NotAcceptable(CyborgException):
    code = HTTPStatus.NOT_ACCEPTABLE
    template = _("The request is not acceptable.")


class Conflict(CyborgException):
    code = HTTPStatus.CONFLICT
    template = _("The request conflicts with what is stored.")


class Unresolved(CyborgException):
    code = HTTPStatus.LOCKED
    template = _(
        "Accelerator requests of instance %(instance)s are still being "
        "bound: %(arqs)s."
    )


class ServiceUnavailable(CyborgException):
    code = HTTPStatus.SERVICE_UNAVAILABLE
    template = _("A service that is needed does not answer.")


class ConfigInvalid(CyborgException):
    template = _("%(option)s is not valid: %(reason)s")


# -- policy and tokens


class PolicyNotAuthorized(Forbidden):
    template = _("Policy does not allow %(rule)s to be performed.")


class TokensUnchecked(ServiceUnavailable):
    template = _("Keystone cannot be asked about tokens: %(reason)s")


class PolicyUnavailable(ServiceUnavailable):
    template = _("Whom policy asks about %(rule)s does not answer: %(reason)s")


class HostKeyRefused(Forbidden):
    template = _(
        "A report for host %(host)s came with %(how)s. If it is the host's "
        "own, run 'cyborg-manage host rekey %(host)s'."
    )


class ServiceTokenRequired(Forbidden):
    # Clients look for "requires a service token" in this text.
    template = _("%(operation)s requires a service token.")


# -- devices, deployables, attributes


class DeviceNotFound(NotFound):
    template = _("No device has the uuid %(uuid)s.")


class DeployableNotFound(NotFound):
    template = _("No deployable has the uuid %(uuid)s.")


class AttributeNotFound(NotFound):
    template = _("No attribute has the uuid %(uuid)s.")


class AttributeExists(Conflict):
    template = _("The deployable has an attribute %(key)s already.")


class DuplicateUUID(Conflict):
    template = _("The uuid %(uuid)s is in use already.")


class ResourceClassMissing(Conflict):
    template = _(
        "Deployable %(uuid)s has no resource class, so Placement cannot be "
        "told; its driver must report an attribute 'rc'."
    )


class DeviceInUse(Conflict):
    template = _("Device %(uuid)s is in use by an accelerator request.")


class NotMeasurable(Conflict):
    template = _("Device %(uuid)s cannot be measured: %(reason)s")


class HostNotFound(NotFound):
    template = _("No agent has reported the host %(host)s.")


class HostLeaseLost(CyborgException):
    template = _("Another conductor has taken over host %(host)s.")


class HostTaken(Conflict):
    template = _(
        "Machine %(machine)s says that it is host %(host)s, which is machine "
        "%(known)s: %(reason)s. If that one is gone for good, run "
        "'cyborg-manage host replace %(host)s'."
    )


class HostInUse(Conflict):
    template = _("Host %(host)s cannot be deleted: %(reason)s.")


class ServiceNotFound(NotFound):
    template = _("No service has the id %(uuid)s.")


# -- device profiles


class DeviceProfileNotFound(NotFound):
    template = _("No device profile is named, or has the uuid, %(name)s.")


class DeviceProfileExists(Conflict):
    template = _("A device profile with the %(field)s %(value)s exists.")


class DeviceProfileInUse(Conflict):
    template = _(
        "Device profile %(name)s is in use by accelerator requests; delete "
        "them first."
    )


# -- accelerator requests


class ARQNotFound(NotFound):
    template = _("No accelerator request has the uuid %(uuids)s.")


class ARQBadState(Conflict):
    template = _(
        "Accelerator request %(uuid)s is in state %(state)s; this needs one "
        "of: %(allowed)s."
    )


class ARQBoundElsewhere(Conflict):
    template = _(
        "Accelerator request %(uuid)s is bound already, and not as asked."
    )


class InstanceHasARQs(Invalid):
    template = _("Instance %(instance)s has accelerator requests already.")


class ProviderNotFound(NotFound):
    template = _(
        "No deployable has the resource provider %(rp_uuid)s (device_rp_uuid)."
    )


class WrongHost(Conflict):
    template = _(
        "Resource provider %(rp_uuid)s (device_rp_uuid) is on host "
        "%(actual)s, not on %(hostname)s (hostname)."
    )


class NoFreeHandle(Conflict):
    template = _(
        "Resource provider %(rp_uuid)s has no free attach handle left: "
        "%(wanted)s wanted, %(free)s free%(why)s."
    )

    def __init__(self, message: str | None = None, **kwargs: Any) -> None:
        """:param why: what keeps those that are there, in parentheses"""
        super().__init__(message, **{"why": ""} | kwargs)


class HandleBeingCleaned(Conflict):
    template = _(
        "Accelerator request %(uuid)s still holds an attach handle that is "
        "being cleaned on host."
    )


class OtherImageInUse(Conflict):
    template = _(
        "Deployable %(uuid)s runs another image for a bound accelerator "
        "request."
    )


class AgentDown(Conflict):
    template = _(
        "The agent of host %(host)s is down, and the request needs work on "
        "that host."
    )


class QuotaExceeded(Forbidden):
    template = _(
        "Quota exceeded for %(resource)s: limit %(limit)s, in use %(used)s, "
        "asked for %(asked)s."
    )


# -- programming


class NotProgrammable(Conflict):
    template = _("Deployable %(uuid)s cannot be programmed: %(reason)s.")


class NotUpdatable(Conflict):
    template = _("Device %(uuid)s takes no firmware: %(reason)s.")


class DeployableInUse(Conflict):
    template = _("Deployable %(uuid)s is in use by accelerator requests.")


class ProgrammingFailed(CyborgException):
    template = _("Programming deployable %(uuid)s failed: %(reason)s.")


class AgentNotResponding(ServiceUnavailable):
    template = _(
        "The agent of host %(host)s did not answer in time; the work goes "
        "on if it was started."
    )


class AgentFailed(CyborgException):
    template = _("The agent of host %(host)s failed: %(reason)s")


# -- images


class ImageNotFound(NotFound):
    template = _("No image %(image)s.")


class ImageNotAuthorized(Forbidden):
    template = _("Not allowed to read image %(image)s.")


class ImageBadRequest(Invalid):
    template = _("The image service refused image id %(image)s.")


class ImageUnacceptable(Conflict):
    template = _("Image %(image)s cannot be used: %(reason)s.")


class GlanceConnectionFailed(ServiceUnavailable):
    template = _("The image service at %(server)s does not answer: %(reason)s")


# -- peers


class ConductorUnavailable(ServiceUnavailable):
    template = _("No conductor answered in time; try again.")


class PlacementUnavailable(ServiceUnavailable):
    template = _("Placement does not answer: %(reason)s")


class PlacementStale(Conflict):
    """Somebody else changed what was about to be written."""

    template = _("Resource provider %(rp_uuid)s was changed meanwhile.")


class PlacementConflict(Conflict):
    template = _("Placement refused %(operation)s: %(reason)s")


class PlacementError(ServiceUnavailable):
    template = _(
        "Placement answered %(operation)s with %(status)s: %(reason)s"
    )


class PlacementResourceProviderNotFound(NotFound):
    template = _(
        "Placement has no resource provider named %(names)s: set [agent] "
        "resource_provider_name to the hypervisor hostname that "
        "nova-compute uses on this host, and see that nova-compute runs."
    )


class NovaUnavailable(ServiceUnavailable):
    template = _("Nova does not answer: %(reason)s")


class ServerNotFound(NotFound):
    template = _("Nova knows no server %(uuid)s.")


class KeystoneUnavailable(ServiceUnavailable):
    template = _("Keystone does not tell the limits: %(reason)s")


class PeerTooOld(ServiceUnavailable):
    template = _(
        "The %(peer)s does not know RPC %(method)s: it is of an earlier "
        "release, or [upgrade_levels] says so."
    )


# -- agent and drivers


class InvalidDriver(ConfigInvalid):
    template = _(
        "[agent] enabled_drivers names %(name)s, which is not installed; "
        "known drivers: %(known)s."
    )


class InvalidUUID(Invalid):
    template = _("%(uuid)s is not a UUID.")


class InvalidType(Invalid):
    template = _("Control path type %(actual)s is not %(expected)s.")


class AttachHandleUUIDNeeded(Invalid):
    template = _("An mdev needs the UUID of its attach handle.")


class DriverError(CyborgException):
    template = _("%(reason)s")


class CommandFailed(DriverError):
    template = _("%(command)s failed with %(code)s: %(stderr)s")


class Overtaken(Conflict):
    template = _(
        "Work %(sequence)s on %(subject)s comes too late: %(latest)s was "
        "done since."
    )


class UnsupportedOperation(Conflict):
    template = _("The driver %(driver)s cannot %(operation)s.")


class PciDeviceNotFoundById(NotFound):
    template = _("No PCI device %(id)s.")


class HardwareFailed(DriverError):
    """A card says of itself that it must not be used."""


class InvalidvGPUConfig(ConfigInvalid):
    template = _("The vGPU configuration is not valid: %(reason)s")


class InvalidVGPUType(ConfigInvalid):
    template = _("The card does not offer the vGPU type %(name)s.")


class PciConfigInvalidWhitelist(ConfigInvalid):
    template = _("[pci] passthrough_whitelist is not valid: %(reason)s")


class PciDeviceWrongAddressFormat(ConfigInvalid):
    template = _("The PCI address %(address)s has an invalid format.")


class PciDeviceInvalidDeviceName(ConfigInvalid):
    template = _(
        "An entry of [pci] passthrough_whitelist has both devname and "
        "address; give one."
    )


# -- database


class DatabaseUnavailable(ServiceUnavailable):
    template = _("The database does not answer, or refuses: %(reason)s")


class SchemaRefused(CyborgException):
    template = _("%(reason)s")
