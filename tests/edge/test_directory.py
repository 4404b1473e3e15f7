from __future__ import annotations

import asyncio
import os
from contextlib import aclosing, contextmanager
from typing import TYPE_CHECKING

import pytest

from confsync.edge import directory
from confsync.edge.directory import DirectorySettings, DirectorySource, read_tree
from confsync.model import limits
from confsync.model.errors import BadSettings, Denied, InvalidConfig, Oversized, Unreachable
from confsync.model.ids import KeyPath, LayerPath
from confsync.model.snapshot import Absence
from confsync.ports import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOBODY = 65534
COMMON = LayerPath("common")
NODE = LayerPath("nodes/n1")
HIERARCHY = ("common", "roles/{role}", "sites/{site}/common", "nodes/{node}")


def write(root: Path, **files: str) -> None:
    """Write files; ``common__bgp_yaml`` is common/bgp.yaml."""
    for name, text in files.items():
        stem, _, suffix = name.replace("__", "/").rpartition("_")
        path = root / f"{stem}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def source(root: Path) -> DirectorySource:
    return DirectorySource(DirectorySettings(path=str(root)))


async def faults(root: Path) -> str:
    with pytest.raises(InvalidConfig) as caught:
        await source(root).snapshot((COMMON,))
    return str(caught.value)


async def test_documents_of_all_depths_and_suffixes_are_read(tmp_path: Path) -> None:
    write(tmp_path, common__bgp_yaml="a: 1", nodes__n1__bgp__peers__rr3_json="{}")
    write(tmp_path, nodes__n1__lvm_yml="b: 2", nodes__n10__bgp_yaml="other: 1")
    snapshot = await source(tmp_path).snapshot((COMMON, NODE))
    assert [
        ("common", {"bgp": b"a: 1"}),
        ("nodes/n1", {"bgp/peers/rr3": b"{}", "lvm": b"b: 2"}),
    ] == [(layer.path, layer.documents) for layer in snapshot.layers]
    assert str(tmp_path / "nodes/n1/lvm.yml") == snapshot.place(snapshot.layers[1], "lvm")


async def test_what_editors_leave_is_no_document(tmp_path: Path) -> None:
    write(tmp_path, common__bgp_yaml="a: 1")
    for name in (".bgp.yaml.swp", "bgp.yaml~", "#bgp.yaml#", "4913", ".#bgp.yaml", "README.md"):
        (tmp_path / "common" / name).write_text("x")
    snapshot = await source(tmp_path).snapshot((COMMON,))
    assert {"bgp": b"a: 1"} == snapshot.layers[0].documents


async def test_two_files_for_one_document_are_both_named(tmp_path: Path) -> None:
    write(tmp_path, common__bgp_yaml="a: 1", common__bgp_json="{}")
    text = await faults(tmp_path)
    assert str(tmp_path / "common/bgp.yaml") in text
    assert str(tmp_path / "common/bgp.json") in text


async def test_a_file_that_may_not_be_a_key_is_named(tmp_path: Path) -> None:
    write(tmp_path, common__BGP_yaml="a: 1")
    assert str(tmp_path / "common/BGP.yaml") in await faults(tmp_path)


async def test_a_link_out_of_the_tree_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    write(root, common__lvm_yaml="a: 1")
    write(tmp_path, secret_yaml="s: 1")
    (root / "common/bgp.yaml").symlink_to(tmp_path / "secret.yaml")
    assert "leaves the tree" in await faults(root)


async def test_a_linked_folder_is_refused(tmp_path: Path) -> None:
    write(tmp_path, common__bgp_yaml="a: 1")
    (tmp_path / "common/loop").symlink_to(tmp_path)
    assert "leaves the tree" in await faults(tmp_path)


async def test_a_link_within_the_tree_is_a_file(tmp_path: Path) -> None:
    write(tmp_path, common__bgp_yaml="a: 1")
    (tmp_path / "nodes/n1").mkdir(parents=True)
    (tmp_path / "nodes/n1/bgp.yaml").symlink_to("../../common/bgp.yaml")
    snapshot = await source(tmp_path).snapshot((NODE,))
    assert {"bgp": b"a: 1"} == snapshot.layers[0].documents


async def test_a_pipe_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "common").mkdir()
    os.mkfifo(tmp_path / "common/bgp.yaml")
    assert "not a regular file" in await faults(tmp_path)


async def test_a_folder_that_vanished_is_unreachable_and_not_empty(tmp_path: Path) -> None:
    with pytest.raises(Unreachable):
        await source(tmp_path / "none").snapshot((COMMON,))


async def test_a_tree_larger_than_any_configuration_is_refused(tmp_path: Path) -> None:
    (tmp_path / "common").mkdir()
    for number in range(limits.SNAPSHOT_BYTES // limits.DOCUMENT_BYTES + 1):
        (tmp_path / f"common/d{number}.yaml").write_bytes(b"#" * limits.DOCUMENT_BYTES * 2)
    with pytest.raises(Oversized):
        await source(tmp_path).snapshot((COMMON,))


async def test_a_long_file_is_cut_but_still_too_long(tmp_path: Path) -> None:
    write(tmp_path, common__bgp_yaml="#" * limits.DOCUMENT_BYTES * 2)
    snapshot = await source(tmp_path).snapshot((COMMON,))
    assert limits.DOCUMENT_BYTES + 1 == len(snapshot.layers[0].documents["bgp"])


async def test_the_system_says_why_a_file_is_absent(tmp_path: Path) -> None:
    write(tmp_path, common__bgp_yaml="a: 1")
    asked = source(tmp_path)
    assert Absence.UNKNOWN is await asked.why_absent(KeyPath("desired/common/bgp"))
    assert Absence.GONE is await asked.why_absent(KeyPath("desired/common/lvm"))
    assert Absence.GONE is await asked.why_absent(KeyPath("desired/nodes/n9/bgp"))
    assert Absence.UNKNOWN is await source(tmp_path / "no").why_absent(KeyPath("desired/a/b"))


@contextmanager
def as_nobody(folder: Path) -> Iterator[None]:
    """Give up root's right to read everything, for a while."""
    before = os.geteuid()
    if before == 0:
        for way in (folder, *folder.parents[:-2]):
            way.chmod(way.stat().st_mode | 0o055)
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(before)


async def test_a_folder_without_right_is_denied(tmp_path: Path) -> None:
    write(tmp_path, common__bgp_yaml="a: 1")
    (tmp_path / "common").chmod(0)
    with as_nobody(tmp_path):
        with pytest.raises(Denied, match="common"):
            await source(tmp_path).snapshot((COMMON,))
        assert Absence.DENIED is await source(tmp_path).why_absent(KeyPath("desired/common/bgp"))


async def test_a_vanished_folder_wakes_when_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory, "POLL_S", 0.01)
    root, aside = tmp_path / "tree", tmp_path / "aside"
    write(root, common__bgp_yaml="a: 1")
    async with aclosing(source(root).wakes((COMMON,))) as wakes:
        await anext(wakes)
        waiting = asyncio.ensure_future(anext(wakes))
        await asyncio.sleep(0)
        root.rename(aside)
        await asyncio.sleep(0.1)
        assert not waiting.done()
        aside.rename(root)
        async with asyncio.timeout(5):
            await waiting


async def test_the_way_home_of_a_folder_is_always_open(tmp_path: Path) -> None:
    probe = source(tmp_path).way_home()
    sample = await probe.sample()
    assert Verdict.OK is probe.judge(sample, [sample]).verdict


def test_a_source_without_a_path_is_refused() -> None:
    with pytest.raises(BadSettings):
        DirectorySource(DirectorySettings(path=""))


def test_a_whole_tree_is_read_with_the_layers_of_the_hierarchy(tmp_path: Path) -> None:
    write(tmp_path, common__bgp_yaml="a", sites__bgo__common__bgp__peers__r1_yaml="b")
    write(tmp_path, nodes__n2__bgp_yaml="c", nodes__n1__bgp_yaml="d", head_json="{}")
    assert {
        "common": {"bgp": b"a"},
        "sites/bgo/common": {"bgp/peers/r1": b"b"},
        "nodes/n1": {"bgp": b"d"},
        "nodes/n2": {"bgp": b"c"},
    } == read_tree(tmp_path, HIERARCHY)


def test_a_file_in_no_layer_is_named(tmp_path: Path) -> None:
    write(tmp_path, sites__bgo__bgp_yaml="a", common__bgp_yaml="b")
    with pytest.raises(InvalidConfig, match=r"sites/bgo/bgp\.yaml is in no layer"):
        read_tree(tmp_path, HIERARCHY)
