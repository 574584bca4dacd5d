"""States of accelerator requests (ARQs) and devices, and the moves between."""

import enum


class ARQState(enum.StrEnum):
    """Where an ARQ stands."""

    INITIAL = "Initial"  # created, asks for nothing yet
    BIND_STARTED = "BindStarted"  # has a handle; work on the host goes on
    BOUND = "Bound"  # the instance may use the handle
    UNBOUND = "Unbound"  # given back; may be bound again
    BIND_FAILED = "BindFailed"  # the host could not prepare the handle
    DELETING = "Deleting"  # goes as soon as the host is cleaned
    UNBIND_FAILED = "UnbindFailed"  # the host refuses to clean the handle


# target: the states it may be reached from. Every move is one UPDATE with
# these sources in its WHERE clause, so of two callers racing one wins.
MAY_BECOME: dict[ARQState, tuple[ARQState, ...]] = {
    ARQState.INITIAL: (),
    ARQState.BIND_STARTED: (ARQState.INITIAL, ARQState.UNBOUND),
    ARQState.BOUND: (
        ARQState.INITIAL,
        ARQState.UNBOUND,
        ARQState.BIND_STARTED,
    ),
    ARQState.BIND_FAILED: (ARQState.BIND_STARTED, ARQState.BOUND),
    ARQState.UNBOUND: (
        ARQState.INITIAL,
        ARQState.BIND_STARTED,
        ARQState.BOUND,
        ARQState.BIND_FAILED,
        ARQState.UNBIND_FAILED,
    ),
    ARQState.DELETING: tuple(
        state for state in ARQState if state is not ARQState.DELETING
    ),
    ARQState.UNBIND_FAILED: (
        ARQState.BIND_STARTED,
        ARQState.BOUND,
        ARQState.BIND_FAILED,
        ARQState.UNBOUND,
        ARQState.DELETING,
    ),
}


class Reason(enum.StrEnum):
    """Why an ARQ has failed, in words that tell nothing of the host."""

    LATE = "The host was not ready in time."
    AWAY = "The host did not answer in time."
    IMAGE = "The image could not be loaded into the device."
    UNPREPARED = "The host could not prepare the device."
    LOST = "The work on the host was lost."
    UNCLEAN = "The host could not clean the device."


# An instance whose ARQs are all in these states has nothing to wait for.
RESOLVED = (ARQState.BOUND, ARQState.BIND_FAILED, ARQState.DELETING)


class DeviceState(enum.StrEnum):
    """Where a device stands between two guests; ``devices.device_state``."""

    AVAILABLE = "available"  # no handle of it is in use
    ALLOCATED = "allocated"  # some handle of it is in use
    PENDING_CLEANING = "pending_cleaning"  # has to be cleaned first
    CLEANING = "cleaning"  # is being cleaned
    ERROR = "error"  # cleaning was given up


# These two follow from the handles; everything else is somebody's decision.
DERIVED = (DeviceState.AVAILABLE, DeviceState.ALLOCATED)
# Nobody is given a handle of a device in one of these.
UNFIT = (
    DeviceState.PENDING_CLEANING,
    DeviceState.CLEANING,
    DeviceState.ERROR,
)

# target: the states it may be reached from, as for ARQs. Where one of DERIVED
# is a source, so is NULL, which earlier releases left.
DEVICE_MAY_BECOME: dict[DeviceState, tuple[DeviceState, ...]] = {
    DeviceState.AVAILABLE: (
        DeviceState.ALLOCATED,
        # Cleaned, or released by an operator.
        DeviceState.PENDING_CLEANING,
        DeviceState.CLEANING,
        DeviceState.ERROR,
    ),
    DeviceState.ALLOCATED: (
        DeviceState.AVAILABLE,
        # Released by an operator while a guest holds a handle of it.
        DeviceState.PENDING_CLEANING,
        DeviceState.CLEANING,
        DeviceState.ERROR,
    ),
    DeviceState.PENDING_CLEANING: (
        DeviceState.AVAILABLE,
        DeviceState.ALLOCATED,
        # Once more: the host was restarted, or an operator asks for it.
        DeviceState.CLEANING,
        DeviceState.ERROR,
    ),
    DeviceState.CLEANING: (DeviceState.PENDING_CLEANING, DeviceState.ERROR),
    DeviceState.ERROR: (
        # One of several handles could not be cleaned.
        DeviceState.AVAILABLE,
        DeviceState.ALLOCATED,
        DeviceState.PENDING_CLEANING,
        DeviceState.CLEANING,
    ),
}

# Nova has an allocation in Placement for a request in one of these.
ALLOCATED = (ARQState.BIND_STARTED, ARQState.BOUND)
