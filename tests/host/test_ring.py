from __future__ import annotations

import resource
import signal
from typing import TYPE_CHECKING

import pytest

from confsync.host.ring import DiskRing

if TYPE_CHECKING:
    from pathlib import Path


def messages(*numbers: int) -> list[tuple[str, bytes]]:
    return [(f"t/{number}", b"%d" % number) for number in numbers]


def texts(ring: DiskRing) -> list[bytes]:
    return [content for _, _, content in ring.oldest(100)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mqtt.db"


def test_messages_come_in_order_and_stay_until_they_are_taken(path: Path) -> None:
    ring = DiskRing(path, 10)
    ring.put(messages(1, 2))
    ring.put(messages(3))
    assert [b"1", b"2", b"3"] == texts(ring) == texts(DiskRing(path, 10))
    ring.taken(ring.oldest(2)[-1][0])
    assert ([b"3"], 1, 0) == (texts(ring), len(ring), ring.lost)


def test_the_oldest_give_way_and_are_counted(path: Path) -> None:
    ring = DiskRing(path, 3)
    ring.put(messages(1, 2, 3, 4))
    ring.put(messages(5))
    assert ([b"3", b"4", b"5"], 2) == (texts(ring), ring.lost)


def test_a_ring_that_was_emptied_holds_as_much_as_before(path: Path) -> None:
    ring = DiskRing(path, 3)
    for number in range(20):
        ring.put(messages(number))
        ring.taken(ring.oldest(1)[0][0])
    ring.put(messages(1, 2, 3))
    assert ([b"1", b"2", b"3"], 0) == (texts(ring), ring.lost)


@pytest.mark.parametrize(
    "content", [b"no database at all" * 100, b"SQLite format 3\0" + b"x" * 999]
)
def test_a_damaged_file_is_begun_anew(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    ring = DiskRing(path, 3)
    ring.put(messages(1))
    ring.put(messages(2))
    assert ([b"2"], 1) == (texts(ring), ring.lost)


def test_a_folder_that_is_not_there_costs_events_only(tmp_path: Path) -> None:
    ring = DiskRing(tmp_path / "none" / "mqtt.db", 3)
    ring.put(messages(1))
    ring.taken(1)
    assert ([], 0, 1) == (texts(ring), len(ring), ring.lost)


def test_a_full_disk_costs_events_only(path: Path) -> None:
    ring = DiskRing(path, 1000)
    ring.put(messages(1))
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, hard))
    try:
        ring.put([("t", b"x" * 100_000)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert 1 == ring.lost
    ring.put(messages(2))
    assert b"2" == texts(ring)[-1]
