"""Whether Felix is as well after a change as before.

Separate because Felix turns bad values into defaults without a word, and restarts in a loop over
others: that its service is active says little, that it is ready says that it read its
configuration, reached its datastore and programmed the host once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import aiohttp

from confsync.drivers.felix.step import Change
from confsync.drivers.felix.unit import look
from confsync.model import limits
from confsync.ports import Judgement, Sample, Verdict


class FelixProbe:
    """The unit of Felix, and what its health endpoint answers.

    Shape: a sample is ``{"active", "pid", "restarts", "ready", "said"}``.
    """

    def __init__(self, change: Change) -> None:
        self._change = change
        self.name = f"felix {change.service}"

    async def sample(self) -> Sample:
        """Return how Felix is. Raises HostBusy when systemd does not say."""
        unit = await look(self._change.systemctl, self._change.service)
        said = await readiness(self._change.health_url)
        return {**unit.as_json(), "ready": not said, "said": said}

    def judge(self, baseline: Sample, seen: Sequence[Sample]) -> Judgement:
        """Ask for what was there before: a process, and its readiness."""
        now, before = seen[-1], baseline or {"active": True, "ready": True, "restarts": 0}
        if now["restarts"] >= limits.FELIX_RESTARTS > before["restarts"]:
            told = f"it restarts again and again ({now['restarts']} times)"
            return Judgement(Verdict.FAILED, f"{self.name}: {told}")
        if before["active"] and not now["active"]:
            return Judgement(Verdict.WAIT, f"{self.name}: it does not run")
        asked = before["ready"] and not self._change.health_ends
        if (asked or self._change.health_begins) and not now["ready"]:
            return Judgement(Verdict.WAIT, f"{self.name}: {now['said']}")
        return Judgement(Verdict.OK)


async def readiness(url: str) -> str:
    """Return why Felix is not ready, empty = it is."""
    timeout = aiohttp.ClientTimeout(total=limits.FELIX_ANSWER_S)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as reply:
            good = reply.status in {200, 204}
            return "" if good else f"{url} answers {reply.status}: it is not ready"
    except TimeoutError:
        return f"{url} does not answer in {limits.FELIX_ANSWER_S:g} s"
    except (aiohttp.ClientError, OSError, asyncio.IncompleteReadError) as fault:
        return f"{url} cannot be asked: {str(fault) or type(fault).__name__}"
