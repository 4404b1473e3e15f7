"""Make and extend volume groups, of devices that are proved blank.

Separate because here alone a device is written to that LVM does not know yet. Each gets a UUID that
only this plan could give it, so that the way back takes nothing else.
"""

from __future__ import annotations

from confsync.drivers.lvm.command import require_udevd
from confsync.drivers.lvm.devices import forget, require_blank, require_seen, sweep, uuid_of
from confsync.drivers.lvm.found import Device, Host
from confsync.drivers.lvm.sizes import FIRST_EXTENT_BYTES
from confsync.drivers.lvm.step import MANAGED, CreateGroup, ExtendGroup, Member
from confsync.drivers.lvm.work import Kit, Work, group_of, read_back, side
from confsync.host.files import in_thread
from confsync.model.errors import NotOwned, RollbackFailed
from confsync.ports import Checkpoint, Position


class MakeGroup(Work[CreateGroup]):
    """A new group; undone while it holds no volume."""

    async def check(self) -> None:
        require_udevd()
        if any(group.name == self._act.vg for group in (await self.host()).groups):
            raise NotOwned(f"there is a volume group {self._act.vg} already that is not ours")
        await _require_free(self._kit, self._act)

    async def apply(self, saved: Checkpoint) -> None:  # noqa: ARG002
        act = self._act
        await _enlist(self._kit, act)
        tags = ("--addtag", MANAGED, "--addtag", self.mark)
        extent = ("--physicalextentsize", f"{act.extent_bytes}b")
        await self.change("vgcreate", *extent, *tags, act.vg, *(m.path for m in act.members))
        read_back(f"vgcreate {act.vg}", done=_all_in(await self.host(), act))

    async def undo(self, saved: Checkpoint) -> None:  # noqa: ARG002
        group = await self.group()
        if group is not None and self.mark in group.tags:
            if group.volumes:
                raise RollbackFailed(f"volume group {group.name} is no longer empty; it is kept")
            await self.change("vgremove", group.name)
        await _dismiss(self._kit, self._act)

    async def commit(self, saved: Checkpoint) -> None:  # noqa: ARG002
        group = await self.ready_group()
        if self.mark in group.tags:
            await self.change("vgchange", "--deltag", self.mark, group.name)

    async def position(self, saved: Checkpoint) -> Position:  # noqa: ARG002
        host = await self.host()
        group = group_of(host, self._act)
        ours = group is not None and _all_in(host, self._act)
        return side(old=group is None and not _any_left(host, self._act), new=ours)


class GrowGroup(Work[ExtendGroup]):
    """More devices for a group; undone while they hold nothing."""

    async def check(self) -> None:
        require_udevd()
        await self.planned_group()
        await _require_free(self._kit, self._act)

    async def apply(self, saved: Checkpoint) -> None:  # noqa: ARG002
        act = self._act
        await _enlist(self._kit, act)
        await self.change("vgextend", act.vg, *(member.path for member in act.members))
        read_back(f"vgextend {act.vg}", done=_all_in(await self.host(), act))

    async def undo(self, saved: Checkpoint) -> None:  # noqa: ARG002
        host = await self.host()
        for member in self._act.members:
            device = _made(host, self._act.nonce, member)
            if device is not None and device.vg:
                await self.change("vgreduce", device.vg, device.path)  # lvm refuses a used one
        await _dismiss(self._kit, self._act)

    async def position(self, saved: Checkpoint) -> Position:  # noqa: ARG002
        host = await self.host()
        return side(old=not _any_left(host, self._act), new=_all_in(host, self._act))


_Act = CreateGroup | ExtendGroup


async def _require_free(kit: Kit, act: _Act) -> None:
    for member in act.members:
        await require_blank(kit.commands, member)
        await require_seen(kit.commands, act.binary, member)


async def _enlist(kit: Kit, act: _Act) -> None:
    """Make physical volumes of the members, each proved blank once more just before.

    Why aligned: a plan counts extents before there are any, so all devices begin at one place.
    """
    for member in act.members:
        await require_blank(kit.commands, member)
        ours = ("--norestorefile", "--uuid", uuid_of(act.nonce, member))
        aligned = ("--dataalignment", f"{FIRST_EXTENT_BYTES}b")
        await kit.commands.change(act.binary, "pvcreate", *aligned, *ours, member.path)


async def _dismiss(kit: Kit, act: _Act) -> None:
    """Make blank devices again of the members that are in no group any more."""
    host = await kit.look(act.binary, frozenset({act.vg}))
    for member in act.members:
        device = _made(host, act.nonce, member)
        if device is None:
            await in_thread(sweep, member)
        elif device.vg:
            raise RollbackFailed(f"{device.path} is in use by volume group {device.vg}")
        else:  # its path may be another one since a boot
            here = member.model_copy(update={"path": device.path, "name": device.path})
            await forget(kit.commands, act.binary, here)


def _made(host: Host, nonce: str, member: Member) -> Device | None:
    """Return the device that bears the UUID which this plan gave to a member."""
    uuid = uuid_of(nonce, member)
    return next((device for device in host.devices if device.pv_uuid == uuid), None)


def _all_in(host: Host, act: _Act) -> bool:
    found = [_made(host, act.nonce, member) for member in act.members]
    return all(device is not None and device.vg == act.vg for device in found)


def _any_left(host: Host, act: _Act) -> bool:
    return any(_made(host, act.nonce, member) for member in act.members)
