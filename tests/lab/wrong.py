"""The agent with one mistake built in: what proves that a sweep would find it.

`python -m tests.lab.wrong MISTAKE agent run ...`. Each is a mistake that somebody could make, and
that no run without a kill would show.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from confsync.__main__ import main
from confsync.drivers.bird import disk
from confsync.drivers.bird.driver import BirdDriver
from confsync.host.journal import SqliteJournal
from confsync.model.machine import State
from confsync.ports import Position

if TYPE_CHECKING:
    from collections.abc import Callable


def rename_before_the_row() -> None:
    """Make the change final first, and write the pivot's row afterwards."""
    apply, enter = BirdDriver.apply, SqliteJournal.enter
    applied: list[Any] = []

    async def remembering(self: BirdDriver, step: Any, saved: Any, revert_after_s: float) -> None:
        applied[:] = self, step, saved
        await apply(self, step, saved, revert_after_s)

    async def too_late(self: SqliteJournal, txn: Any, state: State, reason: str = "") -> None:
        if state is State.COMMITTING:
            driver, step, saved = applied
            await driver.commit(step, saved)
        await enter(self, txn, state, reason)

    BirdDriver.apply = remembering  # type: ignore[method-assign]
    SqliteJournal.enter = too_late  # type: ignore[method-assign]


def no_undo() -> None:
    """Say that the host is as before, and do nothing for it."""
    position = BirdDriver.position
    undone: list[bool] = []

    async def nothing(*_: Any) -> None:
        undone.append(True)

    async def as_before(self: BirdDriver, step: Any, saved: Any) -> Position:
        if undone:
            undone.pop()
            return Position.OLD
        return await position(self, step, saved)

    BirdDriver.undo = nothing  # type: ignore[method-assign]
    BirdDriver.position = as_before  # type: ignore[method-assign]


def written_in_place() -> None:
    """Write the live file in place, in two halves."""

    def in_place(source: str, target: str) -> None:
        data = Path(source).read_bytes()
        with Path(target).open("wb", buffering=0) as live:
            for part in (data[: len(data) // 2], data[len(data) // 2 :]):
                live.write(part)
                os.fsync(live.fileno())
        Path(source).unlink()

    disk.rename_durable = in_place


MISTAKES: dict[str, Callable[[], None]] = {
    mistake.__name__: mistake for mistake in (rename_before_the_row, no_undo, written_in_place)
}

if __name__ == "__main__":
    MISTAKES[sys.argv.pop(1)]()
    main()
