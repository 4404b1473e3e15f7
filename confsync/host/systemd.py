"""What the service manager hears from us, and the proof that the loops still move.

Separate because it is the whole of our contract with systemd: a datagram per fact, and a watchdog
that is fed by progress. Invariant: `WATCHDOG=1` is sent only from the event loop and only while
every registered loop made progress within its own limit; no timer of its own can feed it.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from confsync.model import limits


class Notifier:
    """The notify socket; silent when nobody listens.

    `feed_s` is how often the watchdog is fed: two feeds in a row may be lost, and an operator who
    sets a shorter time in the unit need not tell us.
    """

    def __init__(self, address: str = "", watchdog_s: float = limits.WATCHDOG_S) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.feed_s: Final = min(limits.WATCHDOG_FEED_S, watchdog_s / 3)

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] = os.environ) -> Notifier:
        """Return the notifier that the service manager asked for, if any."""
        watchdog_us = environ.get("WATCHDOG_USEC", "")
        watchdog_s = int(watchdog_us) / 1_000_000 if watchdog_us.isdecimal() else limits.WATCHDOG_S
        return cls(environ.get("NOTIFY_SOCKET", ""), watchdog_s)

    def send(self, **fields: str | int) -> None:
        """Send one datagram; a manager that does not take it is never waited for."""
        if not self._address:
            return
        # A line end would let a status text pose as another field.
        lines = (f"{key}={str(value).replace(chr(10), ' ')}" for key, value in fields.items())
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.setblocking(False)
            try:
                channel.sendto("\n".join(lines).encode(), self._address)
            except OSError:
                return

    def ready(self, status: str) -> None:
        """Say that the agent works (also at the end of a reload)."""
        self.send(READY=1, STATUS=status)

    def status(self, status: str) -> None:
        """Show one line in ``systemctl status``."""
        self.send(STATUS=status)

    def reloading(self) -> None:
        """Say that a reload began; `ready` ends it."""
        self.send(RELOADING=1, MONOTONIC_USEC=time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000)

    def stopping(self, status: str) -> None:
        """Say that the agent is on its way out."""
        self.send(STOPPING=1, STATUS=status)

    def extend(self, timeout_s: float) -> None:
        """Ask for more time to start, reload or stop."""
        self.send(EXTEND_TIMEOUT_USEC=int(timeout_s * 1_000_000))

    def alive(self) -> None:
        """Feed the watchdog; a start or an end that still makes progress is not cut short."""
        self.send(WATCHDOG=1, EXTEND_TIMEOUT_USEC=int(limits.WATCHDOG_S * 1_000_000))


@dataclass(slots=True)
class _Pulse:
    limit_s: float
    beaten_at: float


@dataclass(slots=True)
class Heartbeats:
    """Which loops there are, and which of them have not moved within their limit."""

    now: Callable[[], float]
    _pulses: dict[str, _Pulse] = field(default_factory=dict)

    def register(self, name: str, limit_s: float) -> Callable[[], None]:
        """Add a loop; return what it calls at each sign of progress."""
        pulse = self._pulses[name] = _Pulse(limit_s, self.now())

        def beat() -> None:
            pulse.beaten_at = self.now()

        return beat

    def forget(self, name: str) -> None:
        """Take out a loop that ended in good order."""
        self._pulses.pop(name, None)

    def late(self) -> tuple[str, ...]:
        """Return the loops that made no progress within their limit, with the age in seconds."""
        now = self.now()
        return tuple(
            f"{name} {now - pulse.beaten_at:.0f} s"
            for name, pulse in sorted(self._pulses.items())
            if now - pulse.beaten_at > pulse.limit_s
        )


async def feed_watchdog(notifier: Notifier, heartbeats: Heartbeats) -> None:
    """Feed the watchdog for ever, except while a loop is late."""
    while True:
        late = heartbeats.late()
        if late:
            notifier.status("no progress: " + ", ".join(late))
        else:
            notifier.alive()
        await asyncio.sleep(notifier.feed_s)
