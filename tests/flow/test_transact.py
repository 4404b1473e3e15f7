"""One transaction: the order of its calls, its patience, and both ways out."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from confsync.flow.transact import Outcome, Room, transact
from confsync.host.journal import SqliteJournal
from confsync.model import limits
from confsync.model.errors import (
    ConfsyncError,
    HostBusy,
    HostRefused,
    JournalLost,
    NotVerified,
    RollbackFailed,
    Stopping,
    WindowLost,
)
from confsync.model.ids import DriverName
from confsync.model.machine import State
from confsync.model.plan import Plan, Step
from confsync.ports import Judgement, Position, Verdict
from tests.flow.clock import now_s, virtual
from tests.flow.model_host import (
    NEW,
    OLD,
    Faults,
    FaultyJournal,
    ModelDriver,
    ModelHost,
    plan_of,
    target_of,
)
from tests.flow.toy import Recorder

OK, WAIT = Judgement(Verdict.OK), Judgement(Verdict.WAIT, "rr1 is down")
ORDER = (
    "lvm.check",
    "bird.check",
    "lvm health.sample",
    "bird health.sample",
    "journal.begin",
    "lvm.checkpoint",
    "journal.save",
    "lvm.apply",
    "bird.checkpoint",
    "journal.save",
    "bird.apply",
    "lvm health.sample",
    "bird health.sample",
    "home.sample",
    "journal.enter",
    "bird.commit",
    "lvm.commit",
    "journal.close",
)


class Raising(Faults):
    """Raises, at each call of a name, the next of its faults; None = let it pass."""

    def __init__(self, **raised: Sequence[BaseException | None]) -> None:
        super().__init__()
        self.raised = {name.replace("_", "."): list(faults) for name, faults in raised.items()}

    async def around(self, name: str, call: Any) -> Any:
        self.calls.append(name)
        waiting = self.raised.get(name)
        fault = waiting.pop(0) if waiting else None
        if fault is not None:
            raise fault
        return await call()


class Script:
    """A probe that says one judgement a sample, the last one for ever."""

    def __init__(self, name: str, faults: Faults, *says: Judgement) -> None:
        self.name = name
        self._faults = faults
        self._says = list(says)

    async def sample(self) -> Any:
        async def seen() -> str:
            return "seen"

        return await self._faults.around(f"{self.name}.sample", seen)

    def judge(self, baseline: Any, seen: Any) -> Judgement:
        return self._says.pop(0) if len(self._says) > 1 else self._says[0]


class Probed(ModelDriver):
    """A model driver whose health is a script."""

    says: tuple[Judgement, ...] = (OK,)
    stands: Position | None = None

    def probes(self, step: Step) -> Any:
        return (Script(f"{self.name} health", self._faults, *self.says),)

    async def position(self, step: Step, saved: Any) -> Position:
        return self.stands or await super().position(step, saved)


class Stage:
    """A host with drivers `lvm` and `bird`, and one transaction to be run on it."""

    def __init__(self, path: Path, faults: Faults | None = None) -> None:
        self.host = ModelHost(("lvm", "bird"))
        self.faults = faults or Faults()
        self.real = SqliteJournal(path)
        self.journal: Any = FaultyJournal(self.real, self.faults)
        self.lvm = Probed("lvm", self.host, self.faults)
        self.bird = Probed("bird", self.host, self.faults)
        self.home = Script("home", self.faults, OK)
        self.reporter = Recorder()
        drivers = {DriverName(d.name): d for d in (self.lvm, self.bird)}
        self.beats = 0
        self.room = Room(drivers, self.journal, self.reporter, self._beat)

    def _beat(self) -> None:
        self.beats += 1

    async def run(self, *, verify_s: float = 3.0, hold_s: float = 0.0) -> Outcome:
        plan = plan_of(("lvm", "bird"))
        steps = tuple(replace(s, verify_s=verify_s, hold_s=hold_s) for s in plan.steps)
        plan = Plan(plan.revision, steps)
        return await transact(plan, target_of(plan), self.room, way_home=self.home)


@contextlib.asynccontextmanager
async def stage(path: Path, faults: Faults | None = None) -> AsyncIterator[Stage]:
    made = Stage(path / "journal", faults)
    try:
        yield made
    finally:
        await made.real.aclose()


@virtual
async def test_the_order_of_calls_is_the_promise(tmp_path: Path) -> None:
    async with stage(tmp_path) as s:
        outcome = await s.run()
    assert State.COMMITTED is outcome.state
    first, rest = s.faults.calls[:4], s.faults.calls[4:]
    assert set(ORDER[:4]) == set(first), "looked at beside each other, before anything is written"
    assert list(ORDER[4:]) == rest
    assert {NEW} == s.host.states


@virtual
async def test_every_act_and_phase_is_told_and_beats(tmp_path: Path) -> None:
    async with stage(tmp_path, Raising(bird_apply=[HostRefused("no")])) as s:
        await s.run()
    acts = [e.fields for e in s.reporter.events if e.type == "step.done"]
    assert [
        ("lvm", "apply", "ok"),
        ("bird", "apply", "failed"),
        ("bird", "undo", "ok"),
        ("lvm", "undo", "ok"),
    ] == [(a["driver"], a["op"], a["result"]) for a in acts]
    phases = [e.fields["phase"] for e in s.reporter.events if e.type == "transaction.phase"]
    assert ["apply", "rollback"] == phases
    assert len(acts) + len(("lvm.check", "bird.check")) == s.beats


@virtual
async def test_an_act_that_takes_long_goes_on_beating(tmp_path: Path) -> None:
    async with stage(tmp_path) as s:

        async def slow(step: Step, saved: Any, revert_after_s: float) -> None:
            await asyncio.sleep(100)
            s.host.runs[step.target] = NEW

        s.lvm.apply = slow  # type: ignore[method-assign]
        outcome = await s.run()
    assert State.COMMITTED is outcome.state
    assert s.beats > 100 / limits.WATCHDOG_FEED_S


@pytest.mark.parametrize("call", ["lvm.check", "bird.check", "bird health.sample", "journal.begin"])
@virtual
async def test_what_fails_before_the_first_step_is_raised_and_nothing_was_done(
    call: str, tmp_path: Path
) -> None:
    faults = Raising()
    faults.raised[call] = [HostBusy("no")]
    async with stage(tmp_path, faults) as s:
        with pytest.raises(HostBusy):
            await s.run()
        assert await s.real.open_txn() is None
    assert {OLD} == s.host.states
    assert not {"lvm.checkpoint", "journal.save", "lvm.apply"} & set(faults.calls)


@virtual
async def test_a_step_that_fails_is_undone_too_and_the_newest_first(tmp_path: Path) -> None:
    fault = HostRefused("line 3")
    async with stage(tmp_path, Raising(bird_apply=[fault])) as s:
        outcome = await s.run()
        known = await s.real.quarantined(outcome.revision)
    assert Outcome(State.ROLLED_BACK, outcome.revision, "line 3", fault) == outcome
    assert ["bird.undo", "lvm.undo", "journal.close"] == s.faults.calls[-3:]
    assert {OLD} == s.host.states
    assert known is not None
    assert known.final


@virtual
async def test_a_step_without_a_durable_checkpoint_is_neither_done_nor_undone(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path, Raising(bird_checkpoint=[HostBusy("lock")])) as s:
        outcome = await s.run()
    assert State.ROLLED_BACK is outcome.state
    assert ["lvm.undo", "journal.close"] == s.faults.calls[-2:]
    assert "bird.apply" not in s.faults.calls


@virtual
async def test_the_first_error_is_the_one_that_is_reported(tmp_path: Path) -> None:
    faults = Raising(bird_apply=[HostRefused("line 3")], lvm_undo=[RollbackFailed("also this")])
    async with stage(tmp_path, faults) as s:
        outcome = await s.run()
        found = await s.real.open_txn()
    assert State.HALTED is outcome.state
    assert "line 3; the way back failed: also this" == outcome.reason
    assert found is not None
    assert (State.HALTED, outcome.reason) == (found.state, found.reason)


@virtual
async def test_a_host_that_does_not_stand_where_it_stood_halts(tmp_path: Path) -> None:
    async with stage(tmp_path, Raising(bird_apply=[HostRefused("line 3")])) as s:
        s.lvm.stands = Position.MIXED
        outcome = await s.run()
    assert State.HALTED is outcome.state
    assert "lvm should be old, the host says mixed" in outcome.reason


# --- verify


@virtual
async def test_what_stays_unhealthy_is_rolled_back_at_the_deadline_with_its_reason(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as s:
        s.bird.says = (WAIT,)
        outcome = await s.run(verify_s=7.0)
    assert (State.ROLLED_BACK, "rr1 is down") == (outcome.state, outcome.reason)
    assert isinstance(outcome.cause, NotVerified)
    assert 7.0 == pytest.approx(now_s(), abs=limits.SAMPLE_EVERY_S)
    assert {OLD} == s.host.states
    assert "home.sample" not in s.faults.calls
    assert s.beats > 7, "the watchdog is fed while we wait"


@virtual
async def test_a_late_recovery_is_waited_for(tmp_path: Path) -> None:
    async with stage(tmp_path) as s:
        s.lvm.says = (*[WAIT] * 10, OK)
        outcome = await s.run(verify_s=7.0)
    assert State.COMMITTED is outcome.state
    assert 2.0 == pytest.approx(now_s(), abs=limits.SAMPLE_EVERY_S)


@virtual
async def test_health_must_last_without_a_break(tmp_path: Path) -> None:
    async with stage(tmp_path) as s:
        s.lvm.says = (*[OK] * 4, WAIT, *[OK] * 4, WAIT, OK)
        outcome = await s.run(verify_s=5.0, hold_s=1.0)
    assert State.COMMITTED is outcome.state
    assert 3.0 == pytest.approx(now_s(), abs=limits.SAMPLE_EVERY_S)


@virtual
async def test_what_flaps_for_ever_is_not_verified(tmp_path: Path) -> None:
    async with stage(tmp_path) as s:
        s.lvm.says = tuple([OK, OK, WAIT] * 40)
        outcome = await s.run(verify_s=5.0, hold_s=1.0)
    assert (State.ROLLED_BACK, "rr1 is down") == (outcome.state, outcome.reason)
    assert 5.0 == pytest.approx(now_s(), abs=1.0)


@virtual
async def test_health_that_came_just_in_time_gets_its_hold(tmp_path: Path) -> None:
    async with stage(tmp_path) as s:
        s.lvm.says = (*[WAIT] * 14, OK)
        outcome = await s.run(verify_s=3.0, hold_s=2.0)
    assert State.COMMITTED is outcome.state
    assert 4.8 == pytest.approx(now_s(), abs=limits.SAMPLE_EVERY_S)


@pytest.mark.parametrize(
    ("verdict", "error", "final"),
    [(Verdict.LOST, WindowLost, False), (Verdict.FAILED, NotVerified, True)],
)
@virtual
async def test_what_waiting_cannot_mend_is_not_waited_for(
    verdict: Verdict, error: type[ConfsyncError], final: bool, tmp_path: Path
) -> None:
    async with stage(tmp_path) as s:
        s.bird.says = (WAIT, Judgement(verdict, "another hand"))
        outcome = await s.run(verify_s=60.0)
        known = await s.real.quarantined(outcome.revision)
    assert isinstance(outcome.cause, error)
    assert (State.ROLLED_BACK, "another hand") == (outcome.state, outcome.reason)
    assert now_s() < 1
    assert known is not None
    assert final == known.final


@virtual
async def test_a_probe_that_sees_nothing_is_waited_for(tmp_path: Path) -> None:
    faults = Raising()
    faults.raised["lvm health.sample"] = [None, HostBusy("socket"), HostBusy("socket")]
    async with stage(tmp_path, faults) as s:
        outcome = await s.run()
    assert State.COMMITTED is outcome.state
    assert 2 * limits.SAMPLE_EVERY_S == pytest.approx(now_s())


@virtual
async def test_a_probe_that_never_sees_anything_is_not_verified(tmp_path: Path) -> None:
    faults = Raising()
    faults.raised["lvm health.sample"] = [None, *[HostBusy("socket")] * 100]
    async with stage(tmp_path, faults) as s:
        outcome = await s.run()
    assert (State.ROLLED_BACK, "socket") == (outcome.state, outcome.reason)


@pytest.mark.parametrize("verdict", [Verdict.FAILED, Verdict.WAIT, Verdict.LOST])
@virtual
async def test_a_host_that_cannot_reach_the_source_any_more_goes_back(
    verdict: Verdict, tmp_path: Path
) -> None:
    async with stage(tmp_path) as s:
        s.home = Script("home", s.faults, Judgement(verdict, "no route"))
        outcome = await s.run()
    assert (State.ROLLED_BACK, "no route") == (outcome.state, outcome.reason)
    assert {OLD} == s.host.states
    assert s.faults.calls.index("home.sample") > max(
        i for i, call in enumerate(s.faults.calls) if call == "bird health.sample"
    )


@virtual
async def test_a_way_home_that_raises_goes_back(tmp_path: Path) -> None:
    async with stage(tmp_path, Raising(home_sample=[HostBusy("no socket")])) as s:
        outcome = await s.run()
    assert (State.ROLLED_BACK, "no socket") == (outcome.state, outcome.reason)


# --- stopping


class StopsAt(Faults):
    """Asks the agent to end at the first call of a name."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.room: Room | None = None

    async def around(self, name: str, call: Any) -> Any:
        if name == self.name and self.room is not None:
            self.room.stopping.set()
        return await super().around(name, call)


@pytest.mark.parametrize(
    ("at", "last"),
    [
        ("lvm.apply", ["lvm.undo", "journal.close"]),
        ("bird.apply", ["bird.undo", "lvm.undo", "journal.close"]),
    ],
)
@virtual
async def test_stopping_is_honoured_between_steps(at: str, last: list[str], tmp_path: Path) -> None:
    faults = StopsAt(at)
    async with stage(tmp_path, faults) as s:
        faults.room = s.room
        outcome = await s.run()
    assert isinstance(outcome.cause, Stopping)
    assert last == faults.calls[-len(last) :]
    assert {OLD} == s.host.states


@virtual
async def test_stopping_is_honoured_while_health_is_waited_for(tmp_path: Path) -> None:
    async with stage(tmp_path) as s:
        s.lvm.says = (WAIT,)
        samples = 0

        def beat() -> None:
            nonlocal samples
            samples += 1
            if samples == 6:
                s.room.stopping.set()

        s.room = replace(s.room, beat=beat)
        outcome = await s.run(verify_s=60)
    assert isinstance(outcome.cause, Stopping)
    assert now_s() < 2
    assert {OLD} == s.host.states


@virtual
async def test_an_agent_that_is_ending_begins_nothing(tmp_path: Path) -> None:
    async with stage(tmp_path) as s:
        s.room.stopping.set()
        with pytest.raises(Stopping):
            await s.run()
    assert "journal.begin" not in s.faults.calls
    assert {OLD} == s.host.states


@pytest.mark.parametrize("at", ["journal.enter", "lvm.commit"])
@virtual
async def test_past_the_pivot_stopping_waits(at: str, tmp_path: Path) -> None:
    faults = StopsAt(at)
    async with stage(tmp_path, faults) as s:
        faults.room = s.room
        outcome = await s.run()
    assert State.COMMITTED is outcome.state
    assert {NEW} == s.host.states


# --- forward


@virtual
async def test_a_commit_that_fails_is_tried_again(tmp_path: Path) -> None:
    tries = [HostBusy("no answer")] * (limits.COMMIT_TRIES - 1)
    async with stage(tmp_path, Raising(lvm_commit=tries)) as s:
        outcome = await s.run()
    assert State.COMMITTED is outcome.state
    assert limits.COMMIT_TRIES == s.faults.calls.count("lvm.commit")
    assert {NEW} == s.host.states


@virtual
async def test_a_commit_that_never_succeeds_halts_and_does_not_go_back(tmp_path: Path) -> None:
    tries = [HostBusy("no answer")] * limits.COMMIT_TRIES
    async with stage(tmp_path, Raising(lvm_commit=tries)) as s:
        outcome = await s.run()
        found = await s.real.open_txn()
        assert await s.real.applied() is None
    assert (State.HALTED, "committing failed: no answer") == (outcome.state, outcome.reason)
    assert found is not None
    assert (State.HALTED, True) == (found.state, found.pivoted)
    assert not [call for call in s.faults.calls if call.endswith(".undo")]


@virtual
async def test_a_commit_that_the_host_does_not_show_halts(tmp_path: Path) -> None:
    async with stage(tmp_path) as s:
        s.bird.stands = Position.OLD
        outcome = await s.run()
        assert await s.real.applied() is None
    assert State.HALTED is outcome.state
    assert "bird should be new, the host says old" in outcome.reason


# --- a journal that is lost


@pytest.mark.parametrize("call", ["journal.save", "journal.enter", "journal.close"])
@virtual
async def test_a_lost_journal_touches_nothing_more(call: str, tmp_path: Path) -> None:
    faults = Raising()
    faults.raised[call] = [None, JournalLost("fsync")] if call == "journal.save" else []
    faults.raised[call] = faults.raised[call] or [JournalLost("fsync")]
    async with stage(tmp_path, faults) as s:
        with pytest.raises(JournalLost):
            await s.run()
    assert call == faults.calls[-1], "nothing after it, least of all an undo"


@virtual
async def test_a_journal_lost_while_halting_is_raised(tmp_path: Path) -> None:
    faults = Raising(
        bird_apply=[HostRefused("x")],
        lvm_undo=[RollbackFailed("y")],
        journal_enter=[JournalLost("fsync")],
    )
    async with stage(tmp_path, faults) as s:
        with pytest.raises(JournalLost):
            await s.run()
