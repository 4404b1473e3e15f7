"""What others are told of a node, in virtual time."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from confsync.flow.reporting import Reporting
from confsync.model import limits
from confsync.model.errors import Denied, SourceError, Unreachable
from confsync.model.ids import NodeId, RoleId, SiteId
from confsync.model.status import AgentState, Event, SourceStatus, Status
from tests.flow.clock import virtual

ABOUT = {"version": "1", "boot": "6f0c"}
CALM = Status(
    AgentState.IN_SYNC,
    NodeId("n1"),
    SiteId("bgo"),
    RoleId(""),
    "then",
    SourceStatus("toy", "", 1.0),
)


class Post:
    """A board whose next faults are data."""

    def __init__(self) -> None:
        self.reports: list[tuple[float, Any]] = []
        self.fault: SourceError | None = None
        self.tries = 0

    async def post(self, report: Any) -> None:
        self.tries += 1
        if self.fault:
            raise self.fault
        self.reports.append((asyncio.get_running_loop().time(), report))

    async def close(self) -> None:
        pass


class Scene:
    def __init__(self) -> None:
        self.board, self.status = Post(), CALM
        self.events: list[Event] = []
        self.reporting = Reporting(self.board, lambda: self.status, ABOUT, lambda: "now", self)

    def emit(self, event: Event) -> None:
        self.events.append(event)

    async def work(self, for_s: float) -> None:
        task = asyncio.create_task(self.reporting.run())
        await asyncio.sleep(for_s)
        task.cancel()

    @property
    def states(self) -> list[str]:
        return [report["state"] for _, report in self.board.reports]


@virtual
async def test_a_calm_node_reports_once_a_minute() -> None:
    scene = Scene()
    await scene.work(3 * limits.REPORT_EVERY_S + 1)
    times = [at for at, _ in scene.board.reports]
    gaps = [late - early for early, late in pairwise(times)]
    assert [limits.REPORT_EVERY_S] * 3 == pytest.approx(gaps, abs=limits.REPORT_TICK_S)
    assert [1, 2, 3, 4] == [report["seq"] for _, report in scene.board.reports]
    assert ABOUT.items() <= scene.board.reports[0][1].items()


@virtual
async def test_a_burst_of_transitions_is_one_report_and_the_last_one_gets_through() -> None:
    scene = Scene()
    task = asyncio.create_task(scene.work(10))
    await asyncio.sleep(2.5)
    for state in (AgentState.PENDING, AgentState.APPLYING, AgentState.ROLLED_BACK):
        scene.status = replace(CALM, state=state)
        await asyncio.sleep(0.1)
    await task
    assert ["in-sync", "rolled-back"] == scene.states


@virtual
async def test_an_age_is_no_transition() -> None:
    scene = Scene()
    task = asyncio.create_task(scene.work(20))
    for second in range(20):
        scene.status = replace(CALM, source=SourceStatus("toy", "", float(second)))
        await asyncio.sleep(1)
    await task
    assert 1 == len(scene.board.reports)


@virtual
async def test_a_board_that_is_away_gets_the_state_of_the_day_when_it_is_back() -> None:
    scene = Scene()
    scene.board.fault = Unreachable("away")
    task = asyncio.create_task(scene.work(100))
    await asyncio.sleep(60)
    assert 60 / limits.REPORT_RETRY_S + 2 >= scene.board.tries
    scene.status = replace(CALM, state=AgentState.HALTED)
    scene.board.fault = None
    await task
    assert "halted" == scene.states[0]
    assert [] == scene.events, "an outage of the source is told by who reads it"


@virtual
async def test_a_refusal_is_shown_until_it_is_over_and_an_outage_is_none() -> None:
    scene = Scene()
    shown = [scene.reporting.refusal]
    for fault in (Unreachable("away"), Denied("403"), Unreachable("away"), None):
        scene.board.fault = fault
        await scene.work(2 * limits.REPORT_EVERY_S)
        shown.append(scene.reporting.refusal)
    assert ["", "", "403", "403", ""] == shown


@virtual
async def test_a_refusal_is_told_once_and_asked_again_slowly() -> None:
    scene = Scene()
    scene.board.fault = Denied("403")
    await scene.work(5 * limits.REPORT_EVERY_S)
    assert [{"reason": "403"}] == [event.fields for event in scene.events]
    assert 5 + 1 >= scene.board.tries
