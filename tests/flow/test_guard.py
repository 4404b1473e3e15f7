"""A transaction runs to its end, whatever happens to its siblings; on both event loops."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvloop

from confsync.flow.guard import to_completion
from confsync.flow.transact import Outcome, transact
from confsync.host.journal import SqliteJournal
from confsync.model.machine import State
from tests.flow.model_host import NEW, Faults, ModelHost, plan_of, room_of, target_of

TARGETS = ("bird", "lvm", "felix")


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def runner(request: pytest.FixtureRequest) -> Iterator[asyncio.Runner]:
    factory: Callable[[], asyncio.AbstractEventLoop] = request.param
    with asyncio.Runner(loop_factory=factory) as made:
        yield made


class Pausing(Faults):
    """Gives way at every call, and says when the first step is being applied."""

    def __init__(self) -> None:
        super().__init__()
        self.applying = asyncio.Event()

    async def around(self, name, call):  # type: ignore[no-untyped-def]
        if name == "bird.apply":
            self.applying.set()
        for _ in range(5):
            await asyncio.sleep(0)
        return await super().around(name, call)


def test_a_sibling_that_crashes_does_not_cut_a_transaction(
    runner: asyncio.Runner, tmp_path: Path
) -> None:
    host = ModelHost(TARGETS)
    ended: list[Outcome] = []

    async def main() -> None:
        journal, faults = SqliteJournal(tmp_path / "journal"), Pausing()
        plan = plan_of(TARGETS)

        async def carry() -> None:
            room = room_of(host, journal, faults)

            async def work() -> None:
                ended.append(await transact(plan, target_of(plan), room, way_home=None))

            await to_completion(work())

        async def sibling() -> None:
            await faults.applying.wait()
            message = "the watch is broken"
            raise RuntimeError(message)

        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(carry())
                group.create_task(sibling())
        finally:
            await journal.aclose()

    with pytest.raises(ExceptionGroup) as caught:
        runner.run(main())
    assert [str(one) for one in caught.value.exceptions] == ["the watch is broken"]
    assert [outcome.state for outcome in ended] == [State.COMMITTED]
    assert host.states == {NEW}


def test_a_caller_that_is_cancelled_often_still_waits(runner: asyncio.Runner) -> None:
    done: list[str] = []

    async def main() -> None:
        async def work() -> None:
            for _ in range(20):
                await asyncio.sleep(0)
            done.append("whole")

        task = asyncio.get_running_loop().create_task(to_completion(work()))
        for _ in range(3):
            await asyncio.sleep(0)
            task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    runner.run(main())
    assert done == ["whole"]


def test_a_failure_of_the_work_reaches_the_caller(runner: asyncio.Runner) -> None:
    async def work() -> None:
        message = "no"
        raise ValueError(message)

    with pytest.raises(ValueError, match="no"):
        runner.run(to_completion(work()))
