"""One real process: started, signalled and ended by its pid, never by its name.

Invariant: none outlives the Python process that started it, whatever ends that one.
"""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

END_S = 10.0  # a daemon that takes longer to end than this is killed


class Process:
    """A child whose output goes to one log file; its process group is its own."""

    def __init__(
        self,
        argv: Sequence[str],
        log: Path,
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        fds: Sequence[int] = (),
    ) -> None:
        """Start it; the kernel kills it should this thread die. It inherits `fds`."""
        self.log = log
        with log.open("ab") as output:
            self._child = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *argv],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **(env or {})},
                cwd=cwd,
                pass_fds=fds,
                start_new_session=True,
            )
        self.pid = self._child.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs, negative for a signal."""
        return self._child.poll()

    @property
    def text(self) -> str:
        """What it has written to its log."""
        return self.log.read_text(errors="replace")

    def wait(self, timeout_s: float = END_S) -> int:
        """Return the exit code. Raises subprocess.TimeoutExpired."""
        return self._child.wait(timeout_s)

    def send(self, number: signal.Signals) -> None:
        """Signal this one process; nothing happens when it has ended."""
        self._child.send_signal(number)

    def stop(self) -> None:
        """Hang it (SIGSTOP)."""
        self.send(signal.SIGSTOP)

    def cont(self) -> None:
        """End a hang."""
        self.send(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL its whole group and wait for it."""
        if self.exit_code is None:
            os.killpg(self.pid, signal.SIGKILL)
        self.wait()

    def terminate(self, timeout_s: float = END_S) -> int:
        """Ask it to end; kill it when it does not. Returns the exit code."""
        self.send(signal.SIGTERM)
        try:
            return self.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
