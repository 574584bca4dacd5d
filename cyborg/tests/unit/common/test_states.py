"""The table of moves between ARQ states."""

from cyborg.common import states

State = states.ARQState


def test_every_state_has_its_sources() -> None:
    assert set(states.MAY_BECOME) == set(State)


def test_the_moves_are_those_that_clients_may_see() -> None:
    moves = {
        (str(source), str(target))
        for target, sources in states.MAY_BECOME.items()
        for source in sources
    }
    # Nothing becomes Initial again, and nothing stays where it cannot leave.
    assert not any(target == "Initial" for _source, target in moves)
    for state in State:
        assert any(source == state for source, _target in moves), state
    assert ("Bound", "UnbindFailed") in moves
    assert ("UnbindFailed", "Unbound") in moves
    assert ("Bound", "Initial") not in moves
    assert ("BindFailed", "Bound") not in moves


def test_what_counts_as_resolved_is_what_nova_takes_for_it() -> None:
    assert {str(state) for state in states.RESOLVED} == {
        "Bound",
        "BindFailed",
        "Deleting",
    }
