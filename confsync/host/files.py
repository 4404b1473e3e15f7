"""Files that survive a power cut: written whole beside, synced, renamed, directory synced.

Separate because one pattern only is right on every file system, and it must stand in one place.
Invariant: a path holds its old bytes or its new ones, never a part; owner, mode and label are set
before the name exists; a failed fsync is never tried again (the pages are clean afterwards,
whatever reached the disk); symlinks are refused; nothing is deleted that confsync did not make.
"""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, NamedTuple, ParamSpec, TypeVar

from confsync.model.errors import HostBusy, NotOwned

P = ParamSpec("P")
T = TypeVar("T")

MARK: Final = ".confsync-"
"""What every name that we make for ourselves carries."""
LABEL: Final = "security.selinux"
_UNLABELLED: Final = frozenset({errno.ENODATA, errno.ENOTSUP})
_SLOT: Final = ThreadPoolExecutor(max_workers=1, thread_name_prefix="disk")


@dataclass(frozen=True, slots=True)
class Attributes:
    """Who may do what with a file; `label` is its SELinux context (empty = none)."""

    mode: int
    uid: int
    gid: int
    label: bytes = b""


class File(NamedTuple):
    """A regular file's content and attributes, read from one open file."""

    data: bytes
    attributes: Attributes


async def in_thread(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a call in the disk's one thread; a cancellation waits until it has ended.

    Why: a thread cannot be stopped; abandoning it would let a rename happen after its undo.
    """
    loop = asyncio.get_running_loop()
    work = loop.run_in_executor(_SLOT, lambda: call(*args, **kwargs))
    cancelled: asyncio.CancelledError | None = None
    while not work.done():
        try:
            await asyncio.wait({work})
        except asyncio.CancelledError as cut:
            cancelled = cut
    if cancelled is not None:
        raise cancelled from work.exception()
    return work.result()


def read_file(path: str, limit_bytes: int) -> File | None:
    """Return a regular file, None if absent.

    Raises: NotOwned for a symlink, another kind of file or an oversized one; HostBusy.
    """
    with _translated(path):
        try:
            with _parent(path) as (folder, name):
                fd = os.open(name, _flags(os.O_RDONLY | os.O_NONBLOCK), dir_fd=folder)
        except FileNotFoundError:
            return None
        with os.fdopen(fd, "rb") as file:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                raise NotOwned(f"{path} is not a regular file; it is left alone")
            data = file.read(limit_bytes + 1)
            if len(data) > limit_bytes:
                raise NotOwned(f"{path} is larger than {limit_bytes} bytes; it is left alone")
            mode = stat.S_IMODE(found.st_mode)
            return File(data, Attributes(mode, found.st_uid, found.st_gid, _label(fd)))


def look_of(path: str) -> str:
    """Return what differs when a file was written or replaced, without reading it."""
    try:
        found = os.stat(path)
    except OSError as fault:
        return type(fault).__name__
    return f"{found.st_ino} {found.st_size} {found.st_mtime_ns}"


def write_durable(path: str, data: bytes, attributes: Attributes) -> None:
    """Put a whole file at a path, replacing what was there.

    Raises: NotOwned when a symlink is in the way; HostBusy for anything the disk says.
    """
    with _translated(path), _parent(path) as (folder, name):
        _put(path, folder, name, data, attributes, sync=True)
        os.fsync(folder)


def write_aside(path: str, data: bytes, attributes: Attributes) -> None:
    """Put a whole file beside the one that it may replace; `sync_file` before `rename_durable`.

    Raises: NotOwned, HostBusy.
    """
    with _translated(path), _parent(path) as (folder, name):
        _put(path, folder, name, data, attributes, sync=False)


def copy_aside(source: str, target: str, limit_bytes: int) -> File:
    """Copy a file with its owner, mode and label; return what was copied.

    Raises: NotOwned, HostBusy (also when the source is absent).
    Why unsynced: it is for a way back within this boot; after a power cut the source itself still
    stands, and whoever uses a copy compares its digest first.
    """
    found = read_file(source, limit_bytes)
    if found is None:
        raise HostBusy(f"{source} has vanished")
    with _translated(target), _parent(target) as (folder, name):
        _put(target, folder, name, found.data, found.attributes, sync=False)
    return found


def _put(
    path: str, folder: int, name: str, data: bytes, attributes: Attributes, *, sync: bool
) -> None:
    """Write a whole file beside the name and rename it there."""
    _refuse_link(path, folder, name)
    fresh = f"{name.partition(MARK)[0]}{MARK}fresh"
    fd = _create(fresh, folder)
    try:
        with os.fdopen(fd, "wb", buffering=0) as file:
            os.fchown(fd, attributes.uid, attributes.gid)
            os.fchmod(fd, attributes.mode)
            if attributes.label:
                os.setxattr(fd, LABEL, attributes.label)
            rest = memoryview(data)
            while rest:
                rest = rest[file.write(rest) :]
            if sync:
                os.fsync(fd)
        os.rename(fresh, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        _unlink(fresh, folder)
        raise


def rename_durable(source: str, target: str) -> None:
    """Move a synced file over another one of the same folder, and sync the folder.

    Raises: NotOwned when the target is a symlink; HostBusy.
    """
    assert os.path.dirname(source) == os.path.dirname(target), "a rename stays in its folder"
    with _translated(target), _parent(target) as (folder, name):
        _refuse_link(target, folder, name)
        os.rename(os.path.basename(source), name, src_dir_fd=folder, dst_dir_fd=folder)
        os.fsync(folder)


def sync_file(path: str) -> None:
    """Make the content of a file durable. Raises NotOwned, HostBusy (also when it is absent)."""
    with _translated(path), _parent(path) as (folder, name):
        fd = os.open(name, _flags(os.O_RDONLY), dir_fd=folder)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def sync_folder(path: str) -> None:
    """Make the name of a file durable, whoever put it there. Raises HostBusy."""
    with _translated(path), _parent(path) as (folder, _):
        os.fsync(folder)


def remove_durable(path: str, data: bytes) -> None:
    """Remove a file that confsync wrote: one that holds other bytes stays; absent is fine.

    Raises: NotOwned, HostBusy.
    """
    with _translated(path), _parent(path) as (folder, name):
        try:
            fd = os.open(name, _flags(os.O_RDONLY | os.O_NONBLOCK), dir_fd=folder)
        except FileNotFoundError:
            return
        with os.fdopen(fd, "rb") as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode) or file.read(len(data) + 1) != data:
                raise NotOwned(f"{path} is not what confsync wrote; it is left alone")
        _unlink(name, folder)
        os.fsync(folder)


def discard(*paths: str) -> tuple[str, ...]:
    """Remove files that confsync made; return those that existed.

    Raises: HostBusy.
    Why unsynced: one that a power cut brings back is removed when the agent starts.
    """
    removed = []
    for path in paths:
        assert MARK in os.path.basename(path), "only what confsync made may be deleted"
        with _translated(path):
            try:
                with _parent(path) as (folder, name):
                    if _unlink(name, folder):
                        removed.append(path)
            except FileNotFoundError:
                continue
    return tuple(removed)


@contextmanager
def _translated(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as fault:
        if fault.errno in {errno.ELOOP, errno.ENOTDIR}:
            raise NotOwned(f"{path} leads through a symlink; it is left alone") from fault
        raise HostBusy(f"{path}: {fault.strerror}") from fault


@contextmanager
def _parent(path: str) -> Iterator[tuple[int, str]]:
    """Open the file's folder: what follows happens there, even if its name is swapped."""
    folder, name = os.path.split(os.path.abspath(path))
    fd = os.open(folder, _flags(os.O_RDONLY | os.O_DIRECTORY))
    try:
        yield fd, name
    finally:
        os.close(fd)


def _flags(flags: int) -> int:
    return flags | os.O_NOFOLLOW | os.O_CLOEXEC


def _create(name: str, folder: int) -> int:
    flags = _flags(os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        return os.open(name, flags, 0o600, dir_fd=folder)
    except FileExistsError:
        # The name carries our mark: a write of ours was cut off here.
        _unlink(name, folder)
        return os.open(name, flags, 0o600, dir_fd=folder)


def _unlink(name: str, folder: int) -> bool:
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return False
    return True


def _refuse_link(path: str, folder: int, name: str) -> None:
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return
    if not stat.S_ISREG(found.st_mode):
        raise NotOwned(f"{path} is not a regular file; it is left alone")


def _label(fd: int) -> bytes:
    try:
        return os.getxattr(fd, LABEL)
    except OSError as fault:
        if fault.errno in _UNLABELLED:
            return b""
        raise
