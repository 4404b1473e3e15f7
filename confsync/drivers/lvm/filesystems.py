"""Make, know again, take back and grow file systems.

Separate because these are not LVM's: other tools, other dangers. What we make bears a UUID that
only its plan could give it. Growing is forward only, and only of what is mounted.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from hashlib import sha256
from typing import Final
from uuid import UUID

from confsync.drivers.lvm.command import Commands
from confsync.drivers.lvm.content import node_of, signature
from confsync.drivers.lvm.found import Volume
from confsync.drivers.lvm.sizes import fills
from confsync.drivers.lvm.step import CreateVolume, FileSystem, GrowFileSystem, MakeFileSystem
from confsync.drivers.lvm.work import Work, identified, required, side
from confsync.model.errors import HostBusy, HostRefused, NotOwned, RollbackFailed
from confsync.ports import Checkpoint, Position

_FOLDERS: Final = ("/usr/sbin", "/sbin", "/usr/bin", "/bin")


@dataclass(frozen=True, slots=True)
class _Tools:
    """What makes and grows one kind; `package` is Debian's.

    Why these words: none of them overrides a guard of the tool, and none discards: that could take
    minutes, and the extents are fresh.
    """

    package: str
    make: tuple[str, ...]
    uuid: tuple[str, ...]
    grow: str = ""


_TOOLS: Final = {
    FileSystem.XFS: _Tools("xfsprogs", ("mkfs.xfs", "-q", "-K"), ("-m", "uuid={}"), "xfs_growfs"),
    FileSystem.EXT4: _Tools(
        "e2fsprogs", ("mkfs.ext4", "-q", "-E", "nodiscard"), ("-U", "{}"), "resize2fs"
    ),
    FileSystem.SWAP: _Tools("util-linux", ("mkswap",), ("-U", "{}")),
}


def uuid_of(act: CreateVolume | MakeFileSystem) -> str:
    """Return the UUID that a plan gives to the file system of a volume, and to no other one."""
    return str(UUID(sha256(f"{act.nonce} {act.vg}/{act.lv}".encode()).hexdigest()[:32]))


def require_tools(fs: FileSystem) -> None:
    """Raise HostBusy where a tool is missing."""
    if fs is FileSystem.NONE:
        return
    tools = _TOOLS[fs]
    for tool in filter(None, (tools.make[0], tools.grow, "wipefs")):
        if not any(os.access(f"{folder}/{tool}", os.X_OK) for folder in _FOLDERS):
            raise HostBusy(f"there is no {tool} on this host; Debian's {tools.package} has it")


async def make(commands: Commands, fs: FileSystem, node: str, uuid: str) -> None:
    """Make a file system on a device that holds nothing. Raises StepFailed, HostBusy."""
    tools = _TOOLS[fs]
    await commands.in_host(*tools.make, *(word.format(uuid) for word in tools.uuid), node)
    if await signature(commands, node) != (str(fs), uuid):
        raise HostBusy(f"{tools.make[0]} made no {fs} on {node} that can be read")


async def wipe(commands: Commands, node: str, uuid: str) -> None:
    """Take the signature off that bears a UUID of ours. Raises HostBusy for another one."""
    kind, found = await signature(commands, node)
    if kind and found != uuid:
        raise HostBusy(f"{node} holds a signature ({kind}) that this change did not write")
    if kind:
        await commands.in_host("wipefs", "--all", node)


def require_growable(volume: Volume, fs: FileSystem, mount: str) -> None:
    """Raise HostBusy, HostRefused if this file system could not grow with its volume."""
    if not _TOOLS[fs].grow:
        raise HostRefused(f"{fs} on {volume.name} cannot grow; retire it and make another")
    require_tools(fs)
    if volume.fs != str(fs):
        raise HostBusy(f"{volume.name} holds {volume.fs or 'nothing'} in place of {fs}")
    if not any(found.where == mount and found.active for found in volume.mounts):
        raise HostBusy(f"{volume.name} is not mounted; a file system grows while it is")


async def grow(commands: Commands, fs: FileSystem, volume: Volume, mount: str) -> None:
    """Make a mounted file system as large as its volume; idempotent.

    Raises: StepFailed, HostBusy.
    """
    require_growable(volume, fs, mount)
    where = mount if fs is FileSystem.XFS else node_of(volume)
    await commands.in_host(_TOOLS[fs].grow, where)


class Extend(Work[GrowFileSystem]):
    """Grow a file system that is smaller than its volume; forward only."""

    async def check(self) -> None:
        volume = await self._volume()
        require_growable(volume, self._act.fs, self._act.mount)

    async def commit(self, saved: Checkpoint) -> None:  # noqa: ARG002
        await grow(self._kit.commands, self._act.fs, await self._volume(), self._act.mount)

    async def position(self, saved: Checkpoint) -> Position:  # noqa: ARG002
        group = await self.ready_group()
        volume = required(identified(group, self._act.lv_uuid), self._act.lv)
        grown = fills(volume, group.extent_bytes)
        return side(old=not grown, new=grown)

    async def _volume(self) -> Volume:
        return required(identified(await self.ready_group(), self._act.lv_uuid), self._act.lv)


class Make(Work[MakeFileSystem]):
    """A file system on a volume of ours that holds nothing; undone by its UUID."""

    async def check(self) -> None:
        group = await self.ready_group()
        volume = required(identified(group, self._act.lv_uuid), self._act.lv)
        require_tools(self._act.fs)
        await self._require_empty(volume)

    async def apply(self, saved: Checkpoint) -> None:  # noqa: ARG002
        volume = identified(await self.ready_group(), self._act.lv_uuid)
        await self._require_empty(required(volume, self._act.lv))
        await make(
            self._kit.commands, self._act.fs, node_of(required(volume, self._act.lv)), self._uuid
        )

    async def undo(self, saved: Checkpoint) -> None:  # noqa: ARG002
        volume = identified(await self.group(), self._act.lv_uuid)
        if volume is None or not volume.active:
            return
        if volume.open:
            raise RollbackFailed(
                f"the volume {volume.name} is in use by now; its {self._act.fs} is kept"
            )
        node = node_of(volume)
        await wipe(self._kit.commands, node, self._uuid)

    async def position(self, saved: Checkpoint) -> Position:  # noqa: ARG002
        volume = required(identified(await self.group(), self._act.lv_uuid), self._act.lv)
        _, uuid = await signature(self._kit.commands, node_of(volume))
        return side(old=uuid != self._uuid, new=uuid == self._uuid)

    @property
    def _uuid(self) -> str:
        return uuid_of(self._act)

    async def _require_empty(self, volume: Volume) -> None:
        if volume.open:
            raise NotOwned(f"{volume.name} is in use; no file system is made on it")
        kind, _ = await signature(self._kit.commands, node_of(volume))
        if kind:
            raise NotOwned(f"{volume.name} holds a signature ({kind}); it is left alone")
