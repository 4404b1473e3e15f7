"""What the driver tells of a host's storage.

Separate because it is the one contract between the driver, which looks, and the section, which
plans: both sides know each other only by these shapes. Everything is in extents and
UUIDs; a name or a percentage is resolved against this reading, never against a later one.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field

from confsync.model.ids import Json


class _Shape(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Device(_Shape):
    """A block device that could be, or is, a physical volume.

    Shape: `path` is the real path (``/dev/sdb4``), `names` are all stable names that lead to it
    (``/dev/disk/by-id/...``); `uses` says in words why it is not blank (empty = proved blank:
    "has partitions", "is mounted at /", "holds an ext4 signature", "is a leg of md0" ...).
    """

    path: str
    names: tuple[str, ...] = ()
    size_bytes: int = 0
    pv_uuid: str = ""
    vg: str = ""
    uses: tuple[str, ...] = ()


class Mount(_Shape):
    """Where a volume is mounted, or swapped on, now or at the next boot.

    Shape: `where` is ``swap`` for swap space; `unit` the systemd unit's file of ours (empty =
    another hand's) and `text` what stands in it; `line` an fstab line, or the name of a unit, of
    another hand (empty = none); `active` = now.
    """

    where: str
    unit: str = ""
    text: str = ""
    line: str = ""
    active: bool = False


class Segment(_Shape):
    """A run of extents of a linear volume: where it lies on which physical volume."""

    pv_uuid: str
    start: int
    extents: int


class Volume(_Shape):
    """One logical volume that people see; hidden ones are LVM's own business.

    Shape: `layout` is LVM's word (``linear``, ``striped``, ``thin,sparse`` ...), `fs` what a
    probe of its content found (``xfs``, ``ext4``, ``swap``, ``crypto_LUKS``, empty = none, None =
    not looked at), `fs_bytes` the size of that file system (None = unknown); `health` says what is
    wrong with it (``suspended``, ``table differs`` ...; empty = well); `open` = in use by the
    kernel; `device` is ``major:minor`` (empty = inactive).
    """

    name: str
    uuid: str
    extents: int
    layout: str = "linear"
    tags: tuple[str, ...] = ()
    active: bool = False
    open: bool = False
    device: str = ""
    fs: str | None = None
    fs_bytes: int | None = None
    health: str = ""
    mounts: tuple[Mount, ...] = ()
    segments: tuple[Segment, ...] = ()


class Group(_Shape):
    """One volume group: only those that the settings name, or that a wanted device belongs to.

    Shape: `digest` changes when anything in its report does (compare-and-set); `trouble` says why
    nothing may be done in it ("a physical volume is missing", "exported" ...; empty = well).
    """

    name: str
    uuid: str
    extent_bytes: int
    extents: int
    free: int
    digest: str
    tags: tuple[str, ...] = ()
    trouble: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    volumes: tuple[Volume, ...] = ()


class Host(_Shape):
    """All of it: `Observed.detail` is this as JSON.

    Shape: `allowed` are the groups that the settings let us touch; `adopted` the UUIDs of
    volumes taken over by `confsync adopt lvm`, `known` the UUID under which we know a volume, by
    ``group/volume`` (one that differs is another volume, and is refused); `devices` are all block
    devices of the host, with what is cheaply known against them (the hard proof that one is blank
    is the step's check); `at` is the moment of the reading, seconds since 1970 (the plan names what
    it retires by it).
    """

    binary: str
    at: int
    allowed: tuple[str, ...]
    adopted: tuple[str, ...] = ()
    known: Mapping[str, str] = Field(default_factory=dict)
    groups: tuple[Group, ...] = ()
    devices: tuple[Device, ...] = ()

    @classmethod
    def of(cls, detail: Json) -> Host:
        """Read an observation's detail."""
        return cls.model_validate(detail)
