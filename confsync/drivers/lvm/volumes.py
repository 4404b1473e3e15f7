"""Make, extend, tag, activate, retire and remove volumes.

Separate because these are LVM's own acts, each read back by a fresh look: what lvm says of itself
is not believed. A volume is known by its UUID; one that this plan makes, by the plan's mark.
"""

from __future__ import annotations

from confsync.drivers.lvm import filesystems
from confsync.drivers.lvm.command import require_udevd
from confsync.drivers.lvm.content import node_of
from confsync.drivers.lvm.found import Group, Volume
from confsync.drivers.lvm.sizes import fills
from confsync.drivers.lvm.step import (
    MANAGED,
    Activate,
    ChangeTags,
    CreateVolume,
    ExtendVolume,
    FileSystem,
    Remove,
    Retire,
)
from confsync.drivers.lvm.work import (
    Work,
    identified,
    named,
    read_back,
    required,
    side,
    tag_words,
)
from confsync.model.errors import HostBusy, NotOwned, RollbackFailed
from confsync.ports import Checkpoint, Position


class MakeVolume(Work[CreateVolume]):
    """A new volume with its file system; undone while nobody has it open."""

    async def check(self) -> None:
        require_udevd()
        act, group = self._act, await self.planned_group()
        if group is not None:
            if named(group, act.lv) is not None:
                raise NotOwned(f"there is a volume {act.vg}/{act.lv} already that is not ours")
            filesystems.require_tools(act.fs)

    async def apply(self, saved: Checkpoint) -> None:  # noqa: ARG002
        act = self._act
        tags = tag_words((), (*act.tags, self.mark))
        # The one prompt that is answered: old signatures in free extents, which nobody owns.
        wiped = ("--wipesignatures", "y", "--zero", "y", "--yes")
        size = ("--extents", str(act.extents), "--name", act.lv)
        await self.change("lvcreate", *wiped, *size, *tags, act.vg)
        volume = named(await self.group(), act.lv)
        done = volume is not None and volume.active and volume.extents == act.extents
        read_back(f"lvcreate {act.vg}/{act.lv}", done=done)
        if volume is not None and act.fs is not FileSystem.NONE:
            node = node_of(volume)
            await filesystems.make(self._kit.commands, act.fs, node, self._fs_uuid)

    async def undo(self, saved: Checkpoint) -> None:  # noqa: ARG002
        group = await self.group()
        volume = self._ours(group)
        if group is None or volume is None:
            return
        name = f"{group.name}/{volume.name}"
        if volume.open:
            raise RollbackFailed(f"the new volume {name} is in use by now; it is kept")
        if volume.active:
            node = node_of(volume)
            await filesystems.wipe(self._kit.commands, node, self._fs_uuid)
        await self.change("lvchange", "--activate", "n", name)  # half activated ones, too
        ours = f"lv_uuid={volume.uuid} && lv_tags={{{self.mark}}}"
        await self.change("lvremove", "--select", ours, group.name)

    async def commit(self, saved: Checkpoint) -> None:  # noqa: ARG002
        group = await self.ready_group()
        if (volume := self._ours(group)) is not None:
            await self.change("lvchange", "--deltag", self.mark, f"{group.name}/{volume.name}")

    async def position(self, saved: Checkpoint) -> Position:  # noqa: ARG002
        act, volume = self._act, named(await self.group(), self._act.lv)
        if volume is None:
            return Position.OLD
        whole = volume.extents == act.extents and set(act.tags) <= set(volume.tags)
        filled = volume.fs in {None, "" if act.fs is FileSystem.NONE else str(act.fs)}
        return side(old=False, new=whole and filled and volume.active and not volume.health)

    @property
    def _fs_uuid(self) -> str:
        return filesystems.uuid_of(self._act)

    def _ours(self, group: Group | None) -> Volume | None:
        volume = named(group, self._act.lv)
        return volume if volume is not None and self.mark in volume.tags else None


class GrowVolume(Work[ExtendVolume]):
    """More extents; undone while the file system has not grown into them."""

    async def check(self) -> None:
        require_udevd()
        act, group = self._act, await self.planned_group()
        volume = required(identified(group, act.lv_uuid), f"{act.vg}/{act.lv}")
        if volume.health:
            raise HostBusy(f"{act.vg}/{act.lv}: {volume.health}")
        if volume.extents != act.old_extents or volume.segments != act.segments:
            raise HostBusy(f"{act.vg}/{act.lv} is not as large as when this was planned")
        if act.fs is not FileSystem.NONE:
            filesystems.require_growable(volume, act.fs, act.mount)

    async def apply(self, saved: Checkpoint) -> None:  # noqa: ARG002
        act = self._act
        await self.change("lvextend", "--extents", str(act.new_extents), f"{act.vg}/{act.lv}")
        volume = identified(await self.group(), act.lv_uuid)
        done = volume is not None and volume.extents == act.new_extents and not volume.health
        read_back(f"lvextend {act.vg}/{act.lv}", done=done)

    async def undo(self, saved: Checkpoint) -> None:  # noqa: ARG002
        act, group = self._act, await self.group()
        volume = identified(group, act.lv_uuid)
        if group is None or volume is None:
            raise RollbackFailed(f"the volume {act.vg}/{act.lv} ({act.lv_uuid}) is not there")
        if volume.extents == act.old_extents:
            return
        name = f"{group.name}/{volume.name}"
        if volume.extents != act.new_extents:
            raise RollbackFailed(f"{name} has {volume.extents} extents: another hand resized it")
        if volume.fs_bytes is None and act.fs is not FileSystem.NONE:
            raise RollbackFailed(f"the size of the {act.fs} on {name} cannot be read; it is kept")
        if (volume.fs_bytes or 0) > act.old_extents * group.extent_bytes:
            raise RollbackFailed(f"the file system on {name} has grown; it is never made smaller")
        # The one reduction that there is: of what this very change added, and nothing uses.
        await self.change("lvreduce", "--yes", "--extents", str(act.old_extents), name)
        after = identified(await self.group(), act.lv_uuid)
        if after is None or after.segments != act.segments:
            raise RollbackFailed(f"{name} does not lie where it lay before")

    async def commit(self, saved: Checkpoint) -> None:  # noqa: ARG002
        volume = required(identified(await self.group(), self._act.lv_uuid), self._act.lv)
        if self._act.fs is not FileSystem.NONE:
            await filesystems.grow(self._kit.commands, self._act.fs, volume, self._act.mount)

    async def position(self, saved: Checkpoint) -> Position:  # noqa: ARG002
        act, group = self._act, await self.group()
        volume = identified(group, act.lv_uuid)
        if group is None or volume is None:
            return Position.UNKNOWN
        grown = act.fs is FileSystem.NONE or fills(volume, group.extent_bytes)
        return side(
            old=volume.extents == act.old_extents and not volume.health,
            new=volume.extents == act.new_extents and grown and not volume.health,
        )


class Retag(Work[ChangeTags]):
    """Other tags; both ways may be gone again and again."""

    async def check(self) -> None:
        act, group = self._act, await self.planned_group()
        required(identified(group, act.lv_uuid), f"{act.vg}/{act.lv}")

    async def apply(self, saved: Checkpoint) -> None:  # noqa: ARG002
        await self._go(self._act.old, self._act.new)

    async def undo(self, saved: Checkpoint) -> None:  # noqa: ARG002
        await self._go(self._act.new, self._act.old)

    async def position(self, saved: Checkpoint) -> Position:  # noqa: ARG002
        volume = identified(await self.group(), self._act.lv_uuid)
        if volume is None:
            return Position.UNKNOWN
        old, new, found = set(self._act.old), set(self._act.new), set(volume.tags)
        ours = found & (old ^ new)
        return side(old=ours == old - new, new=ours == new - old)

    async def _go(self, old: tuple[str, ...], new: tuple[str, ...]) -> None:
        group = await self.group()
        volume = required(identified(group, self._act.lv_uuid), self._act.lv)
        name = f"{self._act.vg}/{volume.name}"
        await self.change("lvchange", *tag_words(old, new), name)
        after = identified(await self.group(), self._act.lv_uuid)
        found = set(after.tags) if after else set()
        read_back(f"the tags of {name}", done=found & (set(old) ^ set(new)) == set(new) - set(old))


class Switch(Work[Activate]):
    """Activate a volume."""

    async def check(self) -> None:
        require_udevd()
        act, group = self._act, await self.planned_group()
        required(identified(group, act.lv_uuid), f"{act.vg}/{act.lv}")

    async def apply(self, saved: Checkpoint) -> None:  # noqa: ARG002
        await self.change("lvchange", "--activate", "y", f"{self._act.vg}/{self._act.lv}")
        volume = identified(await self.group(), self._act.lv_uuid)
        read_back(f"activating {self._act.lv}", done=volume is not None and volume.active)

    async def undo(self, saved: Checkpoint) -> None:  # noqa: ARG002
        volume = identified(await self.group(), self._act.lv_uuid)
        if volume is not None and volume.active:
            if volume.open:
                raise RollbackFailed(f"the volume {volume.name} is in use by now; it stays active")
            await self.change("lvchange", "--activate", "n", f"{self._act.vg}/{volume.name}")

    async def position(self, saved: Checkpoint) -> Position:  # noqa: ARG002
        volume = identified(await self.group(), self._act.lv_uuid)
        if volume is None:
            return Position.UNKNOWN
        return side(old=not volume.active, new=volume.active and not volume.health)


class SetAside(Work[Retire]):
    """Rename a volume aside, where nothing activates it; all of it can be taken back."""

    async def check(self) -> None:
        require_udevd()
        act, group = self._act, await self.planned_group()
        volume = required(identified(group, act.lv_uuid), f"{act.vg}/{act.lv}")
        if named(group, act.to) is not None:
            raise HostBusy(f"there is a volume {act.vg}/{act.to} already")
        ours = any(mount.unit and mount.active for mount in volume.mounts)  # goes in a step before
        if volume.open and not ours:
            raise NotOwned(f"{act.vg}/{act.lv} is in use; it cannot be retired")

    async def checkpoint(self) -> Checkpoint:
        """Note whether it is activated at boot."""
        which = ("--select", f"lv_uuid={self._act.lv_uuid}", self._act.vg)
        words = ("lvs", "--noheadings", "--options", "lv_autoactivation", *which)
        said = await self._kit.commands.read(self._act.binary, *words)
        return {"at_boot": said.stdout.strip() == "enabled"}

    async def apply(self, saved: Checkpoint) -> None:  # noqa: ARG002
        act = self._act
        name, aside = f"{act.vg}/{act.lv}", f"{act.vg}/{act.to}"
        volume = required(identified(await self.group(), act.lv_uuid), name)
        if volume.open:
            raise HostBusy(f"{name} is in use; it cannot be retired")
        if volume.active:
            await self.change("lvchange", "--activate", "n", name)
        await self.change("lvchange", "--setautoactivation", "n", name)
        await self.change("lvrename", name, aside)
        read_back(f"retiring {name}", done=self._is_aside(await self.group()))

    async def undo(self, saved: Checkpoint) -> None:
        act = self._act
        name, aside = f"{act.vg}/{act.lv}", f"{act.vg}/{act.to}"
        volume = required(identified(await self.group(), act.lv_uuid), name)
        if volume.name == act.to:
            await self.change("lvrename", aside, name)
        if saved["at_boot"]:
            await self.change("lvchange", "--setautoactivation", "y", name)
        if act.was_active and not volume.active:
            await self.change("lvchange", "--activate", "y", name)

    async def position(self, saved: Checkpoint) -> Position:  # noqa: ARG002
        act, group = self._act, await self.group()
        volume = identified(group, act.lv_uuid)
        if volume is None:
            return Position.UNKNOWN
        back = volume.name == act.lv and volume.active == act.was_active and not volume.health
        return side(old=back, new=self._is_aside(group))

    def _is_aside(self, group: Group | None) -> bool:
        volume = identified(group, self._act.lv_uuid)
        return volume is not None and volume.name == self._act.to and not volume.active


class Destroy(Work[Remove]):
    """The confirmed end of a retired volume: nothing before the pivot, no way back after it."""

    async def check(self) -> None:
        require_udevd()
        self._require_ours(identified(await self.planned_group(), self._act.lv_uuid))

    async def commit(self, saved: Checkpoint) -> None:  # noqa: ARG002
        act, group = self._act, await self.ready_group()
        volume = identified(group, act.lv_uuid)
        if volume is None:
            return
        name = f"{group.name}/{self._require_ours(volume).name}"
        if not volume.active:
            # Without its signature, so that the next volume here meets no stale one.
            await self.change("lvchange", "--activate", "y", name)
            volume = required(identified(await self.group(), act.lv_uuid), name)
        await self._kit.commands.in_host("wipefs", "--all", node_of(volume))
        await self.change("lvchange", "--activate", "n", name)
        ours = f"lv_uuid={act.lv_uuid} && lv_tags={{{MANAGED}}}"
        await self.change("lvremove", "--select", ours, group.name)

    async def position(self, saved: Checkpoint) -> Position:  # noqa: ARG002
        there = identified(await self.group(), self._act.lv_uuid) is not None
        return side(old=there, new=not there)

    def _require_ours(self, volume: Volume | None) -> Volume:
        name = f"{self._act.vg}/{self._act.lv}"
        found = required(volume, name)
        if MANAGED not in found.tags:
            raise NotOwned(f"{name} is not ours; it is not removed")
        if found.open:
            raise NotOwned(f"{name} is in use; it is not removed")
        return found
