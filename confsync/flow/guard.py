"""Run to completion, or beside: the tasks of the program.

Separate because a transaction must not be cut by a sibling that fails. A shielded task inside a
TaskGroup is cut with the group; a bare task, awaited in a loop, runs to its end, and the
cancellation is raised afterwards.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from confsync.model import limits

T = TypeVar("T")


async def together(*works: Coroutine[Any, Any, Any]) -> list[Any]:
    """Run works beside each other and return their results.

    Why not gather or a TaskGroup: all works end before the first error is raised, as it is.
    """
    results = await asyncio.gather(*works, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results


@asynccontextmanager
async def beside(*works: Coroutine[Any, Any, Any]) -> AsyncIterator[None]:
    """Run works that never end beside the body; they end with it, and it with one that fails."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(work) for work in works]
        yield
        for task in tasks:
            task.cancel()


async def to_completion(work: Coroutine[Any, Any, T], beat: Callable[[], None] = lambda: None) -> T:
    """Await work that bounds itself to its end, however often the caller is cancelled meanwhile.

    `beat` is called now and then: that we wait is a sign of life.
    """
    task = asyncio.get_running_loop().create_task(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        beat()
        try:
            await asyncio.wait({task}, timeout=limits.WATCHDOG_FEED_S)
        except asyncio.CancelledError as cut:
            cancelled = cut
    if cancelled is not None:
        if not task.cancelled() and (fault := task.exception()) is not None:
            raise cancelled from fault
        raise cancelled
    return task.result()
