"""One transaction: all of a plan happens and is verified, or none of it.

Separate because this is the promise of the product, and it must fit on one screen. If a daemon
refuses its new configuration, `check` raises before anything is written down or changed. If
anything fails after that, every step whose checkpoint is saved is undone, newest first. The pivot
is the one durable row COMMITTING: from there the way is only forward. The process may die after
any line; `recover` reads the journal and ends on the same side of the pivot.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from confsync.flow.guard import to_completion, together
from confsync.model import limits
from confsync.model.errors import (
    ConfsyncError,
    JournalLost,
    NotVerified,
    Retry,
    Stopping,
    WindowLost,
)
from confsync.model.ids import Digest, DriverName, TxnId
from confsync.model.machine import State
from confsync.model.plan import Plan, Step
from confsync.model.status import Event, EventType
from confsync.ports import (
    Applied,
    Checkpoint,
    Driver,
    Journal,
    Judgement,
    Position,
    Probe,
    Reporter,
    Sample,
    Verdict,
)


class Saved(NamedTuple):
    """A step that may have been done, with all that it takes to undo it."""

    driver: Driver
    step: Step
    checkpoint: Checkpoint


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a transaction ended."""

    state: State
    revision: Digest
    reason: str = ""
    cause: Exception | None = None


async def _always() -> None:
    """Permit everything: a host is ours while its lock is."""


@dataclass(frozen=True, slots=True)
class Room:
    """What a transaction works with: the host's drivers, the journal, and who must be told.

    Shape: `probes` makes those that are asked beside the drivers', anew for each transaction:
    they may remember what they saw. `permit` raises once nothing may be done any more.
    """

    drivers: Mapping[DriverName, Driver]
    journal: Journal
    reporter: Reporter
    beat: Callable[[], None] = lambda: None
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    probes: Callable[[], tuple[Probe, ...]] = tuple
    permit: Callable[[], Awaitable[None]] = _always

    async def act(self, op: str, step: Step, work: Coroutine[Any, Any, None]) -> None:
        """Let a driver act, which bounds itself, and tell what became of it."""
        result = "failed"
        try:
            with contextlib.closing(work):  # which is never begun without a permit
                await self.permit()
                await to_completion(work, self.beat)
            result = "ok"
        finally:
            done = {"driver": step.driver, "op": op, "result": result}
            self.reporter.emit(Event(EventType.STEP_DONE, done))

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Tell how long a phase took, however it ends."""
        began = time.monotonic()
        try:
            yield
        finally:
            took_s = time.monotonic() - began
            self.reporter.emit(Event(EventType.PHASE_DONE, {"phase": name, "took_s": took_s}))


async def transact(plan: Plan, target: Applied, room: Room, *, way_home: Probe | None) -> Outcome:
    """Check, begin, apply, verify, pivot, commit; or go back.

    `way_home` is judged last, and is None when the source was out of reach before we began.
    Raises: what `check` and `begin` refuse with, when nothing was done; JournalLost.
    """
    own = [p for step in plan.steps for p in room.drivers[step.driver].probes(step)]
    probes = (*own, *room.probes())
    _, baseline = await together(_check(plan, room), _sample(probes))
    _stop_if_asked(room)
    txn = await room.journal.begin(plan, target, baseline)
    done: list[Saved] = []
    try:
        with room.phase("apply"):
            for number, step in enumerate(plan.steps):
                driver = room.drivers[step.driver]
                saved = Saved(driver, step, await driver.checkpoint(step))
                await room.journal.save(txn, number, saved.checkpoint)
                done.append(saved)
                applied = driver.apply(step, saved.checkpoint, _revert_after_s(plan))
                await room.act("apply", step, applied)
                _stop_if_asked(room)
        with room.phase("verify"):
            await verify(plan, probes, baseline, room, way_home)
        await room.journal.enter(txn, State.COMMITTING)
    except JournalLost:
        raise
    except Exception as cause:  # noqa: BLE001 - whatever it was, the host must go back
        return await go_back(txn, plan.revision, done, cause, room)
    return await go_forward(txn, plan.revision, done, room)


async def verify(
    plan: Plan,
    probes: Sequence[Probe],
    baseline: Mapping[str, Sample],
    room: Room,
    way_home: Probe | None,
) -> None:
    """Wait until everything that was healthy is so again, and stays so; then look for the way home.

    Raises: NotVerified, WindowLost, Stopping.
    """
    now = asyncio.get_running_loop().time
    hold_s = max(step.hold_s for step in plan.steps)
    deadline = now() + max(step.verify_s for step in plan.steps)
    seen: dict[str, deque[Sample]] = {probe.name: deque(maxlen=2) for probe in probes}
    healthy_since: float | None = None
    while True:
        judgements = await together(
            *(_judge(probe, baseline, seen[probe.name]) for probe in probes)
        )
        waiting = _waiting_for(judgements)
        healthy_since = None if waiting else (healthy_since or now())
        if healthy_since is not None and now() - healthy_since >= hold_s:
            break
        if healthy_since is None and now() >= deadline:
            raise NotVerified(waiting)
        room.beat()
        _stop_if_asked(room)
        await asyncio.sleep(limits.SAMPLE_EVERY_S)
    if way_home is not None:
        judged = await _judge(way_home, {}, deque(maxlen=1))
        if judged.verdict is not Verdict.OK:
            raise NotVerified(judged.reason)


async def go_back(
    txn: TxnId, revision: Digest, done: Sequence[Saved], cause: Exception, room: Room
) -> Outcome:
    """Undo every saved step, newest first, and prove that the host equals the checkpoints."""
    try:
        with room.phase("rollback"):
            for driver, step, checkpoint in reversed(done):
                await room.act("undo", step, driver.undo(step, checkpoint))
            await _prove(done, Position.OLD)
    except Exception as failure:  # noqa: BLE001 - a way back that fails for any reason halts
        return await _halt(txn, revision, f"{cause}; the way back failed: {failure}", failure, room)
    own = isinstance(cause, ConfsyncError) and cause.retry is Retry.NEXT_REVISION
    final = None if isinstance(cause, Stopping) else own
    await room.journal.close(txn, State.ROLLED_BACK, str(cause), final=final)
    return Outcome(State.ROLLED_BACK, revision, str(cause), cause)


async def go_forward(txn: TxnId, revision: Digest, done: Sequence[Saved], room: Room) -> Outcome:
    """Make every step final, and prove that the host has the new state.

    Why the last driver's steps come first: a plan has storage before routing. BIRD's timer runs,
    while what is forward only, such as a file system that grows, can wait.
    """
    last_first = list(dict.fromkeys(saved.driver for saved in reversed(done)))
    try:
        for saved in sorted(done, key=lambda saved: last_first.index(saved.driver)):
            await room.act("commit", saved.step, _commit(saved))
        await _prove(done, Position.NEW)
    except Exception as failure:  # noqa: BLE001 - past the pivot there is no way back
        return await _halt(txn, revision, f"committing failed: {failure}", failure, room)
    await room.journal.close(txn, State.COMMITTED, "", final=False)
    return Outcome(State.COMMITTED, revision)


async def _check(plan: Plan, room: Room) -> None:
    for step in plan.steps:
        room.beat()
        await room.drivers[step.driver].check(step)


async def _sample(probes: Sequence[Probe]) -> dict[str, Sample]:
    samples = await together(*(probe.sample() for probe in probes))
    return {probe.name: sample for probe, sample in zip(probes, samples, strict=True)}


async def _commit(saved: Saved) -> None:
    for left in reversed(range(limits.COMMIT_TRIES)):
        try:
            await saved.driver.commit(saved.step, saved.checkpoint)
        except ConfsyncError:
            if not left:
                raise
            await asyncio.sleep(limits.SAMPLE_EVERY_S)
        else:
            return


async def _prove(done: Sequence[Saved], wanted: Position) -> None:
    for driver, step, checkpoint in done:
        position = await driver.position(step, checkpoint)
        if position is not wanted:
            message = f"{step.target} should be {wanted}, the host says {position}"
            raise NotVerified(message)


async def _halt(
    txn: TxnId, revision: Digest, reason: str, failure: Exception, room: Room
) -> Outcome:
    if isinstance(failure, JournalLost):
        raise failure
    await room.journal.enter(txn, State.HALTED, reason)
    return Outcome(State.HALTED, revision, reason, failure)


async def _judge(probe: Probe, baseline: Mapping[str, Sample], seen: deque[Sample]) -> Judgement:
    try:
        seen.append(await probe.sample())
    except ConfsyncError as fault:
        return Judgement(Verdict.WAIT, str(fault))
    return probe.judge(baseline.get(probe.name), tuple(seen))


def _waiting_for(judgements: Sequence[Judgement]) -> str:
    for judged in judgements:
        if judged.verdict is Verdict.LOST:
            raise WindowLost(judged.reason)
        if judged.verdict is Verdict.FAILED:
            raise NotVerified(judged.reason)
    return "; ".join(j.reason or "not healthy yet" for j in judgements if j.verdict is Verdict.WAIT)


def _revert_after_s(plan: Plan) -> float:
    """Return when the host goes back by itself: armed once, for the longest permitted run."""
    longest = max(step.verify_s for step in plan.steps) + max(step.hold_s for step in plan.steps)
    return longest + limits.COMMIT_MARGIN_S


def _stop_if_asked(room: Room) -> None:
    if room.stopping.is_set():
        message = "the agent was asked to stop before the change was final"
        raise Stopping(message)
