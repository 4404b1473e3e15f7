"""Where the time of one transaction goes: the product's own flow, its ports behind stop-watches.

Why in one process: a stage is when a port is asked and when it has answered, and nobody but the
flow knows that. What lies between two stages is the flow's own work.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import statistics
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from confsync.flow.reconcile import Part, Reconciler
from confsync.flow.transact import Room
from confsync.host.journal import SqliteJournal
from confsync.host.logs import LogReporter, configure
from confsync.host.state import private_dir
from confsync.model.ids import LayerPath
from confsync.model.machine import State
from confsync.settings import load
from confsync.wiring import Wired, wire
from tests.bench.world import Writer, publication

GAP_S = 0.05
LAG_S = 0.001


class Mark(NamedTuple):
    """One stage of one turn. Units: seconds of the performance counter."""

    name: str
    began_s: float
    ended_s: float


class Watch:
    """Collects the marks of a turn; a stage that comes again is numbered."""

    def __init__(self) -> None:
        self.marks: list[Mark] = []
        self._seen: defaultdict[str, int] = defaultdict(int)

    def clear(self) -> list[Mark]:
        """Begin another turn; return the marks of the last one."""
        found, self.marks = self.marks, []
        self._seen.clear()
        return found

    def begin(self, name: str) -> Callable[[], None]:
        """Start a stage; what is returned ends it."""
        self._seen[name] += 1
        again = f" {self._seen[name]}" if self._seen[name] > 1 else ""
        began_s = time.perf_counter()
        return lambda: self.marks.append(Mark(name + again, began_s, time.perf_counter()))


class Timed:
    """Stands for an object whose methods it times; probes that one gives are timed as well."""

    def __init__(self, inner: Any, name: str, watch: Watch) -> None:
        self._inner = inner
        self._name = name
        self._watch = watch

    def __getattr__(self, attribute: str) -> Any:
        found = getattr(self._inner, attribute)
        if attribute in {"name", "judge", "wakes"} or not callable(found):
            return found
        stage = f"{self._name}.{attribute}"
        if not inspect.iscoroutinefunction(found):
            return lambda *args, **kwargs: self._call(stage, found, args, kwargs)

        async def timed(*args: Any, **kwargs: Any) -> Any:
            done = self._watch.begin(stage)
            try:
                return await found(*args, **kwargs)
            finally:
                done()

        return timed

    def _call(self, stage: str, found: Any, args: Any, kwargs: Any) -> Any:
        done = self._watch.begin(stage)
        answer = found(*args, **kwargs)
        done()
        match stage.rpartition(".")[2]:
            case "probes":
                return tuple(Timed(probe, "probe", self._watch) for probe in answer)
            case "way_home":
                return Timed(answer, "way home", self._watch)
            case _:
                return answer


def interpose(wired: Wired, watch: Watch) -> Reconciler:
    """Put a stop-watch before every port of a reconciler."""
    flow = wired.reconciler
    parts = {
        name: Part(Timed(part.section, "section", watch), Timed(part.driver, "driver", watch))
        for name, part in wired.parts.items()
    }
    drivers = {part.driver.name: part.driver for part in parts.values()}
    journal: Any = Timed(wired.room.journal, "journal", watch)
    flow._parts = parts
    flow._sections = {name: part.section for name, part in parts.items()}
    flow._source = Timed(wired.source, "source", watch)
    flow._memory = Timed(flow._memory, "memory", watch)
    flow._room = replace(wired.room, drivers=drivers, journal=journal)
    return flow


def blocked_s(mark: Mark, gaps: list[Mark]) -> float:
    """Return the longest time within a stage in which the event loop served nobody else."""
    shared = (min(mark.ended_s, g.ended_s) - max(mark.began_s, g.began_s) for g in gaps)
    return max(0.0, *shared, 0.0)


@contextlib.asynccontextmanager
async def lag() -> AsyncIterator[list[Mark]]:
    """Measure how late a tick of one millisecond comes."""
    late: list[Mark] = []

    async def tick() -> None:
        while True:
            due_s = time.perf_counter() + LAG_S
            await asyncio.sleep(LAG_S)
            late.append(Mark("late", due_s, time.perf_counter()))

    task = asyncio.get_running_loop().create_task(tick())
    yield late
    task.cancel()


Trees = dict[LayerPath, dict[str, Any]]


async def profile(
    config: Path, change: Callable[[int], Trees], turns: range, *, ticking: bool = False
) -> Profile:
    """Run changes through a reconciler of the agent's settings; the first one is not counted."""
    settings = load(config)
    configure(settings.log.level)
    journal = SqliteJournal(private_dir(settings.state_dir) / "journal.db")
    wired = wire(settings, Room({}, journal, LogReporter(lambda _: None)))
    watch, writer, woken = Watch(), Writer(), asyncio.Event()
    flow = interpose(wired, watch)

    async def wakes() -> None:
        async with contextlib.aclosing(wired.source.wakes(flow.layers)) as found:
            async for _ in found:
                woken.set()

    watching = asyncio.get_running_loop().create_task(wakes())
    profiled = Profile([], [])
    ticks: AbstractAsyncContextManager[list[Mark]]
    ticks = lag() if ticking else contextlib.nullcontext([])
    async with ticks as late:
        for turn in turns:
            await asyncio.sleep(GAP_S)
            woken.clear()
            late.clear()
            written = publication(change(turn), turn, whole=turn == turns.start)
            marks = await _one_turn(flow, watch, woken, asyncio.to_thread(writer.send, written))
            if turn != turns.start:
                profiled.turns.append(marks)
                profiled.late.append(late.copy())
    watching.cancel()
    await wired.source.close()
    await journal.aclose()
    return profiled


async def _one_turn(
    flow: Reconciler, watch: Watch, woken: asyncio.Event, sent: Coroutine[Any, Any, float]
) -> list[Mark]:
    """Write, wait for the wake, pass; return the marks, counted from the write."""
    began_s = time.perf_counter()
    sending = asyncio.get_running_loop().create_task(sent)
    await woken.wait()
    watch.clear()
    watch.marks.append(Mark("wake", began_s, time.perf_counter()))
    while (found := await flow.once()).outcome is None:
        watch.clear()  # a late wake of the write before
    assert found.outcome.state is State.COMMITTED, found.outcome
    watch.marks.append(Mark("end", time.perf_counter(), time.perf_counter()))
    await sending
    return watch.clear()


class Profile(NamedTuple):
    """The stages of all turns, and the late ticks of each."""

    turns: list[list[Mark]]
    late: list[list[Mark]]

    def text(self) -> str:
        """Return when each stage begins, how long it takes, and what lies before it.

        Units: medians in ms; the gap is the time in which no stage was under way.
        """
        rows: defaultdict[str, list[tuple[float, float, float]]] = defaultdict(list)
        for turn in self.turns:
            first_s = busy_until_s = min(mark.began_s for mark in turn)
            for name, began_s, ended_s in sorted(turn, key=lambda mark: mark.began_s):
                gap_s = max(0.0, began_s - busy_until_s)
                rows[name].append(
                    ((began_s - first_s) * 1000, (ended_s - began_s) * 1000, gap_s * 1000)
                )
                busy_until_s = max(busy_until_s, ended_s)
        usual = {name: found for name, found in rows.items() if 2 * len(found) >= len(self.turns)}
        medians = {
            name: tuple(statistics.median(column) for column in zip(*found, strict=True))
            for name, found in usual.items()
        }
        lines = [f"{'stage, n=' + str(len(self.turns)):24} {'at':>7} {'takes':>7} {'gap':>7}"]
        for name, (at, takes, gap) in sorted(medians.items(), key=lambda row: row[1][0]):
            lines.append(f"{name:24} {at:7.2f} {takes:7.2f} {gap:7.2f}")
        return "\n".join(lines)

    def lag(self) -> str:
        """Return how late the event loop was at worst in a change."""
        worst = sorted(
            max((tick.ended_s - tick.began_s for tick in late), default=0.0) * 1000
            for late in self.late
        )
        p50 = statistics.median(worst)
        return f"event loop late by at most: p50 {p50:.1f}, max {worst[-1]:.1f} ms"
