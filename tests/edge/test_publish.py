from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from confsync.edge.consul import ConsulSettings, ConsulSource
from confsync.edge.endpoint import Endpoint, Token
from confsync.edge.publish import Published, Record, publish
from confsync.edge.transport import Client
from confsync.model import limits
from confsync.model.errors import Conflict, InvalidConfig, Oversized, Unreachable
from confsync.model.ids import KeyPath, LayerPath, digest
from confsync.model.snapshot import Phase, Standing, judge

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from confsync.edge.transport import Entry
    from confsync.model.ids import Json
    from tests.lab.consul import ConsulServer

pytestmark = pytest.mark.root

PREFIX = "confsync/v1"
COMMON, NODE = LayerPath("common"), LayerPath("nodes/n1")
RECORD = Record(by="ann", at="2026-11-22T10:00:00+00:00", why="because", allow=("bgp:x",))
LATER = replace(RECORD, by="bob", at="2026-11-22T10:02:00+00:00")
Tree = dict[LayerPath, dict[str, bytes]]


class CutClient(Client):
    """A client whose connection is lost after so many transactions."""

    left = 1

    async def write(self, ops: Sequence[Json]) -> dict[str, Entry]:
        if self.left == 0:
            raise Unreachable("cut")
        self.left -= 1
        return await super().write(ops)


@pytest.fixture
async def client(consul_server: ConsulServer) -> AsyncIterator[Client]:
    async with opened(Client, consul_server) as made:
        yield made


@asynccontextmanager
async def opened(kind: type[Client], server: ConsulServer) -> AsyncIterator[Client]:
    made = kind(Endpoint.parse(server.url), Token(None))
    try:
        yield made
    finally:
        await made.close()


def small(value: int = 1) -> Tree:
    return {COMMON: {"bgp": b'{"v":%d}' % value}, NODE: {"bgp/peers/r1": b'{"w":%d}' % value}}


def large(value: int, count: int = 100) -> Tree:
    return {COMMON: {f"d{n}": b'{"v":%d,"n":%d}' % (value, n) for n in range(count)}}


def documents(server: ConsulServer) -> Mapping[str, bytes | None]:
    keys = server.kv.keys(f"{PREFIX}/desired/")
    return {key.removeprefix(f"{PREFIX}/desired/"): server.kv.get(key) for key in keys}


def stored(server: ConsulServer, key: str) -> Json:
    return json.loads(server.kv.get(f"{PREFIX}/{key}") or b"null")


async def test_a_first_push_writes_documents_manifests_head_and_history(
    consul_server: ConsulServer, client: Client
) -> None:
    done = await publish(client, PREFIX, small(), RECORD)
    keys = ("desired/common/bgp", "desired/nodes/n1/bgp/peers/r1")
    assert Published(1, keys) == done
    assert {"common/bgp": b'{"v":1}', "nodes/n1/bgp/peers/r1": b'{"w":1}'} == documents(
        consul_server
    )
    head = stored(consul_server, "head")
    assert ("complete", 1, "ann", "because") == tuple(
        head[name] for name in ("phase", "change", "by", "why")
    )
    sha = digest(b'{"v":1}')
    assert {"change": 1, "documents": {"bgp": sha}} == stored(consul_server, "manifest/common")
    history = stored(consul_server, "changes/1")
    assert [None, sha] == history["documents"]["desired/common/bgp"]
    assert b'{"v":1}' == consul_server.kv.get(f"{PREFIX}/blobs/{sha}")
    assert {("txn", "200"): 2} == client.stats.requests


async def test_only_what_changed_is_written(consul_server: ConsulServer, client: Client) -> None:
    await publish(client, PREFIX, small(), RECORD)
    before = consul_server.kv.entry(f"{PREFIX}/desired/common/bgp")
    tree = small()
    tree[NODE]["bgp/peers/r1"] = b"{}"
    done = await publish(client, PREFIX, tree, LATER)
    assert Published(2, ("desired/nodes/n1/bgp/peers/r1",)) == done
    assert before == consul_server.kv.entry(f"{PREFIX}/desired/common/bgp")
    assert 1 == stored(consul_server, "manifest/common")["change"]


async def test_what_the_tree_does_not_name_is_removed_and_the_manifest_says_so(
    consul_server: ConsulServer, client: Client
) -> None:
    await publish(client, PREFIX, small(), RECORD)
    done = await publish(client, PREFIX, {COMMON: small()[COMMON]}, LATER)
    assert Published(2, (), ("desired/nodes/n1/bgp/peers/r1",)) == done
    assert ["common/bgp"] == list(documents(consul_server))
    assert {"change": 2, "documents": {}} == stored(consul_server, "manifest/nodes/n1")


async def test_nothing_to_do_gives_no_number(consul_server: ConsulServer, client: Client) -> None:
    await publish(client, PREFIX, small(), RECORD)
    done = await publish(client, PREFIX, small(), replace(LATER, allow=()))
    assert Published(1) == done
    assert done.nothing
    assert "ann" == stored(consul_server, "head")["by"]


async def test_an_allowance_alone_is_a_change_of_its_own(
    consul_server: ConsulServer, client: Client
) -> None:
    await publish(client, PREFIX, small(), RECORD)
    allowed = replace(RECORD, allow=("all_sessions:bgp.ipv4",))
    assert 2 == (await publish(client, PREFIX, small(), allowed)).change
    assert ["all_sessions:bgp.ipv4"] == stored(consul_server, "head")["allow"]


async def test_edits_past_head_are_named_and_kept(
    consul_server: ConsulServer, client: Client
) -> None:
    await publish(client, PREFIX, small(), RECORD)
    consul_server.kv.put(f"{PREFIX}/desired/common/bgp", b"by hand")
    consul_server.kv.put(f"{PREFIX}/desired/nodes/n7/bgp", b"new by hand")
    consul_server.kv.delete(f"{PREFIX}/desired/nodes/n1/bgp/peers/r1")
    with pytest.raises(Conflict) as caught:
        await publish(client, PREFIX, small(2), LATER)
    for key in ("common/bgp", "nodes/n7/bgp", "nodes/n1/bgp/peers/r1"):
        assert f"desired/{key}" in str(caught.value)
    assert {"common/bgp": b"by hand", "nodes/n7/bgp": b"new by hand"} == documents(consul_server)


async def test_an_edit_that_the_tree_took_over_is_put_on_record(
    consul_server: ConsulServer, client: Client
) -> None:
    await publish(client, PREFIX, small(), RECORD)
    consul_server.kv.put(f"{PREFIX}/desired/common/bgp", b"by hand")
    tree = small()
    tree[COMMON]["bgp"] = b"by hand"
    assert Published(2, adopted=("desired/common/bgp",)) == await publish(
        client, PREFIX, tree, LATER
    )
    manifest = stored(consul_server, "manifest/common")
    assert {"bgp": digest(b"by hand")} == manifest["documents"]


@pytest.mark.parametrize("written", [b'{"v":1}\n', b"v: 1  # by hand\n", b"v: 2\n"])
async def test_an_edit_that_says_what_was_published_or_is_wanted_is_written_over(
    consul_server: ConsulServer, client: Client, written: bytes
) -> None:
    await publish(client, PREFIX, small(1), RECORD)
    consul_server.kv.put(f"{PREFIX}/desired/common/bgp", written)
    await publish(client, PREFIX, small(2), LATER)
    assert b'{"v":2}' == documents(consul_server)["common/bgp"]


async def test_a_tree_of_plain_writes_is_taken_over(
    consul_server: ConsulServer, client: Client
) -> None:
    consul_server.kv.put(f"{PREFIX}/desired/common/bgp", b'{"v":1}')
    done = await publish(client, PREFIX, small(), RECORD)
    assert Published(1, ("desired/nodes/n1/bgp/peers/r1",), adopted=("desired/common/bgp",)) == done


async def test_many_documents_go_in_several_transactions(
    consul_server: ConsulServer, client: Client
) -> None:
    done = await publish(client, PREFIX, large(1), RECORD)
    assert 100 == len(done.written)
    assert 100 == len(documents(consul_server))
    assert "complete" == stored(consul_server, "head")["phase"]
    assert 1 + 4 == client.stats.requests["txn", "200"]


async def test_large_documents_fit_in_what_consul_takes(
    consul_server: ConsulServer, client: Client
) -> None:
    tree = {COMMON: {f"d{n}": b"%d" % n * limits.DOCUMENT_BYTES for n in range(9)}}
    await publish(client, PREFIX, tree, RECORD)
    assert 9 == len(documents(consul_server))


async def test_a_document_that_fits_nowhere_is_refused(
    consul_server: ConsulServer, client: Client
) -> None:
    with pytest.raises(Oversized):
        await publish(client, PREFIX, {COMMON: {"bgp": b"x" * limits.TXN_BYTES}}, RECORD)
    assert stored(consul_server, "head") is None


async def test_a_name_that_no_document_may_have_is_refused(client: Client) -> None:
    with pytest.raises(InvalidConfig, match=r"desired/common/\.\./x"):
        await publish(client, PREFIX, {COMMON: {"../x": b"{}"}}, RECORD)


async def test_a_push_that_was_cut_is_not_complete_and_the_next_one_finishes(
    consul_server: ConsulServer, client: Client
) -> None:
    await publish(client, PREFIX, large(1), RECORD)
    async with opened(CutClient, consul_server) as cut:
        with pytest.raises(Unreachable):
            await publish(cut, PREFIX, large(2), RECORD)
    source = ConsulSource(ConsulSettings(), PREFIX)
    snapshot = await source.snapshot((COMMON,))
    await source.close()
    assert Standing.PUBLISHING is judge(snapshot, None).standing
    with pytest.raises(Conflict, match="ann is publishing change 2"):
        await publish(client, PREFIX, large(3), RECORD)
    done = await publish(client, PREFIX, large(3), LATER)
    assert 3 == done.change
    assert large(3)[COMMON] == {
        key.removeprefix("common/"): raw for key, raw in documents(consul_server).items()
    }
    assert "complete" == stored(consul_server, "head")["phase"]


async def test_of_two_publishers_at_once_one_wins_whole(consul_server: ConsulServer) -> None:
    async with opened(Client, consul_server) as one, opened(Client, consul_server) as two:
        results = await asyncio.gather(
            publish(one, PREFIX, large(1), RECORD),
            publish(two, PREFIX, large(2), RECORD),
            return_exceptions=True,
        )
    kinds = [type(result) for result in results]
    assert {Published, Conflict} == set(kinds)
    winner = kinds.index(Published) + 1
    assert {f"common/{k}": raw for k, raw in large(winner)[COMMON].items()} == documents(
        consul_server
    )
    assert "complete" == stored(consul_server, "head")["phase"]


async def test_an_edit_during_the_push_is_not_overwritten(consul_server: ConsulServer) -> None:
    class Edited(Client):
        async def write(self, ops: Sequence[Json]) -> dict[str, Entry]:
            consul_server.kv.put(f"{PREFIX}/desired/common/bgp", b"by hand")
            return await super().write(ops)

    async with opened(Client, consul_server) as before, opened(Edited, consul_server) as during:
        await publish(before, PREFIX, small(1), RECORD)
        with pytest.raises(Conflict, match="desired/common/bgp"):
            await publish(during, PREFIX, small(2), LATER)
    assert b"by hand" == consul_server.kv.get(f"{PREFIX}/desired/common/bgp")
    assert ("complete", 1) == tuple(
        stored(consul_server, "head")[name] for name in ("phase", "change")
    )


async def test_a_torn_push_never_reads_complete(
    consul_server: ConsulServer, client: Client
) -> None:
    source = ConsulSource(ConsulSettings(), PREFIX)
    standings = []

    async def read() -> None:
        while True:
            snapshot = await source.snapshot((COMMON,))
            standing = judge(snapshot, None).standing
            standings.append(standing)
            values = {raw.split(b",")[0] for raw in snapshot.layers[0].documents.values()}
            assert standing is Standing.PUBLISHING or len(values) <= 1
            assert snapshot.head is None or standing is not Standing.EDITED

    reader = asyncio.create_task(read())
    for number in range(10):
        await publish(client, PREFIX, large(number), RECORD)
    await asyncio.sleep(0.05)
    assert not reader.done()
    reader.cancel()
    await asyncio.gather(reader, return_exceptions=True)
    await source.close()
    assert Standing.PUBLISHING in standings
    assert Standing.COMPLETE in standings


async def test_a_push_of_thousands_is_published_and_can_be_done_again(
    consul_server: ConsulServer,
) -> None:
    tree = large(1, 4000)
    async with opened(CutClient, consul_server) as client:
        client.left = 70
        with pytest.raises(Unreachable):
            await publish(client, PREFIX, tree, RECORD)
    async with opened(Client, consul_server) as client:
        assert 2 == (await publish(client, PREFIX, tree, LATER)).change
        assert (await publish(client, PREFIX, tree, LATER)).nothing
    assert {} == stored(consul_server, "changes/1")["documents"]
    assert 4000 == stored(consul_server, "changes/1")["left_out"]
    assert 4000 == len(consul_server.kv.keys(f"{PREFIX}/desired/"))


async def test_old_changes_are_deleted(
    consul_server: ConsulServer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "CHANGES_KEPT", 2)
    for number in range(1, 5):
        await publish(client, PREFIX, small(number), RECORD)
    keys = consul_server.kv.keys(f"{PREFIX}/changes/")
    assert [f"{PREFIX}/changes/3", f"{PREFIX}/changes/4"] == keys


async def test_a_lost_head_does_not_restart_the_numbers(
    consul_server: ConsulServer, client: Client
) -> None:
    for number in range(1, 4):
        await publish(client, PREFIX, small(number), RECORD)
    consul_server.kv.delete(f"{PREFIX}/head")
    assert 4 == (await publish(client, PREFIX, small(9), RECORD)).change
    assert Phase.COMPLETE == stored(consul_server, "head")["phase"]


async def test_the_records_of_pushes_are_read_newest_first_with_their_texts(
    consul_server: ConsulServer, client: Client
) -> None:
    await publish(client, PREFIX, small(), RECORD)
    await publish(client, PREFIX, small(2), LATER)
    source = ConsulSource(ConsulSettings(address=consul_server.url), PREFIX)
    try:
        newest, first = await source.changes()
        assert [(2, "bob"), (1, "ann")] == [(c.head.change, c.head.by) for c in (newest, first)]
        before, after = newest.documents[KeyPath("desired/common/bgp")]
        assert (None, before) == first.documents[KeyPath("desired/common/bgp")]
        assert before is not None
        assert after is not None
        assert [b'{"v":1}', b'{"v":2}'] == [await source.text(before), await source.text(after)]
        assert await source.text(digest(b"never")) is None
        consul_server.kv.put(f"{PREFIX}/blobs/{before}", "another text")
        assert await source.text(before) is None, "a text is what its digest says, or nothing"
    finally:
        await source.close()
