"""What every kind of act has in common: how it looks, how it acts, and what it may rely on.

Separate because each kind lives beside its own tools (volumes, groups, mounts, file systems), and
the driver knows them by this shape alone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from confsync.drivers.lvm.command import Commands
from confsync.drivers.lvm.found import Group, Host, Volume
from confsync.drivers.lvm.step import Act
from confsync.model.errors import HostBusy, NotOwned, NotVerified
from confsync.ports import Checkpoint, Position

A = TypeVar("A", bound=Act)
TXN: Final = "confsync.txn"
"""``confsync.txn=NONCE``: made by a change that is not final yet."""

Look = Callable[[str, frozenset[str]], Awaitable[Host]]
"""A fresh look by an lvm program at the groups of these names."""


@dataclass(frozen=True, slots=True)
class Kit:
    """What works are done with."""

    commands: Commands
    look: Look


class Work(Generic[A]):
    """One act; what a kind does not say otherwise does nothing, and cannot fail."""

    def __init__(self, act: A, kit: Kit) -> None:
        self._act = act
        self._kit = kit

    async def check(self) -> None:
        """Prove that the act would succeed. Raises NotOwned, HostBusy, HostRefused."""

    async def checkpoint(self) -> Checkpoint:
        """Return what undo needs beside the act."""
        return {}

    async def apply(self, saved: Checkpoint) -> None:
        """Do it, and read back that it is done. Raises StepFailed, NotVerified, HostBusy."""

    async def undo(self, saved: Checkpoint) -> None:
        """Take back what this very act did, wherever it was cut; idempotent."""

    async def commit(self, saved: Checkpoint) -> None:
        """Do what cannot be taken back; idempotent."""

    async def position(self, saved: Checkpoint) -> Position:
        """Tell where the host stands, by one fresh look."""
        raise NotImplementedError

    # --- looking

    @property
    def mark(self) -> str:
        """The tag of what this plan made."""
        return f"{TXN}={self._act.nonce}"

    async def host(self) -> Host:
        """Return a fresh look at the act's group and all devices."""
        return await self._kit.look(self._act.binary, frozenset({self._act.vg}))

    async def group(self) -> Group | None:
        """Return the act's group as it is now; None where there is none of that identity."""
        return group_of(await self.host(), self._act)

    async def ready_group(self) -> Group:
        """Return the act's group, in which something may be done. Raises NotOwned, HostBusy."""
        group = await self.group()
        if group is None:
            raise NotOwned(f"there is no volume group {self._act.vg} any more that was planned on")
        if group.trouble:
            raise HostBusy(f"volume group {group.name}: {'; '.join(group.trouble)}")
        return group

    async def planned_group(self) -> Group | None:
        """Return the group as it was planned on; None where the plan makes it first.

        Raises: NotOwned, HostBusy when anything in it has changed.
        """
        if not self._act.vg_uuid:
            return None
        group = await self.ready_group()
        if group.digest != self._act.vg_digest:
            raise HostBusy(f"volume group {group.name} has changed since this was planned")
        return group

    # --- acting

    async def change(self, *words: str) -> None:
        """Run the lvm of the plan."""
        await self._kit.commands.change(self._act.binary, *words)


def group_of(host: Host, act: Act) -> Group | None:
    """Return an act's group, None where there is none of its name and identity."""
    for group in host.groups:
        if group.name == act.vg and act.vg_uuid in {"", group.uuid}:
            return group
    return None


def named(group: Group | None, name: str) -> Volume | None:
    """Return the volume of a name."""
    volumes = group.volumes if group else ()
    return next((volume for volume in volumes if volume.name == name), None)


def identified(group: Group | None, uuid: str) -> Volume | None:
    """Return the volume with a UUID, whatever its name is now."""
    volumes = group.volumes if group else ()
    return next((volume for volume in volumes if volume.uuid == uuid), None)


def required(volume: Volume | None, name: str) -> Volume:
    """Return a volume that must be there. Raises NotOwned."""
    if volume is None:
        raise NotOwned(f"the volume {name} that was planned on is not there any more")
    return volume


def read_back(what: str, *, done: bool) -> None:
    """Raise NotVerified if lvm said that it did what a look does not show."""
    if not done:
        raise NotVerified(f"{what}: lvm reports success, but a fresh look does not show it")


def tag_words(old: Iterable[str], new: Iterable[str]) -> list[str]:
    """Return the options that lead from some tags to others; both kinds may stand already."""
    gone, come = set(old) - set(new), set(new) - set(old)
    removing = [word for tag in sorted(gone) for word in ("--deltag", tag)]
    return removing + [word for tag in sorted(come) for word in ("--addtag", tag)]


def side(*, old: bool, new: bool) -> Position:
    """Return where a thing stands that looks old, or new, or neither."""
    if old:
        return Position.OLD
    return Position.NEW if new else Position.MIXED
