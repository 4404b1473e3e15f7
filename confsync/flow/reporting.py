"""The status as others read it: told at each transition, and now and then without one.

Separate because nobody here waits for whoever reads it: a board that is away, or refuses us,
changes nothing but the age of what hangs there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from confsync.model import limits
from confsync.model.errors import Denied, SourceError
from confsync.model.ids import Json
from confsync.model.status import Event, EventType, Status, report_of
from confsync.ports import Reporter
from confsync.ports.site import Board

AWAY: Final = "away"


class Everyone:
    """Tells the log of each event, and whoever else listens with the settings of today."""

    def __init__(self, log: Reporter) -> None:
        self._log = log
        self.also: Reporter | None = None

    def emit(self, event: Event) -> None:
        """Take note of one event; never waits."""
        self._log.emit(event)
        if self.also is not None:
            self.also.emit(event)


class Reporting:
    """Puts one node's report up; a reader orders two of one `boot` by `seq`, others by `at`.

    Shape: `status` None = another agent tells it. `about` goes into every report: version, and
    `boot`, which names one run of the agent.
    """

    def __init__(
        self,
        board: Board,
        status: Callable[[], Status | None],
        about: Json,
        wall: Callable[[], str],
        reporter: Reporter,
    ) -> None:
        self._board = board
        self._status = status
        self._about = about
        self._wall = wall
        self._reporter = reporter
        self._posted: Json = None
        self._due_s = 0.0
        self._seq = 0
        self._refused = ""

    @property
    def refusal(self) -> str:
        """Return why the board does not take our reports; empty = it does, or is away."""
        return "" if self._refused == AWAY else self._refused

    async def run(self) -> None:
        """Post what changed, a burst of changes once; ends by being cancelled only."""
        while True:
            await self.look()
            await asyncio.sleep(limits.REPORT_TICK_S)

    async def look(self) -> None:
        """Post if there is something to tell and it is time."""
        now_s = asyncio.get_running_loop().time()
        if (status := self._status()) is None:
            self._posted = None
            return
        report = report_of(status)
        news = report != self._posted and not self._refused
        if not news and now_s < self._due_s:
            return
        self._seq += 1
        try:
            await self._board.post({
                **report, **self._about, "seq": self._seq, "at": self._wall()
            })  # fmt: skip
        except SourceError as fault:
            denied = isinstance(fault, Denied)
            self._due_s = now_s + (limits.REPORT_EVERY_S if denied else limits.REPORT_RETRY_S)
            self._refuse(str(fault) if denied else self._refused or AWAY)
            return
        self._posted, self._refused = report, ""
        self._due_s = now_s + limits.REPORT_EVERY_S

    def _refuse(self, why: str) -> None:
        """Keep still until it is due; tell of a refusal once, since an outage is told already."""
        if why not in {self._refused, AWAY}:
            self._reporter.emit(Event(EventType.REPORT_REFUSED, {"reason": why}))
        self._refused = why

    async def close(self) -> None:
        """Give up all connections."""
        await self._board.close()
