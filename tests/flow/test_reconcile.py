"""One pass: what is believed, what is planned, what stops it, and what is remembered."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from confsync.flow.reconcile import Part
from confsync.model.errors import (
    Denied,
    HostBusy,
    HostRefused,
    JournalDamaged,
    JournalLost,
    PlanRefused,
    SchemaViolated,
    SourceError,
    Torn,
    Unreachable,
    Violation,
)
from confsync.model.machine import State
from confsync.model.plan import Step
from confsync.model.section import Observed, Ownership
from confsync.model.snapshot import Head, Phase, Standing, manifest_key
from confsync.ports import Judgement, Verdict
from tests.flow.clock import now_s, virtual
from tests.flow.toy import COMMON, NODE, NODE_LAYER, TOY, WAIT, ToySection, world


def names(refusals: tuple[PlanRefused, ...]) -> list[str]:
    return [f"{refusal.rule}:{refusal.place}" for refusal in refusals]


# --- the straight way


@virtual
async def test_what_is_published_is_carried_out_at_once_and_remembered(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.push(1, a="1")
        found = await w.once()
        assert found.outcome is not None
        assert State.COMMITTED is found.outcome.state
        assert {"a": "1"} == w.box.runs == w.box.disk
        assert found.applied is not None
        assert (1, found.desired and found.desired.revision) == (
            found.applied.change,
            found.applied.revision,
        )
        assert found.applied == await w.journal.applied()
        assert found.snapshot == w.memory.load()
        assert now_s() < 1


@virtual
async def test_a_second_pass_writes_nothing(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.settled(a="1")
        found = await w.once()
        assert found.in_sync
        assert ["observe"] == w.box.calls
        assert found.outcome is None


@virtual
async def test_a_host_that_is_right_already_is_settled_without_a_transaction(
    tmp_path: Path,
) -> None:
    async with world(tmp_path) as w:
        w.box.edit(a="1")
        w.push(3, a="1")
        found = await w.once()
        assert found.in_sync
        assert await w.journal.last() is None
        applied = await w.journal.applied()
        assert applied is not None
        assert 3 == applied.change
        assert found.snapshot == w.memory.load()


@virtual
async def test_a_new_change_of_the_same_content_is_on_record_as_applied(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.settled(a="1")
        w.push(2, a="1")
        await w.once()
        applied = await w.journal.applied()
        assert applied is not None
        assert 2 == applied.change
        assert [] == w.box.written


# --- what is believed


@virtual
async def test_an_invalid_document_leaves_the_host_and_lists_every_fault(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.settled(a="1")
        w.push(2, a=1, b=2, c="fine")
        found = await w.once()
        assert ["a", "b"] == [fault.path[-1] for fault in found.violations]
        assert [] == w.box.written
        assert found.applied == await w.journal.applied() is not None
        kept = w.memory.load()
        assert kept is not None
        assert kept.head is not None
        assert 1 == kept.head.change
        assert "box" in found.observed, "the host is looked at all the same"


@virtual
async def test_drift_is_seen_while_an_invalid_document_waits(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.settled(a="1")
        w.push(2, a=1)
        w.box.edit(a="other")
        found = await w.once()
        assert found.drifted
        assert len(found.violations) == 1
        assert [] == w.box.written


@virtual
async def test_a_broken_rule_is_a_violation_too(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.push(1, a="forbidden")
        found = await w.once()
        assert ["CS-T02"] == [fault.code for fault in found.violations]
        assert found.plan is None


@virtual
async def test_an_invalid_first_document_applies_nothing(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.push(1, a=1)
        found = await w.once()
        assert found.snapshot is not None
        assert found.violations
        assert (None, None) == (found.plan, w.memory.load())


@virtual
async def test_a_document_that_vanished_is_refused_and_lifted_by_name(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.write(COMMON, z="9")
        await w.settled_with_common()
        w.source.delete(COMMON)
        found = await w.once()
        assert [f"vanished:{COMMON}"] == names(found.refusals)
        assert found.snapshot == w.reconciler.known_good
        assert [] == w.box.written
        assert {"a": "1", "z": "9"} == w.box.runs

        found = await w.once(f"vanished:{COMMON}")
        assert found.again_s is not None, "an edit waits for the quiet period"
        await asyncio.sleep(found.again_s)
        await w.once(f"vanished:{COMMON}")
        assert {"a": "1"} == w.box.runs


@virtual
async def test_an_allowance_of_a_head_that_is_not_believed_lifts_nothing(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.write(COMMON, z="9")
        await w.settled_with_common()
        w.source.delete(COMMON)
        w.source.head = Head(Phase.COMPLETE, 1, allow=(f"vanished:{COMMON}", "vanished:*"))
        found = await w.once()
        assert [f"vanished:{COMMON}"] == names(found.refusals)
        assert [] == w.box.written


@virtual
async def test_a_hidden_document_is_a_refusal_by_the_source_not_a_removal(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.settled(a="1")
        w.source.hidden.add(NODE)
        found = await w.once(f"vanished:{NODE}")
        assert isinstance(found.fault, Denied)
        assert NODE in str(found.fault)
        assert found.snapshot == w.reconciler.known_good
        assert found.in_sync
        assert {"a": "1"} == w.box.runs


@virtual
async def test_a_hidden_document_that_was_never_seen_is_noticed_by_its_manifest(
    tmp_path: Path,
) -> None:
    async with world(tmp_path) as w:
        w.write(COMMON, z="9")
        w.push(1, a="1")
        w.source.hidden.add(COMMON)
        await w.once()
        await asyncio.sleep(20)
        found = await w.once()
        assert isinstance(found.fault, Denied)
        assert (None, {}) == (found.snapshot, w.box.runs)


@virtual
async def test_a_first_reading_that_is_filtered_applies_nothing(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.push(1, a="1")
        w.source.hidden |= {NODE, manifest_key(NODE_LAYER)}
        for _ in range(2):
            found = await w.once()
            assert isinstance(found.fault, Denied)
            assert (None, None) == (found.snapshot, found.plan)
            await asyncio.sleep(20)
        assert [] == w.box.calls


@virtual
async def test_a_first_reading_of_layers_that_really_are_empty_is_believed(
    tmp_path: Path,
) -> None:
    async with world(tmp_path) as w:
        w.write(a="1")
        first = await w.once()
        assert first.again_s == 1.0
        await asyncio.sleep(1)
        await w.once()
        assert {"a": "1"} == w.box.runs


@virtual
async def test_half_a_publish_is_not_acted_upon(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.settled(a="1")
        w.write(a="2")
        w.source.head = Head(Phase.PUBLISHING, 2)
        for _ in range(3):
            found = await w.once()
            await asyncio.sleep(60)
        assert found.reading is not None
        assert Standing.PUBLISHING is found.reading.standing
        assert {"a": "1"} == w.box.runs
        w.source.publish(2, "nodes/n1")
        await w.once()
        assert {"a": "2"} == w.box.runs


@virtual
async def test_a_head_that_went_back_is_refused_and_lifted_by_name(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.settled(a="1")
        w.push(5, a="5")
        await w.once()
        w.push(4, a="4")
        found = await w.once()
        assert ["older:head", "older:manifest/common", "older:manifest/nodes/n1"] == names(
            found.refusals
        )
        assert {"a": "5"} == w.box.runs
        await w.once("older:*")
        assert {"a": "4"} == w.box.runs


@virtual
async def test_plain_writes_wait_for_the_quiet_period_and_are_unrecorded(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.settled(a="1")
        w.write(a="2")
        found = await w.once()
        assert 1.0 == found.again_s
        assert [] == w.box.written
        await asyncio.sleep(0.6)
        w.write(a="3")
        found = await w.once()
        assert 1.0 == found.again_s, "a further write begins the silence anew"
        await asyncio.sleep(1.0)
        found = await w.once()
        assert found.reading is not None
        assert found.reading.unrecorded
        assert {"a": "3"} == w.box.runs


@virtual
async def test_a_row_of_writes_without_silence_is_acted_upon_in_the_end(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.settled(a="1")
        for number in range(30):
            w.write(a=f"v{number}")
            if (await w.once()).outcome is not None:
                break
            await asyncio.sleep(0.5)
        assert 10.0 == pytest.approx(now_s(), abs=0.6)


@virtual
async def test_a_change_that_is_taken_back_in_time_is_no_transaction(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.settled(a="1")
        w.write(a="2")
        await w.once()
        w.write(a="1")
        await asyncio.sleep(0.5)
        assert (await w.once()).in_sync
        await asyncio.sleep(20)
        assert (await w.once()).in_sync
        assert [] == w.box.written


@virtual
async def test_a_rejected_plain_write_stays_rejected_and_is_not_seen_as_new_again(
    tmp_path: Path,
) -> None:
    async with world(tmp_path) as w:
        await w.settled(a="1")
        w.write(a=1)
        assert (await w.once()).again_s == 1.0
        await asyncio.sleep(1)
        for _ in range(3):
            found = await w.once()
            assert (1, None) == (len(found.violations), found.again_s)
            await asyncio.sleep(90)


@pytest.mark.parametrize("fault", [Unreachable("no"), Torn("half"), Denied("403")])
@virtual
async def test_a_source_that_fails_leaves_the_host_and_still_finds_drift(
    fault: SourceError, tmp_path: Path
) -> None:
    async with world(tmp_path) as w:
        await w.settled(a="1")
        w.source.fault = fault
        found = await w.once()
        assert (fault, True, False) == (found.fault, found.in_sync, found.drifted)
        w.box.edit(a="other")
        found = await w.once()
        assert (fault, True) == (found.fault, found.drifted)
        assert [] == w.box.written


@virtual
async def test_a_cold_start_without_the_source_knows_what_was_believed(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.settled(a="1")
        w.source.leave()
        w.restart()
        found = await w.once()
        assert isinstance(found.fault, Unreachable)
        assert found.in_sync
        w.box.edit(a="other")
        assert (await w.once()).drifted


@virtual
async def test_memory_that_lies_behind_the_host_does_not_take_it_back(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.settled(a="1")
        w.memory.full = True
        w.push(2, a="2")
        await w.once()
        w.restart()
        w.source.leave()
        found = await w.once()
        assert not found.in_sync
        assert found.applied is not None
        assert 2 == found.applied.change
        assert {"a": "2"} == w.box.runs


# --- what stands against a plan


@virtual
async def test_a_foreign_host_is_only_looked_at(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.box.ownership = Ownership.FOREIGN
        w.push(1, a="1")
        found = await w.once()
        assert (("box",), None) == (found.observing, found.outcome)
        assert found.plan is not None
        assert found.plan.steps, "the plan is shown"
        assert ["observe"] == w.box.calls
        assert (None, None) == (await w.journal.applied(), w.memory.load())


@virtual
async def test_a_new_revision_does_not_overwrite_another_hand_unless_allowed(
    tmp_path: Path,
) -> None:
    async with world(tmp_path) as w:
        await w.settled(a="1")
        w.box.edit(a="hand")
        w.box.ownership, w.box.problem = Ownership.EDITED, "edited after we wrote it"
        w.push(2, a="2")
        found = await w.once("mass_removal:toy.peers")
        assert ["drift:box"] == names(found.refusals)
        assert {"a": "hand"} == w.box.runs
        await w.once("drift:box")
        assert {"a": "2"} == w.box.runs


@virtual
async def test_drift_is_reported_and_repaired_only_by_name(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.settled(a="1")
        w.box.edit(a="hand")
        for allow in ((), ("mass_removal:toy.peers",)):
            found = await w.once(*allow)
            assert found.drifted
            assert ["drift:box"] == names(found.refusals)
            assert [] == w.box.written
        found = await w.once("drift:box")
        assert not found.drifted
        assert {"a": "1"} == w.box.runs


@virtual
async def test_an_allowance_that_is_published_counts_for_its_change_alone(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.settled(a="1")
        w.box.edit(a="hand")
        w.push(2, allow=("drift:box",), a="1")
        await w.once()
        assert {"a": "1"} == w.box.runs, "published with the allowance, so repaired"
        w.box.edit(a="hand again")
        found = await w.once()
        assert ["drift:box"] == names(found.refusals)
        assert {"a": "hand again"} == w.box.runs


@virtual
async def test_a_plain_write_is_not_covered_by_the_head_it_goes_past(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        texts = dict.fromkeys("abcd", "x")
        await w.settled(**texts)
        w.push(2, allow=("mass_removal:*",), **texts)
        w.write(a="x")
        await w.once()
        await asyncio.sleep(1)
        found = await w.once()
        assert ["mass_removal:toy.peers"] == names(found.refusals)
        assert texts == w.box.runs


@virtual
async def test_a_mass_removal_is_refused_and_allowed_by_its_own_head(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.settled(a="1", b="2", c="3", d="4")
        w.push(2, d="4")
        found = await w.once()
        assert ["mass_removal:toy.peers"] == names(found.refusals)
        assert 4 == len(w.box.runs)
        w.push(3, allow=("mass_removal:toy.peers",), d="4")
        await w.once()
        assert {"d": "4"} == w.box.runs


@virtual
async def test_a_section_that_no_document_mentions_any_more_is_refused(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.settled(a="1")
        w.source.delete(NODE)
        w.source.publish(2, "common", "nodes/n1")
        found = await w.once()
        assert ["vanished:toy"] == names(found.refusals)
        assert {"a": "1"} == w.box.runs
        applied = await w.journal.applied()
        assert applied is not None
        assert 1 == applied.change, "what is refused is not on record as applied"


@virtual
async def test_a_paused_host_is_not_written_to(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.journal.pause("INC-4711")
        w.push(1, a="1")
        assert "INC-4711" == (await w.once()).held
        assert [] == w.box.written
        await w.journal.resume()
        await w.once()
        assert {"a": "1"} == w.box.runs


# --- what fails


@virtual
async def test_what_the_daemon_refuses_is_quarantined_before_anything_is_written(
    tmp_path: Path,
) -> None:
    async with world(tmp_path) as w:
        w.box.faults["check"] = [HostRefused("line 3")]
        w.push(1, a="1")
        assert isinstance((await w.once()).failure, HostRefused)
        assert (await w.once()).quarantined == "line 3"
        assert (1, []) == (w.box.calls.count("check"), w.box.written)
        assert (None, None) == (await w.journal.last(), w.memory.load())

        await w.journal.retry()
        await w.once()
        assert {"a": "1"} == w.box.runs


@virtual
async def test_a_new_revision_is_tried_at_once_after_a_quarantine(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.box.faults["check"] = [HostRefused("line 3")]
        w.push(1, a="1")
        await w.once()
        w.push(2, a="2")
        await w.once()
        assert {"a": "2"} == w.box.runs


@virtual
async def test_a_transient_failure_is_tried_three_times(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.push(1, a="1")
        w.box.faults["apply"] = [HostBusy(f"try {number}") for number in (1, 2, 3)]
        for number in (1, 2, 3):
            found = await w.once()
            assert found.outcome is not None
            assert (State.ROLLED_BACK, f"try {number}") == (
                found.outcome.state,
                found.outcome.reason,
            )
        assert "try 3" == (await w.once()).quarantined
        assert {} == w.box.runs == w.box.disk
        assert w.memory.load() is None, "only what was committed is remembered"


@virtual
async def test_what_does_not_verify_is_not_tried_again(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.push(1, a="1")
        w.box.verdicts = [Judgement(Verdict.FAILED, "rr1 is down")]
        await w.once()
        assert "rr1 is down" == (await w.once()).quarantined
        assert ["apply", "undo"] == w.box.written


@virtual
async def test_a_busy_check_is_not_held_against_the_revision(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.push(1, a="1")
        w.box.faults["check"] = [HostBusy("later")] * 5
        for _ in range(5):
            found = await w.once()
            assert isinstance(found.failure, HostBusy)
        assert found.desired is not None
        assert await w.journal.quarantined(found.desired.revision) is None
        await w.once()
        assert {"a": "1"} == w.box.runs


@virtual
async def test_a_daemon_that_is_down_is_a_failure_and_not_an_empty_host(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.settled(a="1")
        w.box.ownership, w.box.problem = Ownership.ABSENT, "nobody answers"
        found = await w.once()
        assert isinstance(found.failure, HostBusy)
        assert (None, "nobody answers") == (found.plan, str(found.failure))
        assert "box" in found.observed
        assert found.applied is not None


@virtual
async def test_facts_that_cannot_be_read_stop_the_pass(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.settled(a="1")
        w.facts.fault = HostBusy("the kernel does not answer")
        assert w.facts.fault is (await w.once()).failure
        assert [] == w.box.written


@virtual
async def test_the_way_home_is_asked_for_only_if_the_source_answered(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.settled(a="1")
        assert 1 == w.source.homes
        w.box.edit(a="hand")
        w.source.leave()
        w.source.home = Judgement(Verdict.FAILED, "cut off")
        found = await w.once("drift:box")
        assert found.outcome is not None
        assert (State.COMMITTED, 1) == (found.outcome.state, w.source.homes)

        w.source.come_back()
        w.push(2, a="2")
        found = await w.once()
        assert found.outcome is not None
        assert (State.ROLLED_BACK, "cut off") == (found.outcome.state, found.outcome.reason)
        assert {"a": "1"} == w.box.runs


LOST, DAMAGED = JournalLost("fsync"), JournalDamaged("row 3")
FAILING = [
    *((LOST, name) for name in ("applied", "paused", "begin", "save", "enter", "close", "settle")),
    *((DAMAGED, name) for name in ("applied", "paused", "begin", "close", "settle")),
]


@pytest.mark.parametrize(("fault", "method"), FAILING)
@virtual
async def test_a_journal_that_fails_ends_the_pass_loudly(
    fault: Exception, method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*args: object, **kwargs: object) -> None:
        raise fault

    async with world(tmp_path) as w:
        w.push(1, a="1")
        if method == "settle":
            w.box.edit(a="1")
        monkeypatch.setattr(w.journal, method, fail)
        with pytest.raises(type(fault)):
            await w.once()
        assert w.memory.load() is None


@virtual
async def test_a_preview_of_a_damaged_journal_is_an_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail() -> None:
        raise JournalDamaged("row 3")

    async with world(tmp_path) as w:
        w.push(1, a="1")
        monkeypatch.setattr(w.journal, "applied", fail)
        assert isinstance((await w.reconciler.preview()).failure, JournalDamaged)


@pytest.mark.parametrize("verb", ["observe", "check", "sample"])
@virtual
async def test_a_programmers_error_ends_the_process_with_nothing_done(
    verb: str, tmp_path: Path
) -> None:
    async with world(tmp_path) as w:
        w.push(1, a="1")
        w.box.faults[verb] = [KeyError("oops")]
        with pytest.raises(KeyError):
            await w.once()
        assert ([], None) == (w.box.written, await w.journal.open_txn())


@virtual
async def test_a_programmers_error_in_a_step_is_undone_like_any_other(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.push(1, a="1")
        w.box.faults["apply"] = [KeyError("oops")]
        found = await w.once()
        assert found.outcome is not None
        assert State.ROLLED_BACK is found.outcome.state
        assert {} == w.box.runs


@virtual
async def test_a_cancelled_pass_finishes_its_transaction(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.push(1, a="1")
        w.box.verdicts = [WAIT] * 5 + [Judgement(Verdict.OK)]
        task = asyncio.ensure_future(w.once())
        while not w.reconciler.applying:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert {"a": "1"} == w.box.disk
        assert await w.journal.open_txn() is None
        assert not w.reconciler.applying


@virtual
async def test_a_memory_that_cannot_be_written_is_told_and_does_not_end_the_agent(
    tmp_path: Path,
) -> None:
    async with world(tmp_path) as w:
        w.memory.full = True
        w.push(1, a="1")
        found = await w.once()
        assert found.outcome is not None
        assert State.COMMITTED is found.outcome.state
        assert "no space left" in found.warnings[0]
        w.memory.full = False
        assert () == (await w.once()).warnings
        assert w.memory.load() is not None


@virtual
async def test_a_driver_that_is_enabled_later_gets_what_was_wanted_all_along(
    tmp_path: Path,
) -> None:
    async with world(tmp_path) as w:
        w.parts.clear()
        w.restart()
        w.push(1, a="1")
        assert (await w.once()).in_sync
        w.parts[TOY] = Part(ToySection(), w.box)
        w.restart()
        found = await w.once()
        assert not found.drifted
        assert {"a": "1"} == w.box.runs


@virtual
async def test_a_tree_that_is_given_is_believed_and_never_mixed_with_what_was(
    tmp_path: Path,
) -> None:
    async with world(tmp_path) as w:
        await w.settled(a="1")
        snapshot = await w.source.snapshot(w.reconciler.layers)
        w.write(a=2)
        bad = await w.source.snapshot(w.reconciler.layers)
        assert (await w.reconciler.preview(snapshot)).in_sync
        found = await w.reconciler.preview(bad)
        assert (1, None, bad) == (len(found.violations), found.plan, found.snapshot)


# --- what a section says of its plan


class Particular(ToySection):
    """Refuses one text on this host, waits for another, and leaves a third alone."""

    def plan(self, want: Any, had: Any, seen: Observed) -> tuple[Step, ...]:
        if want["a"] == "too small":
            raise SchemaViolated((Violation("CS-T03", (TOY, "a"), "is less than there is"),))
        if want["a"] == "in trouble":
            raise HostBusy("a disk is missing")
        return super().plan(want, had, seen)

    def remarks(self, want: Any, had: Any, seen: Observed) -> tuple[str, ...]:
        return (f"{want['a']} is left alone",)


@virtual
async def test_a_plan_that_a_section_refuses_is_told_with_its_document(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.parts[TOY] = Part(Particular(), w.box)
        w.restart()
        w.push(1, a="too small")
        found = await w.once()
        (fault,) = found.violations
        assert (f"scripted:{NODE}", 1) == (fault.where, fault.line)
        assert None is found.plan is found.outcome
        w.push(2, a="in trouble")
        found = await w.once()
        assert ((), "a disk is missing") == (found.violations, str(found.failure))
        assert [] == [call for call in w.box.calls if call != "observe"]


@virtual
async def test_what_a_plan_leaves_alone_stands_beside_it(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.parts[TOY] = Part(Particular(), w.box)
        w.restart()
        w.push(1, a="theirs")
        found = await w.once()
        assert found.plan is not None
        assert ("theirs is left alone",) == found.plan.warnings


@virtual
async def test_what_was_healed_is_told_to_people(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.box.left_over = ("vg/lv was suspended: lvchange --refresh vg/lv",)
        left_over = list(w.box.left_over)
        await w.reconciler.tidy()
        await w.reconciler.tidy()
        told = [one.fields for one in w.reporter.events if one.type == "host.healed"]
        assert [{"driver": "box", "found": left_over}] == told
