"""Blocking queries that say "something may have changed", and nothing else.

Separate because the rules of Consul's index are subtle and have nothing to do with content: a
reply is no promise of a change, an index may go backwards or be 0, and a query with an index
ahead of the store is blind. No reply is ever decided on: it is only compared with the one before.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from confsync.edge.transport import Client
from confsync.model import limits
from confsync.model.errors import SourceError, Unreachable
from confsync.model.ids import digest

EARLY_S: Final = limits.CONSUL_WAIT_S / 2
"""A reply that came sooner than this did not wait to its end."""


@dataclass(frozen=True, slots=True)
class Target:
    """What one blocking query looks at.

    Shape: a tree (`recurse`) is watched only while it has keys: the index of one without keys
    follows every write in the store. `names` = of a tree that is large: only its names are sent,
    and every write in it counts as a change.
    """

    key: str
    recurse: bool = False
    names: bool = False


class Backoff:
    """Full jitter between failures, doubling to a limit; low while nobody answers at all.

    Why: a refusal lasts until somebody mends it, an outage ends at any moment, and a site that is
    back must not wait for us. Our Consul is on this host, so that asking often costs nobody.
    """

    def __init__(self) -> None:
        self._ceiling_s = limits.BACKOFF_MIN_S

    def next_s(self, fault: SourceError) -> float:
        """Return how long to wait after this failure."""
        limit_s = limits.BACKOFF_AWAY_S if isinstance(fault, Unreachable) else limits.BACKOFF_MAX_S
        ceiling_s = min(self._ceiling_s, limit_s)
        self._ceiling_s = min(self._ceiling_s * 2, limits.BACKOFF_MAX_S)
        return random.uniform(0, ceiling_s)  # noqa: S311  # spreads load, hides nothing

    def reset(self) -> None:
        """Start anew after a good answer."""
        self._ceiling_s = limits.BACKOFF_MIN_S


class Bucket:
    """A token bucket: a short burst, then one at a time."""

    def __init__(self, burst: float, every_s: float) -> None:
        self._burst = burst
        self._every_s = every_s
        self._tokens = burst
        self._at_s = 0.0

    def take(self, now_s: float) -> float:
        """Take one token; return how long to wait for it."""
        gained = (now_s - self._at_s) / self._every_s
        self._tokens = min(self._burst, self._tokens + gained) - 1
        self._at_s = now_s
        return max(0.0, -self._tokens * self._every_s)


class Bell:
    """Rings for whoever waits at that moment."""

    def __init__(self) -> None:
        self.next = asyncio.Event()

    def ring(self) -> None:
        """Wake everybody who waits for the ring after the last one."""
        self.next.set()
        self.next = asyncio.Event()


def next_cursor(seen: int, replied: int) -> int:
    """Return the index for the next blocking query; 0 = read without one.

    A reply below `seen` restarts the watch, a reply of 0 (or none) counts as 1.
    Source: Consul API, Blocking Queries, Implementation Details.
    """
    replied = max(replied, 1)
    return 0 if replied < seen else replied


async def wakes(client: Client, targets: Sequence[Target]) -> AsyncGenerator[None, None]:
    """Yield at once, and then whenever a target changed or came back; never raises for Consul.

    The queries run while the caller works and end when the iterator is closed.
    """
    woken = asyncio.Event()
    woken.set()
    bell = Bell()
    async with asyncio.TaskGroup() as group:
        watches = [group.create_task(_watch(client, target, woken, bell)) for target in targets]
        # A TaskGroup would wrap the GeneratorExit of `aclose`, which takes a plain return as well.
        with suppress(GeneratorExit):
            while True:
                await woken.wait()
                woken.clear()
                yield
        for watch in watches:
            watch.cancel()


async def _watch(client: Client, target: Target, woken: asyncio.Event, bell: Bell) -> None:
    """Watch one target for ever.

    Why: real changes pass at once; only replies that came early and brought nothing are slowed
    down (an agent that stops, a server without index, a missing key beside written ones). After
    a failure the first read carries no index, so that the end of an outage wakes as well; its
    beginning wakes too, so that it is told at once. A tree without keys is looked at again when
    the single key stirred, or after a while.
    """
    loop = asyncio.get_running_loop()
    backoff, idle = Backoff(), Bucket(limits.WATCH_IDLE_BURST, limits.WATCH_IDLE_EVERY_S)
    cursor, seen = 0, ""
    while True:
        began_s, ring = loop.time(), bell.next
        try:
            index, found, body = await _look(client, target, cursor)
        except SourceError as fault:
            if seen:
                woken.set()
            cursor, seen = 0, ""
            await asyncio.sleep(backoff.next_s(fault))
            continue
        if cursor:
            backoff.reset()
        early = bool(cursor) and loop.time() - began_s < EARLY_S
        changed, seen = digest(body) != seen, digest(body)
        cursor = next_cursor(cursor, index)
        if not target.recurse and (changed or early):
            bell.ring()
        if changed:
            woken.set()
            await asyncio.sleep(limits.WATCH_GAP_S)
        elif early:
            cursor = 0
            await asyncio.sleep(idle.take(loop.time()))
        if target.recurse and not found:
            cursor = 0
            with suppress(TimeoutError):
                async with asyncio.timeout(limits.EMPTY_LAYER_S):
                    await ring.wait()


async def _look(client: Client, target: Target, cursor: int) -> tuple[int, bool, bytes]:
    """Return index, whether there is anything, and content; blocks if there is a cursor.

    Why: not py-consul's `kv.get`, which raises when the index header is missing (1.8.0).
    """
    params = [("keys" if target.names else "recurse", "1")] if target.recurse else []
    if cursor:
        params += [("index", str(cursor)), ("wait", f"{limits.CONSUL_WAIT_S:g}s")]
    else:
        params += [("consistent", "1")]
    path = f"/v1/kv/{target.key}"
    reply = await client.http.request("GET", path, params=params)
    index = reply.headers.get("X-Consul-Index", "")
    body = index.encode() if target.names else reply.body
    return int(index) if index.isdecimal() else 0, reply.code != 404, body  # noqa: PLR2004
