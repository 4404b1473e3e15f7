"""The transaction's states and its only transition table.

Separate so that everything that affects the state machine lives in this file; an unknown
transition is an error, never a default.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class State(StrEnum):
    """Where a transaction is. Before COMMITTING the way is back, from COMMITTING on forward.

    Verifying and going back leave no row: APPLYING already implies undo, so that a full disk
    cannot prevent it.
    """

    PREPARED = "prepared"
    APPLYING = "applying"
    COMMITTING = "committing"
    COMMITTED = "committed"
    ROLLED_BACK = "rolled-back"
    HALTED = "halted"
    RESUMED = "resumed"


class Direction(StrEnum):
    """Where recovery takes a transaction that was found open."""

    BACK = "back"
    FORWARD = "forward"
    NOWHERE = "nowhere"


TRANSITIONS: Final[dict[State, frozenset[State]]] = {
    State.PREPARED: frozenset({State.APPLYING, State.ROLLED_BACK, State.HALTED}),
    State.APPLYING: frozenset({State.APPLYING, State.COMMITTING, State.ROLLED_BACK, State.HALTED}),
    State.COMMITTING: frozenset({State.COMMITTED, State.HALTED}),
    State.COMMITTED: frozenset(),
    State.ROLLED_BACK: frozenset(),
    State.HALTED: frozenset({State.RESUMED}),
    State.RESUMED: frozenset({State.ROLLED_BACK, State.COMMITTED, State.HALTED}),
}
CLOSED: Final = frozenset(state for state, after in TRANSITIONS.items() if not after)


class IllegalTransition(AssertionError):
    """A programmer's error: the process must end, the journal makes that safe."""


def advance(now: State, to: State) -> State:
    """Return the next state, or refuse a transition that is not in the table."""
    if to not in TRANSITIONS[now]:
        message = f"a transaction cannot go from {now} to {to}"
        raise IllegalTransition(message)
    return to


def direction(last: State, *, pivoted: bool) -> Direction:
    """Return where recovery takes a transaction: before the pivot back, after it forward.

    `pivoted` tells whether COMMITTING was ever recorded: a resumed one may be on either side.
    """
    if last in CLOSED or last is State.HALTED:
        return Direction.NOWHERE
    return Direction.FORWARD if pivoted else Direction.BACK
