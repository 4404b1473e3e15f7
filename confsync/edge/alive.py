"""Whether the nodes of a site still report: what a change of the site's configuration is judged by.

Separate because such a change lands on every node, and none of them can say that it was cut off:
only that a node which reported before does so again tells that it was not.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final

from confsync.edge.fleet import REPORTS
from confsync.edge.lease import ConsulFence
from confsync.edge.transport import Client
from confsync.model import limits
from confsync.model.writes import Entry
from confsync.ports import Judgement, Sample, Verdict
from confsync.ports.site import Fence

_SHOWN: Final = 5


class LiveReports:
    """The reports of one site, during one transaction: the first sample is the baseline.

    Shape: a sample is ``{"live": [...], "heard": [...]}``: nodes whose report was fresh when the
    transaction began, and those that wrote one since the change had its time to take effect.
    By the store's index, not by clocks.
    """

    name = "reports of the site's nodes"

    def __init__(
        self,
        client: Client,
        prefix: str,
        site: str,
        fence: Fence,
        wall: Callable[[], str],
    ) -> None:
        assert isinstance(fence, ConsulFence), "a fence of another store says nothing of reports"
        self._fence = fence
        self._client = client
        self._root = f"{prefix}/{REPORTS}{site}/"
        self._wall = wall
        self._live: list[str] | None = None
        self._counts_from_s: float | None = None
        self._before: Mapping[str, int] | None = None
        self._looked_s = 0.0
        self._heard: list[str] = []

    async def sample(self) -> Sample:
        """Return who reports. Raises SourceError."""
        now_s = asyncio.get_running_loop().time()
        if self._live is None:
            self._live = await self._fresh()
        elif self._counts_from_s is None:
            self._counts_from_s = now_s + limits.SITE_SETTLE_S
        elif now_s >= max(self._counts_from_s, self._looked_s + limits.SITE_LOOK_S):
            self._looked_s = now_s
            await self._listen()
        return {"live": self._live, "heard": self._heard}

    def judge(self, baseline: Sample, seen: Sequence[Sample]) -> Judgement:
        """Wait for each node that was there before."""
        silent = sorted(set((baseline or {}).get("live", ())) - set(seen[-1]["heard"]))
        if not silent:
            return Judgement(Verdict.OK)
        more = f" and {len(silent) - _SHOWN} more" if len(silent) > _SHOWN else ""
        names = ", ".join(silent[:_SHOWN])
        return Judgement(Verdict.WAIT, f"no report since the change from {names}{more}")

    async def _fresh(self) -> list[str]:
        """Return the nodes whose report is of the last round; what cannot be read tells nothing.

        Nor does a report from the future: it would be fresh for ever after its node is gone.
        Why not the lease's last holder, before it reports anew: it lost it by falling silent.
        """
        at = datetime.fromisoformat(self._wall())
        fresh = []
        for key, entry in (await self._read()).items():
            try:
                age_s = (at - datetime.fromisoformat(json.loads(entry.value)["at"])).total_seconds()
            except (ValueError, TypeError, KeyError):
                continue
            node = key.removeprefix(self._root)
            lost = node == self._fence.before and entry.modified < self._fence.taken
            if abs(age_s) < limits.REPORT_EVERY_S + limits.REPORT_LATE_S and not lost:
                fresh.append(node)
        return sorted(fresh)

    async def _listen(self) -> None:
        found = {key: entry.modified for key, entry in (await self._read()).items()}
        if self._before is None:
            self._before = found
        told = (key for key, index in found.items() if index != self._before.get(key))
        self._heard = sorted(key.removeprefix(self._root) for key in told)

    async def _read(self) -> Mapping[str, Entry]:
        return await self._client.read([self._root], limits.CONSUL_TREE_BYTES)
