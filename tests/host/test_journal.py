"""The journal: what is written is there, what is damaged is never believed."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest

from confsync.model import limits
from confsync.model.errors import HostBusy, JournalDamaged, JournalLost, JournalTooNew
from confsync.model.ids import Digest, DriverName, digest
from confsync.model.machine import IllegalTransition, State
from confsync.ports import Applied
from tests.flow.model_host import plan_of, target_of
from tests.flow.model_host import process as opened

PLAN = plan_of(("bird", "lvm"))


async def test_an_open_transaction_survives_the_process(tmp_path: Path) -> None:
    async with opened(tmp_path / "j") as journal:
        txn = await journal.begin(PLAN, target_of(PLAN), {"bird": {"up": 2}})
        await journal.save(txn, 0, {"disk": "abc"})
    async with opened(tmp_path / "j") as journal:
        found = await journal.open_txn()
    assert found is not None
    assert found.state is State.APPLYING
    assert not found.pivoted
    assert found.saved == {0: {"disk": "abc"}}
    assert [step["target"] for step in found.steps] == ["bird", "lvm"]


async def test_a_begin_alone_names_no_action_and_leaves_no_trace(tmp_path: Path) -> None:
    async with opened(tmp_path / "j") as journal:
        await journal.begin(PLAN, target_of(PLAN), {})
    async with opened(tmp_path / "j") as journal:
        assert await journal.open_txn() is None


async def test_committing_records_what_is_applied_and_lifts_the_quarantine(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path / "j") as journal:
        await journal.quarantine(PLAN.revision, "busy", final=False)
        txn = await journal.begin(PLAN, target_of(PLAN), {})
        await journal.save(txn, 0, {})
        await journal.enter(txn, State.COMMITTING)
        await journal.close(txn, State.COMMITTED, "", final=False)
        assert await journal.open_txn() is None
        assert await journal.applied() == target_of(PLAN)
        assert await journal.quarantined(PLAN.revision) is None
        last = await journal.last()
    assert last is not None
    assert (last.state, last.steps) == (State.COMMITTED, ("set bird", "set lvm"))


async def test_rolling_back_keeps_what_was_applied(tmp_path: Path) -> None:
    before = Applied(digest(b"before"), 1, {"bgp": "{}"}, {"bgp": {}})
    async with opened(tmp_path / "j") as journal:
        await journal.settle(before)
        txn = await journal.begin(PLAN, target_of(PLAN), {})
        await journal.close(txn, State.ROLLED_BACK, "rr1 not Established", final=True)
        assert await journal.applied() == before
        known = await journal.quarantined(PLAN.revision)
    assert known is not None
    assert (known.reason, known.final) == ("rr1 not Established", True)


async def test_transient_failures_are_final_after_three(tmp_path: Path) -> None:
    async with opened(tmp_path / "j") as journal:
        verdicts = []
        for _ in range(limits.TRANSIENT_TRIES):
            await journal.quarantine(PLAN.revision, "timeout", final=False)
            known = await journal.quarantined(PLAN.revision)
            assert known is not None
            verdicts.append(known.final)
        assert verdicts == [False, False, True]
        await journal.retry()
        assert await journal.quarantined(PLAN.revision) is None


async def test_pause_and_resume_outlive_the_process(tmp_path: Path) -> None:
    async with opened(tmp_path / "j") as journal:
        await journal.pause("INC-4711")
    async with opened(tmp_path / "j") as journal:
        assert await journal.paused() == "INC-4711"
        await journal.resume()
        assert await journal.paused() is None


async def test_an_illegal_transition_is_refused_and_leaves_no_row(tmp_path: Path) -> None:
    async with opened(tmp_path / "j") as journal:
        txn = await journal.begin(PLAN, target_of(PLAN), {})
        with pytest.raises(IllegalTransition):
            await journal.close(txn, State.COMMITTED, "", final=False)
        found = await journal.open_txn()
    assert found is not None
    assert found.state is State.PREPARED


async def test_a_second_transaction_while_one_is_open_is_refused(tmp_path: Path) -> None:
    async with opened(tmp_path / "j") as journal:
        await journal.begin(PLAN, target_of(PLAN), {})
        with pytest.raises(AssertionError):
            await journal.begin(PLAN, target_of(PLAN), {})


async def test_old_transactions_are_forgotten_and_the_newest_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "HISTORY_KEPT", 3)
    async with opened(tmp_path / "j") as journal:
        for _ in range(8):
            txn = await journal.begin(PLAN, target_of(PLAN), {})
            await journal.close(txn, State.ROLLED_BACK, "x", final=False)
        last = await journal.last()
    assert last is not None
    assert last.txn == 8
    with contextlib.closing(sqlite3.connect(tmp_path / "j")) as db:
        kept = [row[0] for row in db.execute("SELECT DISTINCT txn FROM row ORDER BY txn")]
    assert kept == [5, 6, 7, 8]


async def test_a_newer_format_is_refused_untouched(tmp_path: Path) -> None:
    async with opened(tmp_path / "j") as journal:
        await journal.pause("x")
    with contextlib.closing(sqlite3.connect(tmp_path / "j")) as db:
        db.execute("PRAGMA user_version = 99")
    async with opened(tmp_path / "j") as journal:
        with pytest.raises(JournalTooNew, match="format 99"):
            await journal.open_txn()


async def test_a_full_disk_is_refused_before_anything_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "FREE_DISK_BYTES", 1 << 60)
    async with opened(tmp_path / "j") as journal:
        with pytest.raises(HostBusy, match="bytes free"):
            await journal.begin(PLAN, target_of(PLAN), {})
        assert await journal.open_txn() is None


async def test_a_write_that_fails_ends_the_process(tmp_path: Path) -> None:
    async with opened(tmp_path / "j") as journal:
        await journal.pause("before")
        db = journal._store._db()
        pages = db.execute("PRAGMA page_count").fetchone()[0]
        db.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(JournalLost, match="unknown"):
            await journal.pause("x" * 100_000)


async def filled(path: Path) -> tuple[object, ...]:
    """Write a journal with history and an open transaction; return what it says."""
    async with opened(path) as journal:
        await journal.settle(Applied(digest(b"before"), 1, {}, {}))
        txn = await journal.begin(PLAN, target_of(PLAN), {})
        await journal.save(txn, 0, {"disk": "abc"})
    return await read(path)


async def read(path: Path) -> tuple[object, ...]:
    async with opened(path) as journal:
        revision = Digest(PLAN.revision)
        return (
            await journal.open_txn(),
            await journal.applied(),
            await journal.quarantined(revision),
            await journal.paused(),
            await journal.last(),
        )


async def test_a_flipped_byte_is_harmless_or_damage_but_never_another_story(
    tmp_path: Path,
) -> None:
    path = tmp_path / "j"
    said = await filled(path)
    whole = path.read_bytes()
    damaged = 0
    for at in range(0, len(whole), 19):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        try:
            assert await read(path) == said, f"byte {at} changed the story"
        except (JournalDamaged, JournalTooNew, JournalLost):
            damaged += 1
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
    assert damaged > 0


@pytest.mark.parametrize("content", [b"", b"not a database at all" * 400], ids=["empty", "foreign"])
async def test_a_foreign_file_is_damage_and_an_empty_one_a_beginning(
    content: bytes, tmp_path: Path
) -> None:
    (tmp_path / "j").write_bytes(content)
    async with opened(tmp_path / "j") as journal:
        if content:
            with pytest.raises(JournalDamaged, match="resume --accept"):
                await journal.open_txn()
        else:
            assert await journal.open_txn() is None


async def test_accepting_sets_a_damaged_journal_aside_and_keeps_it(tmp_path: Path) -> None:
    (tmp_path / "j").write_bytes(b"rubbish" * 4000)
    async with opened(tmp_path / "j") as journal:
        await journal.accept()
        assert await journal.open_txn() is None
    assert [p.read_bytes()[:7] for p in tmp_path.glob("j.set-aside-*Z")] == [b"rubbish"]


async def test_accepting_ends_a_halted_transaction_without_touching_the_host(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path / "j") as journal:
        txn = await journal.begin(PLAN, target_of(PLAN), {})
        await journal.enter(txn, State.HALTED, "undo failed")
        await journal.accept()
        assert await journal.open_txn() is None
        assert await journal.applied() is None


async def test_a_newest_row_that_is_gone_is_damage(tmp_path: Path) -> None:
    async with opened(tmp_path / "j") as journal:
        txn = await journal.begin(PLAN, target_of(PLAN), {})
        await journal.save(txn, 0, {})
        await journal.enter(txn, State.COMMITTING)
    with contextlib.closing(sqlite3.connect(tmp_path / "j", isolation_level=None)) as db:
        db.execute("DELETE FROM row WHERE seq = (SELECT max(seq) FROM row)")
    async with opened(tmp_path / "j") as journal:
        with pytest.raises(JournalDamaged, match="newest row"):
            await journal.open_txn()


async def test_an_end_that_is_nobodys_fault_is_no_try(tmp_path: Path) -> None:
    async with opened(tmp_path / "j") as journal:
        txn = await journal.begin(PLAN, target_of(PLAN), {})
        await journal.close(txn, State.ROLLED_BACK, "stopping", final=None)
        assert await journal.quarantined(PLAN.revision) is None


async def test_what_was_adopted_is_kept_by_driver_until_it_is_disowned(tmp_path: Path) -> None:
    record = {"disk": "abc", "names": {"cs_far_ipv4": "upstream"}}
    async with opened(tmp_path / "j") as journal:
        await journal.adopt(DriverName("bird"), record)
        await journal.accept()
    async with opened(tmp_path / "j") as journal:
        assert record == await journal.adopted(DriverName("bird"))
        assert await journal.adopted(DriverName("lvm")) is None
        await journal.disown(DriverName("bird"))
        assert await journal.adopted(DriverName("bird")) is None


async def test_who_the_host_is_survives_the_process_until_it_is_somebody_else(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path / "j") as journal:
        assert await journal.pinned() is None
        await journal.pin({"node": "n1", "role": "nat"})
    async with opened(tmp_path / "j") as journal:
        assert await journal.pinned() == {"node": "n1", "role": "nat"}
        await journal.pin({"node": "n1"})
        assert await journal.pinned() == {"node": "n1"}
