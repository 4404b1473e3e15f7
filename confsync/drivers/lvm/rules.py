"""What must hold between the values of an `lvm` section, whatever the host is like.

Separate because every rule is one plain function and all of them run: a fault never hides another.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from confsync.drivers.lvm.mounts import SWAP
from confsync.drivers.lvm.names import LVM_CHARS
from confsync.drivers.lvm.sizes import MIB, told
from confsync.drivers.lvm.step import FileSystem
from confsync.drivers.lvm.storage import Storage
from confsync.model.errors import Violation, Violations, nearest
from confsync.model.ids import dotted

XFS_MIN_BYTES: Final = 300 * MIB
"""What mkfs.xfs makes no less of (xfsprogs 5.19 and newer)."""
_STABLE: Final = ("/dev/disk/by-", "/dev/mapper/")


def broken(value: Storage) -> Violations:
    """Return every broken rule."""
    return tuple(violation for rule in RULES for violation in rule(value))


def doubtful(value: Storage) -> tuple[str, ...]:
    """Return what is allowed but deserves a second look."""
    return (*value.notes, *(note for look in LOOKS for note in look(value)))


def device_name(group: str, volume: str) -> str:
    """Return how device-mapper calls a volume: its own dash stands between the two."""
    return f"{group.replace('-', '--')}-{volume.replace('-', '--')}"


def _has_a_file_system(value: Storage) -> Iterator[Violation]:
    for _, one in value.pairs:
        if one.mount and one.fs is FileSystem.NONE:
            hint = "say which file system it has, such as xfs"
            yield Violation("CS-V120", one.at.place("mount"), "nothing to mount", hint)
        elif one.mount and (one.mount == SWAP) != (one.fs is FileSystem.SWAP):
            message = f"a volume with {one.fs} cannot be mounted at {one.mount}"
            hint = "leave the mount out" if one.fs is FileSystem.SWAP else "say fs: swap"
            yield Violation("CS-V121", one.at.place("mount"), message, hint)


def _mounts_are_apart(value: Storage) -> Iterator[Violation]:
    taken: dict[str, str] = {}
    for group, one in value.pairs:
        if not one.mount or one.mount == SWAP or one.retire:
            continue
        if one.mount in taken:
            message = f"{taken[one.mount]} is mounted at {one.mount} already"
            yield Violation("CS-V122", one.at.place("mount"), message, "give each its own folder")
        taken.setdefault(one.mount, f"{group.name}/{one.name}")


def _devices_are_apart(value: Storage) -> Iterator[Violation]:
    taken: dict[str, str] = {}
    for group in value.groups:
        for device in group.devices:
            if device in taken:
                message = f"{device} is a device of {taken[device]} already"
                place = group.at.place("devices")
                yield Violation("CS-V123", place, message, "a device is in one group, once")
            taken.setdefault(device, group.name)


def _removed_are_retired(value: Storage) -> Iterator[Violation]:
    for _, one in value.pairs:
        if one.remove and not one.retire:
            message = "only what was retired is removed"
            yield Violation("CS-V125", one.at.place("remove"), message, "say retire: true, too")


def _device_names_are_short(value: Storage) -> Iterator[Violation]:
    for group, one in value.pairs:
        length = len(device_name(group.name, one.name))
        if length > LVM_CHARS:
            message = f"its device would have a name of {length} characters"
            hint = f"device-mapper takes {LVM_CHARS}, and each dash counts twice"
            yield Violation("CS-V126", one.at.place(), message, hint)


def _large_enough(value: Storage) -> Iterator[Violation]:
    for _, one in value.pairs:
        small = 0 < one.size.size_bytes < XFS_MIN_BYTES
        if one.fs is FileSystem.XFS and small and not one.retire:
            message = f"{told(one.size.size_bytes)} is too small for xfs"
            hint = f"use {told(XFS_MIN_BYTES)} or more, or ext4"
            yield Violation("CS-V127", one.at.place("size"), message, hint)


def _no_pool_of_cinder(value: Storage) -> Iterator[Violation]:
    for group, one in value.pairs:
        if one.name == f"{group.name}-pool":
            message = f"{one.name} is how Cinder calls the thin pool of {group.name}"
            yield Violation("CS-V112", one.at.place(), message, "choose another name")


RULES: Final = (
    _has_a_file_system,
    _mounts_are_apart,
    _devices_are_apart,
    _removed_are_retired,
    _device_names_are_short,
    _large_enough,
    _no_pool_of_cinder,
)


def _nothing_at_all(value: Storage) -> Iterator[str]:
    if not value.groups:
        yield "lvm: no volume group, so nothing is done"


def _kernel_names(value: Storage) -> Iterator[str]:
    for group in value.groups:
        for device in group.devices:
            if not device.startswith(_STABLE):
                place = dotted(group.at.place("devices"))
                yield f"{place}: {device} may be another disk after a boot; want /dev/disk/by-id/"


def _options_without_mount(value: Storage) -> Iterator[str]:
    for _, one in value.pairs:
        if one.options and not one.mount and not one.retire:
            yield f"{dotted(one.at.place('options'))}: nothing is mounted, so they have no effect"


def _references_resolve(value: Storage) -> Iterator[str]:
    known = {f"{group.name}/{one.name}" for group, one in value.pairs if not one.retire}
    for reference in value.references:
        if reference.target not in known:
            place = f"lvm.references.{reference.name}"
            name = reference.target.split("/")[1]
            twins = {one for one in known if one.endswith(f"/{name}")}
            hint = nearest(reference.target, twins or known)
            yield f"{place}: there is no volume {reference.target} here; {hint}"


LOOKS: Final = (_nothing_at_all, _kernel_names, _options_without_mount, _references_resolve)
