"""What lvm, lsblk and the kernel say of a host's storage, as a `Host`.

Separate because these are the formats of others: lvm has two dialects of JSON, and neither is
stable. Invariant: equal storage gives an equal `Host`, digests included, whichever dialect told it;
what is cut off or lacks a field is refused, never read as "there is nothing".
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Final

from confsync.drivers.lvm.blocks import Block, Blocks
from confsync.drivers.lvm.found import Device, Group, Host, Segment, Volume
from confsync.drivers.lvm.mounts import Mounts
from confsync.model.errors import HostBusy
from confsync.model.ids import Json, canonical, digest

FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "vg": (
        *("vg_uuid", "vg_name", "vg_seqno", "vg_extent_size", "vg_extent_count", "vg_free_count"),
        *("vg_missing_pv_count", "vg_exported", "vg_permissions", "vg_systemid", "vg_shared"),
        *("vg_clustered", "vg_tags"),
    ),
    "pv": ("pv_uuid", "pv_name", "dev_size", "pv_missing", "pv_duplicate", "pv_allocatable"),
    "lv": (
        *("lv_uuid", "lv_name", "lv_layout", "lv_role", "lv_attr", "lv_size", "lv_tags"),
        *("lv_active", "lv_device_open", "lv_suspended", "lv_inactive_table"),
        *("lv_health_status", "lv_kernel_major", "lv_kernel_minor"),
    ),
    "pvseg": ("pvseg_start",),
    "seg": ("lv_uuid", "seg_size_pe", "seg_pe_ranges"),
}
"""What is asked of lvm, by the part of its report; all of it is known since 2.03.16."""

COMMAND: Final = (
    *("fullreport", "--all", "--foreign", "--shared", "--units", "b", "--nosuffix"),
    *(
        word
        for part, names in FIELDS.items()
        for word in ("--configreport", part, "--options", ",".join(names))
    ),
)
"""The words after the binary; ``--reportformat json`` or ``json_std`` is to be added."""

_UNKNOWN: Final = (None, "", "unknown", "-1", -1, "undefined")
_RANGE: Final = re.compile(r"(?P<device>.+):(?P<first>[0-9]+)-(?P<last>[0-9]+)")
_TROUBLES: Final[Mapping[str, str]] = {
    "s": "it is suspended: its input and output stand still",
    "I": "it is an invalid snapshot",
    "S": "it is an invalid snapshot, and suspended",
    "m": "a snapshot could not be merged",
    "M": "a snapshot could not be merged, and it is suspended",
    "d": "its device has no table",
    "i": "its device has an inactive table: a change stopped half-way",
    "c": "it needs a check",
    "C": "it needs a check, and is suspended",
}
"""The fifth letter of `lv_attr`, where it is neither a(ctive), - nor X (unknown)."""
_ATTRIBUTES: Final = 10
_STATE, _HEALTH = 4, 8
TWICE: Final = "a physical volume is there twice: a disk was cloned, or has several paths"
_UNMATCHED: Final = "the table that runs is not what the group's metadata say"
MENDED_BY: Final = "to mend it: "
_MOVED: Final = (
    "extents are being moved (pvmove): wait for that; if its pvmove has died, "
    f"{MENDED_BY}pvmove (it goes on) or pvmove --abort (it goes back)"
)
REFRESHED: Final = (_TROUBLES["s"], _TROUBLES["d"], _TROUBLES["i"], _UNMATCHED)
"""What `lvchange --refresh` cures: it loads the tables once more from the metadata."""


class Unreadable(HostBusy):
    """What a tool reports is not a whole report."""


@dataclass(frozen=True, slots=True)
class Readings:
    """All that a driver read, as it was told.

    Shape: `report` is lvm's JSON, `blocks` that of lsblk (`blocks.COMMAND`), `mountinfo`, `swaps`
    and `fstab` are those files' texts, `units` the texts of systemd's mount and swap units by
    file name; `links` maps stable names (``/dev/disk/by-id/...``) to real paths; `probes` maps
    ``major:minor`` to what lies on a volume and its size in bytes (None = unknown): who was not
    probed is absent; `system_id` is this host's own, as ``lvm systemid`` says.
    """

    report: str
    blocks: str
    mountinfo: str = ""
    swaps: str = ""
    fstab: str = ""
    units: Mapping[str, str] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    probes: Mapping[str, tuple[str, int | None]] = field(default_factory=dict)
    system_id: str = ""


def host_of(
    readings: Readings, *, binary: str, at: int, allowed: tuple[str, ...], adopted: tuple[str, ...]
) -> Host:
    """Return the host's storage. Raises Unreadable."""
    parts = tuple(_parts(readings.report))
    told = _json(readings.blocks, "lsblk")
    try:
        blocks = Blocks.of(told, readings.links)
    except (KeyError, TypeError, ValueError) as fault:
        raise Unreadable(f"lsblk's report is not what was asked for: {fault}") from fault
    mounts = Mounts(
        readings.mountinfo, readings.swaps, readings.fstab, readings.units, blocks.numbers
    )
    twice = {one for one, count in Counter(map(_name, parts)).items() if one and count > 1}
    reader = _Reader(readings, blocks, mounts, twice)
    return Host(
        binary=binary,
        at=at,
        allowed=allowed,
        adopted=adopted,
        groups=tuple(
            reader.group(part) for part in sorted(parts, key=_name) if _name(part) in allowed
        ),
        devices=tuple(_devices(blocks, parts)),
    )


def _json(text: str, tool: str) -> Json:
    if not text.strip():
        raise Unreadable(f"{tool} reported nothing")
    try:
        return json.loads(text)
    except ValueError as fault:
        raise Unreadable(f"the report of {tool} is not whole: {fault}") from fault


def _parts(text: str) -> Iterator[Mapping[str, list[Json]]]:
    """Yield the report of each group; that of physical volumes in none has no ``vg``."""
    told = _json(text, "lvm")
    parts = told.get("report") if isinstance(told, Mapping) else None
    if not isinstance(parts, list):
        raise Unreadable("lvm's report has no list 'report'")
    for part in parts:
        if not isinstance(part, Mapping):
            raise Unreadable("lvm's report holds something that is no group")
        _require_fields(part)
        yield part


def _require_fields(part: Mapping[str, Json]) -> None:
    wanted = FIELDS if part.get("vg") else {"pv": FIELDS["pv"]}
    for name, fields in wanted.items():
        rows = part.get(name, None if name in ("vg", "pv", "lv") else [])
        if not isinstance(rows, list):
            raise Unreadable(f"lvm's report lacks the list {name!r}")
        for row in rows:
            lacking = [one for one in fields if one not in row]
            if lacking:
                raise Unreadable(f"lvm's report of {name!r} lacks {', '.join(lacking)}")


def _name(part: Mapping[str, list[Json]]) -> str:
    groups = part.get("vg") or [{}]
    return str(groups[0].get("vg_name", ""))


def _devices(blocks: Blocks, parts: tuple[Mapping[str, list[Json]], ...]) -> Iterator[Device]:
    """Yield every block device, with the physical volume that it is."""
    members = {
        blocks.real(str(row["pv_name"])): (str(row["pv_uuid"]), _name(part))
        for part in parts
        for row in part["pv"]
        if row["pv_uuid"]
    }
    for block in blocks.all:
        pv_uuid, vg = members.get(block.path, ("", ""))
        yield Device(
            path=block.path,
            names=block.names,
            size_bytes=block.size_bytes,
            pv_uuid=pv_uuid,
            vg=vg,
            uses=tuple(_uses(block, pv_uuid, vg)),
        )


def _uses(block: Block, pv_uuid: str, vg: str) -> Iterator[str]:
    if vg:
        yield f"is a physical volume of {vg}"
    elif pv_uuid:
        yield "is a physical volume already, of no group"
    yield from block.uses(physical_volume=bool(pv_uuid))


@dataclass(frozen=True, slots=True)
class _Reader:
    """Turns lvm's rows into groups."""

    readings: Readings
    blocks: Blocks
    mounts: Mounts
    twice: AbstractSet[str]

    def group(self, part: Mapping[str, list[Json]]) -> Group:
        row = part["vg"][0]
        extent_bytes = _number(row["vg_extent_size"])
        devices = {str(one["pv_name"]): str(one["pv_uuid"]) for one in part["pv"]}
        places: dict[str, list[Segment]] = {}
        for one in part.get("seg", ()):
            places.setdefault(str(one["lv_uuid"]), []).extend(_segments(one, devices))
        rows = [one for one in part["lv"] if not str(one["lv_name"]).startswith("[")]
        group = Group(
            name=str(row["vg_name"]),
            uuid=str(row["vg_uuid"]),
            extent_bytes=extent_bytes,
            extents=_number(row["vg_extent_count"]),
            free=_number(row["vg_free_count"]),
            digest="",
            tags=_words(row["vg_tags"]),
            trouble=tuple(self._trouble(part)),
            devices=tuple(sorted(map(self.blocks.real, devices))),
            volumes=tuple(
                self._volume(one, extent_bytes, tuple(places.get(str(one["lv_uuid"]), ())))
                for one in sorted(rows, key=lambda one: str(one["lv_name"]))
            ),
        )
        return group.model_copy(update={"digest": _digest(group, _number(row["vg_seqno"]))})

    def _trouble(self, part: Mapping[str, list[Json]]) -> Iterator[str]:
        if _name(part) in self.twice:
            yield "another group bears the same name"
        twins = self.blocks.twins
        if any(_flag(one["pv_duplicate"]) or one["pv_uuid"] in twins for one in part["pv"]):
            yield TWICE
        yield from _trouble(part, self.readings.system_id)

    def _volume(self, row: Json, extent_bytes: int, places: tuple[Segment, ...]) -> Volume:
        major, minor = row["lv_kernel_major"], row["lv_kernel_minor"]
        device = "" if major in _UNKNOWN or minor in _UNKNOWN else f"{major}:{minor}"
        fs, fs_bytes = self.readings.probes.get(device, (None, None))
        size_bytes = _number(row["lv_size"])
        if size_bytes % extent_bytes:
            raise Unreadable(f"lvm's size of {row['lv_name']} is no whole number of extents")
        return Volume(
            name=str(row["lv_name"]),
            uuid=str(row["lv_uuid"]),
            extents=size_bytes // extent_bytes,
            layout=_layout(row),
            tags=_words(row["lv_tags"]),
            active=_flag(row["lv_active"]),
            open=_flag(row["lv_device_open"]),
            device=device,
            fs=fs,
            fs_bytes=fs_bytes,
            health="; ".join(_health(row)),
            mounts=self.mounts.of(device),
            segments=places,
        )


def _digest(group: Group, seqno: int) -> str:
    """Return what changes with a group, but not with who happens to use its volumes."""
    users = {"open": False, "fs": None, "fs_bytes": None, "mounts": ()}
    volumes = tuple(one.model_copy(update=users) for one in group.volumes)
    told = group.model_copy(update={"volumes": volumes}).model_dump(mode="json")
    return str(digest(canonical([seqno, told])))


def _layout(row: Json) -> str:
    """Return LVM's word, with what makes a linear volume more than one."""
    roles = [one for one in _words(row["lv_role"]) if one in ("origin", "snapshot", "pvmove")]
    return ",".join((*_words(row["lv_layout"], ordered=True), *roles))


def _health(row: Json) -> Iterator[str]:
    letters = str(row["lv_attr"])
    if len(letters) < _ATTRIBUTES:
        raise Unreadable(f"lvm's attributes of {row['lv_name']} are not whole: {letters!r}")
    if letters[_STATE] in _TROUBLES:
        yield _TROUBLES[letters[_STATE]]
    elif _flag(row["lv_suspended"]):
        yield _TROUBLES["s"]
    elif _flag(row["lv_inactive_table"]):
        yield _TROUBLES["i"]
    elif _flag(row["lv_active"]) and row["lv_kernel_major"] in _UNKNOWN:
        yield _TROUBLES["d"]  # lvm knows no letter for it, nor the device's number
    if letters[_HEALTH] == "X":
        yield _UNMATCHED
    elif row["lv_health_status"] not in _UNKNOWN:
        yield str(row["lv_health_status"])


def _trouble(part: Mapping[str, list[Json]], system_id: str) -> Iterator[str]:
    """Yield why nothing may be done in a group."""
    row = part["vg"][0]
    if _number(row["vg_missing_pv_count"]):
        yield "a physical volume is missing"
    if _flag(row["vg_exported"]):
        yield "it is exported"
    if str(row["vg_permissions"]) not in ("writeable", ""):
        yield "it is read-only"
    if row["vg_systemid"] not in (None, "", system_id):
        yield f"it belongs to another system, {row['vg_systemid']}"
    if _flag(row["vg_shared"]) or _flag(row["vg_clustered"]):
        yield "it is shared with other hosts"
    for one in part["lv"]:
        name = str(one["lv_name"])
        for fault in _health(one):
            yield f"{name}: {fault}"
        if name.startswith("[pvmove"):
            yield _MOVED
        elif name.startswith("[") and _flag(one["lv_active"]) and not _flag(one["lv_device_open"]):
            yield _alone(str(row["vg_name"]), name.strip("[]"))


def _alone(vg: str, part: str) -> str:
    """Return what to do about a hidden part that runs, and no volume holds it.

    Why by device-mapper: lvm refuses to start the volume while it runs, and to stop it as well.
    """
    device = "-".join(word.replace("-", "--") for word in (vg, part))
    return (
        f"{part}: it runs without its volume, which cannot start; {MENDED_BY}"
        f"dmsetup remove {device}, then activate the volume"
    )


def _segments(row: Json, devices: Mapping[str, str]) -> Iterator[Segment]:
    """Yield where a segment lies; only those of a linear volume are one run of extents."""
    for told in _words(row["seg_pe_ranges"], ordered=True):
        found = _RANGE.fullmatch(told)
        if found and found["device"] in devices:
            first, last = int(found["first"]), int(found["last"])
            yield Segment(pv_uuid=devices[found["device"]], start=first, extents=last - first + 1)


def _number(told: Json) -> int:
    try:
        return int(told)
    except (TypeError, ValueError) as fault:
        raise Unreadable(f"lvm reports {told!r} in place of a number") from fault


def _flag(told: Json) -> bool:
    """Return a truth that is told as 1, or as a word of its own; unknown counts as not so."""
    return told not in (*_UNKNOWN, 0, "0")


def _words(told: Json, *, ordered: bool = False) -> tuple[str, ...]:
    """Return a list that is told as such, or as one text."""
    found = told if isinstance(told, list) else re.split(r"[ ,]+", str(told or ""))
    words = [str(one) for one in found if one]
    return tuple(words if ordered else sorted(words))
