"""Every plan prefix x every outcome of the next call, then recovery, itself interrupted.

The invariant is the product's promise: after one recovery that is let through, the host is
exactly old or exactly new, and the journal says which.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from confsync.flow.recover import recover
from confsync.flow.transact import Outcome, transact
from confsync.model.errors import ConfsyncError
from confsync.model.machine import State
from tests.flow.model_host import (
    CRASHES,
    NEW,
    OLD,
    Crash,
    Faults,
    ModelHost,
    Strike,
    plan_of,
    process,
    room_of,
    target_of,
)

TARGETS = [("bird",), ("lvm", "bird"), ("lvm/a", "lvm/b", "bird"), ("lvm", "bird", "felix")]


async def run(host: ModelHost, path: Path, faults: Faults) -> Outcome | Crash | ConfsyncError:
    """Run one transaction in one process; return how it ended."""
    plan = plan_of(tuple(host.runs))
    async with process(path) as journal:
        try:
            return await transact(
                plan, target_of(plan), room_of(host, journal, faults), way_home=None
            )
        except (Crash, ConfsyncError) as end:
            return end


async def restart(host: ModelHost, path: Path, faults: Faults) -> Outcome | Crash | None:
    """Run one recovery in one process."""
    async with process(path) as journal:
        try:
            return await recover(room_of(host, journal, faults))
        except Crash as end:
            return end


async def calls_of(targets: tuple[str, ...], path: Path) -> list[str]:
    """Return the calls of an undisturbed transaction."""
    faults = Faults()
    outcome = await run(ModelHost(targets), path, faults)
    assert isinstance(outcome, Outcome)
    assert outcome.state is State.COMMITTED
    return faults.calls


async def assert_whole(host: ModelHost, path: Path) -> None:
    """Let one recovery through (resumed if halted), then look at host and journal."""
    async with process(path) as journal:
        await journal.resume()
    await restart(host, path, Faults())
    async with process(path) as journal:
        assert await journal.open_txn() is None
        applied = await journal.applied()
        pivoted = applied is not None
    assert host.states == {NEW if pivoted else OLD}


@pytest.mark.parametrize("targets", TARGETS, ids="+".join)
@pytest.mark.parametrize("strike", Strike)
async def test_every_prefix_ends_old_or_new(
    targets: tuple[str, ...], strike: Strike, tmp_path: Path
) -> None:
    calls = await calls_of(targets, tmp_path / "count")
    for at in range(len(calls)):
        if calls[at].startswith("journal.") and strike not in CRASHES:
            continue
        host, path = ModelHost(targets), tmp_path / f"journal-{at}"
        await run(host, path, Faults(at, strike))
        await assert_whole(host, path)


@pytest.mark.parametrize("targets", TARGETS, ids="+".join)
@pytest.mark.parametrize("again", Strike)
async def test_recovery_may_be_struck_at_every_call(
    targets: tuple[str, ...], again: Strike, tmp_path: Path
) -> None:
    calls = await calls_of(targets, tmp_path / "count")
    for at in range(len(calls)):
        for second in range(3 * len(targets) + 3):
            host, path = ModelHost(targets), tmp_path / f"journal-{at}-{second}"
            assert isinstance(await run(host, path, Faults(at, Strike.CRASH_AFTER)), Crash)
            faults = Faults(second, again)
            with contextlib.suppress(ConfsyncError):
                await restart(host, path, faults)
            await assert_whole(host, path)
            if len(faults.calls) <= second:
                break


@pytest.mark.parametrize("targets", TARGETS, ids="+".join)
async def test_a_way_back_that_fails_halts_and_a_resume_ends_it(
    targets: tuple[str, ...], tmp_path: Path
) -> None:
    calls = await calls_of(targets, tmp_path / "count")
    last_apply = max(i for i, call in enumerate(calls) if call.endswith(".apply"))
    host, path = ModelHost(targets), tmp_path / "journal"
    assert isinstance(await run(host, path, Faults(last_apply, Strike.CRASH_AFTER)), Crash)

    outcome = await restart(host, path, Faults(0, Strike.REFUSED))
    assert isinstance(outcome, Outcome)
    assert outcome.state is State.HALTED

    untouched = dict(host.runs)
    faults = Faults()
    outcome = await restart(host, path, faults)
    assert isinstance(outcome, Outcome)
    assert outcome.state is State.HALTED
    assert faults.calls == [], "a halted host is not written to"
    assert untouched == host.runs
    await assert_whole(host, path)
    assert host.states == {OLD}


async def test_storage_comes_before_routing_and_is_made_final_after_it(tmp_path: Path) -> None:
    calls = await calls_of(("lvm/a", "lvm/b", "bird"), tmp_path / "count")
    acts = [call for call in calls if call.endswith((".apply", ".commit"))]
    assert ["lvm.apply", "lvm.apply", "bird.apply"] == acts[:3]
    assert ["bird.commit", "lvm.commit", "lvm.commit"] == acts[3:]


async def test_past_the_pivot_the_way_is_forward(tmp_path: Path) -> None:
    calls = await calls_of(("bird", "lvm"), tmp_path / "count")
    pivot = calls.index("journal.enter")
    for at in range(pivot, len(calls)):
        host, path = ModelHost(("bird", "lvm")), tmp_path / f"journal-{at}"
        assert isinstance(await run(host, path, Faults(at, Strike.CRASH_AFTER)), Crash)
        await assert_whole(host, path)
        assert host.states == {NEW}


async def test_a_crash_is_held_against_the_revision_only_after_three_tries(
    tmp_path: Path,
) -> None:
    host, path = ModelHost(("bird",)), tmp_path / "journal"
    apply = (await calls_of(("bird",), tmp_path / "count")).index("bird.apply")
    for tries in (1, 2, 3):
        await run(host, path, Faults(apply, Strike.CRASH_AFTER))
        await restart(host, path, Faults())
        async with process(path) as journal:
            known = await journal.quarantined(plan_of(("bird",)).revision)
        assert known is not None
        assert (known.tries, known.final) == (tries, tries == 3)


async def test_what_the_host_refuses_is_quarantined_at_once(tmp_path: Path) -> None:
    host, path = ModelHost(("bird",)), tmp_path / "journal"
    apply = (await calls_of(("bird",), tmp_path / "count")).index("bird.apply")
    outcome = await run(host, path, Faults(apply, Strike.REFUSED))
    assert isinstance(outcome, Outcome)
    assert outcome.state is State.ROLLED_BACK
    async with process(path) as journal:
        known = await journal.quarantined(plan_of(("bird",)).revision)
    assert known is not None
    assert known.final
