"""Home datacenter -> this datacenter: one elected agent of the site copies what is published.

Separate because it concerns the site and no host: a host reads its own datacenter only, whatever
happens here. The copy is made of what home's manifests say and never of what is missing; it can be
cut anywhere, and the next holder of the lease finishes it, or puts back what was before.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace
from typing import Final

from confsync.flow.guard import beside
from confsync.flow.tenure import rest
from confsync.model import limits
from confsync.model.errors import Conflict, LeaseLost, SourceError
from confsync.model.ids import Json, digest
from confsync.model.mirror import (
    CONFLICTS,
    OPS,
    Published,
    Standing,
    blob_key,
    conflicts,
    conflicts_record,
    differing,
    plan_copy,
    plan_ops,
    plan_undo,
    undone,
)
from confsync.model.snapshot import Phase, document_key
from confsync.model.status import Event, EventType, MirrorStatus
from confsync.model.writes import Write
from confsync.ports import Reporter
from confsync.ports.site import Fence, Home, Lease, Mirror

LEASE: Final = "replicate"
OLDER: Final = "older:head"
"""The allowance by which an operator lets an older change be copied, after a restored backup."""


class Replicator:
    """Copies while it holds the lease of its site; `state` is what it shows of itself."""

    def __init__(self, home: Home, mirror: Mirror, lease: Lease, reporter: Reporter) -> None:
        self._home = home
        self._mirror = mirror
        self._lease = lease
        self._reporter = reporter
        self._woken = asyncio.Event()
        self._edited = True
        self._failing_since_s: float | None = None
        self.state = MirrorStatus(home.site)

    async def run(self) -> None:
        """Hold the lease and copy, again and again; ends by being cancelled only."""
        while True:
            async with self._lease.hold(LEASE) as fence:
                self._emit(EventType.LEASE_TAKEN)
                self.state, self._edited = replace(self.state, holds=True), True
                await self._serve(fence)
            self.state = MirrorStatus(self._home.site)

    async def close(self) -> None:
        """Give up all connections."""
        await self._mirror.close()
        await self._home.close()

    async def _serve(self, fence: Fence) -> None:
        """Copy at each wake, and look now and then without one, until the lease is lost."""
        try:
            async with beside(self._hear_home(), self._hear_edits()):
                while True:
                    self._woken.clear()
                    await rest(fence, self._woken, await self._pass(fence))
        except* LeaseLost as lost:
            self._emit(EventType.LEASE_LOST, reason=str(lost.exceptions[0]))

    async def _hear_home(self) -> None:
        async with aclosing(self._home.wakes()) as wakes:
            async for _ in wakes:
                self._woken.set()

    async def _hear_edits(self) -> None:
        async with aclosing(self._mirror.wakes()) as wakes:
            async for _ in wakes:
                self._edited = True
                self._woken.set()

    async def _pass(self, fence: Fence) -> float:
        """Copy what is new, and look for edits; return how long to rest. Raises LeaseLost."""
        try:
            if await self._look_and_copy(fence):
                self._failing_since_s = None
                return limits.MIRROR_LOOK_S
            await self._undo_when_old(fence)
        except LeaseLost:
            raise
        except Conflict:  # a document was edited between our look and our write: look again
            return limits.MIRROR_AGAIN_S
        except SourceError as fault:
            self.state = replace(self.state, problem=str(fault))
        return limits.MIRROR_RETRY_S

    async def _look_and_copy(self, fence: Fence) -> bool:
        """Look for edits if there may be some, and copy; tell whether all is whole afterwards."""
        if self._edited:
            await self._look_for_edits(fence)
            self._edited = False
        try:
            return await self._copy(fence)
        except (LeaseLost, Conflict):
            raise
        except SourceError as fault:
            self.state = replace(self.state, problem=str(fault))
            return False

    async def _copy(self, fence: Fence) -> bool:
        """Bring this datacenter to what home publishes; tell whether it is whole afterwards."""
        standing = await self._mirror.standing()
        since = None if standing.torn else standing.head
        home = await self._home.published(since)
        if home is None:
            self._show(standing, 0, f"nobody has pushed anything in {self._home.site} yet")
            return not standing.torn
        await self._copy_ops(fence, standing, home)
        if home.head.phase is Phase.PUBLISHING or home.head == since:
            behind = home.head.change - since.change if since else 0
            self._show(standing, behind, "")
            return not standing.torn
        _refuse_older(home, standing, self._home.site)
        await self._write(fence, standing, home)
        return True

    async def _write(self, fence: Fence, standing: Standing, home: Published) -> None:
        site = self._mirror.site
        here = await self._mirror.manifests({*home.manifests, *standing.copying})
        names = differing(home, here, standing, site)
        looked = [document_key(layer, name) for layer, some in names.items() for name in some]
        documents = await self._mirror.entries(looked)
        plan = await asyncio.to_thread(plan_copy, home, here, documents, standing, site)
        texts = await self._home.texts(plan.wanted)
        await self._mirror.copy(fence, standing, plan.head, plan.prepare, plan.writes(texts))
        self._edited = True
        self._woken.set()
        self.state = replace(self.state, change=plan.head.change, behind=0, problem="")
        self._emit(EventType.MIRROR_COPIED, change=plan.head.change, written=len(plan.puts))

    async def _copy_ops(self, fence: Fence, standing: Standing, home: Published) -> None:
        copied = standing.copied_ops
        if any(copied.get(key) != digest(raw) for key, raw in home.ops.items()):
            here = await self._mirror.entries([OPS])
            if writes := plan_ops(home.ops, here, copied):
                await self._mirror.note(fence, writes)

    async def _undo_when_old(self, fence: Fence) -> None:
        """Put back what was before a copy that was cut, when home has been away for long."""
        now_s = asyncio.get_running_loop().time()
        if self._failing_since_s is None:
            self._failing_since_s = now_s
        if now_s - self._failing_since_s < limits.MIRROR_TORN_S:
            return
        standing = await self._mirror.standing()
        if not standing.torn or standing.before is None:
            return
        keys, shas = undone(standing)
        documents = await self._mirror.entries(keys)
        blobs = await self._mirror.entries([blob_key(sha) for sha in shas])
        texts = {digest(entry.value): entry.value for entry in blobs.values()}
        writes = plan_undo(standing, documents, texts)
        await self._mirror.copy(fence, standing, standing.before, (), writes)
        self._emit(EventType.MIRROR_UNDONE, change=standing.before.change)

    async def _look_for_edits(self, fence: Fence) -> None:
        """Write down which documents here are not what was copied."""
        standing = await self._mirror.standing()
        if standing.head is None or standing.torn:
            return
        manifests, documents = await self._mirror.tree()
        found = await asyncio.to_thread(conflicts, manifests, documents)
        record = conflicts_record(standing.head.change, found)
        written = (await self._mirror.entries([CONFLICTS])).get(CONFLICTS)
        if written is None or written.value != record:
            await self._mirror.note(fence, [Write(CONFLICTS, record)])
        names = tuple(found)
        if names != self.state.conflicts:
            self.state = replace(self.state, conflicts=names)
            event = EventType.MIRROR_CONFLICT if names else EventType.MIRROR_RESOLVED
            self._emit(event, **({"documents": list(names)} if names else {}))

    def _show(self, standing: Standing, behind: int, problem: str) -> None:
        change = standing.head.change if standing.head else 0
        self.state = replace(self.state, change=change, behind=behind, problem=problem)

    def _emit(self, event: EventType, **fields: Json) -> None:
        self._reporter.emit(Event(event, fields))


def _refuse_older(home: Published, standing: Standing, site: str) -> None:
    """Refuse what is older than what was copied, as after a restored backup. Raises SourceError."""
    known = standing.before if standing.torn else standing.head
    if known and home.head.change < known.change and OLDER not in home.allow:
        raise SourceError(
            f"{site} publishes change {home.head.change}, and {known.change} was copied before: a "
            f"restored backup? To copy it all the same: confsync push TREE --allow {OLDER}"
        )
