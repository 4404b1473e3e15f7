"""A host of two subsystems in memory, whose every call can be refused, hang, or be the last one.

Each subsystem has what runs and what is on disk, as BIRD has: `apply` moves what runs, `commit`
moves the disk. A `Faults` object counts the calls of drivers and journal and strikes at one of
them; a crash is a BaseException, which no code of ours may catch, and ends the "process".
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from confsync.flow.transact import Room
from confsync.host.journal import SqliteJournal
from confsync.model.errors import DeadlinePassed, HostRefused, RollbackFailed
from confsync.model.ids import Digest, DriverName, digest
from confsync.model.plan import Impact, Plan, Step
from confsync.model.section import Observed, Ownership
from confsync.ports import Applied, Judgement, Position, Verdict

OLD, NEW = "old", "new"


class Crash(BaseException):
    """kill -9."""


class Strike(StrEnum):
    """What happens at the chosen call."""

    REFUSED = "refused"
    TIMEOUT_BEFORE = "timeout before it had an effect"
    TIMEOUT_AFTER = "timeout after it had its effect"
    CRASH_BEFORE = "crash before"
    CRASH_AFTER = "crash after"


CRASHES = (Strike.CRASH_BEFORE, Strike.CRASH_AFTER)


@dataclass
class Faults:
    """Strikes once, at the n-th call (counted from 0); `calls` names all that were seen."""

    at: int = -1
    strike: Strike = Strike.REFUSED
    calls: list[str] = field(default_factory=list)

    async def around(self, name: str, call: Callable[[], Awaitable[Any]]) -> Any:
        struck = len(self.calls) == self.at
        self.calls.append(name)
        if not struck:
            return await call()
        if self.strike is Strike.CRASH_BEFORE:
            raise Crash(name)
        if self.strike is Strike.REFUSED:
            raise (RollbackFailed if name.endswith(".undo") else HostRefused)(name)
        if self.strike is Strike.TIMEOUT_BEFORE:
            raise DeadlinePassed(name)
        await call()
        raise Crash(name) if self.strike is Strike.CRASH_AFTER else DeadlinePassed(name)


class ModelHost:
    """What survives the process."""

    def __init__(self, targets: tuple[str, ...]) -> None:
        self.runs = dict.fromkeys(targets, OLD)
        self.disk = dict.fromkeys(targets, OLD)

    @property
    def states(self) -> set[str]:
        return {*self.runs.values(), *self.disk.values()}


class ModelDriver:
    """A driver over the model host; effects are idempotent, as the port asks."""

    def __init__(self, name: str, host: ModelHost, faults: Faults) -> None:
        self.name = DriverName(name)
        self._host = host
        self._faults = faults

    async def _call(self, verb: str, work: Callable[[], Any]) -> Any:
        async def call() -> Any:
            return work()

        return await self._faults.around(f"{self.name}.{verb}", call)

    def decode(self, record: Any) -> Step:
        return Step.from_json(record)

    async def heal(self) -> tuple[str, ...]:
        await self._call("heal", lambda: None)
        return ()

    async def observe(self) -> Observed:
        return Observed(Ownership.OWNED, {})

    async def check(self, step: Step) -> None:
        await self._call("check", lambda: None)

    async def checkpoint(self, step: Step) -> Any:
        return await self._call("checkpoint", lambda: {"value": self._host.disk[step.target]})

    async def apply(self, step: Step, saved: Any, revert_after_s: float) -> None:
        await self._call("apply", lambda: self._host.runs.update({step.target: NEW}))

    async def undo(self, step: Step, saved: Any) -> None:
        await self._call("undo", lambda: self._set(step, saved["value"]))

    async def commit(self, step: Step, saved: Any) -> None:
        await self._call("commit", lambda: self._set(step, NEW))

    async def position(self, step: Step, saved: Any) -> Position:
        found = {self._host.runs[step.target], self._host.disk[step.target]}
        return Position(found.pop()) if len(found) == 1 else Position.MIXED

    def close(self) -> None:
        pass

    def probes(self, step: Step) -> tuple[ModelProbe, ...]:
        return (ModelProbe(f"{self.name} health", self._faults),)

    def _set(self, step: Step, value: str) -> None:
        self._host.runs[step.target] = value
        self._host.disk[step.target] = value


class ModelProbe:
    """Healthy, unless a fault strikes its sample."""

    def __init__(self, name: str, faults: Faults) -> None:
        self.name = name
        self._faults = faults

    async def sample(self) -> Any:
        async def healthy() -> str:
            return "healthy"

        return await self._faults.around(f"{self.name}.sample", healthy)

    def judge(self, baseline: Any, seen: Any) -> Judgement:
        return Judgement(Verdict.OK if seen[-1] == "healthy" else Verdict.FAILED)


class FaultyJournal:
    """The real journal, with the process dying before or after each durable write."""

    def __init__(self, real: SqliteJournal, faults: Faults) -> None:
        self._real = real
        self._faults = faults

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._real, name)
        if name not in ("begin", "save", "enter", "close"):
            return method

        async def call(*args: Any, **kwargs: Any) -> Any:
            return await self._faults.around(f"journal.{name}", lambda: method(*args, **kwargs))

        return call


@contextlib.asynccontextmanager
async def process(path: Path) -> AsyncIterator[SqliteJournal]:
    """Open the journal as a new process would."""
    journal = SqliteJournal(path)
    try:
        yield journal
    finally:
        await journal.aclose()


class Silent:
    """Takes events and forgets them."""

    def emit(self, event: Any) -> None:
        pass


def driver_of(target: str) -> DriverName:
    """Return whose a target is: ``lvm/a`` and ``lvm/b`` are both lvm's."""
    return DriverName(target.partition("/")[0])


def plan_of(targets: tuple[str, ...]) -> Plan:
    """Return a plan of one step a target, without any waiting time."""
    steps = tuple(
        Step(driver_of(target), "set", 1, target, Impact.HITLESS, f"set {target}", {}, (), 0.0)
        for target in targets
    )
    return Plan(digest(b"new"), steps)


def target_of(plan: Plan) -> Applied:
    return Applied(plan.revision, 2, {}, {})


def room_of(host: ModelHost, journal: SqliteJournal, faults: Faults) -> Room:
    """Return what one "process" works with; a new process gets a new room on the same host."""
    names = dict.fromkeys(map(driver_of, host.runs))
    drivers = {name: ModelDriver(name, host, faults) for name in names}
    return Room(drivers, FaultyJournal(journal, faults), Silent())  # type: ignore[arg-type]


REVISION: Digest = digest(b"new")
