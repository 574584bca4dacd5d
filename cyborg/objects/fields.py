"""Field types that oslo.versionedobjects does not have."""

from typing import Any

from oslo_utils import versionutils
from oslo_versionedobjects import exception as ovo_exception
from oslo_versionedobjects import fields

from cyborg.common import constants
from cyborg.common import states

# The API and the wire take this for a list of flat maps.
ListOfDictOfNullableStringsField = fields.ListOfDictOfNullableStringsField


class ARQState(fields.Enum):
    """A state of an ARQ.

    The name of the class and the order of the values are those of earlier
    releases: both are part of the fingerprint.
    """

    def __init__(self) -> None:
        super().__init__(
            valid_values=(
                states.ARQState.INITIAL.value,
                states.ARQState.BIND_STARTED.value,
                states.ARQState.BOUND.value,
                states.ARQState.UNBOUND.value,
                states.ARQState.BIND_FAILED.value,
                states.ARQState.UNBIND_FAILED.value,
                states.ARQState.DELETING.value,
            )
        )


class ARQStateField(fields.BaseEnumField):
    """Holds a state of an ARQ."""

    AUTO_TYPE = ARQState()


class OpenEnum(fields.Enum):
    """One of some values, or one that only a later release knows.

    A report is not lost for one word in it: whoever reads the value says
    what becomes of it.
    """

    def coerce(self, obj: Any, attr: str, value: Any) -> str:
        return str(fields.String().coerce(obj, attr, value))


class _DeviceType(OpenEnum):
    def __init__(self) -> None:
        super().__init__(tuple(str(t) for t in constants.DeviceType))


class _DeviceState(OpenEnum):
    def __init__(self) -> None:
        super().__init__(tuple(str(s) for s in states.DeviceState))


class DeviceTypeField(fields.BaseEnumField):
    """Holds the type of a device."""

    AUTO_TYPE = _DeviceType()


class DeviceStateField(fields.BaseEnumField):
    """Holds the state of a device."""

    AUTO_TYPE = _DeviceState()


def refuse_newer(
    name: str, version: str, field: str, value: str, since: dict[str, str]
) -> None:
    """Refuse to write a value into a version that had no word for it.

    :param since: version of the object in which a value came
    :raises ObjectActionError: as released versions do
    """
    wanted = versionutils.convert_version_to_tuple(version)
    if wanted < versionutils.convert_version_to_tuple(since.get(value, "0.0")):
        raise ovo_exception.ObjectActionError(
            action="obj_make_compatible",
            reason=f"{field}={value} not supported in {name} version "
            f"{version}",
        )
