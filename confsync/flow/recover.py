"""What a start does with a transaction that the journal left open.

Separate because it must need nothing but the journal and the drivers: no settings of today, no
source, no daemon. One rule: before the pivot undo, after it finish; nothing is resumed. It may be
killed anywhere and run again.
"""

from __future__ import annotations

from confsync.flow.announce import ended
from confsync.flow.guard import to_completion
from confsync.flow.transact import Outcome, Room, Saved, go_back, go_forward
from confsync.model.errors import ConfsyncError, JournalDamaged, JournalTooNew
from confsync.model.ids import DriverName
from confsync.model.machine import Direction, State, direction
from confsync.ports import Driver, OpenTxn


class Interrupted(ConfsyncError):
    """The agent died in the middle of the transaction; nobody knows whose fault it was."""


async def end_open(room: Room) -> str:
    """Recover to the end, and tell of it; return why all writing is halted (empty = it is not).

    Raises: JournalLost.
    """
    try:
        outcome = await to_completion(recover(room), room.beat)
    except (JournalDamaged, JournalTooNew) as fault:
        return str(fault)
    if outcome is None:
        return ""
    room.reporter.emit(ended(outcome, recovered=True))
    return outcome.reason if outcome.state is State.HALTED else ""


async def recover(room: Room) -> Outcome | None:
    """Bring an open transaction to its end; return how it ended, None = nothing was open.

    Raises: JournalDamaged, JournalTooNew, JournalLost.
    """
    found = await room.journal.open_txn()
    if found is None:
        return None
    if direction(found.state, pivoted=found.pivoted) is Direction.NOWHERE:
        return Outcome(State.HALTED, found.revision, found.reason)
    return await _end(found, room)


async def _end(found: OpenTxn, room: Room) -> Outcome:
    done = [
        Saved(driver, driver.decode(found.steps[number]), checkpoint)
        for number, checkpoint in sorted(found.saved.items())
        for driver in (_driver(room, found.steps[number]["driver"]),)
    ]
    if direction(found.state, pivoted=found.pivoted) is Direction.FORWARD:
        return await go_forward(found.txn, found.revision, done, room)
    cause = Interrupted("the agent ended in the middle of the transaction")
    return await go_back(found.txn, found.revision, done, cause, room)


def _driver(room: Room, name: DriverName) -> Driver:
    if name not in room.drivers:
        message = f"the journal holds a step of driver {name}, which this confsync does not have"
        raise JournalTooNew(message)
    return room.drivers[name]
