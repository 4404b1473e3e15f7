from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from confsync.host.memory import FILE, FileMemory
from confsync.model.errors import HostBusy
from confsync.model.ids import LayerPath, digest
from confsync.model.snapshot import Head, Layer, Manifest, Phase, Snapshot

if TYPE_CHECKING:
    from pathlib import Path

COMMON = Layer(
    LayerPath("common"),
    {"bgp": b'{"local_as":65501}', "lvm": b"\xff\x00 not text"},
    Manifest(7, {"bgp": digest(b"x")}),
    {"bgp": "/tree/common/bgp.yaml"},
)
WHOLE = Snapshot(
    (COMMON, Layer(LayerPath("nodes/n1"))),
    Head(Phase.COMPLETE, 7, by="åse", why="peers", allow=("bgp:mass-removal",)),
    "consul:confsync/v1/",
)


@pytest.mark.parametrize("snapshot", [WHOLE, Snapshot(()), Snapshot((COMMON,), None, "/tree/")])
def test_what_was_stored_is_read_back_by_another_process(
    tmp_path: Path, snapshot: Snapshot
) -> None:
    FileMemory(tmp_path).store(WHOLE)
    FileMemory(tmp_path).store(snapshot)
    assert snapshot == FileMemory(tmp_path).load()


def test_nothing_stored_is_no_fault(tmp_path: Path) -> None:
    with capture_logs() as logs:
        assert FileMemory(tmp_path).load() is None
    assert [] == logs


def test_only_the_owner_may_read_it(tmp_path: Path) -> None:
    FileMemory(tmp_path).store(WHOLE)
    assert 0o600 == stat.S_IMODE((tmp_path / FILE).stat().st_mode)
    assert [FILE] == [path.name for path in tmp_path.iterdir()]


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: raw[:-1],
        lambda raw: raw + b" ",
        lambda raw: raw.replace(b"65501", b"65502"),
        lambda raw: raw.replace(b"snapshot-1", b"snapshot-2"),
        lambda raw: raw[:-7] + bytes([raw[-7] ^ 1]) + raw[-6:],
        lambda raw: b"",
        lambda raw: b"\n",
        lambda raw: b"\x00" * len(raw),
    ],
)
def test_a_damaged_file_is_dropped_with_a_warning(tmp_path: Path, damage) -> None:
    memory = FileMemory(tmp_path)
    memory.store(WHOLE)
    whole = (tmp_path / FILE).read_bytes()
    damaged = damage(whole)
    if damaged == whole:
        damaged = whole.replace(b"common", b"commom")
    (tmp_path / FILE).write_bytes(damaged)
    with capture_logs() as logs:
        assert memory.load() is None
    assert [("memory.dropped", "warning")] == [(log["event"], log["log_level"]) for log in logs]
    memory.store(WHOLE)
    assert WHOLE == memory.load()


def test_a_refused_write_keeps_the_old_snapshot(tmp_path: Path) -> None:
    memory = FileMemory(tmp_path)
    memory.store(WHOLE)
    (tmp_path / f"{FILE}.confsync-fresh").mkdir()
    with pytest.raises(HostBusy):
        memory.store(Snapshot(()))
    assert WHOLE == memory.load()
