"""A Consul that crashes and restarts answers reads with 404 or a part, as if it had a leader.

Whoever takes such an answer for the truth removes what is there. Beside our readers read naive
ones, as most tools read, so that the faults are known to have happened.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import aiohttp
import pytest

from confsync.edge.consul import ConsulSettings, ConsulSource
from confsync.edge.endpoint import Endpoint, Token
from confsync.edge.publish import Record, publish
from confsync.edge.transport import Client
from confsync.flow.believe import Believer
from confsync.model.errors import SourceError
from confsync.model.ids import LayerPath
from confsync.model.snapshot import QuietPeriod, Snapshot
from tests.lab.kv import ConsulError
from tests.lab.wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.lab import Lab
    from tests.lab.consul import ConsulCluster, ConsulServer

pytestmark = [pytest.mark.root, pytest.mark.timeout(900)]

PREFIX = "confsync/v1"
LAYERS = (LayerPath("common"), LayerPath("nodes/n1"))
DOCUMENTS = 100
ROUNDS, READS = 12, 10_000
SEED = int(os.environ.get("CONFSYNC_TEST_SEED", random.randrange(1 << 32)))
ALL = f'key_prefix "{PREFIX}/" {{ policy = "read" }}'
PART = f'key_prefix "{PREFIX}/desired/common/d1" {{ policy = "read" }}'
ACL = {"enabled": True, "default_policy": "deny", "policy_ttl": "300ms", "token_ttl": "300ms"}
Tree = dict[LayerPath, dict[str, bytes]]
T = TypeVar("T")


def tree(value: int) -> Tree:
    common = {f"d{n}": b'{"n":%d,"v":%d}' % (n, value) for n in range(DOCUMENTS)}
    return {LAYERS[0]: common, LAYERS[1]: {"bgp": b'{"w":%d}' % value}}


class Naive:
    """Takes whatever a server says about the prefix for the truth."""

    def __init__(self, server: ConsulServer, token: str, mode: str) -> None:
        self._url = f"{server.url}/v1/kv/{PREFIX}/desired/?recurse{mode}"
        self._headers = {"X-Consul-Token": token}
        self.reads, self.wrong = 0, 0

    async def read(self, ended: Callable[[], bool]) -> None:
        timeout = aiohttp.ClientTimeout(total=2)
        async with aiohttp.ClientSession(timeout=timeout, headers=self._headers) as session:
            while not ended():
                with suppress(aiohttp.ClientError, OSError):
                    async with session.get(self._url) as reply:
                        found = len(await reply.json()) if reply.status == 200 else 0
                    if reply.status in {200, 404}:
                        self.reads += 1
                        self.wrong += found != DOCUMENTS + 1
                await asyncio.sleep(0.02)  # leaves the machine to ours


class Ours:
    """Reads as an agent that has just started, and in turn as one that knows what was there."""

    def __init__(self, server: ConsulServer, token: Path, published: list[Tree]) -> None:
        settings = ConsulSettings(address=server.url, token_file=str(token))
        self._source = ConsulSource(settings, PREFIX)
        self._published = published
        self.reads, self.believed = 0, 0
        self.wrong: list[Snapshot] = []

    async def read(self, ended: Callable[[], bool]) -> None:
        credulous = QuietPeriod(0.0, 0.0)
        known: Snapshot | None = None
        while not ended():
            start = known if self.reads % 2 else None
            found = await Believer(self._source, LAYERS, credulous, start).read(start, ())
            self.reads += 1
            if found.fault is not None:
                await asyncio.sleep(0.05)
            elif found.snapshot is not None and found.snapshot is not start:
                known = found.snapshot
                self.believed += 1
                held = {layer.path: dict(layer.documents) for layer in known.layers}
                if held not in self._published:
                    self.wrong.append(known)
        await self._source.close()


class BadDay:
    """What happens to the servers and to the token, round by round."""

    def __init__(self, cluster: ConsulCluster, chance: random.Random) -> None:
        self._cluster, self._chance = cluster, chance
        self.kv = cluster.servers[0].kv

    async def crash(self, count: int) -> None:
        victims = self._chance.sample(self._cluster.servers, k=count)
        for server in victims:
            server.kill()
        await asyncio.sleep(self._chance.uniform(0, 0.3))
        for server in victims:
            server.restart()
            await asyncio.sleep(self._chance.uniform(0, 0.4))
        await asyncio.to_thread(self._cluster.wait_leader)

    async def narrow(self) -> None:
        """Let the token see a part of the tree only, for a while."""
        for rules in (PART, ALL):
            await asyncio.to_thread(at_last, partial(self.kv.change_rules, "reader", rules))
            await asyncio.sleep(1)


def at_last(act: Callable[[], T]) -> T:
    """Do what ACLs refuse for a moment after an election, while they are of the old kind."""
    done: list[T] = []

    def tried() -> bool:
        with suppress(ConsulError):
            done.append(act())
        return bool(done)

    wait_until("ACLs of the new kind", tried)
    return done[0]


async def push(cluster: ConsulCluster, token: Path, value: int) -> None:
    client = Client(Endpoint.parse(cluster.servers[0].url), Token(token))
    record = Record(by="ann", at="2026-11-22T10:00:00Z", why=str(value), allow=(f"round:{value}",))
    try:
        while True:
            with suppress(SourceError):
                await publish(client, PREFIX, tree(value), record)
                return
            await asyncio.sleep(0.1)
    finally:
        await client.close()


async def test_no_wrong_answer_of_a_crashing_cluster_is_believed(lab: Lab) -> None:
    cluster = await asyncio.to_thread(lambda: lab.consul_cluster(acl=True, settings={"acl": ACL}))
    master, reader = lab.folder / "master", lab.folder / "reader"
    master.write_text(cluster.servers[0].kv.token)
    make = partial(cluster.servers[0].kv.new_token, "reader", ALL)
    reader.write_text(await asyncio.to_thread(at_last, make))
    day, published = BadDay(cluster, random.Random(SEED)), [tree(0)]
    await push(cluster, master, 0)
    ended = asyncio.Event()
    ours = [Ours(server, reader, published) for server in cluster.servers for _ in range(3)]
    naive = [
        Naive(server, reader.read_text(), mode)
        for server in cluster.servers
        for mode in ("", "&stale")
    ]
    async with asyncio.TaskGroup() as group:
        for one in (*ours, *naive):
            group.create_task(one.read(ended.is_set))
        number = 0
        while number < ROUNDS or sum(one.reads for one in ours) < READS:
            number += 1
            published.append(tree(number))
            await push(cluster, master, number)
            await (day.narrow() if number % 4 == 0 else day.crash(3 if number % 2 else 1))
        ended.set()
    reads, believed = sum(one.reads for one in ours), sum(one.believed for one in ours)
    others, wrong = sum(one.reads for one in naive), sum(one.wrong for one in naive)
    told = f"{number} rounds, seed {SEED}; ours: {reads} reads, {believed} believed"
    sys.stdout.write(f"{told}; naive: {wrong} wrong of {others}\n")
    assert [] == [snapshot for one in ours for snapshot in one.wrong]
    assert believed > READS / 10, "a reader that believes nothing is safe and useless"
    assert wrong, "the faults happened"
