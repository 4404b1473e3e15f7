"""One pass: snapshot, judge, merge, parse, observe, plan, gate, transact.

Separate because the order of these is the product, and because `plan`, `apply --once` and the
agent must share it. A pass concludes nothing from silence: whatever cannot be believed leaves the
host on what was applied, and says why.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from confsync.flow.guard import to_completion
from confsync.flow.transact import Outcome, Room, transact
from confsync.model import policy
from confsync.model.desired import Desired, build
from confsync.model.errors import (
    ConfsyncError,
    Denied,
    HostBusy,
    InvalidConfig,
    JournalDamaged,
    JournalLost,
    JournalTooNew,
    PlanRefused,
    Retry,
    SourceError,
    Violations,
)
from confsync.model.ids import DriverName, KeyPath, ObjectId, SectionName
from confsync.model.layers import layer_paths, merge
from confsync.model.machine import State
from confsync.model.plan import Plan
from confsync.model.section import AnySection, Observed, Ownership
from confsync.model.snapshot import (
    Absence,
    Burst,
    QuietPeriod,
    Reading,
    Snapshot,
    Standing,
    content_digest,
    document_key,
    judge,
    manifest_key,
)
from confsync.ports import Applied, Driver, FactSource, Memory, Source

HALTING: Final = (JournalDamaged, JournalLost, JournalTooNew)


@dataclass(frozen=True, slots=True)
class Part:
    """A section and the driver that carries it to the host."""

    section: AnySection
    driver: Driver


@dataclass(frozen=True, slots=True)
class Rules:
    """What the operator of this host decided about passes; `patterns` are the hierarchy's."""

    patterns: tuple[str, ...]
    names: Mapping[str, str]
    budgets: policy.Budgets


@dataclass(frozen=True, slots=True)
class Pass:
    """What one pass came to; an empty field says "nothing of that".

    Shape: `plan` None = it did not come to a plan; `carried` are the wanted sections that have a
    driver here; `fault` is the source's, `failure` the host's;
    `observing` names the drivers that own nothing here; `held` says who stopped writing.
    Units: `again_s` is when to look again without a wake.
    """

    snapshot: Snapshot | None = None
    reading: Reading | None = None
    desired: Desired | None = None
    carried: frozenset[SectionName] = frozenset()
    applied: Applied | None = None
    observed: Mapping[DriverName, Observed] = field(default_factory=dict)
    plan: Plan | None = None
    fault: SourceError | None = None
    violations: Violations = ()
    refusals: tuple[PlanRefused, ...] = ()
    observing: tuple[DriverName, ...] = ()
    held: str = ""
    quarantined: str = ""
    failure: ConfsyncError | None = None
    outcome: Outcome | None = None
    again_s: float | None = None
    warnings: tuple[str, ...] = ()

    @property
    def retry(self) -> bool:
        """Tell whether the same revision is worth another try soon."""
        return self.outcome is not None and self.outcome.state is State.ROLLED_BACK

    @property
    def in_sync(self) -> bool:
        """Tell whether the host runs what is wanted."""
        return self.plan is not None and not self.plan.steps

    @property
    def drifted(self) -> bool:
        """Tell whether the host left what was applied, while nothing new is wanted."""
        return bool(self.unchanged and self.plan and self.plan.steps and not self.outcome)

    @property
    def unchanged(self) -> bool:
        """Tell whether what is wanted is what was applied last.

        Why not by the revision alone: a driver may have been enabled since then.
        """
        if self.applied is None or self.desired is None:
            return False
        missed = self.carried - self.applied.sections.keys()
        return not missed and self.applied.revision == self.desired.revision

    @property
    def allowed(self) -> frozenset[str]:
        """Return what the head allows: for its own change alone, and until that is in place."""
        head = self.snapshot.head if self.snapshot else None
        if head is None or self.reading is None or self.reading.standing is not Standing.COMPLETE:
            return frozenset()
        done = self.applied is not None and self.applied.change >= head.change
        return frozenset() if done else frozenset(head.allow)


class Reconciler:
    """Turns what the source says into what the host runs, one pass at a time."""

    def __init__(
        self,
        parts: Mapping[SectionName, Part],
        sections: Mapping[SectionName, AnySection],
        source: Source,
        memory: Memory,
        facts: FactSource,
        room: Room,
        rules: Rules,
        quiet: QuietPeriod,
    ) -> None:
        self._parts = parts
        self._sections = sections
        self._source = source
        self._memory = memory
        self._facts = facts
        self._room = room
        self._rules = rules
        self._quiet = quiet
        self.known_good = memory.load()
        self._burst: Burst | None = None
        self._acted = content_digest(self.known_good) if self.known_good else None
        self.applying = False
        self.layers = layer_paths(rules.patterns, rules.names)

    async def heal(self) -> None:
        """Let the drivers remove their own left-overs; legal while no transaction is open."""
        for part in self._parts.values():
            await part.driver.heal()

    async def preview(self, given: Snapshot | None = None, allow: Collection[str] = ()) -> Pass:
        """Go as far as the plan and what stands against it; the host is only read.

        `given` takes the place of the source's answer, and is believed.
        """
        found = Pass(snapshot=given) if given else await self._believe(allow)
        if found.snapshot is None:
            return found
        found = self._desire(found)
        if found.violations and found.desired is None and self.known_good and not given:
            # The host is still looked at, by what was believed before.
            kept = self._desire(replace(found, snapshot=self.known_good))
            found = kept if kept.desired else found
        return await self._propose(found, allow) if found.desired else found

    async def once(self, allow: Collection[str] = ()) -> Pass:
        """Do one whole pass; a transaction that began runs to its end.

        Raises: JournalDamaged, JournalTooNew, JournalLost.
        """
        found = await self.preview(allow=allow)
        if isinstance(found.failure, HALTING):
            raise found.failure
        if found.plan is None or found.desired is None or found.failure:
            return found
        if found.snapshot is self.known_good and not found.drifted:
            # Nothing was believed; memory may lie behind what a killed agent has committed.
            return found
        if found.in_sync and not found.refusals:
            return await self._settle(found)
        if blocked := await self._gate(found):
            return blocked
        return await to_completion(self._carry_out(found))

    async def _believe(self, allow: Collection[str]) -> Pass:
        """Read the source and decide which snapshot this pass goes by."""
        keep = Pass(snapshot=self.known_good)
        try:
            fresh = await self._source.snapshot(self.layers)
            reading = judge(fresh, self.known_good)
            absent = {
                key: await self._source.why_absent(key) for key in self._doubted(fresh, reading)
            }
        except InvalidConfig as fault:
            return replace(keep, violations=fault.violations)
        except SourceError as fault:
            return replace(keep, fault=fault)
        keep = replace(keep, reading=reading)
        if hidden := [key for key, why in absent.items() if why is not Absence.GONE]:
            message = f"the source hides {', '.join(hidden)} from us; what was read before is kept"
            return replace(keep, fault=Denied(message))
        vanished = policy.vanished(reading.missing, allow)
        if refusals := (*vanished, *policy.went_back(reading.lower, allow)):
            return replace(keep, refusals=refusals)
        if reading.standing is Standing.PUBLISHING:
            return keep
        if reading.standing is Standing.EDITED and (wait_s := self._quiet_for(fresh)) > 0:
            return replace(keep, again_s=wait_s)
        self._burst, self._acted = None, content_digest(fresh)
        return replace(keep, snapshot=fresh)

    def _doubted(self, fresh: Snapshot, reading: Reading) -> tuple[KeyPath, ...]:
        """Return the keys whose absence must be explained before anything is believed.

        Why: a filtered read looks like an empty one. What a manifest names must be there; on the
        first read there is nothing else to compare with, so that each layer without a trace is
        asked for.
        """
        if reading.standing is Standing.PUBLISHING:
            return ()
        doubted = [*reading.missing]
        for layer in fresh.layers:
            named = layer.manifest.documents if layer.manifest else {}
            absent = sorted(named.keys() - layer.documents.keys())
            doubted.extend(document_key(layer.path, name) for name in absent)
            if self.known_good is None and not layer.documents and layer.manifest is None:
                doubted.append(manifest_key(layer.path))
        return tuple(dict.fromkeys(doubted))

    def _quiet_for(self, fresh: Snapshot) -> float:
        """Return how long plain writes must still be quiet before they are acted upon."""
        now_s = asyncio.get_running_loop().time()
        self._burst = self._quiet.see(self._burst, content_digest(fresh), self._acted, now_s)
        return self._quiet.due_s(self._burst) - now_s if self._burst else 0.0

    def _desire(self, found: Pass) -> Pass:
        """Add what the snapshot wants, or why that cannot be told."""
        assert found.snapshot is not None
        try:
            desired = self._think(found.snapshot)
        except InvalidConfig as fault:
            return replace(found, violations=(*found.violations, *fault.violations))
        except ConfsyncError as fault:
            return replace(found, failure=fault)
        carried = frozenset(desired.values.keys() & self._parts.keys())
        return replace(found, desired=desired, carried=carried)

    def _think(self, snapshot: Snapshot) -> Desired:
        """Merge the layers and parse the sections. Raises InvalidConfig."""
        facts = {**self._rules.names, **self._facts.facts()}
        merged = merge(snapshot, self._rules.patterns, facts)
        return build(self._sections, merged)

    async def _propose(self, found: Pass, allow: Collection[str]) -> Pass:
        """Look at the host and say what would be done, and what stands against it."""
        desired = found.desired
        assert desired is not None
        try:
            applied = await self._room.journal.applied()
            seen = {p.driver.name: await p.driver.observe() for p in self._parts.values()}
        except ConfsyncError as fault:
            return replace(found, failure=fault)
        found = replace(found, applied=applied, observed=seen)
        for name, part in self._parts.items():
            look = seen[part.driver.name]
            if name in desired.values and look.ownership is Ownership.ABSENT:
                return replace(found, failure=HostBusy(look.problem))
        had = self._had(applied)
        steps = tuple(
            step
            for name, part in self._parts.items()
            if name in desired.values
            for step in part.section.plan(
                desired.values[name], had.get(name), seen[part.driver.name]
            )
        )
        plan = Plan(desired.revision, steps)
        observing = tuple(n for n, o in seen.items() if o.ownership is Ownership.FOREIGN)
        found = replace(found, plan=plan, observing=observing)
        stopped = self._refusals(found, plan, desired, had, {*allow, *found.allowed})
        return replace(found, refusals=(*found.refusals, *stopped))

    def _refusals(
        self,
        found: Pass,
        plan: Plan,
        desired: Desired,
        had: Mapping[SectionName, object],
        allow: Collection[str],
    ) -> tuple[PlanRefused, ...]:
        """Return every guard that stops the plan and is not allowed by name."""
        refusals = policy.refusals(
            plan,
            self._inventory(had),
            self._inventory(desired.values),
            found.applied.tree if found.applied else {},
            desired.tree,
            self._rules.budgets,
            allow,
        )
        gone = [
            PlanRefused("vanished", name, f"no document gives {name} a value any more")
            for name in had
            if name not in desired.values
        ]
        drifted = [
            PlanRefused("drift", name, look.problem or f"{name} left what was applied")
            for name, look in found.observed.items()
            if plan.steps and (found.drifted or look.ownership is Ownership.EDITED)
        ]
        return (*refusals, *(r for r in (*gone, *drifted) if f"{r.rule}:{r.place}" not in allow))

    async def _gate(self, found: Pass) -> Pass | None:
        """Return the pass with what holds it back, or None when nothing does."""
        assert found.desired is not None
        if found.observing or found.refusals:
            return found
        if reason := await self._room.journal.paused():
            return replace(found, held=reason)
        known = await self._room.journal.quarantined(found.desired.revision)
        if known is not None and known.final:
            return replace(found, quarantined=known.reason)
        return None

    async def _carry_out(self, found: Pass) -> Pass:
        """Run the transaction, and remember what became of it."""
        assert found.plan is not None
        target = self._target(found)
        way_home = None if found.fault else self._source.way_home()
        self.applying = True
        try:
            outcome = await transact(found.plan, target, self._room, way_home=way_home)
        except HALTING:
            raise
        except ConfsyncError as fault:
            final = fault.retry is Retry.NEXT_REVISION
            if final:
                await self._room.journal.quarantine(target.revision, str(fault), final=True)
            return replace(found, failure=fault)
        finally:
            self.applying = False
        if outcome.state is not State.COMMITTED:
            return replace(found, outcome=outcome)
        return self._remember(replace(found, outcome=outcome, applied=target))

    async def _settle(self, found: Pass) -> Pass:
        """Remember a revision that the host already runs."""
        target = self._target(found)
        if found.applied != target:
            await self._room.journal.settle(target)
        return self._remember(replace(found, applied=target))

    def _remember(self, found: Pass) -> Pass:
        """Keep what was believed; a disk that refuses it is told, and asked again next time."""
        if found.snapshot is not None and found.snapshot != self.known_good:
            try:
                self._memory.store(found.snapshot)
            except ConfsyncError as fault:
                note = f"a start without the source would not know this revision: {fault}"
                return replace(found, warnings=(note,))
            self.known_good = found.snapshot
        return found

    def _target(self, found: Pass) -> Applied:
        desired, snapshot = found.desired, found.snapshot
        assert desired is not None
        assert snapshot is not None
        texts = {
            name: self._sections[name].canonical(value).decode()
            for name, value in desired.values.items()
            if name in found.carried
        }
        change = snapshot.head.change if snapshot.head else 0
        return Applied(desired.revision, change, texts, desired.tree)

    def _had(self, applied: Applied | None) -> dict[SectionName, object]:
        """Return the values that were last committed; one that no longer parses is left out."""
        had: dict[SectionName, object] = {}
        for name, text in (applied.sections if applied else {}).items():
            if name in self._sections:
                value = self._sections[name].parse(json.loads(text))
                if not isinstance(value, tuple):
                    had[name] = value
        return had

    def _inventory(self, values: Mapping[SectionName, object]) -> frozenset[ObjectId]:
        return frozenset(
            item for name, value in values.items() for item in self._sections[name].inventory(value)
        )
