"""Field types that oslo.versionedobjects does not have."""

from oslo_versionedobjects import fields

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
