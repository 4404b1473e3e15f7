"""Each thing is told once, and that it is over where that has a word."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from confsync.flow.announce import Announcer, ended
from confsync.flow.passed import Pass
from confsync.flow.report import status_of
from confsync.flow.transact import Outcome
from confsync.model.errors import (
    DeadlinePassed,
    Denied,
    HostBusy,
    HostRefused,
    NotVerified,
    PlanRefused,
    Stopping,
    Unreachable,
    Violation,
    WindowLost,
)
from confsync.model.machine import State
from confsync.model.snapshot import Head, Phase, Snapshot
from confsync.model.status import RECONCILE_RESULTS, Event
from tests.flow.test_report import AHEAD, DRIFTED, REVISION, SCENE, WHOLE
from tests.flow.toy import Recorder

QUIET = {"reconcile.done"}


class Told:
    """An announcer with what it said of each pass."""

    def __init__(self) -> None:
        self.reporter = Recorder()
        self.announcer = Announcer(self.reporter)
        self.news(WHOLE)

    def news(self, found: Pass, paused: str = "") -> list[Event]:
        self.reporter.events.clear()
        self.announcer.tell(found, status_of(replace(SCENE, paused=paused), found), 0.5)
        return [event for event in self.reporter.events if event.type not in QUIET]

    def words(self, found: Pass, paused: str = "") -> list[str]:
        return [str(event.type) for event in self.news(found, paused)]

    @property
    def result(self) -> str:
        return next(str(e.fields["result"]) for e in self.reporter.events if e.type in QUIET)


VIOLATED = replace(WHOLE, violations=(Violation("CS-S01", ("toy",), "no"),))
GUARDED = replace(AHEAD, refusals=(PlanRefused("all_sessions", "toy", "every one"),))
CUT = replace(WHOLE, fault=Unreachable("no route"))


@pytest.mark.parametrize(
    ("found", "paused", "begins", "ends"),
    [
        (CUT, "", ["consul.lost"], ["consul.restored"]),
        (WHOLE, "INC-1", ["freeze.set", "state.changed"], ["freeze.lifted", "state.changed"]),
        (DRIFTED, "", ["drift.found", "state.changed"], ["drift.cleared", "state.changed"]),
        (VIOLATED, "", ["validation.rejected", "state.changed"], ["state.changed"]),
        (GUARDED, "", ["guard.blocked", "state.changed"], ["state.changed"]),
        (
            replace(WHOLE, plan=None, failure=HostRefused("line 3")),
            "",
            ["apply.refused", "state.changed"],
            ["state.changed"],
        ),
    ],
    ids=["source", "pause", "drift", "violation", "guard", "refusal"],
)
def test_a_thing_is_told_when_it_begins_and_once(
    found: Pass, paused: str, begins: list[str], ends: list[str]
) -> None:
    told = Told()
    assert begins == told.words(found, paused)
    assert [] == told.words(found, paused)
    assert ends == told.words(WHOLE)
    assert begins == told.words(found, paused), "and told again when it comes back"


def test_a_source_that_is_away_in_other_words_is_the_same_news() -> None:
    told = Told()
    assert ["consul.lost"] == told.words(replace(WHOLE, fault=Unreachable("timed out at 3.1 s")))
    assert [] == told.words(replace(WHOLE, fault=Unreachable("timed out at 3.2 s")))
    assert "consul.lost" in told.words(replace(WHOLE, fault=Denied("403")))


def test_a_poll_that_finds_what_was_known_is_silent() -> None:
    told = Told()
    assert [] == told.words(WHOLE)
    assert "unchanged" == told.result


def test_a_change_is_seen_once() -> None:
    told = Told()
    newer = replace(WHOLE, snapshot=Snapshot((), Head(Phase.COMPLETE, 5)))
    assert [{"change": "5"}] == [event.fields for event in told.news(newer)]
    assert [] == told.news(newer)


def test_a_violation_says_how_many_and_which_first() -> None:
    faults = (Violation("CS-D01", ("toy",), "torn"), Violation("CS-S01", ("toy",), "no"))
    news = Told().news(replace(WHOLE, violations=faults))
    fields = news[0].fields
    assert ("syntax", 2) == (fields["reason"], fields["errors"])
    assert str(faults[0]) == fields["first"]
    assert "schema" == Told().news(VIOLATED)[0].fields["reason"]


@pytest.mark.parametrize(
    ("rule", "guard"),
    [("mass_removal", "mass_delete"), ("all_sessions", "peer_loss"), ("vanished", "vanished")],
)
def test_a_guard_is_told_in_the_words_of_the_metrics(rule: str, guard: str) -> None:
    news = Told().news(replace(AHEAD, refusals=(PlanRefused(rule, "toy", "no"),)))
    assert guard == news[0].fields["guard"]


@pytest.mark.parametrize(
    ("found", "result"),
    [
        (WHOLE, "unchanged"),
        (AHEAD, "held"),
        (VIOLATED, "rejected"),
        (GUARDED, "rejected"),
        (replace(AHEAD, quarantined="x"), "rejected"),
        (replace(AHEAD, failure=HostBusy("x")), "failed"),
        (replace(AHEAD, outcome=Outcome(State.COMMITTED, REVISION)), "applied"),
        (replace(AHEAD, outcome=Outcome(State.ROLLED_BACK, REVISION)), "failed"),
    ],
)
def test_every_pass_has_a_result(found: Pass, result: str) -> None:
    told = Told()
    told.news(found)
    assert result == told.result
    assert result in RECONCILE_RESULTS


@pytest.mark.parametrize(
    ("cause", "word"),
    [
        (NotVerified("x"), "verify"),
        (WindowLost("x"), "verify"),
        (DeadlinePassed("x"), "timeout"),
        (Stopping("x"), "operator"),
        (HostRefused("x"), "error"),
        (KeyError("x"), "error"),
        (None, "error"),
    ],
)
def test_a_rollback_says_what_caused_it(cause: Exception | None, word: str) -> None:
    event = ended(Outcome(State.ROLLED_BACK, REVISION, "why", cause), took_s=1.0)
    assert ("apply.rolled_back", word, "why") == (
        event.type,
        event.fields["cause"],
        event.fields["reason"],
    )


def test_every_end_of_a_transaction_is_told_each_time() -> None:
    told = Told()
    failed = replace(AHEAD, outcome=Outcome(State.ROLLED_BACK, REVISION, "x"))
    assert ["apply.rolled_back", "state.changed"] == told.words(failed)
    assert ["apply.rolled_back"] == told.words(failed)


def test_a_commit_says_how_long_its_change_was_under_way() -> None:
    at = (datetime.now(UTC) - timedelta(seconds=30)).isoformat()
    done = replace(AHEAD, outcome=Outcome(State.COMMITTED, REVISION))
    published = replace(done, snapshot=Snapshot((), Head(Phase.COMPLETE, 5, at=at)))
    fields = next(e.fields for e in Told().news(published) if e.type == "apply.committed")
    assert 30 == pytest.approx(fields["propagation_s"], abs=5)
    for head in (None, Head(Phase.COMPLETE, 5), Head(Phase.COMPLETE, 5, at="soon")):
        news = Told().news(replace(done, snapshot=Snapshot((), head)))
        assert "propagation_s" not in next(e.fields for e in news if e.type == "apply.committed")
