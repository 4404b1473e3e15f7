"""One pass: snapshot, judge, merge, parse, observe, plan, gate, transact.

Separate because the order of these is the product, and because `plan`, `apply --once` and the
agent must share it. A pass concludes nothing from silence: whatever cannot be believed leaves the
host on what was applied, and says why.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from confsync.flow.believe import Believer
from confsync.flow.guard import to_completion
from confsync.flow.looking import look_at_host
from confsync.flow.pace import Pace
from confsync.flow.passed import Pass
from confsync.flow.peace import Peace, claimed
from confsync.flow.transact import Room, transact
from confsync.model import policy
from confsync.model.desired import Desired, build
from confsync.model.errors import (
    ConfsyncError,
    HostBusy,
    InvalidConfig,
    JournalDamaged,
    JournalLost,
    JournalTooNew,
    PlanRefused,
    Retry,
)
from confsync.model.ids import DriverName, Json, ObjectId, SectionName
from confsync.model.layers import levels, merge
from confsync.model.machine import State
from confsync.model.plan import Impact, Plan, Step
from confsync.model.scopes import is_ours, share
from confsync.model.section import AnySection, Observed, Ownership, Scope
from confsync.model.snapshot import QuietPeriod, Snapshot
from confsync.model.status import Event, EventType
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
    splay_s: float = 0.0
    repair: frozenset[DriverName] = frozenset()


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
        scope: Scope = Scope.NODE,
    ) -> None:
        self._parts = parts
        self._sections = {name: one for name, one in sections.items() if one.scope is scope}
        self._source, self._memory = source, memory
        self._facts = facts
        self._room = room
        self._rules = rules
        self.known_good = memory.load()
        self._at_rest = False
        self._had_values: tuple[Applied | None, dict[SectionName, object]] = (None, {})
        self.applying = False
        self.adopting: Mapping[DriverName, Json] = {}
        patterns = {one.path: one.pattern for one in levels(rules.patterns, rules.names)}
        self.layers = tuple(patterns)
        self._share = partial(share, sections=sections, scope=scope, patterns=patterns)
        ours = partial(is_ours, layers=self.layers, sections=sections, scope=scope)
        self._believer = Believer(source, self.layers, quiet, self.known_good, ours)
        self._pace = Pace(rules.names.get("node", ""), rules.splay_s)
        self._peace = Peace(rules.repair)

    async def tidy(self) -> None:
        """Let the drivers remove what stands about of a change that did not happen.

        Legal while no transaction is open; a disk may refuse it for now. Why: what was checked,
        and failed before its checkpoint was saved, is nobody's to undo.
        """
        for part in self._parts.values():
            with suppress(ConfsyncError):
                if found := await part.driver.heal():
                    fields = {"driver": part.driver.name, "found": list(found)}
                    self._room.reporter.emit(Event(EventType.HOST_HEALED, fields))

    async def preview(self, given: Snapshot | None = None, allow: Collection[str] = ()) -> Pass:
        """Go as far as the plan and what stands against it; the host is only read.

        `given` takes the place of the source's answer, and is believed.
        """
        if given is not None:
            return await self._propose(await self._desire(Pass(snapshot=given)), allow)
        return await self._weigh(await self._believe(allow), allow)

    async def pulse(self) -> tuple[str, ...]:
        """Return a cheap sign that differs when another hand may have changed the host."""
        return tuple([await part.driver.pulse() for part in self._parts.values()])

    def forgive(self) -> None:
        """Write again where another hand fought us."""
        self._peace.forgive()

    async def once(self, allow: Collection[str] = (), *, at_once: bool = True) -> Pass:
        """Do one whole pass; a transaction that began runs to its end.

        `at_once` = an operator waits: nothing is put off.

        What came of it goes to `remember`, after it has been told.
        Raises: JournalDamaged, JournalTooNew, JournalLost.
        """
        return await self._finish(await self._believe(allow), allow, at_once=at_once)

    async def when_woken(self) -> Pass | None:
        """Do one whole pass if the source has news; None = it says what is in place already."""
        found = await self._believe(())
        waits = found.again_s is not None or found.publishing
        odd = found.fault or found.refusals or found.violations or waits
        news = odd or found.snapshot != self.known_good
        return None if self._at_rest and not news else await self._finish(found, (), at_once=False)

    async def _finish(self, found: Pass, allow: Collection[str], *, at_once: bool) -> Pass:
        found = await self._weigh(found, allow)
        await self._pin(found)
        found = await self._act(found, at_once=at_once)
        self._at_rest = found.in_place and found.fault is None and not found.publishing
        return found

    async def remember(self, found: Pass) -> Pass:
        """Keep what was believed and is in place, for a start without the source.

        A disk that refuses it is told, and asked again next time.
        """
        if found.snapshot is None or not found.in_place or found.snapshot == self.known_good:
            return found
        try:
            await asyncio.to_thread(self._memory.store, found.snapshot)
        except ConfsyncError as fault:
            self._at_rest = False
            note = f"a start without the source would not know this revision: {fault}"
            return replace(found, warnings=(note,))
        self.known_good = found.snapshot
        return found

    async def _weigh(self, found: Pass, allow: Collection[str]) -> Pass:
        """Turn what is believed into a plan, with all that stands against it."""
        if found.snapshot is None:
            return found
        found = await self._desire(found)
        if found.violations and found.desired is None and self.known_good:
            # The host is still looked at, by what was believed before.
            kept = await self._desire(replace(found, snapshot=self.known_good))
            found = kept if kept.desired else found
        return await self._propose(found, allow)

    async def _act(self, found: Pass, *, at_once: bool) -> Pass:
        """Carry out the plan, unless something holds it back."""
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
        if not at_once and (waiting := self._put_off(found)):
            return waiting
        return await to_completion(self._carry_out(found, told=at_once))

    def _put_off(self, found: Pass) -> Pass | None:
        """Return the pass with how long it waits, where it may not be carried out at once."""
        assert found.plan is not None
        now_s = asyncio.get_running_loop().time()
        again_s = self._peace.wait_s(found.mends, now_s)
        why = f"waits {again_s:.0f} s before it is repaired once more"
        if not again_s and found.plan.impact is not Impact.HITLESS:
            again_s = self._pace.wait_s(found.plan.revision, now_s)
            why = f"waits {again_s:.0f} s (splay)"
        return replace(found, again_s=again_s, waits=why) if again_s else None

    async def _pin(self, found: Pass) -> None:
        """Keep who this host is: when it is configured first, and when a change is confirmed."""
        journal, names = self._room.journal, self._rules.names
        strange = any(refusal.rule == "identity" for refusal in found.refusals)
        if found.applied is not None and not strange and await journal.pinned() != names:
            await journal.pin(names)

    async def _believe(self, allow: Collection[str]) -> Pass:
        """Return what is believed of the source, and whether this host is still who it was."""
        found = await self._believer.read(self.known_good, allow)
        with suppress(JournalDamaged, JournalTooNew):  # looked at again before anything is done
            pinned = await self._room.journal.pinned()
            moved = policy.moved(pinned, self._rules.names, allow)
            return replace(found, refusals=(*moved, *found.refusals))
        return found

    async def _desire(self, found: Pass) -> Pass:
        """Add what the snapshot wants, or why that cannot be told."""
        assert found.snapshot is not None
        try:
            desired = await asyncio.to_thread(self._think, found.snapshot)
        except InvalidConfig as fault:
            return replace(found, violations=(*found.violations, *fault.violations))
        except ConfsyncError as fault:
            return replace(found, failure=fault)
        carried = frozenset(desired.values.keys() & self._parts.keys())
        return replace(found, desired=desired, carried=carried)

    def _think(self, snapshot: Snapshot) -> Desired:
        """Merge the layers and parse the sections, in a thread: hundreds of peers take a while.

        Raises: InvalidConfig.
        """
        facts = {**self._rules.names, **self._facts.facts()}
        merged = merge(self._share(snapshot), self._rules.patterns, facts)
        return build(self._sections, merged)

    async def _propose(self, found: Pass, allow: Collection[str]) -> Pass:
        """Look at the host and say what would be done, and what stands against it."""
        desired = found.desired
        if desired is None:
            return found
        try:
            applied = await self._room.journal.applied()
            seen, taken = await look_at_host(self._parts, self._room.journal, self.adopting)
        except ConfsyncError as fault:
            return replace(found, failure=fault)
        for name in applied.sections.keys() & self._parts.keys() if applied else ():
            driver = self._parts[name].driver.name
            seen[driver] = claimed(seen[driver])
        found = replace(found, applied=applied, observed=seen)
        for name, part in self._parts.items():
            look = seen[part.driver.name]
            if name in desired.values and look.ownership is Ownership.ABSENT:
                return replace(found, failure=HostBusy(look.problem))
        had = {**taken, **await asyncio.to_thread(self._had, applied)}
        try:
            plan = await asyncio.to_thread(self._plan, desired, had, seen)
        except InvalidConfig as fault:
            blamed = map(desired.blame, fault.violations)
            return replace(found, violations=(*found.violations, *blamed))
        except ConfsyncError as fault:
            return replace(found, failure=fault)
        observing = tuple(n for n, o in seen.items() if o.ownership is Ownership.FOREIGN)
        found = replace(found, plan=plan, observing=observing)
        self._peace.saw(seen, found.mends, asyncio.get_running_loop().time())
        stopped = self._refusals(found, plan, desired, had, {*allow, *found.allowed})
        return replace(found, refusals=(*found.refusals, *stopped))

    def _plan(
        self,
        desired: Desired,
        had: Mapping[SectionName, object],
        seen: Mapping[DriverName, Observed],
    ) -> Plan:
        """Ask every section for its steps, in a thread as well. Raises ConfsyncError."""
        steps: list[Step] = []
        remarks: list[str] = []
        for name, part in self._parts.items():
            if name in desired.values:
                told = (desired.values[name], had.get(name), seen[part.driver.name])
                steps += part.section.plan(*told)
                remarks += part.section.remarks(*told)
        return Plan(desired.revision, tuple(steps), tuple(remarks))

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
            self._peace.refusal(name, look.problem or f"{name} left what was applied")
            for name, look in found.observed.items()
            if name in found.mends and not self._peace.repairs(name)
        ]
        return (*refusals, *(r for r in (*gone, *drifted) if f"{r.rule}:{r.place}" not in allow))

    async def _gate(self, found: Pass) -> Pass | None:
        """Return the pass with what holds it back, or None when nothing does."""
        assert found.desired is not None
        known = await self._room.journal.quarantined(found.desired.revision)
        if known is not None and known.final:
            return replace(found, quarantined=known.reason)
        if reason := await self._room.journal.paused():
            return replace(found, held=reason)
        return found if found.observing or found.refusals else None

    async def _carry_out(self, found: Pass, *, told: bool) -> Pass:
        """Run the transaction."""
        assert found.plan is not None
        target = self._target(found)
        way_home = None if found.fault else self._source.way_home()
        now_s = asyncio.get_running_loop().time()
        self._peace.tries(found.writes, now_s, repairing=bool(found.mends) and not told)
        self._pace.done()
        self.applying = True
        try:
            outcome = await transact(found.plan, target, self._room, way_home=way_home)
        except HALTING:
            raise
        except ConfsyncError as fault:
            await self.tidy()
            final = fault.retry is Retry.NEXT_REVISION
            if final:
                await self._room.journal.quarantine(target.revision, str(fault), final=True)
            return replace(found, failure=fault)
        finally:
            self.applying = False
        if outcome.state is State.ROLLED_BACK:
            await self.tidy()
        if outcome.state is not State.COMMITTED:
            return replace(found, outcome=outcome)
        self._peace.wrote(found.writes)
        assert found.desired is not None
        values = {name: found.desired.values[name] for name in found.carried}
        self._had_values = (target, values)
        return replace(found, outcome=outcome, applied=target)

    async def _settle(self, found: Pass) -> Pass:
        """Record a revision that the host already runs."""
        target = self._target(found)
        if found.applied != target:
            await self._room.journal.settle(target)
        return replace(found, applied=target)

    def _target(self, found: Pass) -> Applied:
        desired, snapshot = found.desired, found.snapshot
        assert desired is not None
        assert snapshot is not None
        texts = {name: text for name, text in desired.texts.items() if name in found.carried}
        change = snapshot.head.change if snapshot.head else 0
        return Applied(desired.revision, change, texts, desired.tree)

    def _had(self, applied: Applied | None) -> dict[SectionName, object]:
        """Return the values that were last committed; one that no longer parses is left out."""
        if applied is None:
            return {}
        if self._had_values[0] != applied:
            parsed = {
                name: self._sections[name].parse(json.loads(text))
                for name, text in applied.sections.items()
                if name in self._sections
            }
            whole = {name: value for name, value in parsed.items() if not isinstance(value, tuple)}
            self._had_values = (applied, whole)
        return self._had_values[1]

    def _inventory(self, values: Mapping[SectionName, object]) -> frozenset[ObjectId]:
        return frozenset(
            item for name, value in values.items() for item in self._sections[name].inventory(value)
        )
