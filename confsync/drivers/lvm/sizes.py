"""Sizes as operators write them, and as extents.

Separate because LVM counts in extents and people do not: what is written is read once, exactly,
rounded up once, and shown as it was rounded. All suffixes are of 1024, in either case, as LVM
takes them; a size without one is refused, since LVM would take it for MiB.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from confsync.drivers.lvm.found import Volume
from confsync.model.shapes import fault, shown

SECTOR_BYTES: Final = 512
MIB: Final = 1024**2
GIB: Final = 1024**3
MAX_BYTES: Final = 8 * 1024**6
"""8 EiB: what LVM can address."""
FIRST_EXTENT_BYTES: Final = MIB
"""Where the first extent of a device begins, as `pvcreate` is told."""
FS_SLACK_BYTES: Final = 4 * MIB
"""How much smaller than its volume a file system may be: a last, too small group is left out."""
EXTENT_MIN_BYTES: Final = 128 * 1024
_UNITS: Final = {
    "b": 1,
    "s": SECTOR_BYTES,
    **{letter: 1024**power for power, letter in enumerate("kmgtpe", start=1)},
}
_SIZE: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([bskmgtpe])(?:i?b)?", re.ASCII | re.IGNORECASE)
_PERCENT: Final = re.compile(r"([0-9]+)%(free|vg)", re.ASCII | re.IGNORECASE)
_BARE: Final = re.compile(r"[0-9]+(\.[0-9]+)?", re.ASCII)
_COMMA: Final = re.compile(r"([0-9]+),([0-9]+)(.*)", re.ASCII)
_HINT: Final = "write it like 260GiB, 40G, 512MiB, or 100%FREE"
_NAMES: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


@dataclass(frozen=True, slots=True)
class Size:
    """How large a volume shall be: bytes, or a share that is resolved once, when it is made.

    Shape: `percent` 0 = it is bytes; `of` is ``FREE`` or ``VG``.
    """

    size_bytes: int = 0
    percent: int = 0
    of: str = ""

    def __str__(self) -> str:
        """Return it as documents write it; reading that gives it back."""
        return f"{self.percent}%{self.of}" if self.percent else exact(self.size_bytes)


ALL_FREE: Final = Size(percent=100, of="FREE")


def read_size(value: object) -> Size:
    """Return the size of a volume."""
    if isinstance(value, str) and (found := _PERCENT.fullmatch(value)):
        percent, of = int(found[1]), found[2].upper()
        if not 1 <= percent <= 100:  # noqa: PLR2004 - LVM would clip it without a word
            message = f"{shown(value)} is not between 1 and 100 percent"
            raise fault("CS-V015", message, f"did you mean 100%{of}?")
        return Size(percent=percent, of=of)
    if isinstance(value, str) and "%" in value:
        raise fault("CS-V014", f"{shown(value)} is not a size", "percentages are of FREE or VG")
    return Size(read_bytes(value))


def read_bytes(value: object) -> int:
    """Return a size that is no share: whole bytes, rounded up."""
    text = str(value) if type(value) in (int, float) else value
    if not isinstance(text, str):
        raise fault("CS-V014", f"{shown(value)} is not a size", _HINT)
    if _BARE.fullmatch(text):
        raise fault("CS-V014", f"{shown(text)} has no unit", f"did you mean {text}GiB?")
    if comma := _COMMA.fullmatch(text):
        hint = f"did you mean {comma[1]}.{comma[2]}{comma[3]}?"
        raise fault("CS-V014", f"{shown(value)} has a comma in it", hint)
    found = _SIZE.fullmatch(text)
    if not found:
        raise fault("CS-V014", f"{shown(value)} is not a size", _HINT)
    size_bytes = -(-Fraction(found[1]) * _UNITS[found[2].lower()] // 1)
    if not 0 < size_bytes <= MAX_BYTES:
        raise fault("CS-V015", f"{shown(value)} is not between 1 byte and 8 EiB", _HINT)
    return int(size_bytes)


def read_headroom(value: object) -> int:
    """Return what shall stay free in a group; 0 needs no unit."""
    return 0 if value == 0 and type(value) is int else read_bytes(value)


def read_extent(value: object) -> int:
    """Return the size of an extent: LVM takes multiples of 128 KiB, and powers of two are usual."""
    size_bytes = read_bytes(value)
    if size_bytes < EXTENT_MIN_BYTES or size_bytes > GIB or size_bytes & (size_bytes - 1):
        message = f"{shown(value)} cannot be the size of an extent"
        raise fault("CS-V016", message, "use a power of two from 128KiB to 1GiB; 4MiB is usual")
    return size_bytes


def extents_of(size_bytes: int, extent_bytes: int) -> int:
    """Return how many extents hold so many bytes."""
    return -(-size_bytes // extent_bytes)


def extents_on(device_bytes: int, extent_bytes: int) -> int:
    """Return how many extents a device gives to a new group."""
    return max(0, (device_bytes - FIRST_EXTENT_BYTES) // extent_bytes)


def fills(volume: Volume, extent_bytes: int) -> bool:
    """Tell whether a file system is as large as its volume, as far as its kind can be."""
    size_bytes = volume.extents * extent_bytes
    slack = max(FS_SLACK_BYTES, extent_bytes)
    return volume.fs_bytes is not None and size_bytes - volume.fs_bytes < slack


def exact(size_bytes: int) -> str:
    """Return a size as documents write it, without loss."""
    power = 0
    while size_bytes and size_bytes % 1024 == 0 and power < len(_NAMES) - 1:
        size_bytes, power = size_bytes // 1024, power + 1
    return f"{size_bytes}{_NAMES[power]}"


def told(size_bytes: int) -> str:
    """Return a size as people read it: ``260 GiB``, ``31.25 GiB``; about, where it must be."""
    power = 0
    while power < len(_NAMES) - 1 and size_bytes >= 1024 ** (power + 1):
        power += 1
    number = Fraction(size_bytes, 1024**power)
    hundredths = round(number * 100)
    about = "" if Fraction(hundredths, 100) == number else "~"
    text = f"{hundredths // 100}.{hundredths % 100:02}".rstrip("0").rstrip(".")
    return f"{about}{text} {_NAMES[power]}"
