"""A toy subsystem: a section of names and texts, and a driver whose host is a dictionary.

What the driver does next is data: `faults` raises at a verb, `verdicts` is what its probe says.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from confsync.flow.explain import Explainer
from confsync.flow.passed import Pass
from confsync.flow.reconcile import Part, Reconciler, Rules
from confsync.flow.transact import Room
from confsync.host.journal import SqliteJournal
from confsync.host.memory import FileMemory
from confsync.model.errors import HostBusy, Violation
from confsync.model.ids import DriverName, LayerPath, ObjectId, SectionName, canonical
from confsync.model.plan import Difference, Impact, Step
from confsync.model.policy import Budgets
from confsync.model.section import Deadline, Observed, Ownership, Place, Scope
from confsync.model.snapshot import QuietPeriod, Snapshot
from confsync.model.status import Event
from confsync.ports import Judgement, Position, Survey, Verdict
from tests.flow.scripted import ScriptedSource

TOY = SectionName("toy")
DRIVER = DriverName("box")
LAYERS = ("common", "nodes/{node}")
NODE = "desired/nodes/n1/toy"
COMMON = "desired/common/toy"
OK, WAIT = Judgement(Verdict.OK), Judgement(Verdict.WAIT, "toy is not up")


class ToySection:
    """``{"name": "text"}``; a text that is no string is a fault of its shape."""

    name = TOY
    scope = Scope.NODE

    def parse(self, tree: Any) -> Any:
        faults = tuple(
            Violation("CS-T01", (TOY, key), "must be a text")
            for key, value in tree.items()
            if not isinstance(value, str)
        )
        return faults or dict(tree)

    def rules(self, value: Any, siblings: Any) -> Any:
        bad = [key for key, text in value.items() if text == "forbidden"]
        return tuple(Violation("CS-T02", (TOY, key), "is forbidden") for key in bad)

    def warnings(self, value: Any) -> tuple[str, ...]:
        return ()

    def deadlines(self, value: Any) -> tuple[Deadline, ...]:
        return ()

    def inventory(self, value: Any) -> frozenset[ObjectId]:
        return frozenset(ObjectId("peer", "toy.peers", name) for name in value)

    def canonical(self, value: Any) -> bytes:
        return canonical(value)

    def describe(self, path: Any) -> Place | None:
        return Place("a value" if path else "a map")

    def fallbacks(self, tree: Any, path: Any) -> Any:
        return ()

    def remarks(self, want: Any, had: Any, seen: Observed) -> tuple[str, ...]:
        return ()

    def plan(self, want: Any, had: Any, seen: Observed) -> tuple[Step, ...]:
        before = seen.detail["runs"]
        if before == want:
            return ()
        names, impact = sorted({*before, *want}), seen.detail["impact"]
        items = tuple(
            Difference("~", f"toy.{name}", before.get(name), want.get(name), impact)
            for name in names
            if before.get(name) != want.get(name)
        )
        args, impact = {"text": want}, seen.detail.get("impact", Impact.HITLESS)
        return (Step(DRIVER, "set", 1, "toy", impact, "set toy", args, items, 3.0, 0.0),)


class ToyDriver:
    """A box that holds names and texts, what runs and what is on disk."""

    name = DRIVER

    def __init__(self) -> None:
        self.runs: dict[str, str] = {}
        self.disk: dict[str, str] = {}
        self.ownership = Ownership.OWNED
        self.problem = ""
        self.hand = ""
        self.impact = Impact.HITLESS
        self.lost: tuple[str, ...] = ()
        self.survey_problem = ""
        self.impact = Impact.HITLESS
        self.faults: dict[str, list[BaseException]] = {}
        self.verdicts: list[Judgement] = [OK]
        self.calls: list[str] = []
        self.hook: Callable[[str], None] = lambda _: None
        self.left_over: tuple[str, ...] = ()
        self.closed = False

    def _call(self, verb: str) -> None:
        self.calls.append(verb)
        self.hook(verb)
        if waiting := self.faults.get(verb):
            raise waiting.pop(0)

    @property
    def written(self) -> list[str]:
        """The calls that change the host."""
        return [verb for verb in self.calls if verb in {"apply", "undo", "commit"}]

    def edit(self, **runs: str) -> None:
        """Change the host by another hand."""
        self.runs = self.disk = runs

    def decode(self, record: Any) -> Step:
        return Step.from_json(record)

    async def heal(self) -> tuple[str, ...]:
        self._call("heal")
        found, self.left_over = self.left_over, ()
        return found

    async def observe(self, adopted: Any = None) -> Observed:
        self._call("observe")
        detail = {"runs": dict(self.runs), "protocols": [], "sessions": {}, "impact": self.impact}
        ownership = Ownership.OWNED if adopted else self.ownership
        detail["impact"] = self.impact
        return Observed(ownership, detail, self.problem, hand=self.hand)

    async def survey(self, want: Any) -> Survey:
        self._call("survey")
        record = None if self.survey_problem else {"runs": dict(self.runs)}
        return Survey(record, self.survey_problem, self.lost, "toy:\n")

    async def pulse(self) -> str:
        return canonical([self.runs, self.ownership, self.hand]).decode()

    async def check(self, step: Step) -> None:
        self._call("check")

    async def checkpoint(self, step: Step) -> Any:
        self._call("checkpoint")
        return {"disk": dict(self.disk)}

    async def apply(self, step: Step, saved: Any, revert_after_s: float) -> None:
        self.runs = dict(step.args["text"])
        self._call("apply")

    async def undo(self, step: Step, saved: Any) -> None:
        self._call("undo")
        self.runs, self.disk = dict(saved["disk"]), dict(saved["disk"])

    async def commit(self, step: Step, saved: Any) -> None:
        self._call("commit")
        self.runs, self.disk = dict(step.args["text"]), dict(step.args["text"])

    async def position(self, step: Step, saved: Any) -> Position:
        if self.runs == self.disk == saved["disk"]:
            return Position.OLD
        return Position.NEW if self.runs == self.disk == step.args["text"] else Position.MIXED

    def close(self) -> None:
        self.closed = True

    def probes(self, step: Step) -> tuple[ToyDriver, ...]:
        return (self,)

    async def sample(self) -> Any:
        self._call("sample")
        return {}

    def judge(self, baseline: Any, seen: Any) -> Judgement:
        return self.verdicts.pop(0) if len(self.verdicts) > 1 else self.verdicts[0]


@dataclass
class Recorder:
    """Takes events and keeps them."""

    events: list[Event] = field(default_factory=list)

    def emit(self, event: Event) -> None:
        self.events.append(event)

    def told(self, *types: str) -> list[str]:
        return [event.type for event in self.events if not types or event.type in types]


class Facts:
    """The node's names, and facts that a test may change or take away."""

    def __init__(self) -> None:
        self.known = {"node": "n1", "site": "bgo"}
        self.fault: HostBusy | None = None

    def facts(self) -> Any:
        if self.fault is not None:
            raise self.fault
        return self.known


class FullDisk(FileMemory):
    """A memory on a disk without room."""

    full = False

    def store(self, snapshot: Snapshot) -> None:
        if self.full:
            raise HostBusy("no space left")
        super().store(snapshot)


class World:
    """Everything a reconciler works with; `restart` is a new process on the same host."""

    def __init__(self, folder: Path) -> None:
        self.source = ScriptedSource()
        self.box = ToyDriver()
        self.facts = Facts()
        self.memory = FullDisk(folder)
        self.reporter = Recorder()
        self.journal = SqliteJournal(folder / "journal.db")
        self.budgets = Budgets()
        self.names = {"node": "n1"}
        self.splay_s = 0.0
        self.repair: frozenset[DriverName] = frozenset()
        self.parts = {TOY: Part(ToySection(), self.box)}
        self.room = Room({DRIVER: self.box}, self.journal, self.reporter)
        self.quiet = QuietPeriod(1.0, 10.0)
        self.restart()

    def restart(self) -> None:
        rules = Rules(LAYERS, self.names, self.budgets, self.splay_s, self.repair)
        sections = {TOY: ToySection()}
        self.explainer = Explainer(self.parts, sections, self.source, self.facts, rules, dict)
        self.reconciler = Reconciler(
            self.parts,
            sections,
            self.source,
            self.memory,
            self.facts,
            self.room,
            rules,
            self.quiet,
        )

    def write(self, key: str = NODE, **texts: Any) -> None:
        self.source.put(key, json.dumps(texts))

    def push(self, change: int, allow: tuple[str, ...] = (), **texts: Any) -> None:
        """Write the node's document and publish it."""
        self.write(**texts)
        self.source.publish(change, "common", "nodes/n1", allow=allow)

    async def once(self, *allow: str) -> Pass:
        found = await self.reconciler.once(allow)
        return await self.reconciler.remember(found)

    async def settled_with_common(self) -> None:
        """Carry out a node's document beside the common one that is written already."""
        self.push(1, a="1")
        assert (await self.once()).outcome is not None
        self.box.calls.clear()

    async def settled(self, **texts: str) -> None:
        """Publish change 1 and carry it to the host."""
        self.push(1, **texts)
        found = await self.once()
        assert found.outcome is not None
        assert self.box.runs == texts
        self.box.calls.clear()
        self.reporter.events.clear()


@contextlib.asynccontextmanager
async def world(folder: Path) -> AsyncIterator[World]:
    made = World(folder)
    try:
        yield made
    finally:
        await made.journal.aclose()


NODE_LAYER, COMMON_LAYER = LayerPath("nodes/n1"), LayerPath("common")
