"""The newest pass as the status that everybody is shown, with the age that it has by now.

Separate because answering must need no pass: what was found last is kept here, together with what
the journal says of the past, and a request reads it at any moment. Decides nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Protocol

from confsync.flow.passed import Pass
from confsync.flow.report import Scene, status_of
from confsync.model.errors import JournalDamaged, JournalTooNew
from confsync.model.ids import NodeId, RoleId, SiteId
from confsync.model.status import AgentState, MirrorStatus, SiteStatus, SourceStatus, Status
from confsync.ports import Journal, LastTxn


class Beside(Protocol):
    """What is told of that which works beside the passes."""

    def mirror(self) -> MirrorStatus | None:
        """Return how the site's copy stands, where this agent may make it."""

    def site_work(self) -> SiteStatus | None:
        """Return how the site stands, where this agent may act for it."""

    def broker(self) -> str | None:
        """Return why the MQTT broker does not hear us, empty = it does, None = there is none."""

    def refusals(self) -> tuple[str, ...]:
        """Return why our reports are not taken, where they are refused."""


class Showing:
    """What is shown of one host. Units: seconds of the loop's clock."""

    def __init__(self, journal: Journal, wall: Callable[[], str]) -> None:
        self._journal = journal
        self._wall = wall
        self._began_s = asyncio.get_running_loop().time()
        self._answered: tuple[float | None, str] = (None, "")
        self._looked_s: float | None = None
        self._last: LastTxn | None = None
        self._paused = ""
        self._status: Status | None = None
        self._names = (NodeId(""), SiteId(""), RoleId(""))
        self._source = ""
        self._beside: Beside | None = None
        self.found = Pass()
        self.halted = ""

    def introduce(
        self,
        node: str,
        site: str,
        role: str,
        source: str,
        beside: Beside | None,
    ) -> None:
        """Take note of who we are, whom we listen to, and what works beside us."""
        self._beside = beside
        self._names = (NodeId(node), SiteId(site), RoleId(role))
        self._source = source

    def heard(self) -> None:
        """Take note that the source answered."""
        self._answered = (asyncio.get_running_loop().time(), self._wall())

    async def conclude(self, found: Pass) -> None:
        """Make the newest pass the truth that everybody is shown."""
        if found is not self.found:
            self._looked_s = asyncio.get_running_loop().time()
        self.found = found
        if found.reading is not None and found.fault is None:
            self.heard()
        with suppress(JournalDamaged, JournalTooNew):
            self._last = await self._journal.last()
            self._paused = await self._journal.paused() or ""
        self.status()

    def status(self, *, applying: bool = False) -> Status:
        """Return the status of this moment; `applying` = a transaction is open."""
        now_s = asyncio.get_running_loop().time()
        answered_s, at = self._answered
        node, site, role = self._names
        source = SourceStatus(
            name=self._source,
            last_success_at=at,
            age_s=None if answered_s is None else now_s - answered_s,
            problem=str(self.found.fault or ""),
        )
        scene = Scene(
            node=node,
            site=site,
            role=role,
            source=source,
            at=self._wall(),
            silent_s=now_s - (self._began_s if answered_s is None else answered_s),
            halted=self.halted,
            paused=self._paused,
            last=self._last,
            before=self._status,
            mirror=self._beside.mirror() if self._beside else None,
            broker=self._beside.broker() if self._beside else None,
            site_work=self._beside.site_work() if self._beside else None,
            unheard=self._beside.refusals() if self._beside else (),
        )
        self._status = shown = status_of(scene, self.found)
        if not applying or shown.state is AgentState.STARTING:
            return shown
        return replace(shown, state=AgentState.APPLYING, reason="a transaction is open", next="")

    @property
    def age_s(self) -> float | None:
        """Return how old the newest look at the host is, None = there was none."""
        seen = self._looked_s
        return None if seen is None else asyncio.get_running_loop().time() - seen

    def line(self) -> str:
        """Return the status in one line."""
        shown = self._status or self.status()
        return f"{shown.state}: {shown.reason}" if shown.reason else str(shown.state)
