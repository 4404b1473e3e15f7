"""The block devices of a host, as lsblk tells them: how they are called and what uses them.

Separate because a device has many names and only the real path is compared; and because every
use of a device that we did not make is a reason to leave it alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from confsync.model.ids import Json

FIELDS: Final = (
    *("PATH", "KNAME", "MAJ:MIN", "SIZE", "TYPE", "RO", "FSTYPE", "UUID", "LABEL", "PTTYPE"),
    "MOUNTPOINTS",
)
COMMAND: Final = ("lsblk", "--json", "--bytes", "--all", "--output", ",".join(FIELDS))
MEMBER: Final = "LVM2_member"
_HOLDERS: Final[Mapping[str, str]] = {
    "part": "has partitions",
    "crypt": "holds an open LUKS volume",
    "mpath": "is one of several paths to {name}",
    "lvm": "",
}


@dataclass(frozen=True, slots=True)
class Block:
    """One block device; `names` are the stable ones, `holders` what lsblk shows upon it."""

    path: str
    number: str
    size_bytes: int
    kind: str
    names: tuple[str, ...]
    holders: tuple[tuple[str, str], ...]
    signature: str
    uuid: str
    table: str
    mounted: tuple[str, ...]
    read_only: bool

    def uses(self, *, physical_volume: bool) -> Iterator[str]:
        """Yield what is known against this device's being blank."""
        if self.kind == "lvm":
            yield "is a logical volume"
        if not self.size_bytes:
            yield "has no size"
        if self.read_only:
            yield "is read-only"
        told = (
            _HOLDERS.get(kind, "is a part of {name}").format(name=name)
            for kind, name in self.holders
        )
        yield from dict.fromkeys(filter(None, told))
        for where in self.mounted:
            yield "is used as swap" if where == "[SWAP]" else f"is mounted at {where}"
        if self.table and self.kind != "part" and not any(k == "part" for k, _ in self.holders):
            yield f"has a partition table ({self.table})"
        if self.signature and not (physical_volume and self.signature == MEMBER):
            yield f"holds a signature ({self.signature})"


@dataclass(frozen=True, slots=True)
class Blocks:
    """All of them; `numbers` maps every name of a device to its ``major:minor``."""

    all: tuple[Block, ...]
    numbers: Mapping[str, str]
    _paths: Mapping[str, str]

    @classmethod
    def of(cls, told: Json, links: Mapping[str, str]) -> Blocks:
        """Read lsblk's JSON; `links` maps names to real paths. Raises KeyError."""
        names: dict[str, list[str]] = {}
        for name, path in links.items():
            names.setdefault(path, []).append(name)
        found: dict[str, Block] = {}
        numbers: dict[str, str] = {}
        paths = dict(links)
        for row in _flat(told["blockdevices"]):
            real = f"/dev/{row['kname']}"
            number = str(row["maj:min"]).strip()
            every = {real, str(row["path"]), *names.get(real, ())}
            found.setdefault(real, _block(row, real, number, tuple(sorted(every - {real}))))
            paths |= dict.fromkeys(every, real)
            numbers |= dict.fromkeys(every, number)
            numbers |= {
                f"{key.upper()}={row[key]}": number for key in ("uuid", "label") if row[key]
            }
        return cls(tuple(found[path] for path in sorted(found)), numbers, paths)

    @property
    def twins(self) -> frozenset[str]:
        """Return the UUIDs of physical volumes that more than one device bears.

        Why here: lvm itself looks at one of them only, as long as its hints tell it to.
        """
        counts = Counter(one.uuid for one in self.all if one.signature == MEMBER)
        return frozenset(uuid for uuid, count in counts.items() if uuid and count > 1)

    def real(self, name: str) -> str:
        """Return the real path behind a name; of an unknown one, itself."""
        return self._paths.get(name, name)


def _block(row: Json, real: str, number: str, names: tuple[str, ...]) -> Block:
    return Block(
        path=real,
        number=number,
        size_bytes=int(row["size"] or 0),
        kind=str(row["type"]),
        names=names,
        holders=tuple((str(one["type"]), str(one["path"])) for one in row.get("children", ())),
        signature=str(row["fstype"] or ""),
        uuid=str(row["uuid"] or ""),
        table=str(row["pttype"] or ""),
        mounted=tuple(str(one) for one in row["mountpoints"] if one),
        read_only=bool(row["ro"]),
    )


def _flat(rows: Json) -> Iterator[Json]:
    for row in rows:
        yield row
        yield from _flat(row.get("children", ()))
