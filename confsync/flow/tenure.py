"""Waiting as the one agent of a site: until something happens, or the lease is lost.

Separate because whatever is done for a site waits like this, and must know soon that it is over.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from confsync.model import limits
from confsync.ports.site import Fence


async def rest(fence: Fence, woken: asyncio.Event, rest_s: float) -> None:
    """Wait for a wake, at most for `rest_s`. Raises LeaseLost."""
    loop = asyncio.get_running_loop()
    until_s = loop.time() + rest_s
    while not woken.is_set() and (left_s := until_s - loop.time()) > 0:
        await fence.check()
        with suppress(TimeoutError):
            async with asyncio.timeout(min(left_s, limits.LEASE_LOOK_S)):
                await woken.wait()
    await fence.check()
