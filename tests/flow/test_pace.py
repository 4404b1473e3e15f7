"""When a change that users notice is carried out, and on which host: in virtual time."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from confsync.flow.pace import Pace, share
from confsync.model.ids import Digest, digest
from confsync.model.plan import Impact
from tests.flow.clock import virtual
from tests.flow.test_drift import due, rules_of, state_of
from tests.flow.toy import World, world

REVISION = Digest("ab" * 32)


def test_the_wait_is_stable_and_spread_over_the_nodes() -> None:
    waits = [Pace(f"n{i}", 30.0).wait_s(REVISION, 100.0) for i in range(200)]
    assert waits == [Pace(f"n{i}", 30.0).wait_s(REVISION, 500.0) for i in range(200)]
    assert 0.0 <= min(waits) < 3.0
    assert 27.0 < max(waits) < 30.0
    assert 12.0 < sum(waits) / len(waits) < 18.0


def test_another_revision_waits_otherwise() -> None:
    assert share("n1", REVISION) != share("n1", digest(b"another"))


def test_a_second_look_does_not_put_it_off() -> None:
    pace = Pace("n1", 30.0)
    first = pace.wait_s(REVISION, 100.0)
    assert first - 1 == pytest.approx(pace.wait_s(REVISION, 101.0))
    assert 0.0 == pace.wait_s(REVISION, 131.0)


def paced(w: World, impact: Impact = Impact.SESSION_RESET) -> None:
    w.splay_s = 30.0
    w.box.impact = impact
    w.restart()


@virtual
async def test_a_change_that_users_notice_waits_and_is_shown(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.settled(a="1")
        paced(w)
        w.push(2, a="2")
        found = await w.reconciler.when_woken()
        assert found is not None
        assert found.again_s is not None
        assert ("pending", f"waits {found.again_s:.0f} s (splay)") == state_of(found)
        await asyncio.sleep(found.again_s - 0.1)
        assert (await due(w)).again_s == pytest.approx(0.1)
        assert {"a": "1"} == w.box.runs
        await asyncio.sleep(0.11)
        assert (await due(w)).outcome is not None
        assert {"a": "2"} == w.box.runs


@virtual
async def test_a_hitless_change_and_an_operator_do_not_wait(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.settled(a="1")
        paced(w, Impact.HITLESS)
        w.push(2, a="2")
        assert (await due(w)).outcome is not None
        paced(w)
        w.push(3, a="3")
        assert (await due(w)).again_s is not None
        assert (await w.once()).outcome is not None
        assert {"a": "3"} == w.box.runs


# --- who this host is


@virtual
async def test_a_host_that_is_said_to_be_another_waits_for_a_confirmation(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.names = {"node": "n1", "role": "compute"}
        w.restart()
        await w.settled(a="1")
        assert (await w.once()).in_sync
        w.names = {"node": "n1", "role": "nat"}
        w.restart()
        w.push(2, a="2", allow=("identity:role",))
        found = await due(w)
        assert ["identity:role"] == rules_of(found), "a change for the fleet does not confirm it"
        state, reason = state_of(found)
        assert "rejected" == state
        assert "role compute" in reason
        assert "nat" in reason
        assert "--allow identity:role" in reason
        assert {"a": "1"} == w.box.runs
        assert (await w.once("identity:role")).outcome is not None
        w.restart()
        w.push(3, a="3")
        assert (await due(w)).outcome is not None, "it is confirmed for good"


@virtual
async def test_a_host_that_was_never_configured_may_still_change_its_names(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.names = {"node": "n1", "role": "compte"}
        w.source.leave()
        w.restart()
        await w.once()
        w.source.come_back()
        w.names = {"node": "n1", "role": "compute"}
        w.restart()
        await w.settled(a="1")
        assert {"a": "1"} == w.box.runs
