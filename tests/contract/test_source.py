"""What every Source promises, run on each of them."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest

from confsync.edge import directory
from confsync.edge.consul import ConsulSettings, ConsulSource
from confsync.edge.directory import DirectorySettings, DirectorySource
from confsync.model.errors import Unreachable
from confsync.model.ids import KeyPath, LayerPath
from confsync.model.snapshot import Absence, Phase
from confsync.ports import Source, Verdict
from tests.flow.scripted import ScriptedSource

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.lab import Lab
    from tests.lab.consul import ConsulServer

pytestmark = pytest.mark.root

COMMON, NODE = LayerPath("common"), LayerPath("nodes/n1")
LAYERS = (COMMON, NODE)


class Folder:
    """A tree of files, as an operator handles it."""

    def __init__(self, root: Path) -> None:
        self._root = root
        root.mkdir()
        self.source: Source = DirectorySource(DirectorySettings(path=str(root)))

    def put(self, key: str, text: str) -> None:
        name = "head.json" if key == "head" else f"{key.removeprefix('desired/')}.yaml"
        path = self._root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def delete(self, key: str) -> None:
        (self._root / f"{key.removeprefix('desired/')}.yaml").unlink()

    def leave(self) -> None:
        self._root.rename(self._root.with_name("aside"))

    def come_back(self) -> None:
        self._root.with_name("aside").rename(self._root)


class Keys:
    """Consul's KV, as an operator handles it."""

    def __init__(self, server: ConsulServer) -> None:
        self._server = server
        self.source: Source = ConsulSource(ConsulSettings(address=server.url), "confsync/v1")

    def put(self, key: str, text: str) -> None:
        self._server.kv.put(f"confsync/v1/{key}", text)

    def delete(self, key: str) -> None:
        self._server.kv.delete(f"confsync/v1/{key}")

    def leave(self) -> None:
        self._server.kill()

    def come_back(self) -> None:
        self._server.restart()
        self._server.wait_leader()


World = Folder | Keys | ScriptedSource


@pytest.fixture(params=["directory", "consul", "scripted"])
async def world(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[World]:
    monkeypatch.setattr(directory, "POLL_S", 0.02)
    if request.param == "directory":
        made: World = Folder(tmp_path / "tree")
    elif request.param == "scripted":
        made = ScriptedSource()
    else:
        lab: Lab = request.getfixturevalue("lab")
        made = Keys(lab.consul())
    yield made
    await made.source.close()


async def test_a_snapshot_has_all_layers_in_their_order(world: World) -> None:
    world.put("desired/nodes/n1/bgp/peers/r1", "a: 1")
    world.put("desired/common/bgp", "b: 2")
    world.put("desired/nodes/n2/bgp", "other: 3")
    snapshot = await world.source.snapshot((*LAYERS, LayerPath("roles/none")))
    assert [
        ("common", {"bgp": b"b: 2"}),
        ("nodes/n1", {"bgp/peers/r1": b"a: 1"}),
        ("roles/none", {}),
    ] == [(layer.path, dict(layer.documents)) for layer in snapshot.layers]
    assert snapshot.head is None


async def test_a_head_is_read(world: World) -> None:
    world.put("desired/common/bgp", "b: 2")
    world.put("head", '{"phase": "complete", "change": 4, "by": "ann"}')
    head = (await world.source.snapshot(LAYERS)).head
    assert head is not None
    assert (Phase.COMPLETE, 4, "ann") == (head.phase, head.change, head.by)


async def test_a_document_that_is_there_is_not_gone(world: World) -> None:
    world.put("desired/common/bgp", "b: 2")
    assert Absence.UNKNOWN is await world.source.why_absent(KeyPath("desired/common/bgp"))
    world.delete("desired/common/bgp")
    assert Absence.GONE is await world.source.why_absent(KeyPath("desired/common/bgp"))


async def test_each_change_wakes(world: World) -> None:
    world.put("desired/common/bgp", "b: 0")
    async with aclosing(world.source.wakes(LAYERS)) as wakes:  # type: ignore[type-var]
        await anext(wakes)
        for number in range(5):
            world.put("desired/common/bgp", f"b: {number} # {'x' * number}")
            async with asyncio.timeout(10):
                await anext(wakes)
        world.delete("desired/common/bgp")
        async with asyncio.timeout(10):
            await anext(wakes)


async def test_a_source_that_left_is_unreachable_and_wakes_when_back(
    world: World,
) -> None:
    world.put("desired/common/bgp", "b: 0")
    whole = await world.source.snapshot(LAYERS)
    async with aclosing(world.source.wakes(LAYERS)) as wakes:  # type: ignore[type-var]
        await anext(wakes)
        world.leave()
        with pytest.raises(Unreachable):
            await world.source.snapshot(LAYERS)
        assert Absence.UNKNOWN is await world.source.why_absent(KeyPath("desired/common/bgp"))
        waiting = asyncio.ensure_future(anext(wakes))
        await asyncio.sleep(0.3)
        world.come_back()
        async with asyncio.timeout(40):
            await waiting
    assert whole == await world.source.snapshot(LAYERS)


async def test_the_way_home_is_open_while_the_source_is_there(world: World) -> None:
    probe = world.source.way_home()
    sample = await probe.sample()
    assert Verdict.OK is probe.judge(sample, [sample]).verdict
    assert sample["ok"]
