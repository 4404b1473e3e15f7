"""A line to Consul that swallows everything: no end is told, and it is noticed all the same."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from confsync.edge import watch
from confsync.edge.endpoint import Endpoint, Token
from confsync.edge.transport import Client
from confsync.model import limits
from confsync.model.errors import Unreachable

if TYPE_CHECKING:
    from tests.lab.sites import Sites

pytestmark = pytest.mark.root

UNHEARD_S = limits.CONSUL_IDLE_S + limits.CONSUL_PROBE_S * limits.CONSUL_PROBES


async def test_a_query_that_nobody_answers_any_more_ends_long_before_its_time(
    sites: Sites,
) -> None:
    site = sites.home
    site.consul.servers[0].kv.put("confsync/v1/head", "{}")
    endpoint = Endpoint.parse(site.consul.servers[0].url)
    client = Client(endpoint, Token(sites.tokens.file("reader")))
    target = watch.Target("confsync/v1/head")
    try:
        index, _, _ = await watch._look(client, target, 0)
        waiting = asyncio.create_task(watch._look(client, target, index))
        await asyncio.sleep(0.5)
        sites.links[f"{site.name}-consul1"].cut_silently()
        async with asyncio.timeout(UNHEARD_S + 20):
            with pytest.raises(Unreachable):
                await waiting
        sites.links[f"{site.name}-consul1"].heal()
        async with asyncio.timeout(5):
            await watch._look(client, target, 0)
    finally:
        await client.close()
