"""Where volumes are mounted now and at the next boot, and the units of ours that do it.

Separate because a mount is known by four hands: the kernel, systemd's units, fstab and swap. They
are joined by device number alone: after a rename the kernel still shows a volume's old name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from confsync.drivers.lvm.found import Mount

SWAP: Final = "swap"
HEADER: Final = "# Written by confsync; changes are overwritten."
"""The first line of a unit of ours: without it, it is another hand's."""
_OCTAL: Final = re.compile(r"\\([0-7]{3})")
_PLAIN: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:_")
_MOUNT_FIELDS: Final = 5
_FSTAB_FIELDS: Final = 3


class Mounts:
    """All mounts of a host; `numbers` maps the names of devices to their ``major:minor``."""

    def __init__(
        self,
        mountinfo: str,
        swaps: str,
        fstab: str,
        units: Mapping[str, str],
        numbers: Mapping[str, str],
    ) -> None:
        self._found: dict[str, dict[str, Mount]] = {}
        for number, where in _kernel(mountinfo, swaps, numbers):
            self._add(number, Mount(where=where, active=True))
        for line, spec, where in _fstab(fstab):
            self._add(numbers.get(spec, ""), Mount(where=where, line=line))
        for name, text in units.items():
            what, where = _unit_says(name, text)
            ours = text.startswith(HEADER)
            told = Mount(where=where, unit=name if ours else "", text=text if ours else "")
            line = "" if ours else name
            self._add(numbers.get(what, ""), told.model_copy(update={"line": line}))

    def _add(self, number: str, told: Mount) -> None:
        """Join what several hands say of one place."""
        if not number or not told.where:
            return
        places = self._found.setdefault(number, {})
        had = places.get(told.where, Mount(where=told.where))
        places[told.where] = Mount(
            where=told.where,
            unit=had.unit or told.unit,
            text=had.text or told.text,
            line=had.line or told.line,
            active=had.active or told.active,
        )

    def of(self, number: str) -> tuple[Mount, ...]:
        """Return the mounts of a device."""
        places = self._found.get(number, {})
        return tuple(places[where] for where in sorted(places))


def unit_name(where: str, *, what: str = "") -> str:
    """Return the name that systemd demands of the unit for a place; of swap, for its device.

    Source: systemd.unit(5), string escaping for inclusion in unit names.
    """
    path, ending = (what, "swap") if where == SWAP else (where, "mount")
    plain = "/".join(part for part in path.split("/") if part)
    letters = (_escaped(byte, first=not at) for at, byte in enumerate(plain.encode()))
    return f"{''.join(letters) or '-'}.{ending}"


def _escaped(byte: int, *, first: bool) -> str:
    letter = chr(byte)
    if letter == "/":
        return "-"
    kept = letter in _PLAIN or (letter == "." and not first)
    return letter if kept else f"\\x{byte:02x}"


def unit_text(what: str, where: str, fs: str, options: tuple[str, ...]) -> str:
    """Return the unit that mounts a volume, or swaps on it; a boot goes on without it."""
    words = ",".join(dict.fromkeys(("nofail", *options)))
    unit = f"{HEADER}\n[Unit]\nDescription=confsync: {what}\n"
    target = "swap.target" if where == SWAP else "local-fs.target"
    if where == SWAP:
        body = f"[Swap]\nWhat={what}\nOptions={words}\n"
    else:
        body = f"[Mount]\nWhat={what}\nWhere={where}\nType={fs}\nOptions={words}\n"
    return f"{unit}\n{body}\n[Install]\nWantedBy={target}\n"


def options_of(text: str) -> str:
    """Return the options that a unit's text sets."""
    return next(
        (
            line.removeprefix("Options=")
            for line in text.splitlines()
            if line.startswith("Options=")
        ),
        "",
    )


def _kernel(mountinfo: str, swaps: str, numbers: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield device number and place of what is mounted whole, and of swap."""
    for line in mountinfo.splitlines():
        words = line.split(" ")
        if len(words) > _MOUNT_FIELDS and words[3] == "/":
            yield words[2], _unescaped(words[4])
    for line in swaps.splitlines()[1:]:
        yield numbers.get(_unescaped(line.split()[0]), "") if line.split() else "", SWAP


def _fstab(text: str) -> Iterator[tuple[str, str, str]]:
    """Yield each line of fstab with its device and place."""
    for line in text.splitlines():
        words = line.split()
        if len(words) < _FSTAB_FIELDS or words[0].startswith("#"):
            continue
        where = SWAP if words[2] == SWAP else _unescaped(words[1])
        yield line.strip(), _unescaped(words[0]).replace('"', ""), where


def _unit_says(name: str, text: str) -> tuple[str, str]:
    """Return a unit's device and place."""
    said = {
        key.strip(): value.strip()
        for line in text.splitlines()
        if not line.startswith(("#", ";"))
        for key, _, value in (line.partition("="),)
    }
    where = SWAP if name.endswith(".swap") else said.get("Where", "")
    return said.get("What", ""), where


def _unescaped(text: str) -> str:
    """Return a text of the kernel's or fstab's, with its octal escapes read."""
    raw = _OCTAL.sub(lambda found: chr(int(found[1], 8)), text)
    return raw.encode("latin-1", "surrogateescape").decode(errors="replace") if raw != text else raw
