"""What we ever ask of a running BIRD, each question with all of its answers.

Separate because reply codes are BIRD's words: the driver speaks of looking, checking, configuring
and going back, and never sees a number. Invariant: at most one configuration is in the air; each
is followed until BIRD says it is done.
"""

from __future__ import annotations

import asyncio
from typing import Final

from confsync.drivers.bird.observe import (
    LOOK,
    OUTLINE,
    STAND,
    Condition,
    Outline,
    View,
    outline,
    parse_condition,
    parse_marker,
    view,
)
from confsync.drivers.bird.socket import ControlSocket, Reply, quoted
from confsync.model import limits
from confsync.model.errors import DeadlinePassed, HostBusy, HostRefused, WindowLost

_READING, _DONE, _STARTED, _QUEUED = 2, 3, 4, 5
_CHECKED_OK: Final = 20
_CONFIRMED, _NOTHING_TO_DO, _SCHEDULED = 18, 19, 22
_FILE_ERROR: Final = 8002


class Daemon:
    """The BIRD behind one control socket."""

    def __init__(self, path: str, timeout_s: float = limits.BIRD_COMMAND_S) -> None:
        self._control = ControlSocket(path, timeout_s)

    @property
    def greeting(self) -> str:
        """What it said when we connected."""
        return self._control.greeting

    def close(self) -> None:
        """Give the connection up."""
        self._control.close()

    async def look(self) -> View:
        """Return all that can be seen. Raises DaemonDown, HostBusy, DeadlinePassed."""
        return view(await self._control.ask(*LOOK))

    async def standing(self) -> tuple[str | None, Condition]:
        """Return which of our files it runs, and whether it is ready."""
        marker, condition, status = await self._control.ask(*STAND)
        return parse_marker(marker), parse_condition(condition, status)

    async def outline(self) -> Outline:
        """Return what can be told without the details of each protocol, which are costly."""
        return outline(await self._control.ask(*OUTLINE))

    async def moments(self) -> str:
        """Return when it started and when it was last configured, whoever did it."""
        (reply,) = await self._control.ask("show status")
        told = (line.text for line in reply.lines)
        return "; ".join(text for text in told if text.startswith("Last re"))

    async def complaint(self, path: str) -> str:
        """Let it parse a file without using it; return what it has against it (empty = nothing)."""
        (reply,) = await self._control.ask(f"configure check {quoted(path)}")
        return "" if reply.code == _CHECKED_OK else reply.text

    async def own_file(self) -> tuple[str, str]:
        """Return which file it reads by itself, and what it has against that one."""
        (reply,) = await self._control.ask("configure check")
        path = (reply.find(_READING) or "").removeprefix("Reading configuration from ")
        return path, "" if reply.code == _CHECKED_OK else reply.text

    async def configure(self, path: str = "", *, revert_after_s: int | None = None) -> Outline:
        """Make it use a file (default: its own), wait until it does, and tell how it then stands.

        Raises: HostRefused, HostBusy, WindowLost when no timer was armed, DeadlinePassed.
        """
        words = ["configure", *([quoted(path)] if path else ())]
        if revert_after_s is not None:
            words += ["timeout", str(revert_after_s)]
        reply, *told = await self._control.ask(" ".join(words), *OUTLINE)
        if reply.code == _FILE_ERROR:
            raise HostRefused(f"BIRD refuses its new configuration: {reply.text}")
        if reply.code not in {_DONE, _STARTED, _QUEUED}:
            raise HostBusy(f"BIRD does not take a configuration now: {reply.text}")
        if revert_after_s is not None and reply.find(_SCHEDULED) is None:
            raise WindowLost("BIRD armed no timer for its new configuration")
        standing = outline(told)
        if standing.condition.busy:
            await self.settle()
            return await self.outline()
        return standing

    async def go_back(self) -> bool:
        """Undo the unconfirmed configuration and wait for it; False when there was none."""
        return await self._settled(await self._ask("configure undo"))

    async def confirm(self) -> tuple[bool, Outline]:
        """Keep the unconfirmed configuration (False: its time had run out before); then look."""
        reply, *told = await self._control.ask("configure confirm", *OUTLINE)
        return reply.code == _CONFIRMED, outline(told)

    async def disable(self, name: str) -> None:
        """Take a protocol down, as an operator had done; one that is gone is no fault."""
        await self._ask(f"disable {quoted(name)}")

    async def settle(self) -> None:
        """Wait until no reconfiguration is under way. Raises DeadlinePassed."""
        try:
            async with asyncio.timeout(limits.BIRD_CONFIGURE_S):
                while (await self.standing())[1].busy:
                    await asyncio.sleep(limits.BIRD_POLL_S)
        except TimeoutError as slow:
            message = f"BIRD did not finish reconfiguring in {limits.BIRD_CONFIGURE_S:g} s"
            raise DeadlinePassed(message) from slow

    async def _settled(self, reply: Reply) -> bool:
        if reply.code == _NOTHING_TO_DO:
            return False
        await self.settle()
        return True

    async def _ask(self, command: str) -> Reply:
        (reply,) = await self._control.ask(command)
        return reply
