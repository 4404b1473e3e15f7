"""The transaction's machine: exhaustive over its table."""

from itertools import product

import pytest

from confsync.model.machine import (
    CLOSED,
    TRANSITIONS,
    Direction,
    IllegalTransition,
    State,
    advance,
    direction,
)


@pytest.mark.parametrize(("now", "to"), list(product(State, State)))
def test_only_what_the_table_has_is_possible(now, to):
    if to in TRANSITIONS[now]:
        assert to is advance(now, to)
    else:
        with pytest.raises(IllegalTransition, match=f"from {now} to {to}"):
            advance(now, to)


def test_every_state_is_in_the_table_and_every_open_one_can_end():
    assert set(State) == set(TRANSITIONS)
    reach = {state: {state} for state in State}
    for _ in State:
        for state in State:
            reach[state] |= set().union(*(reach[after] for after in TRANSITIONS[state]), set())
    assert all(reach[state] & CLOSED for state in State)


def test_what_ended_stays_ended():
    assert {State.COMMITTED, State.ROLLED_BACK} == set(CLOSED)


def test_there_is_no_way_back_after_the_pivot():
    assert State.ROLLED_BACK not in TRANSITIONS[State.COMMITTING]
    assert State.COMMITTED not in TRANSITIONS[State.APPLYING] | TRANSITIONS[State.PREPARED]


@pytest.mark.parametrize("pivoted", [False, True])
@pytest.mark.parametrize("state", State)
def test_recovery_goes_back_before_the_pivot_and_forward_after(state, pivoted):
    found = direction(state, pivoted=pivoted)
    if state in CLOSED or state is State.HALTED:
        assert Direction.NOWHERE is found
    else:
        assert (Direction.FORWARD if pivoted else Direction.BACK) is found
