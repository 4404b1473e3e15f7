"""Drift, repair with back off, and a host that two write to: in virtual time, over a toy host."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from confsync.flow.passed import Pass
from confsync.flow.report import Scene, status_of
from confsync.model import limits
from confsync.model.ids import NodeId, RoleId, SiteId
from confsync.model.section import Ownership
from confsync.model.status import AgentState, SourceStatus
from tests.flow.clock import virtual
from tests.flow.toy import DRIVER, World, world

PUPPET = "puppet (uid 0) wrote it at 03:04:05, line 7 differs"


def rules_of(found: Pass) -> list[str]:
    return [f"{refusal.rule}:{refusal.place}" for refusal in found.refusals]


def state_of(found: Pass) -> tuple[AgentState, str]:
    scene = Scene(NodeId("n1"), SiteId("bgo"), RoleId(""), SourceStatus("toy"), "now")
    status = status_of(scene, found)
    return status.state, status.reason


def rewrite(w: World, **texts: str) -> None:
    """Another hand writes the file and lets it be used."""
    w.box.edit(**texts)
    w.box.ownership, w.box.hand, w.box.problem = Ownership.EDITED, PUPPET, "it was edited"


def ours_again(verb: str, w: World) -> None:
    if verb == "commit":
        w.box.ownership, w.box.hand, w.box.problem = Ownership.OWNED, "", ""


def repairing(w: World) -> None:
    w.repair = frozenset({DRIVER})
    w.box.hook = lambda verb: ours_again(verb, w)
    w.restart()


async def due(w: World) -> Pass:
    """Look as the agent's timer does."""
    found = await w.reconciler.once(at_once=False)
    return await w.reconciler.remember(found)


@virtual
async def test_drift_is_repaired_without_a_name_where_that_is_set(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        repairing(w)
        await w.settled(a="1")
        w.box.edit(a="hand")
        found = await due(w)
        assert found.outcome is not None
        assert {"a": "1"} == w.box.runs


@virtual
async def test_repairs_come_ever_later_and_at_once_again_after_a_good_time(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        repairing(w)
        await w.settled(a="1")
        waited = []
        for _ in range(limits.REPAIR_DOUBLINGS + 4):
            w.box.edit(a="hand")
            found = await due(w)
            waited.append(found.again_s or 0.0)
            if found.again_s:
                assert AgentState.DRIFTED is state_of(found)[0]
                assert "before it is repaired once more" in state_of(found)[1]
                assert {"a": "hand"} == w.box.runs
                await asyncio.sleep(found.again_s)
                found = await due(w)
            assert found.outcome is not None
        longest = limits.REPAIR_WAIT_S * 2**limits.REPAIR_DOUBLINGS
        doubled = [limits.REPAIR_WAIT_S * 2**n for n in range(limits.REPAIR_DOUBLINGS + 1)]
        assert [0.0, *doubled, longest, longest] == pytest.approx(waited)
        await asyncio.sleep(limits.REPAIR_GOOD_S)
        assert (await due(w)).in_sync
        w.box.edit(a="hand")
        assert (await due(w)).outcome is not None


@virtual
async def test_a_file_that_is_rewritten_twice_is_contended_and_left_alone(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        repairing(w)
        await w.settled(a="1")
        rewrite(w, a="puppet")
        assert (await due(w)).outcome is not None
        rewrite(w, a="puppet")
        await asyncio.sleep(limits.REPAIR_WAIT_S)
        found = await due(w)
        assert {"a": "puppet"} == w.box.runs
        assert ["contended:box"] == rules_of(found)
        state, reason = state_of(found)
        assert AgentState.DRIFTED is state
        assert PUPPET in reason
        assert "confsync agent retry" in reason
        await asyncio.sleep(limits.CONTENDED_S)
        assert ["contended:box"] == rules_of(await due(w)), "time alone does not end it"


@pytest.mark.parametrize("how", ["retry", "allowance"])
@virtual
async def test_an_operator_ends_a_dispute(how: str, tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        repairing(w)
        await w.settled(a="1")
        for _ in range(2):
            rewrite(w, a="puppet")
            await w.once()
        assert {"a": "puppet"} == w.box.runs
        if how == "retry":
            w.reconciler.forgive()
            found = await due(w)
        else:
            found = await w.once("contended:box")
        assert found.outcome is not None
        assert {"a": "1"} == w.box.runs
        rewrite(w, a="puppet")
        assert (await w.once()).outcome is not None, "counted anew"


@virtual
async def test_a_retry_in_the_middle_of_a_transaction_does_it_no_harm(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.settled(a="1")
        w.push(2, a="2")
        w.box.hook = lambda verb: w.reconciler.forgive() if verb == "apply" else None
        found = await due(w)
        assert found.outcome is not None
        assert {"a": "2"} == w.box.runs


@virtual
async def test_a_contended_host_takes_no_new_revision_either(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        repairing(w)
        await w.settled(a="1")
        for _ in range(2):
            rewrite(w, a="puppet")
            await w.once()
        w.push(2, a="2")
        found = await due(w)
        assert ["contended:box"] == rules_of(found)
        assert AgentState.REJECTED is state_of(found)[0]
        assert {"a": "puppet"} == w.box.runs


@virtual
async def test_a_repair_that_failed_is_no_rewrite_by_another_hand(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        repairing(w)
        await w.settled(a="1")
        rewrite(w, a="puppet")
        w.box.faults["apply"] = [OSError("busy")]
        assert {"a": "puppet"} == w.box.runs
        assert (await due(w)).outcome is not None
        found = await due(w)
        assert [] == rules_of(found)
        assert 0 < (found.again_s or 0) <= limits.REPAIR_WAIT_S


@virtual
async def test_a_paused_host_is_not_repaired(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        repairing(w)
        await w.settled(a="1")
        await w.journal.pause("INC-1")
        w.box.edit(a="hand")
        found = await due(w)
        assert ("INC-1", {"a": "hand"}) == (found.held, w.box.runs)


@virtual
async def test_a_file_of_another_maker_in_place_of_ours_is_drift(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.settled(a="1")
        w.box.edit(a="puppet")
        w.box.ownership, w.box.problem = Ownership.FOREIGN, "not ours"
        found = await due(w)
        assert ["drift:box"] == rules_of(found)
        state, reason = state_of(found)
        assert AgentState.DRIFTED is state
        assert "replaced by another hand: not ours" in reason
        assert {"a": "puppet"} == w.box.runs


@virtual
async def test_what_runs_right_but_was_edited_is_drift_too(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.settled(a="1")
        w.box.ownership, w.box.problem = Ownership.EDITED, "an included file is gone"
        found = await due(w)
        assert found.in_sync
        assert (AgentState.DRIFTED, "an included file is gone") == state_of(found)
