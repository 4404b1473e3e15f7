"""The configuration of a whole site, by the one agent that holds its lease.

Separate because it is no host's: it has passes, a journal and transactions of its own, and neither
side's roll-back touches the other. What an earlier holder left open is ended first, by the journal
that all of them share; nothing is written for the site once the lease is lost.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import Final

from confsync.flow.announce import Announcer
from confsync.flow.guard import beside
from confsync.flow.passed import Pass
from confsync.flow.reconcile import HALTING, Reconciler
from confsync.flow.recover import end_open
from confsync.flow.show import Showing
from confsync.flow.tenure import rest
from confsync.flow.transact import Room
from confsync.model import limits
from confsync.model.errors import (
    Held,
    JournalLost,
    LeaseLost,
    SourceError,
)
from confsync.model.ids import LayerPath
from confsync.model.machine import State
from confsync.model.status import Event, EventType, SiteStatus, Status
from confsync.ports import Closing, Probe, Reporter, Source
from confsync.ports.site import Fence, Lease, SiteJournal

LEASE: Final = "site"


class OfSite:
    """Tells others of a site's events, as such: they are no host's."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter

    def emit(self, event: Event) -> None:
        """Take note of one event; never waits."""
        self._reporter.emit(replace(event, fields={**(event.fields or {}), "scope": "site"}))


class SiteKeeper:
    """Acts for its site while it holds the lease.

    Shape: `journal` makes the site's journal for a lease, `judges` what a change is judged by, and
    `reconciler` what passes are made with in a room; `room` has the site's drivers; `store` is
    where lease and journal are; `names` are this node's, its site's and its role's; `wall` is RFC
    3339 UTC.
    Units: `every_s` is how often the site is looked at without a reason.
    """

    def __init__(
        self,
        lease: Lease,
        source: Source,
        store: Closing,
        journal: Callable[[Fence], SiteJournal],
        judges: Callable[[Fence], Callable[[], tuple[Probe, ...]]],
        reconciler: Callable[[Room], Reconciler],
        room: Room,
        names: tuple[str, str, str],
        every_s: float,
        wall: Callable[[], str],
    ) -> None:
        self._lease = lease
        self._source = source
        self._store = store
        self._journal = journal
        self._judges = judges
        self._make = reconciler
        self._reporter = OfSite(room.reporter)
        self._ending = asyncio.Event()
        self._room = replace(room, reporter=self._reporter, stopping=self._ending)
        self._names = names
        self._every_s = every_s
        self._wall = wall
        self._woken = asyncio.Event()
        self._passing = asyncio.Lock()
        self._tenure: _Tenure | None = None
        self._trouble = ""

    def status(self) -> SiteStatus:
        """Return how the site stands, as far as this agent knows; or why it cannot act for it."""
        if self._tenure:
            return self._tenure.status()
        return SiteStatus(reason=self._trouble or self._lease.trouble)

    def report(self) -> Status | None:
        """Return what others are told of the site, None = another agent tells them."""
        return self._tenure.showing.status() if self._tenure else None

    async def run(self) -> None:
        """Hold the lease and act, again and again; ends by being cancelled only."""
        while True:
            async with self._lease.hold(LEASE) as fence:
                self._reporter.emit(Event(EventType.LEASE_TAKEN))
                try:
                    await self._serve(fence)
                except* (LeaseLost, JournalLost) as lost:
                    self._trouble = str(_first(lost))
                    self._reporter.emit(Event(EventType.LEASE_LOST, {"reason": self._trouble}))
                finally:
                    async with self._passing:  # a pass that a request began ends first
                        self._tenure = None
            await asyncio.sleep(limits.SITE_RETRY_S)  # another agent may fare better

    def wind_up(self) -> None:
        """Take back a change that is not final yet: nobody waits a minute for it to be judged."""
        self._ending.set()

    async def close(self) -> None:
        """Give up all connections."""
        await self._source.close()
        await self._store.close()
        for driver in self._room.drivers.values():
            driver.close()

    async def apply(self, allow: Collection[str]) -> Pass | None:
        """Do one pass now, with these allowances; None = another agent acts for the site.

        Raises: Held when the site is halted.
        """
        async with self._acting() as tenure:
            return await tenure.one_pass(allow, at_once=True) if tenure else None

    async def resume(self, *, accept: bool) -> None:
        """Try a halted transaction once more, or take the site as it is."""
        async with self._acting() as tenure:
            if tenure:
                await tenure.resume(accept=accept)

    async def retry(self) -> None:
        """Lift every quarantine."""
        async with self._acting() as tenure:
            if tenure:
                await tenure.journal.retry()
                tenure.reconciler.forgive()

    @asynccontextmanager
    async def _acting(self) -> AsyncIterator[_Tenure | None]:
        """Let a request act between passes; None = another agent acts for the site.

        A journal that it lost ends the tenure, as one that a pass lost: what is known of it may
        be wrong from then on.
        """
        async with self._passing:
            tenure = self._tenure
            try:
                yield tenure
            except JournalLost as fault:
                assert tenure is not None
                tenure.lost = fault
                raise
            finally:
                self._woken.set()

    async def _serve(self, fence: Fence) -> None:
        """Read what was left, then pass after pass until the lease is lost."""
        tenure = await self._begin(fence)
        async with beside(self._hear(tenure.reconciler.layers)):
            async with self._passing:
                await tenure.recover()
            self._tenure, self._trouble = tenure, ""
            while True:
                self._woken.clear()
                async with self._passing:
                    if tenure.lost:
                        raise tenure.lost
                    found = await tenure.one_pass(())
                moved = found.failure or found.outcome or found.fault
                pause_s = limits.SITE_RETRY_S if moved else self._every_s
                due_s = pause_s if found.again_s is None else found.again_s
                await rest(fence, self._woken, due_s)

    async def _begin(self, fence: Fence) -> _Tenure:
        journal = self._journal(fence)
        showing = Showing(journal, self._wall)
        showing.introduce(*self._names, self._source.name, None)
        judges = self._judges(fence)
        room = replace(self._room, journal=journal, permit=fence.check, probes=judges)
        tenure = _Tenure(journal, room, self._make(room), showing)
        while True:
            try:
                await tenure.read()
            except SourceError as fault:
                self._trouble = str(fault)
                await fence.check()
                await asyncio.sleep(limits.SITE_RETRY_S)
            else:
                return tenure

    async def _hear(self, layers: tuple[LayerPath, ...]) -> None:
        """Wake for the site's own layers."""
        async with aclosing(self._source.wakes(layers)) as wakes:
            async for _ in wakes:
                self._woken.set()


class _Tenure:
    """All that is known while one lease is held."""

    def __init__(
        self, journal: SiteJournal, room: Room, reconciler: Reconciler, showing: Showing
    ) -> None:
        self.journal = journal
        self.reconciler = reconciler
        self.showing = showing
        self.lost: JournalLost | None = None
        self._room = room
        self._announcer = Announcer(room.reporter)

    def status(self) -> SiteStatus:
        shown = self.showing.status(applying=self.reconciler.applying)
        return SiteStatus(
            holds=True,
            state=str(shown.state),
            reason=shown.reason,
            next=shown.next,
            desired=shown.desired.change if shown.desired else None,
            applied=shown.applied.change if shown.applied else None,
            drift=sum(driver.drift for driver in shown.drivers.values()),
            warnings=shown.warnings,
            last_transaction=shown.last_transaction,
        )

    async def read(self) -> None:
        """Read the journal; one that cannot be believed halts. Raises SourceError."""
        try:
            await self.journal.read()
        except HALTING as fault:
            self.showing.halted = str(fault)
        else:
            self.showing.halted = ""

    async def recover(self) -> None:
        """End what was left open."""
        if not self.showing.halted:
            self.showing.halted = await end_open(self._room)

    async def one_pass(self, allow: Collection[str], *, at_once: bool = False) -> Pass:
        """Do one whole pass; only look, while the site is halted. Raises JournalLost."""
        began_s = time.monotonic()
        if self.showing.halted and at_once:
            raise Held(f"the site is halted: {self.showing.halted}")
        if self.showing.halted:
            found = await self.reconciler.preview()
        else:
            found = await self.reconciler.once(allow, at_once=at_once)
        if found.outcome is not None and found.outcome.state is State.HALTED:
            self.showing.halted = found.outcome.reason
        await self.showing.conclude(found)
        self._announcer.tell(found, self.showing.status(), time.monotonic() - began_s)
        await self.showing.conclude(await self.reconciler.remember(found))
        return found

    async def resume(self, *, accept: bool) -> None:
        if accept:
            await self.journal.accept()
            self.showing.halted = ""
        else:
            await self.read()
            await self.journal.resume()
            await self.recover()


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return what ended a tenure first, out of its groups."""
    inner = group.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner
