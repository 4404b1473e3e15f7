from __future__ import annotations

import asyncio
import os
import subprocess
import threading
from pathlib import Path

import pytest

from confsync.host.files import (
    Attributes,
    copy_aside,
    discard,
    in_thread,
    read_file,
    remove_durable,
    rename_durable,
    sync_file,
    sync_folder,
    write_aside,
    write_durable,
)
from confsync.model.errors import HostBusy, NotOwned

PLAIN = Attributes(0o640, os.geteuid(), os.getegid())
LIMIT = 1000


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "bird.conf")


def names(tmp_path):
    return sorted(entry.name for entry in tmp_path.iterdir())


def test_what_was_written_is_read_back_with_its_attributes(path, tmp_path):
    umask = os.umask(0o077)
    try:
        write_durable(path, b"new", Attributes(0o664, os.geteuid(), os.getegid()))
    finally:
        os.umask(umask)
    found = read_file(path, LIMIT)
    assert (b"new", 0o664) == (found.data, found.attributes.mode)
    assert ["bird.conf"] == names(tmp_path)


def test_absent_is_none_also_without_its_folder(path, tmp_path):
    assert read_file(path, LIMIT) is None
    assert read_file(str(tmp_path / "no" / "x"), LIMIT) is None


@pytest.mark.root
def test_owner_is_given_before_the_name(path):
    write_durable(path, b"x", Attributes(0o600, 12, 34))
    found = Path(path).stat()
    assert (12, 34, 0o600) == (found.st_uid, found.st_gid, found.st_mode & 0o777)


@pytest.mark.root
def test_a_copy_keeps_owner_mode_and_label(path):
    write_durable(path, b"x", Attributes(0o604, 12, 34, b"system_u:object_r:etc_t:s0\0"))
    found = read_file(path, LIMIT)
    assert b"system_u:object_r:etc_t:s0\0" == found.attributes.label
    copy_aside(path, path + ".confsync-saved", LIMIT)
    assert found == read_file(path + ".confsync-saved", LIMIT)


def test_an_oversized_file_is_left_alone(path):
    write_durable(path, b"x" * (LIMIT + 1), PLAIN)
    with pytest.raises(NotOwned, match="larger than"):
        read_file(path, LIMIT)


@pytest.mark.parametrize(
    "act",
    [
        lambda path: read_file(path, LIMIT),
        lambda path: write_durable(path, b"x", PLAIN),
        lambda path: rename_durable(path + ".confsync-candidate", path),
    ],
)
@pytest.mark.parametrize("what", ["link", "folder link", "fifo"])
def test_what_is_not_a_plain_file_is_left_alone(tmp_path, act, what):
    real = tmp_path / "real"
    real.mkdir()
    path = real / "bird.conf"
    (real / "bird.conf.confsync-candidate").write_text("new")
    if what == "link":
        (real / "other").write_text("kept")
        path.symlink_to(real / "other")
    elif what == "fifo":
        os.mkfifo(path)
    else:
        path.write_text("kept")
        (tmp_path / "link").symlink_to(real)
        path = tmp_path / "link" / "bird.conf"
    before = names(real)
    with pytest.raises(NotOwned, match="left alone"):
        act(str(path))
    assert before == names(real)


def test_a_write_that_was_cut_off_is_no_obstacle(path, tmp_path):
    (tmp_path / "bird.conf.confsync-fresh").write_text("half")
    write_durable(path, b"whole", PLAIN)
    assert (b"whole", ["bird.conf"]) == (read_file(path, LIMIT).data, names(tmp_path))


@pytest.mark.root
def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(folder)], check=True)
    try:
        path = str(folder / "bird.conf")
        write_durable(path, b"old", PLAIN)
        with pytest.raises(HostBusy, match="No space left"):
            write_durable(path, b"x" * 200_000, PLAIN)
        assert (b"old", ["bird.conf"]) == (read_file(path, LIMIT).data, names(folder))
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_rename_replaces_and_unlink_is_idempotent(path, tmp_path):
    candidate = path + ".confsync-candidate"
    write_durable(path, b"old", PLAIN)
    write_aside(candidate, b"new", PLAIN)
    sync_file(candidate)
    rename_durable(candidate, path)
    sync_folder(path)
    assert (b"new", ["bird.conf"]) == (read_file(path, LIMIT).data, names(tmp_path))
    write_durable(candidate, b"new", PLAIN)
    assert (candidate,) == discard(candidate, path + ".confsync-saved")
    assert () == discard(candidate)
    assert () == discard(str(tmp_path / "no" / "x.confsync-saved"))


def test_only_our_own_may_be_deleted(path):
    write_durable(path, b"old", PLAIN)
    with pytest.raises(AssertionError, match="only what confsync made"):
        discard(path)


def test_a_rename_of_nothing_is_said(path):
    with pytest.raises(HostBusy, match="No such file"):
        rename_durable(path + ".confsync-candidate", path)
    with pytest.raises(HostBusy, match="vanished"):
        copy_aside(path, path + ".confsync-saved", LIMIT)


async def test_a_cancelled_call_is_waited_for():
    started, go, done = threading.Event(), threading.Event(), threading.Event()

    def work():
        started.set()
        go.wait(10)
        done.set()

    task = asyncio.create_task(in_thread(work))
    while not started.is_set():
        await asyncio.sleep(0)
    for _ in range(2):
        task.cancel()
        await asyncio.sleep(0)
    assert not task.done()
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done.is_set()


async def test_an_error_of_the_thread_is_the_callers(path):
    with pytest.raises(HostBusy):
        await in_thread(copy_aside, path, path + ".confsync-saved", LIMIT)


def test_only_what_confsync_wrote_is_removed(tmp_path):
    path = tmp_path / "unit"
    remove_durable(str(path), b"ours")
    path.write_bytes(b"theirs")
    with pytest.raises(NotOwned, match="not what confsync wrote"):
        remove_durable(str(path), b"ours")
    path.write_bytes(b"ours and more")
    with pytest.raises(NotOwned, match="not what confsync wrote"):
        remove_durable(str(path), b"ours")
    path.write_bytes(b"ours")
    remove_durable(str(path), b"ours")
    assert not path.exists()
    path.symlink_to("elsewhere")
    with pytest.raises(NotOwned, match="symlink"):
        remove_durable(str(path), b"ours")
