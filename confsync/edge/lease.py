"""One agent of a site acts for all of it: a lock on a key of this datacenter, by a session.

Separate because what makes it safe is not the lock, which anybody can write over, but the fence:
every write for the site is one transaction with the check that our session holds the key.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from confsync.edge.transport import Client
from confsync.edge.watch import Backoff
from confsync.model import limits
from confsync.model.errors import ConfsyncError, LeaseLost, SourceError
from confsync.model.ids import Json


class ConsulFence:
    """The lock while it is held.

    Shape: `before` is the node that held it last (empty = nobody did), `taken` the store's index
    when we took it.
    """

    def __init__(self, key: str, session: str, before: str, taken: int) -> None:
        self._key, self.session = key, session
        self.before, self.taken = before, taken
        self.good_until_s = asyncio.get_running_loop().time() + limits.LEASE_TTL_S
        self.lost = ""

    @property
    def operation(self) -> Json:
        """Return what fails in a transaction when we do not hold the lock."""
        return {"Verb": "check-session", "Key": self._key, "Session": self.session}

    async def check(self) -> None:
        """Raise LeaseLost once another agent may act."""
        if not self.lost and asyncio.get_running_loop().time() > self.good_until_s:
            self.lost = f"the lease could not be renewed for {limits.LEASE_TTL_S:g} s"
        if self.lost:
            raise LeaseLost(self.lost)


class ConsulLease:
    """Locks below one prefix of this datacenter's KV, in the name of one node.

    Shape: `trouble` is why the lock could not be asked for last (empty = it could).
    """

    trouble = ""

    def __init__(self, client: Client, prefix: str, node: str) -> None:
        self._client = client
        self._prefix = f"{prefix}/lease/"
        self._node = node

    @asynccontextmanager
    async def hold(self, name: str) -> AsyncIterator[ConsulFence]:
        """Wait until we alone hold the name, however long Consul is away; give it up at the end."""
        key, fence = f"{self._prefix}{name}", None
        backoff = Backoff()
        while fence is None:
            try:
                fence = await self._take(key)
                self.trouble = ""
                await asyncio.sleep(0 if fence else limits.LEASE_LOOK_S)
            except SourceError as fault:
                self.trouble = f"the lease of {name} cannot be asked for: {fault}"
                await asyncio.sleep(backoff.next_s(fault))
        session = fence.session
        renewing = asyncio.get_running_loop().create_task(self._renew(fence, session))
        try:
            yield fence
        finally:
            fence.lost = fence.lost or "the lease was given up"
            renewing.cancel()
            with suppress(asyncio.CancelledError):
                await renewing
            with suppress(ConfsyncError, TimeoutError):
                async with asyncio.timeout(limits.LEASE_END_S):
                    await self._give_up(key, session)

    async def _take(self, key: str) -> ConsulFence | None:
        """Return the lock, None while another one holds it."""
        _, found = await self._client.kv.get(key, consistency="consistent")
        if found and (holder := found.get("Session")):
            if found["Value"] != self._node.encode():
                return None
            # One agent runs on a host: this is what an earlier one left that was killed.
            await self._give_up(key, holder)
        session: str = await self._client.session.create(
            name=f"confsync {self._node}", ttl=int(limits.LEASE_TTL_S), behavior="release"
        )
        index = 0
        try:
            if await self._client.kv.put(key, self._node, acquire=session):
                _, ours = await self._client.kv.get(key, consistency="consistent")
                index = int(ours["ModifyIndex"])
        finally:
            if not index:
                await self._end(session)
        before = found["Value"].decode() if found and found["Value"] else ""
        return ConsulFence(key, session, before, index) if index else None

    async def _give_up(self, key: str, session: str) -> None:
        """Release first: after a session that ends with its lock Consul lets everybody wait."""
        await self._client.kv.put(key, self._node, release=session)
        await self._end(session)

    async def _end(self, session: str) -> None:
        await self._client.session.destroy(session)

    async def _renew(self, fence: ConsulFence, session: str) -> None:
        """Renew until the session is gone; an answer that does not come is no answer."""
        loop = asyncio.get_running_loop()
        while not fence.lost:
            await asyncio.sleep(limits.LEASE_RENEW_S)
            asked_s = loop.time()
            with suppress(SourceError):
                # Not py-consul's `session.renew`, which makes one error of every 404 (1.8.0).
                reply = await self._client.http.request("PUT", f"/v1/session/renew/{session}")
                if reply.code == 404:  # noqa: PLR2004
                    fence.lost = "Consul has ended our session"
                else:
                    fence.good_until_s = asked_s + limits.LEASE_TTL_S
