"""The journal of a site: what its one agent is about to do, kept where the next one finds it.

Separate because a site's transaction may be ended by another host than the one that began it:
each row is a key of this datacenter, each write one transaction that also checks the fence, and
whoever takes the lease reads all of it first. While we hold the lease nobody else writes here, so
that what was read once stays right; a write whose fate is unknown ends our holding it.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Final

from confsync.edge.lease import ConsulFence
from confsync.edge.transport import Client
from confsync.edge.writing import operation
from confsync.model import limits
from confsync.model.errors import (
    HostRefused,
    JournalDamaged,
    JournalLost,
    JournalTooNew,
    SourceError,
)
from confsync.model.ids import Digest, DriverName, Json, KeyPath, TxnId, canonical, digest
from confsync.model.machine import State, advance
from confsync.model.plan import Plan
from confsync.model.writes import Write
from confsync.ports import Applied, Checkpoint, LastTxn, OpenTxn, Quarantine, Sample
from confsync.ports.site import Fence

ROOT: Final = KeyPath("site/journal/")
OPEN: Final = "open"
QUARANTINE: Final = "quarantine/"


class ConsulJournal:
    """The journal of one site while one agent holds its lease.

    Shape: `fence` None = it is only looked at; `paused` tells why this host writes nothing,
    None = it does; `wall` is RFC 3339 UTC.
    """

    def __init__(
        self,
        client: Client,
        prefix: str,
        fence: Fence | None,
        paused: Callable[[], Awaitable[str | None]],
        wall: Callable[[], str],
    ) -> None:
        self._client = client
        self._prefix = f"{prefix}/"
        if fence is not None:
            assert isinstance(fence, ConsulFence), "a fence of another store guards nothing here"
        self._fence = fence
        self._paused = paused
        self._wall = wall
        self._rows: dict[str, Json] = {}

    async def read(self) -> None:
        """Read all rows. Raises JournalDamaged, JournalTooNew, SourceError."""
        root = f"{self._prefix}{ROOT}"
        found = await self._client.read([root], limits.CONSUL_TREE_BYTES)
        self._rows = {
            key.removeprefix(root): _opened(key, entry.value) for key, entry in found.items()
        }
        try:
            await self._understand()
        except (KeyError, TypeError, ValueError) as fault:
            self._rows = {}
            message = f"the site's journal was written by a newer confsync: {fault!r}"
            raise JournalTooNew(message) from fault

    async def _understand(self) -> None:
        """Take every row for what it is, before anybody goes by one."""
        await self.open_txn()
        await self.applied()
        await self.last()
        for name in self._rows:
            if name.startswith(QUARANTINE):
                await self.quarantined(Digest(name.removeprefix(QUARANTINE)))

    async def open_txn(self) -> OpenTxn | None:
        row = self._rows.get(OPEN)
        if row is None:
            return None
        saved = {
            int(name.removeprefix(f"{OPEN}/")): checkpoint
            for name, checkpoint in self._rows.items()
            if name.startswith(f"{OPEN}/")
        }
        return OpenTxn(
            txn=TxnId(row["txn"]),
            revision=row["revision"],
            steps=tuple(row["steps"]),
            saved=saved,
            state=State(row["state"]),
            pivoted=row["pivoted"],
            reason=row["reason"],
        )

    async def begin(self, plan: Plan, target: Applied, baseline: Mapping[str, Sample]) -> TxnId:
        assert OPEN not in self._rows, "one transaction at a time"
        txn = TxnId(int(self._rows.get("last", {}).get("txn", 0)) + 1)
        row = {
            "txn": txn,
            "at": self._wall(),
            "revision": plan.revision,
            "plan": plan.digest,
            "steps": [step.as_json() for step in plan.steps],
            "target": asdict(target),
            "baseline": dict(baseline),
            "state": str(State.PREPARED),
            "pivoted": False,
            "reason": "",
        }
        _fit(row)
        await self._write({OPEN: row})
        return txn

    async def save(self, txn: TxnId, step: int, saved: Checkpoint) -> None:  # noqa: ARG002
        row = self._moved(State.APPLYING)
        _fit(row, saved)
        await self._write({OPEN: row, f"{OPEN}/{step}": saved})

    async def enter(self, txn: TxnId, state: State, reason: str = "") -> None:  # noqa: ARG002
        await self._write({OPEN: self._moved(state, reason)})

    async def close(self, txn: TxnId, state: State, reason: str, *, final: bool | None) -> None:
        row = self._moved(state)
        last = LastTxn.of(txn, row, state, reason, self._wall())
        changes: dict[str, Json] = {OPEN: None, "last": asdict(last)}
        if state is State.COMMITTED:
            changes["applied"] = row["target"]
            changes[f"{QUARANTINE}{row['revision']}"] = None
        elif final is not None:
            changes |= self._blamed(row["revision"], reason, final=final)
        await self._write(changes)

    async def quarantine(self, revision: Digest, reason: str, *, final: bool) -> None:
        await self._write(self._blamed(revision, reason, final=final))

    async def quarantined(self, revision: Digest) -> Quarantine | None:
        record = self._rows.get(f"{QUARANTINE}{revision}")
        return Quarantine(**record) if record else None

    async def applied(self) -> Applied | None:
        record = self._rows.get("applied")
        return Applied(**record) if record else None

    async def settle(self, found: Applied) -> None:
        await self._write({"applied": asdict(found)})

    async def last(self) -> LastTxn | None:
        record = self._rows.get("last")
        return LastTxn.read(record) if record else None

    async def adopt(self, driver: DriverName, record: Json) -> None:
        await self._write({f"adopted/{driver}": record})

    async def adopted(self, driver: DriverName) -> Json:
        return self._rows.get(f"adopted/{driver}")

    async def disown(self, driver: DriverName) -> None:
        await self._write({f"adopted/{driver}": None})

    async def pin(self, names: Mapping[str, str]) -> None:
        await self._write({"pinned": dict(names)})

    async def pinned(self) -> Mapping[str, str] | None:
        names: Mapping[str, str] | None = self._rows.get("pinned")
        return names

    async def pause(self, reason: str) -> None:
        """Refuse: one pauses a host, and the site's agent on it pauses with it."""
        raise NotImplementedError(reason)

    async def paused(self) -> str | None:
        return await self._paused()

    async def resume(self) -> None:
        row = self._rows.get(OPEN)
        if row is not None and row["state"] == State.HALTED:
            await self._write({OPEN: self._moved(State.RESUMED)})

    async def accept(self) -> None:
        """Take the site as it is: forget all, what is damaged too."""
        self._rows = {}
        await self._do([Write(ROOT, None)])

    async def retry(self) -> None:
        await self._write({QUARANTINE.rstrip("/"): None})

    def _moved(self, state: State, reason: str = "") -> Json:
        row = self._rows[OPEN]
        pivoted = row["pivoted"] or state is State.COMMITTING
        moved = advance(State(row["state"]), state)
        return {**row, "state": str(moved), "pivoted": pivoted, "reason": reason}

    def _blamed(self, revision: Digest, reason: str, *, final: bool) -> dict[str, Json]:
        name = f"{QUARANTINE}{revision}"
        blamed = Quarantine.after(self._rows.get(name), revision, reason, final=final)
        return {name: asdict(blamed)}

    async def _write(self, changes: Mapping[str, Json]) -> None:
        """Write rows, None = remove it and all below. Raises JournalLost."""
        writes = []
        for name, row in changes.items():
            writes.append(Write(KeyPath(f"{ROOT}{name}"), _sealed(row)))
            if row is None:
                writes.append(Write(KeyPath(f"{ROOT}{name}/"), None))
        await self._do(writes)
        for name, row in changes.items():
            if row is not None:
                self._rows[name] = row
                continue
            for gone in [one for one in self._rows if f"{one}/".startswith(f"{name}/")]:
                del self._rows[gone]

    async def _do(self, writes: Sequence[Write]) -> None:
        """Run one transaction under the fence. Raises JournalLost.

        Why a lost lease is a lost journal: another agent reads it now, and ends what is open.
        """
        if not writes:
            return
        if self._fence is None:
            raise JournalLost("the journal of the site is only looked at here")
        ops = [operation(self._prefix, write) for write in writes]
        try:
            await self._fence.check()
            await self._client.write([self._fence.operation, *ops])
        except SourceError as fault:
            raise JournalLost(f"the journal of the site cannot be written: {fault}") from fault


def _fit(*rows: Json) -> None:
    """Raise HostRefused for rows that one transaction of Consul does not hold."""
    if (size := sum(len(canonical(row)) for row in rows)) > limits.TXN_BYTES:
        message = f"the record of this change has {size} bytes, {limits.TXN_BYTES} fit"
        raise HostRefused(f"{message}; publish it in parts")


def _sealed(row: Json) -> bytes | None:
    if row is None:
        return None
    return canonical({"digest": digest(canonical(row)), "row": row})


def _opened(key: str, raw: bytes) -> Json:
    """Return a row that is what was written. Raises JournalDamaged."""
    try:
        record = json.loads(raw)
        row, seal = record["row"], record["digest"]
    except (ValueError, TypeError, KeyError) as fault:
        raise JournalDamaged(f"{key} is no row of a journal: {fault!r}") from fault
    if digest(canonical(row)) != seal:
        raise JournalDamaged(f"{key} is not what was written")
    return row
