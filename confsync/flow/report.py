"""What a pass means: from what was found to the one status record that everybody shows.

Separate because it is the last arrow of the pipeline and decides only words: the state by
precedence, one sentence why, and the command to run next. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from confsync.flow.passed import Pass
from confsync.model import limits
from confsync.model.errors import Denied, HostRefused
from confsync.model.ids import Json, NodeId, RoleId, SiteId
from confsync.model.machine import State
from confsync.model.section import Observed, Ownership
from confsync.model.status import (
    AgentState,
    Circumstances,
    Condition,
    DriverStatus,
    LastTransaction,
    Mark,
    MirrorStatus,
    SiteStatus,
    SourceStatus,
    Status,
    derive,
)
from confsync.ports import LastTxn

DRIFT: Final = "what runs is not what was applied; it is reported, not repaired"
NEXT: Final[Mapping[AgentState, str]] = {
    AgentState.HALTED: "look at the host, then: confsync agent resume",
    AgentState.ROLLED_BACK: "push a corrected change, or try it again: confsync agent retry",
    AgentState.REJECTED: "confsync plan",
    AgentState.STALE: "is the source up, and may we read it?",
    AgentState.DRIFTED: "confsync plan",
    AgentState.FROZEN: "confsync agent resume",
    AgentState.OBSERVING: "confsync plan",
}


@dataclass(frozen=True, slots=True)
class Scene:
    """All that the status is made of, besides what a pass found.

    Shape: `halted` says why (empty = it is not); `last` is the journal's newest outcome; `unheard`
    is why our reports are refused.
    Units: `silent_s` is how long the source has not answered, since our start if it never did.
    """

    node: NodeId
    site: SiteId
    role: RoleId
    source: SourceStatus
    at: str
    silent_s: float = 0.0
    halted: str = ""
    paused: str = ""
    last: LastTxn | None = None
    before: Status | None = None
    mirror: MirrorStatus | None = None
    broker: str | None = None
    site_work: SiteStatus | None = None
    unheard: tuple[str, ...] = ()


def status_of(scene: Scene, found: Pass) -> Status:
    """Return the status; `since` is kept while the state stays the same."""
    state, before = derive(_circumstances(scene, found)), scene.before
    same = before is not None and before.state is state
    reason = _reason(state, scene, found)
    return Status(
        state=state,
        node=scene.node,
        site=scene.site,
        role=scene.role,
        since=before.since if same and before else scene.at,
        source=scene.source,
        reason=reason,
        next=NEXT.get(state, ""),
        desired=_desired(found),
        attempted=_desired(found) if found.outcome or found.quarantined else None,
        applied=_applied(found, before),
        unrecorded=bool(found.reading and found.reading.unrecorded),
        frozen_by=scene.paused,
        conditions=_conditions(state, scene, found, before),
        drivers={name: _driver(seen, found) for name, seen in found.observed.items()},
        held=tuple(
            name for o in found.observed.values() for name in (o.detail or {}).get("held", ())
        ),
        warnings=_warnings(scene, found),
        last_transaction=_last(scene.last),
        mirror=scene.mirror,
        broker=scene.broker,
        site_work=scene.site_work,
    )


def _circumstances(scene: Scene, found: Pass) -> Circumstances:
    rolled_back = scene.last is not None and scene.last.state is State.ROLLED_BACK
    failed = bool(found.outcome and found.outcome.state is State.ROLLED_BACK)
    refused = isinstance(found.failure, HostRefused)
    same = bool(scene.last and found.desired and scene.last.revision == found.desired.revision)
    behind = bool(found.plan and found.plan.steps and not found.outcome)
    return Circumstances(
        halted=bool(scene.halted),
        starting=found.snapshot is None,
        rolled_back=failed or bool(found.quarantined and rolled_back and same),
        rejected=bool(
            found.violations
            or (found.refusals and not found.drifted)
            or refused
            or found.quarantined
        ),
        stale=isinstance(found.fault, Denied) or scene.silent_s > limits.STALE_AFTER_S,
        drifted=found.drifted or (found.failure is not None and found.unchanged),
        frozen=bool(scene.paused),
        observing=bool(found.observing),
        pending=behind
        or found.failure is not None
        or found.again_s is not None
        or found.publishing,
    )


def _reason(state: AgentState, scene: Scene, found: Pass) -> str:
    """Return one sentence: what holds, in the order of what the state is about."""
    if state is AgentState.HALTED:
        return scene.halted
    if state is AgentState.STARTING:
        return "; ".join(map(str, (*found.violations, *filter(None, (found.fault, found.failure)))))
    if state is AgentState.FROZEN:
        return f"paused: {scene.paused}"
    if state is AgentState.STALE:
        return str(found.fault) if found.fault else "no answer from the source"
    if state is AgentState.ROLLED_BACK:
        return found.outcome.reason if found.outcome else found.quarantined
    if state is AgentState.REJECTED:
        return _why_rejected(found)
    if state is AgentState.OBSERVING:
        return f"{', '.join(found.observing)}: not ours; the plan is shown, nothing is written"
    if state is AgentState.DRIFTED:
        stands = found.refusals[0] if found.refusals else _why_edited(found)
        return str(found.failure or found.waits or stands)
    if state is AgentState.PENDING:
        waits = "a change is being published" if found.publishing else "a newer revision was seen"
        return str(found.failure or found.waits or waits)
    return ""


def _why_edited(found: Pass) -> str:
    said = [look.problem for look in found.observed.values() if look.problem]
    return said[0] if said else DRIFT


def _why_rejected(found: Pass) -> str:
    faults = [*map(str, found.violations), *map(str, found.refusals)]
    if found.failure:
        faults.append(str(found.failure))
    if found.quarantined:
        faults.append(found.quarantined)
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return faults[0] + more


def _desired(found: Pass) -> Mark | None:
    if found.desired is None:
        return None
    change = found.snapshot.head.change if found.snapshot and found.snapshot.head else 0
    return Mark(change, found.desired.revision)


def _applied(found: Pass, before: Status | None) -> Mark | None:
    """Return what was committed last; a pass that ended before it looked changed nothing of it."""
    if found.applied is not None:
        return Mark(found.applied.change, found.applied.revision)
    return before.applied if before else None


def _driver(seen: Observed, found: Pass) -> DriverStatus:
    detail: Json = seen.detail or {}
    drift = len(found.plan.differences) if found.drifted and found.plan else 0
    return DriverStatus(
        ownership=seen.ownership,
        problem=seen.problem,
        notes=seen.notes,
        detail=detail.get("protocols"),
        sessions=detail.get("sessions", {}),
        drift=drift,
    )


def _warnings(scene: Scene, found: Pass) -> tuple[str, ...]:
    wanted = found.desired
    late = (one.note for one in wanted.deadlines if one.at <= scene.at) if wanted else ()
    own = wanted.warnings if wanted else ()
    unheard = (f"others are not told how this node is: {why}" for why in scene.unheard)
    return (*own, *late, *(found.plan.warnings if found.plan else ()), *found.warnings, *unheard)


def _conditions(
    state: AgentState, scene: Scene, found: Pass, before: Status | None
) -> tuple[Condition, ...]:
    committed = bool(found.outcome and found.outcome.state is State.COMMITTED)
    verified = found.in_sync or committed
    owned = all(seen.ownership is Ownership.OWNED for seen in found.observed.values())
    said = (
        ("SourceReachable", found.fault is None, str(found.fault) if found.fault else "Answered"),
        ("Valid", not found.violations, "Violations" if found.violations else "Parsed"),
        ("Owned", owned, "Owned" if owned else "SeeDrivers"),
        ("Verified", verified, "ReadBackEqual" if verified else str(state)),
    )
    known = {c.type: c for c in (before.conditions if before else ())}
    return tuple(
        Condition(
            name,
            holds,
            why,
            known[name].at if name in known and known[name].status == holds else scene.at,
        )
        for name, holds, why in said
    )


def _last(last: LastTxn | None) -> LastTransaction | None:
    if last is None:
        return None
    return LastTransaction(
        last.txn, last.state, last.revision, last.at, last.took_ms, last.reason, last.steps
    )
