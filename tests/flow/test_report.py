"""What a pass means: one state by precedence, why, and what to do next."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from confsync.flow.passed import Pass
from confsync.flow.report import Scene, status_of
from confsync.flow.transact import Outcome
from confsync.model import limits
from confsync.model.desired import Desired
from confsync.model.errors import (
    Denied,
    HostBusy,
    HostRefused,
    PlanRefused,
    Unreachable,
    Violation,
)
from confsync.model.ids import DriverName, NodeId, RoleId, SiteId, TxnId, digest
from confsync.model.machine import State
from confsync.model.plan import Difference, Impact, Plan, Step
from confsync.model.section import Deadline, Observed, Ownership
from confsync.model.snapshot import Head, Phase, Reading, Snapshot, Standing
from confsync.model.status import AgentState, SourceStatus, Status
from confsync.ports import Applied, LastTxn

NOW, LATER = "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"
BOX = DriverName("box")
REVISION, OTHER = digest(b"r"), digest(b"other")
SNAPSHOT = Snapshot((), Head(Phase.COMPLETE, 4))
READING = Reading(Standing.COMPLETE)
ITEM = Difference("~", "toy.a", "1", "2", Impact.HITLESS)
STEP = Step(BOX, "set", 1, "toy", Impact.HITLESS, "set toy", {}, (ITEM,))
DESIRED = Desired({}, {}, REVISION, {}, ("doubtful",))
SEEN = {BOX: Observed(Ownership.OWNED, {"held": ["cs_x"], "sessions": {"ipv4": {"up": 1}}})}
WHOLE = Pass(
    snapshot=SNAPSHOT,
    reading=READING,
    desired=DESIRED,
    applied=Applied(REVISION, 4, {}, {}),
    observed=SEEN,
    plan=Plan(REVISION, ()),
)
AHEAD = replace(WHOLE, applied=Applied(OTHER, 3, {}, {}), plan=Plan(REVISION, (STEP,)))
DRIFTED = replace(WHOLE, plan=Plan(REVISION, (STEP,)))
SCENE = Scene(
    NodeId("n1"), SiteId("bgo"), RoleId("edge"), SourceStatus("consul", NOW, age_s=1.0), NOW
)
REFUSAL = PlanRefused("mass_removal", "toy", "3 of 4 would go")
FAULTS = (Violation("CS-S01", ("toy", "a"), "no"), Violation("CS-S02", ("toy", "b"), "never"))


def last(state: State, reason: str = "") -> LastTxn:
    return LastTxn(TxnId(7), REVISION, state, reason, NOW, 12, ("set toy",))


def shown(found: Pass, **scene: Any) -> Status:
    return status_of(replace(SCENE, **scene), found)


def ended(state: State, reason: str = "") -> Pass:
    return replace(AHEAD, outcome=Outcome(state, REVISION, reason))


CASES: list[tuple[str, Pass, dict[str, Any], AgentState, str, str]] = [
    ("in sync", WHOLE, {}, AgentState.IN_SYNC, "", ""),
    ("committed", ended(State.COMMITTED), {}, AgentState.IN_SYNC, "", ""),
    ("nothing yet", Pass(), {}, AgentState.STARTING, "", ""),
    ("cut off from the first", Pass(fault=Denied("403")), {}, AgentState.STARTING, "403", ""),
    (
        "a folder that is wrong from the first",
        Pass(violations=FAULTS[:1]),
        {},
        AgentState.STARTING,
        "toy.a: no",
        "",
    ),
    ("halted", WHOLE, {"halted": "undo failed"}, AgentState.HALTED, "undo failed", "agent resume"),
    (
        "rolled back",
        ended(State.ROLLED_BACK, "rr1 is down"),
        {},
        AgentState.ROLLED_BACK,
        "rr1 is down",
        "agent retry",
    ),
    (
        "rolled back before",
        replace(AHEAD, quarantined="rr1 is down"),
        {"last": last(State.ROLLED_BACK)},
        AgentState.ROLLED_BACK,
        "rr1 is down",
        "agent retry",
    ),
    (
        "refused by the daemon before",
        replace(AHEAD, quarantined="line 3"),
        {"last": last(State.COMMITTED)},
        AgentState.REJECTED,
        "line 3",
        "plan",
    ),
    (
        "refused by the daemon now",
        replace(AHEAD, failure=HostRefused("line 3")),
        {},
        AgentState.REJECTED,
        "line 3",
        "plan",
    ),
    (
        "invalid",
        replace(WHOLE, violations=FAULTS),
        {},
        AgentState.REJECTED,
        "(and 1 more)",
        "plan",
    ),
    (
        "guarded",
        replace(AHEAD, refusals=(REFUSAL,)),
        {},
        AgentState.REJECTED,
        "--allow mass_removal:toy",
        "plan",
    ),
    ("denied", replace(WHOLE, fault=Denied("403")), {}, AgentState.STALE, "403", "may we read"),
    (
        "away for a moment",
        replace(WHOLE, fault=Unreachable("no route")),
        {},
        AgentState.IN_SYNC,
        "",
        "",
    ),
    (
        "away for long",
        replace(WHOLE, fault=Unreachable("no route")),
        {"silent_s": limits.STALE_AFTER_S + 1},
        AgentState.STALE,
        "no route",
        "is the source up",
    ),
    ("drifted", DRIFTED, {}, AgentState.DRIFTED, "not what was applied", "plan"),
    (
        "a daemon that is down",
        replace(WHOLE, plan=None, failure=HostBusy("nobody answers")),
        {},
        AgentState.DRIFTED,
        "nobody answers",
        "plan",
    ),
    ("paused", AHEAD, {"paused": "INC-1"}, AgentState.FROZEN, "paused: INC-1", "agent resume"),
    (
        "not ours",
        replace(AHEAD, observing=(BOX,)),
        {},
        AgentState.OBSERVING,
        "box: not ours",
        "plan",
    ),
    (
        "a quiet period",
        replace(WHOLE, again_s=1.0),
        {},
        AgentState.PENDING,
        "a newer revision was seen",
        "",
    ),
    (
        "busy",
        replace(AHEAD, failure=HostBusy("locked")),
        {},
        AgentState.PENDING,
        "locked",
        "",
    ),
]


@pytest.mark.parametrize(
    ("found", "scene", "state", "reason", "then"),
    [case[1:] for case in CASES],
    ids=[case[0] for case in CASES],
)
def test_each_state_says_why_and_what_next(
    found: Pass, scene: dict[str, Any], state: AgentState, reason: str, then: str
) -> None:
    status = shown(found, **scene)
    assert state is status.state
    assert reason in status.reason
    assert bool(reason) == bool(status.reason)
    assert then in status.next
    assert bool(then) == bool(status.next)


WORST_FIRST: list[tuple[AgentState, dict[str, Any], dict[str, Any]]] = [
    (AgentState.HALTED, {}, {"halted": "x"}),
    (AgentState.ROLLED_BACK, {"outcome": Outcome(State.ROLLED_BACK, REVISION, "x")}, {}),
    (AgentState.REJECTED, {"violations": FAULTS}, {}),
    (AgentState.STALE, {"fault": Denied("x")}, {}),
    (AgentState.FROZEN, {}, {"paused": "x"}),
    (AgentState.OBSERVING, {"observing": (BOX,)}, {}),
    (AgentState.PENDING, {"again_s": 1.0}, {}),
]


@pytest.mark.parametrize("worst", range(len(WORST_FIRST)))
def test_of_all_that_holds_the_first_is_shown(worst: int) -> None:
    found: dict[str, Any] = {}
    scene: dict[str, Any] = {}
    for _, more, aside in WORST_FIRST[worst:]:
        found |= more
        scene |= aside
    assert WORST_FIRST[worst][0] is shown(replace(AHEAD, **found), **scene).state


def test_since_is_kept_while_the_state_stays() -> None:
    first = shown(WHOLE)
    same = shown(WHOLE, at=LATER, before=first)
    other = shown(DRIFTED, at=LATER, before=same)
    assert [NOW, NOW, LATER] == [first.since, same.since, other.since]


def test_a_condition_keeps_its_time_until_it_turns() -> None:
    first = shown(WHOLE)
    later = shown(replace(WHOLE, fault=Unreachable("gone")), at=LATER, before=first)
    turned = {one.type: (one.status, one.at) for one in later.conditions}
    assert {
        "SourceReachable": (False, LATER),
        "Valid": (True, NOW),
        "Owned": (True, NOW),
        "Verified": (True, NOW),
    } == turned


@pytest.mark.parametrize(
    ("found", "verified"),
    [
        (WHOLE, True),
        (ended(State.COMMITTED), True),
        (AHEAD, False),
        (DRIFTED, False),
        (ended(State.ROLLED_BACK), False),
        (Pass(), False),
    ],
    ids=["equal", "committed", "ahead", "drifted", "rolled-back", "nothing"],
)
def test_verified_is_said_only_of_what_was_read_back(found: Pass, verified: bool) -> None:
    assert verified == {one.type: one.status for one in shown(found).conditions}["Verified"]


def test_the_marks_say_what_is_wanted_tried_and_applied() -> None:
    status = shown(ended(State.ROLLED_BACK, "x"))
    marks = status.desired, status.attempted, status.applied
    assert [(4, REVISION), (4, REVISION), (3, OTHER)] == [
        (m.change, m.revision) for m in marks if m
    ]
    assert shown(WHOLE).attempted is None


def test_the_drivers_are_shown_with_what_they_found() -> None:
    seen = {BOX: replace(SEEN[BOX], ownership=Ownership.EDITED, problem="by hand", notes=("n",))}
    status = shown(replace(DRIFTED, observed=seen, warnings=("disk",)), last=last(State.COMMITTED))
    driver = status.drivers[BOX]
    assert ("edited", "by hand", ("n",), 1) == (
        driver.ownership,
        driver.problem,
        driver.notes,
        driver.drift,
    )
    assert {"ipv4": {"up": 1}} == driver.sessions
    assert (("cs_x",), ("doubtful", "disk")) == (status.held, status.warnings)
    assert not {one.type: one.status for one in status.conditions}["Owned"]
    assert status.last_transaction is not None
    assert (7, "committed", 12) == (
        status.last_transaction.id,
        status.last_transaction.outcome,
        status.last_transaction.took_ms,
    )


def test_a_plain_write_is_shown_as_unrecorded() -> None:
    assert shown(replace(WHOLE, reading=Reading(Standing.EDITED))).unrecorded
    assert not shown(WHOLE).unrecorded


@pytest.mark.parametrize(
    ("until", "late"), [("2026-01-01T00:00", True), ("2026-01-01T00:00:30", False)]
)
def test_what_should_have_ended_is_a_warning_from_then_on(until, late):
    drained = replace(DESIRED, warnings=(), deadlines=(Deadline(until, "still drained"),))
    status = shown(replace(WHOLE, desired=drained))
    assert (("still drained",) if late else ()) == status.warnings
    later = shown(replace(WHOLE, desired=drained), at=LATER)
    assert ("still drained",) == later.warnings
