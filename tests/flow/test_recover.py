"""What a start does with what it finds: nothing, back, forward, or hands off."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from confsync.flow.recover import recover
from confsync.flow.transact import Outcome, transact
from confsync.host.journal import SqliteJournal
from confsync.model.errors import JournalTooNew
from confsync.model.ids import DriverName
from confsync.model.machine import State
from tests.flow.model_host import (
    NEW,
    OLD,
    Crash,
    Faults,
    ModelDriver,
    ModelHost,
    Strike,
    plan_of,
    room_of,
    target_of,
)

TARGETS = ("lvm", "bird")


@contextlib.asynccontextmanager
async def process(tmp_path: Path) -> AsyncIterator[SqliteJournal]:
    journal = SqliteJournal(tmp_path / "journal")
    try:
        yield journal
    finally:
        await journal.aclose()


async def killed(host: ModelHost, tmp_path: Path, call: str, nth: int = 0) -> None:
    """Kill the agent right after the n-th call of a name."""
    plan = plan_of(TARGETS)
    faults = Faults()
    async with process(tmp_path / "counted") as journal:
        await transact(
            plan, target_of(plan), room_of(ModelHost(TARGETS), journal, faults), way_home=None
        )
    at = [i for i, name in enumerate(faults.calls) if name == call][nth]
    async with process(tmp_path) as journal:
        room = room_of(host, journal, Faults(at, Strike.CRASH_AFTER))
        with pytest.raises(Crash):
            await transact(plan, target_of(plan), room, way_home=None)


async def recovered(host: ModelHost, tmp_path: Path) -> tuple[Outcome | None, list[str]]:
    faults = Faults()
    async with process(tmp_path) as journal:
        outcome = await recover(room_of(host, journal, faults))
    return outcome, faults.calls


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path) -> None:
    (tmp_path / "counted").mkdir()


async def test_nothing_open_is_nothing_to_do(tmp_path: Path) -> None:
    assert (None, []) == await recovered(ModelHost(TARGETS), tmp_path)


async def test_only_steps_with_a_checkpoint_are_undone_newest_first(tmp_path: Path) -> None:
    host = ModelHost(TARGETS)
    await killed(host, tmp_path, "bird.apply")
    outcome, calls = await recovered(host, tmp_path)
    assert outcome is not None
    assert State.ROLLED_BACK is outcome.state
    assert ["bird.undo", "lvm.undo", "journal.close"] == calls
    assert {OLD} == host.states
    assert (None, []) == await recovered(host, tmp_path), "and that was all"


async def test_before_the_first_checkpoint_nothing_is_undone(tmp_path: Path) -> None:
    host = ModelHost(TARGETS)
    await killed(host, tmp_path, "lvm.checkpoint")
    _, calls = await recovered(host, tmp_path)
    assert not [call for call in calls if call.startswith(("lvm", "bird"))]
    assert {OLD} == host.states


async def test_from_the_pivot_on_commits_are_finished_the_last_driver_first(tmp_path: Path) -> None:
    host = ModelHost(TARGETS)
    await killed(host, tmp_path, "journal.enter")
    outcome, calls = await recovered(host, tmp_path)
    assert outcome is not None
    assert State.COMMITTED is outcome.state
    assert ["bird.commit", "lvm.commit", "journal.close"] == calls
    assert {NEW} == host.states
    async with process(tmp_path) as journal:
        assert target_of(plan_of(TARGETS)) == await journal.applied()


async def test_a_halted_transaction_is_not_touched(tmp_path: Path) -> None:
    host = ModelHost(TARGETS)
    await killed(host, tmp_path, "bird.apply")
    async with process(tmp_path) as journal:
        found = await journal.open_txn()
        assert found is not None
        await journal.enter(found.txn, State.HALTED, "look at it")
    outcome, calls = await recovered(host, tmp_path)
    assert Outcome(State.HALTED, plan_of(TARGETS).revision, "look at it") == outcome
    assert [] == calls


async def test_an_interruption_is_the_reason_and_not_yet_a_verdict(tmp_path: Path) -> None:
    host = ModelHost(TARGETS)
    await killed(host, tmp_path, "lvm.apply")
    outcome, _ = await recovered(host, tmp_path)
    assert outcome is not None
    assert "the agent ended in the middle of the transaction" == outcome.reason
    async with process(tmp_path) as journal:
        known = await journal.quarantined(outcome.revision)
    assert known is not None
    assert (1, False) == (known.tries, known.final)


async def test_a_driver_that_we_do_not_have_is_a_newer_journal_and_nothing_is_done(
    tmp_path: Path,
) -> None:
    host, faults = ModelHost(TARGETS), Faults()
    await killed(host, tmp_path, "bird.apply")
    async with process(tmp_path) as journal:
        room = room_of(host, journal, faults)
        room.drivers.pop(DriverName("bird"))  # type: ignore[attr-defined]
        with pytest.raises(JournalTooNew, match="driver bird"):
            await recover(room)
    assert [] == faults.calls


async def test_a_codec_that_we_do_not_have_stops_recovery_before_its_first_act(
    tmp_path: Path,
) -> None:
    class Older(ModelDriver):
        def decode(self, record: object) -> None:  # type: ignore[override]
            raise JournalTooNew("version 9")

    host, faults = ModelHost(TARGETS), Faults()
    await killed(host, tmp_path, "bird.apply")
    async with process(tmp_path) as journal:
        room = room_of(host, journal, faults)
        room.drivers[DriverName("bird")] = Older("bird", host, faults)  # type: ignore[index]
        with pytest.raises(JournalTooNew, match="version 9"):
            await recover(room)
        assert await journal.open_txn() is not None
    assert [] == faults.calls
