"""What is worth telling of a pass: the difference to the one before, as events.

Separate because a log line, a metric and a message are all made of the same event, and because
nothing may be told twice: a poll that finds what was known is silent.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from confsync.flow.passed import Pass
from confsync.flow.transact import Outcome
from confsync.model.errors import DeadlinePassed, NotVerified, Stopping, WindowLost
from confsync.model.ids import Json
from confsync.model.machine import State
from confsync.model.status import Event, EventType, Status
from confsync.ports import Reporter

_ENDED: Final = {
    State.COMMITTED: EventType.APPLY_COMMITTED,
    State.ROLLED_BACK: EventType.APPLY_ROLLED_BACK,
    State.HALTED: EventType.APPLY_HALTED,
}


SYNTAX: Final = "CS-D"
_GUARDS: Final = {"mass_removal": "mass_delete", "all_sessions": "peer_loss"}
_OVER: Final = {
    EventType.CONSUL_LOST: EventType.CONSUL_RESTORED,
    EventType.DRIFT_FOUND: EventType.DRIFT_CLEARED,
    EventType.FREEZE_SET: EventType.FREEZE_LIFTED,
}


class Announcer:
    """Tells each thing once, and that it is over where that has a word."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._said: dict[EventType, str] = {}

    def tell(self, found: Pass, status: Status, took_s: float) -> None:
        """Emit what is new in a pass."""
        self._emit(EventType.RECONCILED, result=_result(found), took_s=took_s)
        change = str(status.desired.change) if status.desired else ""
        self._once(EventType.CHANGE_SEEN, change, change=change)
        lost = type(found.fault).__name__ if found.fault else ""
        self._once(EventType.CONSUL_LOST, lost, reason=str(found.fault))
        self._once(EventType.FREEZE_SET, status.frozen_by)
        self._once(EventType.DRIFT_FOUND, "drifted" if found.drifted else "")
        self._once(EventType.APPLY_REFUSED, str(found.failure or ""))
        errors = "\n".join(map(str, found.violations))
        syntax = any(fault.code.startswith(SYNTAX) for fault in found.violations)
        self._once(
            EventType.VALIDATION_REJECTED,
            errors,
            reason="syntax" if syntax else "schema",
            errors=len(found.violations),
            first=errors.partition("\n")[0],
        )
        guards = "\n".join(map(str, found.refusals))
        rule = found.refusals[0].rule if found.refusals else ""
        self._once(EventType.GUARD_BLOCKED, guards, guard=_GUARDS.get(rule, rule))
        if found.outcome is not None:
            self._ended(found, found.outcome, took_s)
        self._once(EventType.STATE_CHANGED, status.state, state=status.state, why=status.reason)

    def _ended(self, found: Pass, outcome: Outcome, took_s: float) -> None:
        fields: dict[str, Json] = {"took_s": round(took_s, 4)}
        if outcome.state is State.COMMITTED and (age_s := _age_s(found)) is not None:
            fields["propagation_s"] = age_s
        self._reporter.emit(ended(outcome, **fields))

    def _once(self, event: EventType, text: str, **fields: Json) -> None:
        before = self._said.get(event, "")
        self._said[event] = text
        if text and text != before:
            self._emit(event, **(fields or {"reason": text}))
        elif before and not text and event in _OVER:
            self._emit(_OVER[event])

    def _emit(self, event: EventType, **fields: Json) -> None:
        self._reporter.emit(Event(event, fields))


def ended(outcome: Outcome, **fields: Json) -> Event:
    """Return the event of a transaction's end."""
    if outcome.state is not State.COMMITTED:
        fields |= {"cause": _cause(outcome.cause), "reason": outcome.reason}
    return Event(_ENDED[outcome.state], {"revision": outcome.revision[:12], **fields})


def _result(found: Pass) -> str:
    if found.outcome is not None:
        return "applied" if found.outcome.state is State.COMMITTED else "failed"
    if found.violations or found.refusals or found.quarantined:
        return "rejected"
    if found.failure is not None:
        return "failed"
    return "unchanged" if found.in_sync else "held"


def _cause(cause: Exception | None) -> str:
    match cause:
        case NotVerified() | WindowLost():
            return "verify"
        case DeadlinePassed():
            return "timeout"
        case Stopping():
            return "operator"
        case _:
            return "error"


def _age_s(found: Pass) -> float | None:
    """Return how long ago the change was published, where its head says so."""
    at = found.snapshot.head.at if found.snapshot and found.snapshot.head else ""
    try:
        return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(at)).total_seconds())
    except (ValueError, TypeError):
        return None
