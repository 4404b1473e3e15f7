"""Mount a volume, or swap on it, by a unit of systemd's.

Separate because mounts are the host's own: systemd makes them, at every boot too, while we write
one file and ask. A folder that holds anything is never covered.
"""

from __future__ import annotations

import os
from typing import Final

from confsync.drivers.lvm.command import has_systemd
from confsync.drivers.lvm.mounts import SWAP
from confsync.drivers.lvm.step import MountVolume
from confsync.drivers.lvm.work import Work, named, read_back, side
from confsync.host.files import Attributes, in_thread, read_file, remove_durable, write_durable
from confsync.model.errors import HostBusy, HostRefused, NotOwned
from confsync.ports import Checkpoint, Position

UNITS: Final = "/etc/systemd/system"
_UNIT_BYTES: Final = 64 * 1024
_ROOTS_OWN: Final = Attributes(0o644, 0, 0)


class Attach(Work[MountVolume]):
    """One unit, from an old text to a new one; an empty text is no unit."""

    async def check(self) -> None:
        act = self._act
        if not has_systemd():
            raise HostRefused(f"{act.unit}: mounts are units, and systemd does not run this host")
        if await in_thread(self._text) != act.old:
            raise NotOwned(f"{self._path} is not what it was when this was planned")
        if act.text and act.where != SWAP and not await self._active():
            await in_thread(require_free, act.where)

    async def checkpoint(self) -> Checkpoint:
        """Note whether it is mounted."""
        return {"active": await self._active()}

    async def apply(self, saved: Checkpoint) -> None:  # noqa: ARG002
        await self._go(self._act.old, self._act.text, active=bool(self._act.text))

    async def undo(self, saved: Checkpoint) -> None:
        await self._go(self._act.text, self._act.old, active=saved["active"])

    async def position(self, saved: Checkpoint) -> Position:
        text, active = await in_thread(self._text), await self._active()
        return side(
            old=text == self._act.old and active == saved["active"],
            new=text == self._act.text and active == bool(self._act.text),
        )

    async def _go(self, old: str, new: str, *, active: bool) -> None:
        """Put a text in the place of another, and mount or unmount."""
        unit, found = self._act.unit, await in_thread(self._text)
        if found not in {old, new}:
            raise NotOwned(f"{self._path} was written by another hand")
        if not active and await self._active():
            await self._kit.commands.systemctl("stop", unit)
        if found and not new:
            await self._kit.commands.systemctl("disable", unit)
            await in_thread(remove_durable, self._path, found.encode())
        if new and found != new:
            await in_thread(write_durable, self._path, new.encode(), _ROOTS_OWN)
        await self._kit.commands.systemctl("daemon-reload")
        if new:
            await self._kit.commands.systemctl("enable", unit)
        if active and not await self._active():
            await self._kit.commands.systemctl("start", unit)
        read_back(f"{unit}", done=await self._active() == active)

    async def _active(self) -> bool:
        volume = named(await self.group(), self._act.lv)
        mounts = volume.mounts if volume else ()
        return any(mount.active and mount.where == self._act.where for mount in mounts)

    @property
    def _path(self) -> str:
        return f"{UNITS}/{self._act.unit}"

    def _text(self) -> str:
        found = read_file(self._path, _UNIT_BYTES)
        return found.data.decode() if found else ""


def require_free(where: str) -> None:
    """Raise NotOwned, HostBusy for a place that a mount would cover."""
    try:
        if os.path.ismount(where) or os.listdir(where):
            raise NotOwned(f"{where} is not empty; nothing is mounted over it")
    except FileNotFoundError:
        return
    except OSError as fault:
        raise HostBusy(f"{where}: {fault.strerror}") from fault
