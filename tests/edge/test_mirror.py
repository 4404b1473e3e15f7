from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from confsync.edge.consul import ConsulSettings, ConsulSource
from confsync.edge.endpoint import Endpoint, Token
from confsync.edge.lease import ConsulLease
from confsync.edge.mirror import ConsulHome, ConsulMirror
from confsync.edge.publish import Record, publish
from confsync.edge.transport import Client
from confsync.flow.believe import Believer
from confsync.flow.replicate import Replicator
from confsync.model import limits
from confsync.model.errors import Unreachable
from confsync.model.ids import LayerPath, canonical, digest
from confsync.model.mirror import MIRROR, drop_word
from confsync.model.snapshot import HEAD, QuietPeriod
from confsync.model.status import Event
from tests.lab.pair import AWAY, HOME

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from confsync.model.ids import Json, KeyPath
    from confsync.model.snapshot import Snapshot
    from confsync.model.writes import Entry
    from tests.lab.consul import ConsulServer
    from tests.lab.pair import Pair

pytestmark = pytest.mark.root

PREFIX = "confsync/v1"
COMMON, NODE = LayerPath("common"), LayerPath("nodes/n1")
RECORD = Record(by="ann", at="2026-11-22T10:00:00+00:00", why="because")
LATER = replace(RECORD, at="2026-11-22T10:02:00+00:00")
Tree = dict[LayerPath, dict[str, bytes]]


class CutClient(Client):
    """A client that dies before or after its transaction of a number."""

    left = 1_000_000
    after = False

    async def write(self, ops: Sequence[Json]) -> dict[str, Entry]:
        if self.left <= 0:
            raise Unreachable("it is dead")
        self.left -= 1
        if self.left == 0 and not self.after:
            raise Unreachable("it died before the write")
        written = await super().write(ops)
        if self.left == 0:
            raise Unreachable("it died after the write")
        return written


class Told:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def emit(self, event: Event) -> None:
        self.events.append(event)

    def of(self, kind: str) -> list[Json]:
        return [event.fields for event in self.events if event.type == kind]


class Site:
    """What copies to osl, and what it is made of."""

    def __init__(self, pair: Pair, node: str = "n1") -> None:
        self.pair, self.told = pair, Told()
        here = Endpoint.parse(pair.away.url)
        self.client = CutClient(here, Token(None))
        self.there = Client(here, Token(None), HOME)
        self.lease = ConsulLease(self.client, PREFIX, node)
        self.mirror = ConsulMirror(self.client, PREFIX, AWAY)
        self.home = ConsulHome(self.there, PREFIX, HOME)
        self.replicator = Replicator(self.home, self.mirror, self.lease, self.told)

    async def close(self) -> None:
        await self.client.close()
        await self.there.close()


@asynccontextmanager
async def copying(pair: Pair, node: str = "n1") -> AsyncIterator[Site]:
    site = Site(pair, node)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(site.replicator.run())
        try:
            yield site
        finally:
            task.cancel()
    await site.close()


async def push(pair: Pair, tree: Tree, record: Record = RECORD) -> int:
    client = Client(Endpoint.parse(pair.home.url), Token(None))
    try:
        return (await publish(client, PREFIX, tree, record)).change
    finally:
        await client.close()


def small(value: int = 1) -> Tree:
    return {COMMON: {"bgp": b'{"v":%d}' % value}, NODE: {"bgp/peers/r1": b'{"w":%d}' % value}}


def large(value: int, count: int = 150) -> Tree:
    return {COMMON: {f"d{n}": b'{"v":%d,"n":%d}' % (value, n) for n in range(count)}}


def documents(server: ConsulServer) -> dict[str, bytes | None]:
    keys = server.kv.keys(f"{PREFIX}/desired/")
    return {key.removeprefix(f"{PREFIX}/desired/"): server.kv.get(key) for key in keys}


def stored(server: ConsulServer, key: str) -> Json:
    return json.loads(server.kv.get(f"{PREFIX}/{key}") or b"null")


async def until(what: str, holds: Callable[[], object], timeout_s: float = 20) -> None:
    loop = asyncio.get_running_loop()
    end_s = loop.time() + timeout_s
    while not await asyncio.to_thread(holds):
        assert loop.time() < end_s, what
        await asyncio.sleep(0.02)


def whole(pair: Pair, change: int) -> Callable[[], bool]:
    """Tell whether the copy is complete, and the same in everything that readers go by."""

    def holds() -> bool:
        mirror = stored(pair.away, "mirror")
        return bool(mirror) and (mirror["phase"], mirror["change"]) == ("complete", change)

    return holds


def assert_same(pair: Pair, *but: str) -> None:
    ours, theirs = documents(pair.away), documents(pair.home)
    assert {k: v for k, v in ours.items() if k not in but} == {
        k: v for k, v in theirs.items() if k not in but
    }
    assert stored(pair.away, "mirror") == stored(pair.home, "head")
    for key in pair.home.kv.keys(f"{PREFIX}/manifest/"):
        assert pair.away.kv.get(key) == pair.home.kv.get(key), key
    assert not pair.away.kv.keys(f"{PREFIX}/copying/")


async def test_what_is_pushed_at_home_is_copied_and_then_each_change(pair: Pair) -> None:
    await push(pair, small())
    async with copying(pair) as site:
        await until("the first copy", whole(pair, 1))
        assert_same(pair)
        await push(pair, small(2))
        await until("the next", whole(pair, 2))
        assert_same(pair)
        await push(pair, {COMMON: {"bgp": b'{"v":2}'}, NODE: {}})
        await until("a removal", whole(pair, 3))
        assert_same(pair)
        assert ["common/bgp"] == list(documents(pair.away))
        assert [2, 2, 1] == [fields["written"] for fields in site.told.of("mirror.copied")]
        assert (1, 0, "") == (site.replicator.state.holds, 0, site.replicator.state.problem)
    for number in (1, 2, 3):
        assert stored(pair.away, f"changes/{number}") == stored(pair.home, f"changes/{number}")


async def test_nothing_is_pushed_yet(pair: Pair) -> None:
    pair.away.kv.put(f"{PREFIX}/desired/common/bgp", "v: 1")
    async with copying(pair) as site:
        await until("it says so", lambda: "nobody has pushed" in site.replicator.state.problem)
    assert {"common/bgp": b"v: 1"} == documents(pair.away)
    assert stored(pair.away, "mirror") is None


@pytest.mark.parametrize("after", [False, True])
async def test_a_copy_that_dies_at_any_transaction_is_finished_by_the_next(
    pair: Pair, *, after: bool
) -> None:
    await push(pair, large(1))
    async with copying(pair):
        await until("the first copy", whole(pair, 1))
    change, deaths = 1, 0
    while True:
        change = await push(pair, large(change + 1))
        dead = Site(pair, "dead")
        dead.client.left, dead.client.after = deaths + 2, after  # the first writes home's orders
        died = await one_pass(dead)
        await dead.close()
        if not died:
            break
        deaths += 1
        said = stored(pair.away, "mirror")
        if said["phase"] == "complete":
            assert large(said["change"])[COMMON] == {
                key.removeprefix("common/"): raw for key, raw in documents(pair.away).items()
            }
        async with copying(pair):
            await until(f"finished after death {deaths}", whole(pair, change))
            assert_same(pair)
    assert deaths >= 5


async def one_pass(site: Site) -> bool:
    """Let it copy once; tell whether it died on the way."""
    async with site.lease.hold("replicate") as fence:
        try:
            await site.replicator._copy(fence)
        except Unreachable:
            return True
    return False


async def test_a_document_that_was_edited_here_is_kept_and_shown(pair: Pair) -> None:
    await push(pair, small())
    async with copying(pair) as site:
        await until("the first copy", whole(pair, 1))
        pair.away.kv.put(f"{PREFIX}/desired/common/bgp", '{"v":"mended here"}')
        await until("it is shown", lambda: site.replicator.state.conflicts)
        await push(pair, small(2))
        await until("the next copy", whole(pair, 2))
        assert_same(pair, "common/bgp")
        assert b'{"v":"mended here"}' == documents(pair.away)["common/bgp"]
        here, home = digest(b'{"v":"mended here"}'), digest(b'{"v":2}')
        shown = {"desired/common/bgp": {"here": here, "home": home}}
        expected = {"change": 2, "documents": shown}
        await until("it is written", lambda: stored(pair.away, "conflicts") == expected)
        assert [{"documents": ["desired/common/bgp"]}] == site.told.of("mirror.conflict")


async def conflicting(pair: Pair, site: Site) -> None:
    await push(pair, small())
    await until("the first copy", whole(pair, 1))
    pair.away.kv.put(f"{PREFIX}/desired/common/bgp", '{"v": 7}\n')
    await push(pair, small(2))
    await until("the next copy", whole(pair, 2))
    await until("it is shown", lambda: site.replicator.state.conflicts)


async def test_a_conflict_ends_when_home_says_the_same(pair: Pair) -> None:
    async with copying(pair) as site:
        await conflicting(pair, site)
        await push(pair, {COMMON: {"bgp": b'{"v":7}'}, NODE: small(2)[NODE]})
        await until("it is taken over", whole(pair, 3))
        assert_same(pair)
        await until("it is over", lambda: not site.replicator.state.conflicts)
        assert site.told.of("mirror.resolved")


async def test_a_conflict_ends_when_an_operator_drops_that_edit(pair: Pair) -> None:
    async with copying(pair) as site:
        await conflicting(pair, site)
        edit = digest(b'{"v": 7}\n')
        word = drop_word(AWAY, "desired/common/bgp", edit)
        await push(pair, small(2), replace(RECORD, allow=(word,)))
        await until("it is dropped", whole(pair, 3))
        assert_same(pair)
        assert b'{"v": 7}\n' == pair.away.kv.get(f"{PREFIX}/blobs/{edit}"), "the text is kept"


async def test_a_drop_of_one_edit_is_no_drop_of_a_later_one(pair: Pair) -> None:
    async with copying(pair) as site:
        await conflicting(pair, site)
        word = drop_word(AWAY, "desired/common/bgp", digest(b'{"v": 6}\n'))
        await push(pair, small(2), replace(RECORD, allow=(word,)))
        await until("the change", whole(pair, 3))
        assert b'{"v": 7}\n' == documents(pair.away)["common/bgp"]


async def test_a_document_that_was_removed_here_stays_away(pair: Pair) -> None:
    await push(pair, small())
    async with copying(pair):
        await until("the first copy", whole(pair, 1))
        pair.away.kv.delete(f"{PREFIX}/desired/common/bgp")
        await push(pair, small(2))
        await until("the next", whole(pair, 2))
        assert "common/bgp" not in documents(pair.away)
        shown = {"here": None, "home": digest(b'{"v":2}')}
        await until(
            "it is shown",
            lambda: (
                (stored(pair.away, "conflicts") or {}).get("documents")
                == {"desired/common/bgp": shown}
            ),
        )


async def test_home_that_went_back_is_not_copied_unless_that_is_allowed(pair: Pair) -> None:
    await push(pair, small())
    await push(pair, small(2))
    async with copying(pair) as site:
        await until("the copy", whole(pair, 2))
        pair.home.kv.delete_tree(f"{PREFIX}/")
        await push(pair, small(3))
        await until("it is told", lambda: "restored backup" in site.replicator.state.problem)
        assert small(2)[COMMON]["bgp"] == documents(pair.away)["common/bgp"]
        pair.home.kv.delete_tree(f"{PREFIX}/")
        await push(pair, small(4), replace(RECORD, allow=("older:head",)))
        await until("it is allowed", whole(pair, 1))
        assert_same(pair)


async def test_from_a_home_that_has_moved_nothing_is_copied(pair: Pair) -> None:
    await push(pair, small())
    place = {"to": "osl", "by": "ann", "at": "2026-11-22T10:00:00Z", "why": ""}
    pair.home.kv.put(f"{PREFIX}/moved", json.dumps(place))
    async with copying(pair) as site:
        await until("it is told", lambda: "home has moved to osl" in site.replicator.state.problem)
    assert {} == documents(pair.away)


async def test_an_empty_home_changes_nothing(pair: Pair) -> None:
    await push(pair, small())
    async with copying(pair) as site:
        await until("the copy", whole(pair, 1))
        before = documents(pair.away)
        pair.home.kv.delete_tree(f"{PREFIX}/")
        await until("it is told", lambda: "nobody has pushed" in site.replicator.state.problem)
        await asyncio.sleep(0.3)
    assert before == documents(pair.away)


async def test_manifests_that_are_hidden_change_nothing(pair: Pair) -> None:
    await push(pair, small())
    async with copying(pair) as site:
        await until("the copy", whole(pair, 1))
        before = documents(pair.away)
        await push(pair, small(2))
        await until("the copy", whole(pair, 2))
        before = documents(pair.away)
        record = stored(pair.home, "changes/2")
        pair.home.kv.delete(f"{PREFIX}/manifest/nodes/n1")
        pair.home.kv.put_all({
            f"{PREFIX}/changes/3": canonical({**record, "change": 3}),
            f"{PREFIX}/head": canonical({**stored(pair.home, "head"), "change": 3}),
        })  # fmt: skip
        await until("it is told", lambda: "hides manifests" in site.replicator.state.problem)
    assert before == documents(pair.away)


async def test_a_torn_copy_is_undone_when_home_is_gone_for_long(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    await push(pair, large(1))
    async with copying(pair):
        await until("the first copy", whole(pair, 1))
    before = documents(pair.away)
    await push(pair, {**large(2), NODE: {"new": b"{}"}})
    dead = Site(pair, "dead")
    dead.client.left = 7  # the texts come first
    assert await one_pass(dead)
    await dead.close()
    assert stored(pair.away, "mirror")["phase"] == "publishing"
    assert before != documents(pair.away), "a part was written"
    pair.away.kv.put(f"{PREFIX}/desired/common/d149", "edited: meanwhile")
    monkeypatch.setattr(limits, "MIRROR_TORN_S", 0.5)
    monkeypatch.setattr(limits, "MIRROR_RETRY_S", 0.1)
    site = Site(pair)
    gone = Client(Endpoint.parse(pair.away.url), Token(None), "nowhere")
    site.replicator._home = ConsulHome(gone, PREFIX, HOME)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(site.replicator.run())
        await until("it is undone", lambda: site.told.of("mirror.undone"))
        task.cancel()
    await site.close()
    await gone.close()
    assert {**before, "common/d149": b"edited: meanwhile"} == documents(pair.away)
    assert (1, "complete") == (
        stored(pair.away, "mirror")["change"], stored(pair.away, "mirror")["phase"],
    )  # fmt: skip
    assert not pair.away.kv.keys(f"{PREFIX}/copying/")
    async with copying(pair):
        await until("and then copied", whole(pair, 2))
        assert_same(pair, "common/d149")


async def test_a_site_whose_own_consul_is_away_for_long_copies_on_afterwards(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MIRROR_TORN_S", 0.0)
    monkeypatch.setattr(limits, "MIRROR_RETRY_S", 0.1)
    monkeypatch.setattr(limits, "CONSUL_READ_S", 1.0)
    monkeypatch.setattr(limits, "CONSUL_CONNECT_S", 1.0)
    await push(pair, small())
    async with copying(pair) as site:
        await until("the first copy", whole(pair, 1))
        pair.away.stop()
        try:
            site.replicator._woken.set()
            await until("it is told", lambda: site.replicator.state.problem)
            await asyncio.sleep(3)
        finally:
            pair.away.cont()
        await push(pair, small(2))
        await until("the next", whole(pair, 2))
        assert_same(pair)


async def test_orders_of_home_come_here_and_those_given_here_stay(pair: Pair) -> None:
    await push(pair, small())
    freeze = f"{PREFIX}/ops/freeze"
    pair.away.kv.put(f"{freeze}/site.osl", '{"by": "here"}')
    pair.home.kv.put(f"{freeze}/site.osl", '{"by": "home"}')
    pair.home.kv.put(f"{freeze}/all", '{"by": "home"}')
    async with copying(pair):
        await until("it is copied", lambda: pair.away.kv.get(f"{freeze}/all"))
        assert b'{"by": "here"}' == pair.away.kv.get(f"{freeze}/site.osl")
        pair.home.kv.put(f"{freeze}/all", '{"lifted": true}')
        await push(pair, small(2))
        await until("and its end", lambda: b"lifted" in (pair.away.kv.get(f"{freeze}/all") or b""))
        pair.home.kv.delete(f"{freeze}/all")
        await push(pair, small(3))
        await until("the next", whole(pair, 3))
        assert pair.away.kv.get(f"{freeze}/all"), "nothing ends by not being read"


async def test_a_holder_that_stood_still_writes_nothing_afterwards(pair: Pair) -> None:
    await push(pair, small())
    slow, quick = Site(pair, "slow"), Site(pair, "quick")
    async with slow.lease.hold("replicate") as fence:
        session = pair.away.kv.entry(f"{PREFIX}/lease/replicate")
        assert session
        pair.away.kv.json("PUT", f"session/destroy/{session['Session']}")
        await asyncio.sleep(0)
        taken = asyncio.Event()

        async def take() -> None:
            async with quick.lease.hold("replicate"):
                taken.set()
                await asyncio.sleep(3600)

        other = asyncio.create_task(take())
        async with asyncio.timeout(40):
            await taken.wait()
        before = documents(pair.away)
        standing = await slow.mirror.standing()
        published = await slow.home.published(None)
        assert published
        with pytest.raises(Exception, match="another agent acts for this site"):
            await slow.replicator._write(fence, standing, published)
        assert before == documents(pair.away) == {}
        other.cancel()
    await slow.close()
    await quick.close()


class Reader:
    """An agent's eyes on one datacenter: what it believes must be a whole tree, always."""

    def __init__(self, server: ConsulServer, record: KeyPath, trees: list[Tree]) -> None:
        self._source = ConsulSource(ConsulSettings(address=server.url), PREFIX, record)
        self._trees = trees
        self.believed = 0

    async def read(self) -> None:
        known: Snapshot | None = None
        try:
            while True:
                believer = Believer(self._source, tuple(self._trees[0]), QuietPeriod(0, 0), known)
                found = await believer.read(known, ())
                if found.snapshot is not None and found.snapshot is not known:
                    known = found.snapshot
                    self.believed += 1
                    assert {one.path: dict(one.documents) for one in known.layers} in self._trees
                await asyncio.sleep(0.005)
        finally:
            await self._source.close()


def many(value: int) -> Tree:
    """Return 500 documents, each of them another than with any other value."""
    return {
        LayerPath(f"nodes/n{node}"): {
            f"d{n}": b'{"n":%d,"v":%d}' % (100 * node + n, value) for n in range(100)
        }
        for node in range(5)
    }


@pytest.mark.timeout(600)
async def test_readers_see_whole_trees_while_publisher_and_copier_are_killed_at_every_step(
    pair: Pair,
) -> None:
    trees = [many(0)]
    await push(pair, trees[0])
    async with copying(pair):
        await until("the first copy", whole(pair, 1))
    readers = [Reader(pair.home, HEAD, trees), Reader(pair.away, MIRROR, trees)]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(reader.read()) for reader in readers]
        change, left, alive = 1, 0, False
        while not alive:
            left += 1
            trees.append(many(left))
            publisher = CutClient(Endpoint.parse(pair.home.url), Token(None))
            publisher.left, publisher.after = left, bool(left % 2)
            with suppress(Unreachable):
                await publish(publisher, PREFIX, trees[-1], RECORD)
            alive = publisher.left > 0
            await publisher.close()
            trees.append(many(1000 + left))
            change = await push(pair, trees[-1], LATER)
            dead = Site(pair, "dead")
            dead.client.left, dead.client.after = left, bool(left % 2)
            await one_pass(dead)
            await dead.close()
            async with copying(pair):
                await until(f"finished after {left}", whole(pair, change))
                assert_same(pair)
        for task in tasks:
            task.cancel()
    assert left >= 15, "there were as many steps"
    assert min(reader.believed for reader in readers) >= left
