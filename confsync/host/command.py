"""An operator's own check as a probe: what passed before a change must pass after it.

Separate because nobody here knows what it asks; only its exit code counts. It gets no input, a
bounded time, and is not run more often than a person would.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence

from confsync.host.process import run
from confsync.model import limits
from confsync.model.errors import DeadlinePassed, HostBusy
from confsync.model.ids import Json
from confsync.ports import Judgement, Sample, Verdict

_SHOWN_CHARS = 160


class CommandProbe:
    """One command in one transaction; exit code 0 = passes, the first sample is the baseline."""

    def __init__(self, command: str) -> None:
        self.name = f"command {command}"
        self._command = command
        self._argv = shlex.split(command)
        self._baseline = False
        self._asked_s = 0.0
        self._said: Json = None

    async def sample(self) -> Sample:
        """Return ``{"passes": bool, "reason": str}``; a recent answer is given again.

        Why never the baseline's: it is of before the change.
        """
        now_s = time.monotonic()
        if self._said is None or self._baseline or now_s - self._asked_s >= limits.COMMAND_EVERY_S:
            self._baseline = self._said is None
            self._asked_s, self._said = now_s, await self._ask()
        return self._said

    async def _ask(self) -> Json:
        try:
            ended = await run(self._argv, limits.COMMAND_S)
        except (DeadlinePassed, HostBusy) as fault:
            return {"passes": False, "reason": str(fault)}
        if ended.code == 0:
            return {"passes": True, "reason": ""}
        said = (ended.stderr.strip() or ended.stdout.strip()).splitlines()
        how = f"signal {-ended.code}" if ended.code < 0 else f"exit code {ended.code}"
        last = f": {said[-1][:_SHOWN_CHARS]}" if said else ""
        return {"passes": False, "reason": f"{how}{last}"}

    def judge(self, baseline: Sample, seen: Sequence[Sample]) -> Judgement:
        """Ask for no more than there was before; a check may need a moment to pass again."""
        last: Json = seen[-1]
        if last["passes"] or (baseline is not None and not baseline["passes"]):
            return Judgement(Verdict.OK)
        return Judgement(Verdict.WAIT, f"{self._command}: {last['reason']}")
