"""One name for every daemon of the lab, and the faults that all of them share.

Separate because people and tests say `kill bgo-rr1/bird` alike, whatever kind of daemon that is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.lab.wait import LabError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.lab.process import Process


@dataclass
class Daemon:
    """A daemon of one or more processes; `start` starts it anew after a `kill`."""

    name: str
    processes: Callable[[], Sequence[Process]]
    begin: Callable[[], None]
    hung: bool = field(default=False, init=False)

    @property
    def pids(self) -> list[int]:
        """The processes that run."""
        return [one.pid for one in self.processes() if one.exit_code is None]

    @property
    def state(self) -> str:
        """Return `running`, `stopped` or `ended`."""
        if len(self.pids) < max(1, len(self.processes())):
            return "ended"
        return "stopped" if self.hung else "running"

    def kill(self) -> None:
        """SIGKILL: nothing is tidied."""
        for one in self.processes():
            one.kill()
        self.hung = False

    def stop(self) -> None:
        """Hang it."""
        for one in self.processes():
            one.stop()
        self.hung = True

    def cont(self) -> None:
        """End a hang."""
        for one in self.processes():
            one.cont()
        self.hung = False

    def start(self) -> None:
        """Start it after a kill. Raises LabError while it runs."""
        if self.pids:
            raise LabError(f"{self.name} runs: kill it first")
        self.begin()

    def close(self) -> None:
        """Kill it; legal at any time."""
        self.kill()
