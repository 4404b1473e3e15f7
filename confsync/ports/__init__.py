"""The cut: what the flow needs of the world, as protocols.

Separate so that `flow` can be read and tested without any subsystem, network or disk; adapters in
`drivers`, `edge` and `host` implement these, `wiring` joins them.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from confsync.model import limits
from confsync.model.change import Change
from confsync.model.ids import Digest, DriverName, Json, KeyPath, LayerPath, SectionName, TxnId
from confsync.model.machine import State
from confsync.model.plan import Plan, Step
from confsync.model.section import Observed
from confsync.model.snapshot import Absence, Snapshot
from confsync.model.status import Event

Sample = Json
Checkpoint = Json


class Verdict(StrEnum):
    """What a probe concludes from its samples."""

    OK = "ok"
    WAIT = "wait"  # not yet; ask again until the deadline
    FAILED = "failed"  # worse than before; waiting cannot mend it
    LOST = "lost"  # somebody else moved the host: judge by content, go back


class Position(StrEnum):
    """Where a step's target stands, read from the host."""

    OLD = "old"
    NEW = "new"
    MIXED = "mixed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict with its reason, one sentence for people (empty when OK)."""

    verdict: Verdict
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Survey:
    """What a driver found in a configuration that another hand made.

    Shape: `record` is what `Journal.adopt` keeps (None = it cannot be taken over, `problem` says
    why); `lost` names what a document cannot say; `draft` is the document that says the rest.
    """

    record: Json
    problem: str = ""
    lost: tuple[str, ...] = ()
    draft: str = ""


class Closing(Protocol):
    """What holds connections."""

    async def close(self) -> None:
        """Give up all connections."""


class Probe(Protocol):
    """A driver's health, an operator's command or the way home: one shape."""

    name: str

    async def sample(self) -> Sample:
        """Return what is seen now; JSON. Raises ConfsyncError when nothing can be seen."""

    def judge(self, baseline: Sample, seen: Sequence[Sample]) -> Judgement:
        """Compare with the baseline (None = none was taken, all was well); pure."""


class Driver(Protocol):
    """What carries one section to the host."""

    name: DriverName

    def decode(self, record: Json) -> Step:
        """Return the step of a journal record. Raises JournalTooNew for an unknown codec."""

    async def heal(self) -> tuple[str, ...]:
        """Remove our own left-overs; legal only while no transaction is open."""

    async def observe(self, adopted: Json | None = None) -> Observed:
        """Return what the host says now; `adopted` is the record of what was taken over here."""

    async def survey(self, want: Any) -> Survey:
        """Return what adopting would record, for a section's value or None; changes nothing."""

    async def pulse(self) -> str:
        """Return a cheap sign that differs when another hand may have changed the host.

        Never raises: that nobody answers is a sign too.
        """

    async def check(self, step: Step) -> None:
        """Prove that the step would be accepted, without changing what runs.

        Raises: HostRefused, HostBusy.
        """

    async def checkpoint(self, step: Step) -> Checkpoint:
        """Return all that undo needs, durable on disk or in the value itself."""

    async def apply(self, step: Step, saved: Checkpoint, revert_after_s: float) -> None:
        """Make the change, reversibly; the host itself goes back after `revert_after_s`."""

    async def undo(self, step: Step, saved: Checkpoint) -> None:
        """Go back; idempotent, legal with the daemon down. Raises RollbackFailed."""

    async def commit(self, step: Step, saved: Checkpoint) -> None:
        """Make the change final; idempotent, finishes alone after a crash."""

    async def position(self, step: Step, saved: Checkpoint) -> Position:
        """Read from the host where the step stands."""

    def close(self) -> None:
        """Give up all connections."""

    def probes(self, step: Step) -> tuple[Probe, ...]:
        """Return what must be as healthy after the step as before."""


class Source(Closing, Protocol):
    """Where configuration comes from."""

    name: str

    def wakes(self, layers: tuple[LayerPath, ...]) -> AsyncGenerator[None, None]:
        """Yield whenever something may have changed; carries no data: nobody decides on it.

        Never raises for a source that is away: it waits and yields after it is back.
        """

    async def snapshot(self, layers: tuple[LayerPath, ...]) -> Snapshot:
        """Return one consistent reading. Raises Unreachable, Denied, Torn, Oversized."""

    async def why_absent(self, key: KeyPath) -> Absence:
        """Ask about one key that is missing; never raises."""

    async def changes(self) -> tuple[Change, ...]:
        """Return the records of what was pushed, newest first; none where none can be read.

        Raises: SourceError.
        """

    async def text(self, sha: Digest) -> bytes | None:
        """Return a document as a push wrote it, None where it is not kept. Raises SourceError."""

    def way_home(self) -> Probe:
        """Return the probe that proves this host still reaches the source, on a new connection."""

    @property
    def requests(self) -> Mapping[tuple[str, str], int]:
        """Return how often the source was asked, by operation and answer."""


@dataclass(frozen=True, slots=True)
class OpenTxn:
    """A transaction that the journal holds without an outcome."""

    txn: TxnId
    revision: Digest
    steps: tuple[Json, ...]
    saved: Mapping[int, Checkpoint]
    state: State
    pivoted: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Applied:
    """What was last committed on this host.

    Shape: `sections` maps a section's name to its canonical JSON text; `tree` is the merged tree
    before defaults.
    """

    revision: Digest
    change: int
    sections: Mapping[SectionName, str]
    tree: Json


@dataclass(frozen=True, slots=True)
class Quarantine:
    """A revision that failed here, how often, and whether it may be tried again."""

    revision: Digest
    reason: str
    tries: int
    final: bool

    @classmethod
    def after(cls, known: Json, revision: Digest, reason: str, *, final: bool) -> Quarantine:
        """Return what is known against a revision after one more try; `known` None = nothing was.

        Why not at once for good: a cause that is not its own may pass.
        """
        tries = (known["tries"] if known else 0) + 1
        return cls(revision, reason, tries, final or tries >= limits.TRANSIENT_TRIES)


@dataclass(frozen=True, slots=True)
class LastTxn:
    """The newest closed transaction; `at` is RFC 3339 UTC, `steps` are their summaries."""

    txn: TxnId
    revision: Digest
    state: State
    reason: str
    at: str
    took_ms: int
    steps: tuple[str, ...]

    @classmethod
    def of(cls, txn: TxnId, begun: Json, state: State, reason: str, at: str) -> LastTxn:
        """Return a transaction that has just ended, by the record of its beginning."""
        took = datetime.fromisoformat(at) - datetime.fromisoformat(begun["at"])
        steps = tuple(step["summary"] for step in begun["steps"])
        took_ms = max(0, round(took.total_seconds() * 1000))
        return cls(txn, begun["revision"], state, reason, at, took_ms, steps)

    @classmethod
    def read(cls, record: Json) -> LastTxn:
        """Read back what a journal kept."""
        state, steps = State(record["state"]), tuple(record["steps"])
        return cls(**{**record, "state": state, "steps": steps})


class Journal(Protocol):
    """The durable record of transactions; every method returns when durable.

    A write that fails raises JournalLost: the process must end, since nobody knows what is on
    disk. Only `begin` may refuse beforehand (HostBusy: no room on disk).
    """

    async def open_txn(self) -> OpenTxn | None:
        """Return the transaction without an outcome. Raises JournalDamaged, JournalTooNew."""

    async def begin(self, plan: Plan, target: Applied, baseline: Mapping[str, Sample]) -> TxnId:
        """Note the plan and what will be the applied state if it commits: PREPARED.

        Durable no later than the first `save`: PREPARED names no action, so that its row may share
        a commit with the row that does.
        """

    async def save(self, txn: TxnId, step: int, saved: Checkpoint) -> None:
        """Record a step's checkpoint: APPLYING, the step may now be done."""

    async def enter(self, txn: TxnId, state: State, reason: str = "") -> None:
        """Record COMMITTING or HALTED."""

    async def close(self, txn: TxnId, state: State, reason: str, *, final: bool | None) -> None:
        """Record the outcome, the applied state or the quarantine, in one commit.

        `final` = the revision is quarantined at once; otherwise after TRANSIENT_TRIES; None = the
        end is not held against it.
        """

    async def quarantine(self, revision: Digest, reason: str, *, final: bool) -> None:
        """Record that a revision failed here before a transaction began; counts as one try."""

    async def quarantined(self, revision: Digest) -> Quarantine | None:
        """Return what is known against a revision; it may be tried while `final` is false."""

    async def applied(self) -> Applied | None:
        """Return what was last committed, or found in place."""

    async def settle(self, found: Applied) -> None:
        """Record that the host already is what was wanted, without a transaction."""

    async def last(self) -> LastTxn | None:
        """Return how the newest closed transaction ended."""

    async def adopt(self, driver: DriverName, record: Json) -> None:
        """Record what a driver took over on this host."""

    async def adopted(self, driver: DriverName) -> Json:
        """Return what a driver took over here, None = nothing."""

    async def disown(self, driver: DriverName) -> None:
        """Forget what a driver took over."""

    async def pin(self, names: Mapping[str, str]) -> None:
        """Record who this host is."""

    async def pinned(self) -> Mapping[str, str] | None:
        """Return who this host was when it was last configured."""

    async def pause(self, reason: str) -> None:
        """Stop writing to the host until `resume`, over restarts."""

    async def paused(self) -> str | None:
        """Return why writing is stopped here."""

    async def resume(self) -> None:
        """End a pause, and let recovery try a halted transaction once more."""

    async def retry(self) -> None:
        """Lift every quarantine."""


class Memory(Protocol):
    """Last-known-good: the last snapshot that was accepted, on disk; damaged = dropped."""

    def load(self) -> Snapshot | None:
        """Return the stored snapshot, or None."""

    def store(self, snapshot: Snapshot) -> None:
        """Keep a snapshot, atomically."""


class FactSource(Protocol):
    """What the node knows of itself."""

    def facts(self) -> Mapping[str, str]:
        """Return e.g. ``{"site": "bgo", "fact.ipv4.trp1": "172.18.0.7"}``."""


class Reporter(Protocol):
    """Where events go; never awaits, never raises."""

    def emit(self, event: Event) -> None:
        """Take note of one event."""
