"""Prove that a device is blank, and know again the physical volume that we made of it.

Separate because a wrong answer here destroys somebody's data: nothing is concluded from a name,
and every proof is one of its own. Invariant: only what was proved blank is ever written to, and
only what bears a UUID of ours is ever taken back.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from hashlib import sha256
from typing import Final

from confsync.drivers.lvm.command import Commands
from confsync.drivers.lvm.content import signature
from confsync.drivers.lvm.step import Member
from confsync.host.files import in_thread
from confsync.model.errors import HostBusy, NotOwned

EDGE_BYTES: Final = 1024 * 1024
"""What is read at both ends of a device, and what LVM writes to at its beginning."""
DEVICES_FILE: Final = "/etc/lvm/devices/system.devices"
_SECTOR_BYTES: Final = 512
_UUID_PARTS: Final = (6, 4, 4, 4, 4, 4, 6)
_METADATA_AT: Final = 4096
_METADATA_MAGIC: Final = b" LVM2 x[5A%r0N*>"


def uuid_of(nonce: str, member: Member) -> str:
    """Return the UUID that a plan gives to a physical volume: whoever bears it is ours."""
    digits = iter(sha256(f"{nonce} {member.path}".encode()).hexdigest())
    return "-".join("".join(next(digits) for _ in range(length)) for length in _UUID_PARTS)


async def require_blank(commands: Commands, member: Member) -> None:
    """Raise NotOwned, with all that stands against it, if a device is not proved blank."""
    if found := await in_thread(lambda: tuple(against(member))):
        raise NotOwned(f"{_called(member)} {', '.join(found)}; it is left alone")
    kind, _ = await signature(commands, member.path)
    if kind:
        raise NotOwned(f"{_called(member)} holds a signature ({kind}); it is left alone")


async def require_seen(commands: Commands, binary: str, member: Member) -> None:
    """Raise NotOwned if this host's LVM is told not to look at a device.

    Why, when `pvcreate` would enter it in the list by itself: whoever keeps a list means it.
    """
    fields = "pv_name,pv_size"  # by the name alone it lists none but physical volumes
    told = await commands.read(binary, "pvs", "--all", "--noheadings", "--options", fields)
    if member.path in {os.path.realpath(line.split()[0]) for line in told.stdout.splitlines()}:
        return
    way = f"if it is meant for it: lvm lvmdevices --adddev {member.name}"
    why = f"is not in {DEVICES_FILE}, or a filter in lvm.conf is against it"
    raise NotOwned(f"{_called(member)} is kept from LVM: it {why}; {way}")


def against(member: Member) -> Iterator[str]:
    """Yield, in words, what a look at a device says against its being blank. Raises HostBusy."""
    if (there := os.path.realpath(member.name)) != member.path:
        yield f"was {member.path} when this was planned and is {there} now"
        return
    try:
        found = os.stat(member.path)
    except OSError as fault:
        yield f"cannot be looked at: {fault.strerror}"
        return
    if not stat.S_ISBLK(found.st_mode):
        yield "is no block device"
        return
    yield from _by_kernel(member, found.st_rdev)
    yield from _by_content(member)


def _by_kernel(member: Member, number: int) -> Iterator[str]:
    """Yield what the kernel knows of a device."""
    place = f"/sys/dev/block/{os.major(number)}:{os.minor(number)}"
    size_bytes = int(_text(f"{place}/size")) * _SECTOR_BYTES
    if size_bytes != member.size_bytes:
        yield f"had {member.size_bytes} bytes when this was planned and has {size_bytes} now"
    if _text(f"{place}/ro") == "1":
        yield "is read-only"
    if any(os.path.exists(f"{place}/{name}/partition") for name in os.listdir(place)):
        yield "has partitions"
    if holders := _listed(f"{place}/holders"):
        yield f"is used by {', '.join(holders)}"
    if twins := _twins(place):
        yield f"is one of several paths to one disk ({', '.join(twins)})"


def _twins(place: str) -> list[str]:
    """Return the other devices with the same identity: legs of a multipath that is not set up."""
    own = os.path.basename(os.path.realpath(place))
    identity = _identity(own)
    others = os.listdir("/sys/class/block") if identity else []
    return sorted(name for name in others if name != own and _identity(name) == identity)


def _identity(name: str) -> str:
    place = f"/sys/class/block/{name}"
    return _text(f"{place}/wwid") or _text(f"{place}/device/wwid")


def _by_content(member: Member) -> Iterator[str]:
    """Yield what reading says: in use, or not zero at its ends."""
    try:
        device = os.open(member.path, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC)
    except OSError as fault:
        busy = fault.errno == errno.EBUSY
        yield "is in use" if busy else f"cannot be opened: {fault.strerror}"
        return
    try:
        last = max(0, member.size_bytes - EDGE_BYTES)
        for at, name in ((0, "first"), (last, "last")):
            if any(os.pread(device, EDGE_BYTES, at)):
                yield f"is not zero in its {name} MiB"
    except OSError as fault:
        yield f"cannot be read: {fault.strerror}"
    finally:
        os.close(device)


async def forget(commands: Commands, binary: str, member: Member) -> None:
    """Make a physical volume of ours, in no group, a blank device again.

    Raises: StepFailed, HostBusy, DeadlinePassed.
    """
    await commands.change(binary, "pvremove", member.path)
    await in_thread(sweep, member)


def sweep(member: Member) -> None:
    """Zero what `pvremove` leaves of LVM's metadata, if it is there and nothing uses the device.

    Raises: HostBusy.
    """
    if set(against(member)) != {"is not zero in its first MiB"}:
        return
    try:
        device = os.open(member.path, os.O_RDWR | os.O_EXCL | os.O_CLOEXEC)
        try:
            head = os.pread(device, EDGE_BYTES, 0)
            area = head[_METADATA_AT + 4 : _METADATA_AT + 4 + len(_METADATA_MAGIC)]
            if area == _METADATA_MAGIC and not any(head[:_METADATA_AT]):
                os.pwrite(device, bytes(EDGE_BYTES), 0)
                os.fsync(device)
        finally:
            os.close(device)
    except OSError as fault:
        raise HostBusy(f"{member.path}: {fault.strerror}") from fault


def _called(member: Member) -> str:
    return member.path if member.name == member.path else f"{member.name} ({member.path})"


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""


def _listed(path: str) -> list[str]:
    try:
        return sorted(os.listdir(path))
    except OSError:
        return []
