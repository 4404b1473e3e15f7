from __future__ import annotations

import asyncio
import base64
import json
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from confsync.edge import watch
from confsync.edge.consul import ConsulSettings, ConsulSource
from confsync.model import limits
from confsync.model.errors import (
    BadSettings,
    Denied,
    InvalidConfig,
    SourceError,
    Torn,
    Unreachable,
)
from confsync.model.ids import KeyPath, LayerPath
from confsync.model.snapshot import Absence
from confsync.ports import Verdict
from tests.edge.fake import Request, fake_consul, reply

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from tests.lab import Lab
    from tests.lab.consul import ConsulServer

PREFIX = "confsync/v1"
COMMON, SITE, NODE = LayerPath("common"), LayerPath("sites/bgo/common"), LayerPath("nodes/n1")
LAYERS = (COMMON, SITE, NODE)
HEAD = b'{"phase":"complete","change":1}'


@asynccontextmanager
async def opened(
    address: str = "http://127.0.0.1:8500", token: Path | None = None
) -> AsyncIterator[ConsulSource]:
    settings = ConsulSettings(address=address, token_file=str(token or ""))
    source = ConsulSource(settings, PREFIX)
    try:
        yield source
    finally:
        await source.close()


def put(server: ConsulServer, **values: bytes) -> None:
    """Write in one transaction; ``desired__common__bgp`` is a key below the prefix."""
    server.kv.put_all({f"{PREFIX}/{key.replace('__', '/')}": raw for key, raw in values.items()})


async def documents(source: ConsulSource) -> Mapping[str, bytes]:
    snapshot = await source.snapshot(LAYERS)
    return {
        f"{layer.path}/{name}": raw
        for layer in snapshot.layers
        for name, raw in layer.documents.items()
    }


Box = asyncio.Queue[None]


@asynccontextmanager
async def waking(
    source: ConsulSource, layers: tuple[LayerPath, ...] = LAYERS
) -> AsyncIterator[Box]:
    """Collect wakes in a box while the test goes on."""
    box: Box = asyncio.Queue()

    async def collect() -> None:
        async with aclosing(source.wakes(layers)) as wakes:
            async for _ in wakes:
                box.put_nowait(None)

    task = asyncio.create_task(collect())
    try:
        yield box
    finally:
        task.cancel()
        await asyncio.wait({task})


async def calm(source: ConsulSource, box: Box) -> None:
    """Wait until all watches have read and only wait, then forget their wakes."""
    seen = -1
    while seen != source.client.stats.requests.total():
        seen = source.client.stats.requests.total()
        await asyncio.sleep(0.3)
    while not box.empty():
        box.get_nowait()


async def woken(box: Box, within_s: float = 5) -> None:
    async with asyncio.timeout(within_s):
        await box.get()


@pytest.mark.root
async def test_neighbours_by_prefix_are_not_mixed_in(consul_server: ConsulServer) -> None:
    put(
        consul_server,
        head=HEAD,
        headline=b"not ours",
        desired__common__bgp=b"1",
        desired__commonplace__bgp=b"2",
        desired__nodes__n1__bgp__peers__r1=b"3",
        desired__nodes__n10__bgp=b"4",
        manifest__nodes__n10=b"not ours",
        manifest__common=b'{"change":1,"documents":{}}',
    )
    async with opened() as source:
        snapshot = await source.snapshot(LAYERS)
        assert {"common/bgp": b"1", "nodes/n1/bgp/peers/r1": b"3"} == await documents(source)
    assert [True, False, False] == [layer.manifest is not None for layer in snapshot.layers]
    place = snapshot.place(snapshot.layers[0], "bgp")
    assert "consul:confsync/v1/desired/common/bgp" == place


@pytest.mark.root
@pytest.mark.parametrize("name", ["a//b", "../x", "A", "x y", "%2f", "b" * 200])
async def test_a_key_that_no_rule_knows_is_named(consul_server: ConsulServer, name: str) -> None:
    key = f"{PREFIX}/desired/common/{name}"
    consul_server.kv.txn({"Verb": "set", "Key": key, "Value": "{}"})
    async with opened() as source:
        with pytest.raises(InvalidConfig, match="is no name of a document") as caught:
            await source.snapshot(LAYERS)
    assert name in str(caught.value)


@pytest.mark.root
async def test_a_folder_made_in_the_ui_is_no_document(consul_server: ConsulServer) -> None:
    consul_server.kv.txn({"Verb": "set", "Key": f"{PREFIX}/desired/common/", "Value": ""})
    async with opened() as source:
        assert {} == await documents(source)


@pytest.mark.root
async def test_a_head_that_is_none_is_torn(consul_server: ConsulServer) -> None:
    put(consul_server, head=b"{")
    async with opened() as source:
        with pytest.raises(Torn):
            await source.snapshot(LAYERS)


def rules(*prefixes: str) -> str:
    return "\n".join(f'key_prefix "{PREFIX}/{one}" {{ policy = "read" }}' for one in prefixes)


@pytest.mark.root
async def test_what_acls_hide_is_denied_and_not_gone(lab: Lab, tmp_path: Path) -> None:
    server = lab.consul(acl=True)
    put(server, head=HEAD, desired__common__bgp=b"1", desired__nodes__n1__bgp=b"2")
    bgp, gone = KeyPath("desired/nodes/n1/bgp"), KeyPath("desired/nodes/n1/lvm")
    token = tmp_path / "token"
    token.write_text(server.kv.new_token("whole", rules("")))
    async with opened(token=token) as source:
        assert ["common/bgp", "nodes/n1/bgp"] == list(await documents(source))
        assert Absence.GONE is await source.why_absent(gone)
        server.kv.change_rules("whole", rules("head", "desired/common"))
        async with asyncio.timeout(40):
            while "nodes/n1/bgp" in await documents(source):
                await asyncio.sleep(0.2)
        assert ["common/bgp"] == list(await documents(source))
        assert Absence.DENIED is await source.why_absent(bgp)
        token.write_text(server.kv.new_token("none", 'node_prefix "" { policy = "read" }'))
        assert {} == await documents(source)
        assert Absence.DENIED is await source.why_absent(bgp)
        assert not (await source.way_home().sample())["ok"]
        token.write_text("00000000-0000-0000-0000-00000000dead")
        with pytest.raises(Denied):
            await source.snapshot(LAYERS)


@pytest.mark.root
async def test_wakes_for_what_concerns_us_and_for_nothing_else(
    consul_server: ConsulServer,
) -> None:
    put(consul_server, head=HEAD, desired__common__bgp=b"1", desired__nodes__n1__bgp=b"1")
    async with opened() as source, waking(source, (COMMON, NODE)) as box:
        await woken(box)
        for number in range(10):
            await calm(source, box)
            put(consul_server, desired__nodes__n1__bgp=b"v%d" % number)
            await woken(box)
        await calm(source, box)
        asked = source.client.stats.requests.total()
        for number in range(20):
            put(consul_server, report__n1=b"%d" % number, desired__nodes__n2__bgp=b"%d" % number)
        await calm(source, box)
        assert asked == source.client.stats.requests.total()
        consul_server.kv.delete_tree(f"{PREFIX}/")
        await woken(box)


@pytest.mark.root
async def test_a_layer_that_gets_its_first_key_wakes(consul_server: ConsulServer) -> None:
    async with opened() as source, waking(source) as box:
        await calm(source, box)
        put(consul_server, desired__nodes__n1__bgp=b"1")
        await woken(box)
        await calm(source, box)
        put(consul_server, head=HEAD, desired__common__bgp=b"1")
        await woken(box)
        await calm(source, box)
        put(consul_server, desired__common__bgp=b"2")
        await woken(box)


@pytest.mark.root
async def test_a_missing_head_beside_busy_neighbours_is_asked_for_rarely(
    consul_server: ConsulServer,
) -> None:
    async with opened() as source, waking(source) as box:
        await calm(source, box)
        before = source.client.stats.requests.total()
        for number in range(100):
            put(consul_server, report__n1=b"%d" % number)
            await asyncio.sleep(0.01)
        await calm(source, box)
        assert 20 > source.client.stats.requests.total() - before


@pytest.mark.root
async def test_the_beginning_and_the_end_of_an_outage_wake(consul_server: ConsulServer) -> None:
    put(consul_server, head=HEAD, desired__common__bgp=b"1")
    async with opened() as source, waking(source) as box:
        await calm(source, box)
        consul_server.kill()
        with pytest.raises(Unreachable):
            await source.snapshot(LAYERS)
        assert not (await source.way_home().sample())["ok"]
        await woken(box)
        consul_server.restart()
        consul_server.wait_leader()
        await woken(box, 40)
        assert {"common/bgp": b"1"} == await documents(source)


@pytest.mark.root
async def test_a_restored_backup_wakes_soon(consul_server: ConsulServer) -> None:
    put(consul_server, head=HEAD, desired__common__bgp=b"old")
    backup = consul_server.kv.call("GET", "snapshot")
    for number in range(20):
        put(consul_server, desired__common__bgp=b"new%d" % number)
    async with opened() as source, waking(source) as box:
        await calm(source, box)
        consul_server.kv.call("PUT", "snapshot", backup)
        await woken(box, 20)
        assert {"common/bgp": b"old"} == await documents(source)
        await calm(source, box)
        put(consul_server, desired__common__bgp=b"newest")
        await woken(box)


@pytest.mark.root
async def test_a_hung_server_is_unreachable_within_the_deadline(
    consul_server: ConsulServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(consul_server, head=HEAD)
    monkeypatch.setattr(limits, "CONSUL_READ_S", 1.0)
    monkeypatch.setattr(limits, "CONSUL_CONNECT_S", 1.0)
    monkeypatch.setattr(limits, "WAY_HOME_S", 1.0)
    async with opened() as source:
        probe = source.way_home()
        good = await probe.sample()
        consul_server.stop()
        with pytest.raises(Unreachable):
            await source.snapshot(LAYERS)
        assert Absence.UNKNOWN is await source.why_absent(KeyPath("desired/common/bgp"))
        bad = await probe.sample()
        consul_server.cont()
    assert Verdict.OK is probe.judge(good, [bad, good]).verdict
    assert Verdict.FAILED is probe.judge(good, [good, bad]).verdict
    assert Verdict.OK is probe.judge(bad, [bad]).verdict


@pytest.mark.root
async def test_servers_that_die_never_give_a_part(lab: Lab) -> None:
    cluster = lab.consul_cluster()
    leader = cluster.wait_leader()
    whole = {f"common/d{n}": b"%d" % n for n in range(50)}
    leader.kv.put_all({f"{PREFIX}/desired/{name}": raw for name, raw in whole.items()})
    follower = next(one for one in cluster.servers if one is not leader)
    async with opened(follower.url) as source:
        assert whole == await documents(source)
        leader.kill()
        failures = await read_until_back(source, whole)
        assert failures > 0
        leader.restart()
        cluster.wait_leader()
        for one in cluster.servers:
            one.kill()
        for one in cluster.servers:
            one.restart()
        await read_until_back(source, whole)


async def read_until_back(source: ConsulSource, whole: Mapping[str, bytes]) -> int:
    """Read on and on: each answer is whole or an error; return how many errors there were."""
    failures = good = 0
    async with asyncio.timeout(60):
        while good < 20:
            try:
                assert whole == await documents(source)
                good = good + 1 if failures else 0
            except SourceError:
                failures += 1
                await asyncio.sleep(0.02)
    return failures


def listing(**values: bytes) -> bytes:
    """Return the body of a KV read."""
    return json.dumps(
        [
            {"Key": key, "Value": base64.b64encode(raw).decode(), "ModifyIndex": 1}
            for key, raw in values.items()
        ]
    ).encode()


class Script:
    """Answers reads of KV with a current content and whatever index headers are asked for."""

    def __init__(self, **headers: str) -> None:
        self.content = b"first"
        self.headers = headers

    async def __call__(self, request: Request) -> bytes:
        return reply(200, listing(head=self.content), **self.headers)


@pytest.mark.parametrize("headers", [{}, {"X_Consul_Index": "0"}, {"X_Consul_Index": "-x"}])
async def test_an_index_that_is_none_neither_spins_nor_blinds(
    headers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "WATCH_IDLE_EVERY_S", 1.0)
    script = Script(**headers)
    async with (
        fake_consul(script) as fake,
        opened(fake.address) as source,
        waking(source, ()) as box,
    ):
        await woken(box)
        await asyncio.sleep(1.5)
        assert 12 > len(fake.requests)
        while not box.empty():
            box.get_nowait()
        script.content = b"second"
        await woken(box)


async def test_real_changes_are_not_slowed_down() -> None:
    number = 0

    async def change(_: Request) -> bytes:
        nonlocal number
        number += 1
        return reply(200, listing(head=b"%d" % number), X_Consul_Index=str(number))

    async with (
        fake_consul(change) as fake,
        opened(fake.address) as source,
        waking(source, ()) as box,
        asyncio.timeout(5),
    ):
        for _ in range(30):
            await box.get()


async def test_closing_the_wakes_leaves_nothing_behind() -> None:
    asked = asyncio.Semaphore(0)

    async def block(request: Request) -> bytes:
        if "index=" in request.target:
            asked.release()
            await asyncio.Event().wait()
        return reply(200, listing(head=b"1"), X_Consul_Index="5")

    async with fake_consul(block) as fake, opened(fake.address) as source:
        before = asyncio.all_tasks()
        async with aclosing(source.wakes(LAYERS)) as wakes:
            await anext(wakes)
            for _ in range(1 + len(LAYERS)):
                await asked.acquire()
            inside = {task for task in asyncio.all_tasks() - before if "_watch" in repr(task)}
        assert 1 + len(LAYERS) == len(inside)
        assert all(task.done() for task in inside)


async def test_a_fault_of_our_own_ends_the_wakes(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object) -> None:
        raise KeyError("programmer")

    monkeypatch.setattr(watch, "_look", broken)

    async def follow(source: ConsulSource) -> None:
        async with asyncio.timeout(5), aclosing(source.wakes(LAYERS)) as wakes:
            async for _ in wakes:
                pass

    async with opened() as source:
        with pytest.raises(ExceptionGroup):
            await follow(source)


@pytest.mark.parametrize(
    ("seen", "replied", "expected"),
    [(0, 7, 7), (7, 7, 7), (7, 9, 9), (9, 7, 0), (0, 0, 1), (1, 0, 1), (9, 0, 0)],
)
def test_the_next_cursor(seen: int, replied: int, expected: int) -> None:
    assert expected == watch.next_cursor(seen, replied)


@pytest.mark.parametrize(
    ("fault", "limit_s"),
    [(Denied("no"), limits.BACKOFF_MAX_S), (Unreachable("away"), limits.BACKOFF_AWAY_S)],
)
def test_backoff_grows_to_its_limit_and_starts_anew(fault: SourceError, limit_s: float) -> None:
    backoff = watch.Backoff()
    waits = [backoff.next_s(fault) for _ in range(200)]
    assert limits.BACKOFF_MIN_S >= waits[0]
    assert limit_s / 2 <= max(waits) <= limit_s
    backoff.reset()
    assert limits.BACKOFF_MIN_S >= backoff.next_s(fault)


def test_a_bucket_gives_a_burst_and_then_one_at_a_time() -> None:
    bucket = watch.Bucket(2, 15)
    assert [0, 0, 15, 30] == [bucket.take(100) for _ in range(4)]
    assert [0, 0, 15] == [bucket.take(200) for _ in range(3)]


@pytest.mark.parametrize(
    ("answer", "ok"),
    [
        (reply(200, X_Consul_Index="7"), True),
        (reply(404, X_Consul_Index="7", X_Consul_KnownLeader="true"), True),
        (reply(200, x_consul_index="7", x_consul_knownleader="false"), False),
        (reply(404, b"<html>no such page</html>"), False),
        (reply(500, b"No cluster leader", X_Consul_Index="7"), False),
        (reply(403, b"Permission denied"), False),
        (b"HTTP/1.1 200 OK\r\nX-Consul-Index: 7\r\n", False),
        (b"hello\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000 + b"\r\n\r\n", False),
    ],
)
async def test_the_way_home_leads_to_consul_or_nowhere(answer: bytes, ok: bool) -> None:
    async with fake_consul(answer) as fake, opened(fake.address) as source:
        probe = source.way_home()
        first, second = await probe.sample(), await probe.sample()
        assert [ok, ok] == [first["ok"], second["ok"]]
        assert ok is (first["reason"] == "")
        assert 2 == fake.connections


async def test_a_404_of_somebody_else_does_not_say_gone() -> None:
    async with fake_consul(reply(404, b"nginx")) as fake, opened(fake.address) as source:
        assert Absence.UNKNOWN is await source.why_absent(KeyPath("desired/common/bgp"))


@pytest.mark.parametrize("key", ["desired/common/a//b", "desired/../x", "desired/common/"])
async def test_a_key_that_cannot_be_asked_for_is_unknown(key: str) -> None:
    async with opened() as source:
        assert Absence.UNKNOWN is await source.why_absent(KeyPath(key))


async def test_a_prefix_that_cannot_be_meant_is_refused() -> None:
    for prefix in ("", "/confsync", "a//b", "A"):
        with pytest.raises(BadSettings):
            ConsulSource(ConsulSettings(), prefix)


async def test_more_layers_than_a_transaction_takes_are_refused() -> None:
    layers = tuple(LayerPath(f"l{number}") for number in range(limits.TXN_OPS // 2))
    async with opened() as source:
        with pytest.raises(BadSettings, match="layers"):
            await source.snapshot(layers)
