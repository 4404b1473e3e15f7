"""Whether this host may do in Consul what it is set up to do: asked once, by an operator.

Separate because nobody else asks for its own sake: a right that is missing shows in daily work as
something that silently is not there. Nothing is written: a right to write is proven by a
compare-and-set that cannot win.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Final

from confsync.edge.transport import Client
from confsync.model import limits
from confsync.model.errors import Conflict, Denied, SourceError
from confsync.model.ids import Json, KeyPath, LayerPath
from confsync.model.mirror import CONFLICTS, COPYING, MIRROR, OPS
from confsync.model.snapshot import document_key, manifest_key

NEVER: Final = 2**53
"""An index that no entry has."""
PROBE: Final = "confsync-probe"


@dataclass(frozen=True, slots=True)
class Finding:
    """One answer; without a fault it works, with a warning it should work better."""

    name: str
    fault: Exception | None = None
    warning: str = ""

    def __str__(self) -> str:
        if self.fault is not None:
            return f"[-]{self.name}: {self.fault}"
        return f"[!]{self.name}: {self.warning}" if self.warning else f"[+]{self.name} ok"


Check = tuple[str, Callable[[], Awaitable[str]]]


async def ask(checks: Iterable[Check]) -> list[Finding]:
    """Return what each check found, in order."""
    findings = []
    for name, check in checks:
        try:
            findings.append(Finding(name, warning=await check()))
        except SourceError as fault:
            findings.append(Finding(name, fault))
    return findings


async def may_write(client: Client, prefix: str, key: KeyPath) -> None:
    """Raise Denied where a token may not write a key; nothing is written."""
    op: Json = {"Verb": "cas", "Key": f"{prefix}/{key}", "Value": "", "Index": NEVER}
    try:
        await client.write([op])
    except Conflict:
        return
    raise SourceError(f"Consul took a write that could not win, of {key}")


async def may_read(client: Client, prefix: str, key: KeyPath) -> None:
    """Raise Denied where a token may not read a key; a transaction would say that it is empty."""
    await client.http.request("GET", f"/v1/kv/{prefix}/{key}", params=[("consistent", "1")])


class Rights:
    """What a token may do below one prefix of one datacenter; every check returns a warning."""

    def __init__(self, client: Client, prefix: str) -> None:
        self._client = client
        self._prefix = prefix

    def of_agent(
        self, record: KeyPath, layers: Sequence[LayerPath], report: KeyPath
    ) -> Iterator[Check]:
        """Yield what every agent needs."""
        yield "consul", partial(self._clock, record)
        keys = [record, *map(manifest_key, layers), *(document_key(one, PROBE) for one in layers)]
        for key in (*keys, KeyPath(f"changes/{PROBE}"), KeyPath(f"blobs/{PROBE}"), CONFLICTS):
            yield f"read {key}", self._reads(key)
        yield f"read {OPS}", self._reads(KeyPath(f"{OPS}{PROBE}"))
        yield f"write {report}", self._writes(report)
        yield "acl.enable_key_list_policy", self._lists

    def of_replicator(self) -> Iterator[Check]:
        """Yield what an agent needs here to copy what home publishes."""
        below = ("desired", "manifest", "changes", "blobs", COPYING.rstrip("/"), "ops")
        keys = (MIRROR, CONFLICTS, KeyPath("lease/replicate"))
        for key in (*keys, *(KeyPath(f"{part}/{PROBE}") for part in below)):
            yield f"write {key}", self._writes(key)
        yield "session", self._session

    def of_site(self, site: str) -> Iterator[Check]:
        """Yield what an agent needs to act for its whole site."""
        for key in (KeyPath("lease/site"), KeyPath(f"site/{PROBE}")):
            yield f"write {key}", self._writes(key)
        reports = KeyPath(f"report/{site}/{PROBE}")
        yield f"read {reports}", self._reads(reports)
        yield "session", self._session

    def at_home(self, record: KeyPath) -> Iterator[Check]:
        """Yield what it needs there."""
        for key in (record, KeyPath(f"manifest/{PROBE}"), KeyPath(f"blobs/{PROBE}")):
            yield f"read {key} at home", self._reads(key)

    async def _clock(self, key: KeyPath) -> str:
        """Ask for a leader, and compare clocks: ages of reports and freezes are wall time."""
        reply = await self._client.http.request(
            "GET", f"/v1/kv/{self._prefix}/{key}", params=[("consistent", "1")]
        )
        try:
            there = parsedate_to_datetime(reply.headers.get("Date", ""))
        except (TypeError, ValueError):
            return "it does not tell the time"
        off_s = (datetime.now(UTC) - there).total_seconds()
        if abs(off_s) > limits.CLOCK_OFF_S:
            return f"our clock is {off_s:+.0f} s off from Consul's; is NTP running?"
        return ""

    def _reads(self, key: KeyPath) -> Callable[[], Awaitable[str]]:
        async def check() -> str:
            await may_read(self._client, self._prefix, key)
            return ""

        return check

    def _writes(self, key: KeyPath) -> Callable[[], Awaitable[str]]:
        async def check() -> str:
            await may_write(self._client, self._prefix, key)
            return ""

        return check

    async def _lists(self) -> str:
        """Look whether a list that we may not see is refused, or silently empty."""
        try:
            await self._client.http.request("GET", "/v1/acl/token/self")
        except SourceError:
            return ""  # without ACLs everything is seen
        try:
            await self._client.http.request("GET", f"/v1/kv/{PROBE}/", params=[("recurse", "1")])
        except Denied:
            return ""
        return (
            "not set on the servers: a token that may not list a prefix is told that it is empty. "
            "confsync does not believe that; other tools do"
        )

    async def _session(self) -> str:
        session: str = await self._client.session.create(name=PROBE, ttl=int(limits.LEASE_TTL_S))
        await self._client.session.destroy(session)
        return ""
