"""The shape of an `lvm` document: groups with their volumes, or the three flat maps.

Separate because this is the whole of what may be written. Both ways may stand side by side: a
group takes `devices` or `physical_volumes`, and volumes stand below their group or name it.
"""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import BeforeValidator, Field, PlainValidator

from confsync.drivers.lvm import names, sizes
from confsync.drivers.lvm.sizes import Size
from confsync.drivers.lvm.step import FileSystem
from confsync.drivers.lvm.storage import SECTION
from confsync.model.shapes import Reader, Shape, choice, fault, read_flag, shown

_PATH_CHARS: Final = 255
_PARTS: Final = re.compile(r"(/[A-Za-z0-9._+:@=,-]+)+", re.ASCII)
_OPTION: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+:@=/-]{0,127}", re.ASCII)
_WHERE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:-]{0,126}", re.ASCII)
_SYSTEM: Final = frozenset(
    ("/bin", "/boot", "/etc", "/home", "/lib", "/lib64", "/root", "/sbin", "/usr", "/var")
)
_DEVICE: Final = "/dev/disk/by-id/wwn-0x5000c500a1b2c3d4"
_KERNEL: Final = ("/dev", "/proc", "/run", "/sys")


def _read_path(value: object, what: str, example: str) -> str:
    message = f"{shown(value)} is not the path of {what}"
    if not isinstance(value, str) or not _PARTS.fullmatch(value) or len(value) > _PATH_CHARS:
        raise fault("CS-V117", message, f"write an absolute path, like {example}")
    if any(part in (".", "..") for part in value.split("/")):
        raise fault("CS-V117", message, "leave out . and ..")
    return value


def _read_device(value: object) -> str:
    found = _read_path(value, "a device", _DEVICE)
    if not found.startswith("/dev/"):
        message = f"{shown(value)} is not the path of a device"
        raise fault("CS-V117", message, f"name it like {_DEVICE}")
    return found


def _read_mount(value: object) -> str:
    """Return where a volume is mounted; empty = nowhere."""
    if value in ("none", "swap"):
        return "" if value == "none" else "swap"
    found = _read_path(value, "a folder", "/opt/data")
    if found in _SYSTEM or any(found == top or found.startswith(f"{top}/") for top in _KERNEL):
        hint = "mount a volume on a folder of its own"
        raise fault("CS-V118", f"{shown(value)} belongs to the system", hint)
    return found


def _read_option(value: object) -> str:
    if not isinstance(value, str) or not _OPTION.fullmatch(value):
        hint = "write one option for each, like noatime"
        raise fault("CS-V119", f"{shown(value)} is not an option of a mount", hint)
    return value


def _read_target(value: object) -> str:
    group, slash, volume = str(value).partition("/")
    if not isinstance(value, str) or not slash or not volume or "/" in volume:
        hint = "name it like vg_cache/lv_dba"
        raise fault("CS-V116", f"{shown(value)} is not GROUP/VOLUME", hint)
    return f"{names.read_name(group)}/{names.read_name(volume)}"


def _read_who(value: object) -> str:
    if not isinstance(value, str) or not _WHERE.fullmatch(value):
        hint = "say in a word what relies on it, like osd-sdf"
        raise fault("CS-V116", f"{shown(value)} cannot be a name here", hint)
    return value


def _in_a_list(value: object) -> object:
    return value if isinstance(value, list | tuple) else [value]


def _split(value: object) -> object:
    """Let options stand in one text, as fstab has them; `defaults` says nothing."""
    words = value.split(",") if isinstance(value, str) else value
    return [one for one in words if one != "defaults"] if isinstance(words, list) else words


Name = Annotated[str, PlainValidator(names.read_name)]
Flag = Annotated[bool, PlainValidator(read_flag)]
_Size = Annotated[Size, PlainValidator(sizes.read_size)]
_Extent = Annotated[int, PlainValidator(sizes.read_extent)]
_Headroom = Annotated[int, PlainValidator(sizes.read_headroom)]
_Fs = Annotated[str, PlainValidator(choice("a file system that is made here", *FileSystem))]
_Device = Annotated[str, PlainValidator(_read_device)]
_Mount = Annotated[str, PlainValidator(_read_mount)]
_Tag = Annotated[str, PlainValidator(names.read_tag)]
_Uuid = Annotated[str, PlainValidator(names.read_uuid)]
_Option = Annotated[str, PlainValidator(_read_option)]
_Ensure = Annotated[str, PlainValidator(choice("a wish", "present", "absent"))]
_Who = Annotated[str, PlainValidator(_read_who)]
_Target = Annotated[str, PlainValidator(_read_target)]
_Devices = Annotated[tuple[_Device, ...], BeforeValidator(_in_a_list)]
_Options = Annotated[tuple[_Option, ...], BeforeValidator(_split)]
_Tags = Annotated[tuple[_Tag, ...], BeforeValidator(_in_a_list)]


def _linear(value: object) -> str:
    if value != "linear":
        hint = "only linear volumes are made: leave it out"
        raise fault("CS-V133", f"{shown(value)} is seen, reported and left alone for now", hint)
    return "linear"


def _no_thin(value: object) -> bool:
    if value is not False:
        hint = "only linear volumes are made: leave it out"
        raise fault("CS-V133", "thin pools are seen, reported and left alone for now", hint)
    return False


class VolumeShape(Shape):
    """A volume below its group."""

    size: _Size = sizes.ALL_FREE
    fs: _Fs = FileSystem.NONE
    mount: _Mount | None = None
    options: _Options = ()
    tags: _Tags = ()
    retire: Flag = False
    remove: _Uuid = ""


class FlatVolumeShape(Shape):
    """A volume with puppet-lvm's words."""

    volume_group: Name = ""
    size: _Size = sizes.ALL_FREE
    fs_type: _Fs | None = None
    mountpath: _Mount | None = None
    options: _Options = ()
    createfs: Flag = True
    mounted: Flag = True
    mountpath_require: Flag = False
    ensure: _Ensure = "present"
    force: Flag = False
    passno: object = Field(default=None, alias="pass")
    dump: object = None
    thinpool: Annotated[bool, PlainValidator(_no_thin)] = False
    type: Annotated[str, PlainValidator(_linear)] = "linear"
    tags: _Tags = ()
    retire: Flag = False
    remove: _Uuid = ""


class DeviceShape(Shape):
    """What puppet-lvm says of a physical volume."""

    ensure: _Ensure = "present"
    force: Flag = False
    unless_vg: Name = ""


class GroupShape(Shape):
    """A group, in either's words."""

    devices: _Devices = ()
    physical_volumes: _Devices = ()
    extent_size: _Extent | None = None
    headroom: _Headroom = 0
    volumes: dict[Name, VolumeShape] = Field(default_factory=dict)
    logical_volumes: dict[Name, FlatVolumeShape] = Field(default_factory=dict)
    ensure: _Ensure = "present"
    followsymlinks: Flag = True
    createonly: Flag = True


class Document(Shape):
    """A whole `lvm` section as documents write it."""

    volume_groups: dict[Name, GroupShape] = Field(default_factory=dict)
    physical_volumes: dict[_Device, DeviceShape] = Field(default_factory=dict)
    logical_volumes: dict[Name, FlatVolumeShape] = Field(default_factory=dict)
    references: dict[_Who, _Target] = Field(default_factory=dict)


READER: Final = Reader(
    SECTION,
    Document,
    (
        ("volume_groups", "*", "volumes", "*"),
        ("volume_groups", "*", "logical_volumes", "*"),
        ("volume_groups", "*"),
        ("physical_volumes", "*"),
        ("logical_volumes", "*"),
        ("references", "*"),
    ),
)
