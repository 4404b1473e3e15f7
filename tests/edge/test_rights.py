"""What an operator's token lacks is said, and nothing is left half-done for it."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from confsync.edge.endpoint import Endpoint, Token
from confsync.edge.publish import Record, publish
from confsync.edge.sites import move_home, read_edit
from confsync.edge.transport import Client
from confsync.model.errors import Denied
from confsync.model.ids import KeyPath, LayerPath

if TYPE_CHECKING:
    from tests.lab.sites import Sites

pytestmark = pytest.mark.root

PREFIX = "confsync/v1"
TREE = {LayerPath("common"): {"bgp": b"{}"}}
RECORD = Record(by="ann", at="2026-11-22T10:00:00Z", why="because")


async def client(stack: AsyncExitStack, sites: Sites, holder: str, datacenter: str) -> Client:
    endpoint = Endpoint.parse(sites.home.consul.servers[0].url)
    made = Client(endpoint, Token(sites.tokens.file(holder)), datacenter)
    stack.push_async_callback(made.close)
    return made


async def test_home_is_not_left_by_who_may_not_write_where_it_goes(sites: Sites) -> None:
    async with AsyncExitStack() as stack:
        home = await client(stack, sites, "publisher", "bgo")
        there = await client(stack, sites, "publisher", "osl")
        await publish(home, PREFIX, TREE, RECORD)
        head = sites.home.consul.servers[0].kv.get(f"{PREFIX}/head")
        assert head
        sites.sites["osl"].consul.servers[0].kv.put(f"{PREFIX}/mirror", head)
        with pytest.raises(Denied):
            await move_home(home, there, PREFIX, "osl", TREE, RECORD)
        assert sites.home.consul.servers[0].kv.get(f"{PREFIX}/moved") is None
        assert (await publish(home, PREFIX, TREE, RECORD)).nothing, "home publishes on"


async def test_an_edit_that_a_token_may_not_see_is_not_called_absent(sites: Sites) -> None:
    osl = sites.sites["osl"].consul.servers[0].kv
    osl.put(f"{PREFIX}/mirror", '{"phase": "complete", "change": 1}')
    osl.put(f"{PREFIX}/desired/common/bgp", "edited: here")
    sites.tokens.make("outsider")
    sites.wait_known("outsider")
    async with AsyncExitStack() as stack:
        there = await client(stack, sites, "outsider", "osl")
        with pytest.raises(Denied):
            await read_edit(there, PREFIX, "osl", KeyPath("desired/common/bgp"))
