"""The journal: what a transaction is about to do, written down before it does it.

Separate because recovery reads only this: a method returns when its commit is on disk, and a
write whose fate is unknown raises JournalLost, which ends the process. Rows are only added; the
state of a transaction is read from its rows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from confsync.host.store import Store
from confsync.model import limits
from confsync.model.errors import HostBusy, JournalDamaged, JournalTooNew
from confsync.model.ids import Digest, DriverName, Json, TxnId
from confsync.model.machine import CLOSED, State, advance
from confsync.model.plan import Plan
from confsync.ports import Applied, Checkpoint, LastTxn, OpenTxn, Quarantine, Sample

T = TypeVar("T")


class SqliteJournal:
    """The journal of one host; whoever opens it for writing holds the host's lock."""

    def __init__(self, path: Path) -> None:
        self._store = Store(path)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal")
        self._begun: tuple[int, State, Json] | None = None
        self._notes: dict[str, Json] = {}

    async def open_txn(self) -> OpenTxn | None:
        return await self._commit(self._open_txn)

    async def begin(self, plan: Plan, target: Applied, baseline: Mapping[str, Sample]) -> TxnId:
        body = {
            "at": now(),
            "revision": plan.revision,
            "plan": plan.digest,
            "steps": [step.as_json() for step in plan.steps],
            "target": asdict(target),
            "baseline": dict(baseline),
        }
        return await self._commit(lambda: self._begin(body))

    async def save(self, txn: TxnId, step: int, saved: Checkpoint) -> None:
        body = {"step": step, "saved": saved}
        await self._commit(lambda: self._enter(txn, State.APPLYING, body))

    async def enter(self, txn: TxnId, state: State, reason: str = "") -> None:
        await self._commit(lambda: self._enter(txn, state, {"reason": reason}))

    async def close(self, txn: TxnId, state: State, reason: str, *, final: bool | None) -> None:
        await self._commit(lambda: self._close(txn, state, reason, final=final))

    async def quarantine(self, revision: Digest, reason: str, *, final: bool) -> None:
        await self._commit(lambda: self._blame(revision, reason, final=final))

    async def quarantined(self, revision: Digest) -> Quarantine | None:
        record = await self._note(f"quarantine/{revision}")
        return Quarantine(**record) if record else None

    async def applied(self) -> Applied | None:
        record = await self._note("applied")
        return Applied(**record) if record else None

    async def settle(self, found: Applied) -> None:
        await self._commit(lambda: self._store.put("applied", asdict(found)))

    async def last(self) -> LastTxn | None:
        record = await self._note("last")
        return LastTxn.read(record) if record else None

    async def adopt(self, driver: DriverName, record: Json) -> None:
        await self._commit(lambda: self._store.put(f"adopted/{driver}", record))

    async def adopted(self, driver: DriverName) -> Json:
        return await self._note(f"adopted/{driver}")

    async def disown(self, driver: DriverName) -> None:
        await self._commit(lambda: self._store.drop(f"adopted/{driver}"))

    async def pin(self, names: Mapping[str, str]) -> None:
        await self._commit(lambda: self._store.put("pinned", dict(names)))

    async def pinned(self) -> Mapping[str, str] | None:
        names: Mapping[str, str] | None = await self._note("pinned")
        return names

    async def pause(self, reason: str) -> None:
        await self._commit(lambda: self._store.put("paused", reason))

    async def paused(self) -> str | None:
        reason: str | None = await self._note("paused")
        return reason

    async def resume(self) -> None:
        await self._commit(self._resume)

    async def retry(self) -> None:
        await self._commit(lambda: self._store.drop("quarantine/*"))

    async def accept(self) -> None:
        """Take the host as it is: forget what is open and applied, or set a damaged file aside."""
        try:
            await self._commit(self._accept)
        except (JournalDamaged, JournalTooNew):
            await self._run(self._store.set_aside)
            self._notes.clear()

    async def aclose(self) -> None:
        """Close the file and end the thread."""
        await self._run(self._store.close)
        self._thread.shutdown()

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def _note(self, name: str) -> Json:
        """Return a note; what was read is right until our own next write, nobody else has one."""
        if name not in self._notes:
            self._notes[name] = await self._commit(lambda: self._store.note(name), reads=True)
        return self._notes[name]

    async def _commit(self, work: Callable[[], T], *, reads: bool = False) -> T:
        def in_one_commit() -> T:
            begun = self._begun
            with self._store.commit():
                if begun is not None:
                    self._store.add(*begun)
                result = work()
            if self._begun is begun:
                self._begun = None
            return result

        result = await self._run(in_one_commit)
        if not reads:
            self._notes.clear()
        return result

    def _state(self, txn: int) -> State:
        return State(self._store.latest(txn)[0])

    def _begin(self, body: Json) -> TxnId:
        if self._store.free_bytes() < limits.FREE_DISK_BYTES:
            message = f"less than {limits.FREE_DISK_BYTES} bytes free for {self._store.path}"
            raise HostBusy(message)
        newest = self._store.newest()
        assert not newest or self._state(newest) in CLOSED, "one transaction at a time"
        self._begun = (newest + 1, State.PREPARED, body)
        return TxnId(newest + 1)

    def _enter(self, txn: int, state: State, body: Json) -> None:
        self._store.add(txn, advance(self._state(txn), state), body)

    def _close(self, txn: int, state: State, reason: str, *, final: bool | None) -> None:
        begun = self._store.rows(txn)[0][1]
        self._store.forget_before(txn - limits.HISTORY_KEPT)
        at = now()
        self._enter(txn, state, {"reason": reason, "at": at})
        if state is State.COMMITTED:
            self._store.put("applied", begun["target"])
            self._store.drop(f"quarantine/{begun['revision']}")
        elif final is not None:
            self._blame(begun["revision"], reason, final=final)
        self._store.put("last", asdict(LastTxn.of(TxnId(txn), begun, state, reason, at)))

    def _blame(self, revision: Digest, reason: str, *, final: bool) -> None:
        known = self._store.note(f"quarantine/{revision}")
        blamed = Quarantine.after(known, revision, reason, final=final)
        self._store.put(f"quarantine/{revision}", asdict(blamed))

    def _open_txn(self) -> OpenTxn | None:
        rows = self._store.rows(self._store.newest())
        if not rows or State(rows[-1][0]) in CLOSED:
            return None
        begun, last = rows[0][1], rows[-1]
        saved = {body["step"]: body["saved"] for _, body in rows if "saved" in body}
        return OpenTxn(
            txn=TxnId(self._store.newest()),
            revision=begun["revision"],
            steps=tuple(begun["steps"]),
            saved=saved,
            state=State(last[0]),
            pivoted=any(kind == State.COMMITTING for kind, _ in rows),
            reason=last[1].get("reason", ""),
        )

    def _resume(self) -> None:
        self._store.drop("paused")
        found = self._open_txn()
        if found is not None and found.state is State.HALTED:
            self._enter(found.txn, State.RESUMED, {})

    def _accept(self) -> None:
        self._store.drop("paused")
        self._store.drop("applied")
        found = self._open_txn()
        if found is not None:
            # The host may be anywhere: what was applied is unknown, the operator answers for it.
            self._store.add(found.txn, State.ROLLED_BACK, {"reason": "accepted as it is"})


def now() -> str:
    """Return the wall clock, RFC 3339 UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
