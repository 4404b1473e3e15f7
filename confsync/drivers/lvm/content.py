"""What lies on volumes, and how large it is.

Separate because it is read from the disk itself: udev may not have looked yet, and a mounted file
system tells its free space but not its size. A suspended volume is never read: the reader would
stand still with it.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Final

from confsync.drivers.lvm.command import Commands
from confsync.drivers.lvm.found import Volume
from confsync.host.files import in_thread
from confsync.host.process import Finished
from confsync.model.errors import HostBusy

_HEAD_BYTES: Final = 8192
_CODES: Final = (0, 2, 8)  # of blkid: something, nothing, more than one thing is there
_AMBIVALENT: Final = 8
_MORE: Final = "more than one"
_MOUNTED_XFS: Final = 0x80705864  # XFS_IOC_FSGEOMETRY_V1: what is on disk may lag behind
_GEOMETRY: Final = struct.Struct("=8I 4Q 16s 7I 4x")

Probes = Mapping[str, tuple[str, int | None]]


def node_of(volume: Volume) -> str:
    """Return the device node of an active volume, by its number: names may be another's by now.

    Raises: HostBusy.
    """
    place = os.path.realpath(f"/sys/dev/block/{volume.device}")
    if not volume.device or not os.path.isdir(place):
        raise HostBusy(f"the volume {volume.name} is not active")
    return f"/dev/{os.path.basename(place)}"


async def probe(commands: Commands, volumes: Iterable[Volume]) -> Probes:
    """Return what lies on active volumes, by their ``major:minor``; nothing is an empty text.

    Raises: HostBusy.
    """
    nodes = {node_of(one): one for one in volumes if one.active and not one.health}
    if not nodes:
        return {}
    kinds = await _kinds(commands, list(nodes))
    return await in_thread(
        lambda: {
            volume.device: (kinds.get(node, ""), _size_bytes(node, volume))
            for node, volume in nodes.items()
        }
    )


async def signature(commands: Commands, node: str) -> tuple[str, str]:
    """Return kind and UUID of what lies on a device, both empty for nothing. Raises HostBusy."""
    told = await _ask(commands, node)
    if told.code == _AMBIVALENT:
        return _MORE, ""
    words = next(_blocks(told.stdout), {})
    return _kind(words), words.get("UUID", "")


async def _kinds(commands: Commands, nodes: list[str]) -> dict[str, str]:
    """Return what lies on devices; blkid stops at the first with nothing, or with too much."""
    kinds: dict[str, str] = {}
    while rest := nodes[len(kinds) :]:
        told = await _ask(commands, *rest)
        kinds |= {words["DEVNAME"]: _kind(words) for words in _blocks(told.stdout)}
        if told.code:
            stopped = nodes[len(kinds)]
            kinds[stopped] = _MORE if told.code == _AMBIVALENT else ""
    return kinds


async def _ask(commands: Commands, *nodes: str) -> Finished:
    return await commands.read("blkid", "-p", "-o", "export", *nodes, codes=_CODES)


def _blocks(text: str) -> Iterator[Mapping[str, str]]:
    """Yield what blkid tells of each device; of a partition its entry in the table, too."""
    for block in text.strip().split("\n\n") if text.strip() else ():
        yield dict(line.split("=", 1) for line in block.splitlines() if "=" in line)


def _kind(words: Mapping[str, str]) -> str:
    return words.get("TYPE") or words.get("PTTYPE", "")


def _size_bytes(node: str, volume: Volume) -> int | None:
    """Return how large a file system or swap space is, None where that is unknown."""
    with suppress(OSError):
        head = _head(node)
        if head[:4] == b"XFSB":
            return _mounted_xfs(volume) or _xfs(head)
        if head[1080:1082] == b"\x53\xef":
            return _ext(head)
        if head[4086:4096] == b"SWAPSPACE2":
            return (int(struct.unpack_from("<I", head, 1028)[0]) + 1) * 4096
    return None


def _head(node: str) -> bytes:
    device = os.open(node, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(device, _HEAD_BYTES, 0)
    finally:
        os.close(device)


def _xfs(head: bytes) -> int:
    block_bytes, blocks = struct.unpack_from(">IQ", head, 4)
    return int(block_bytes * blocks)


def _ext(head: bytes) -> int:
    (low,) = struct.unpack_from("<I", head, 1024 + 4)
    (log,) = struct.unpack_from("<I", head, 1024 + 24)
    (features,) = struct.unpack_from("<I", head, 1024 + 96)
    high = struct.unpack_from("<I", head, 1024 + 0x150)[0] if features & 0x80 else 0
    return int((high << 32 | low) << (10 + log))


def _mounted_xfs(volume: Volume) -> int:
    """Return what the kernel says of a mounted xfs, 0 where it cannot be asked."""
    for mount in volume.mounts:
        if not mount.active:
            continue
        with suppress(OSError):
            folder = os.open(mount.where, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                said = fcntl.ioctl(folder, _MOUNTED_XFS, bytes(_GEOMETRY.size))
            finally:
                os.close(folder)
            block_bytes, *_ = told = _GEOMETRY.unpack(said)
            return int(block_bytes * told[8])
    return 0
