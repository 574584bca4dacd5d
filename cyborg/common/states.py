"""States of an accelerator request (ARQ) and the moves between them."""

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

# An instance whose ARQs are all in these states has nothing to wait for.
RESOLVED = (ARQState.BOUND, ARQState.BIND_FAILED, ARQState.DELETING)
