"""Names of groups, volumes and tags: what LVM takes, what we make, and what is another's.

Separate because a wrong name is refused late by LVM, or taken by a program that believes it to be
its own: Nova removes every volume that begins with the UUID of a server it deletes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from confsync.model.limits import RETIRED_KEPT_S
from confsync.model.shapes import fault, shown

LVM_CHARS: Final = 127
OWN_CHARS: Final = 63
TRASH: Final = "trash"
_ANY: Final = re.compile(rf"[A-Za-z0-9+_.][A-Za-z0-9+_.-]{{0,{LVM_CHARS - 1}}}", re.ASCII)
_OWN: Final = re.compile(rf"[a-z0-9][a-z0-9_.+]{{0,{OWN_CHARS - 1}}}", re.ASCII)
_TAG: Final = re.compile(r"[A-Za-z0-9._+/=!:&#][A-Za-z0-9._+/=!:&#-]{0,1023}", re.ASCII)
_TRASHED: Final = re.compile(rf"{TRASH}\.([0-9]{{1,12}})\.(.+)", re.ASCII)
_UUID: Final = r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}"
_LV_UUID: Final = re.compile(r"[A-Za-z0-9]{6}(?:-[A-Za-z0-9]{4}){5}-[A-Za-z0-9]{6}", re.ASCII)
_STARTS: Final = ("pvmove", "snapshot")
_PARTS: Final = (
    *("_cdata", "_cmeta", "_corig", "_cpool", "_cvol", "_wcorig", "_mimage", "_mlog", "_rimage"),
    *("_rmeta", "_tdata", "_tmeta", "_vdata", "_imeta", "_iorig", "_pmspare", "_vorigin"),
)
_OTHERS: Final = (
    ("Nova", re.compile(rf"{_UUID}_.*")),
    ("Cinder", re.compile(rf"(volume-|_snapshot-|clone-snap-|clone-vol-).*|.*{_UUID}.*_del")),
    ("ceph", re.compile(rf"(osd-(block|db|wal|data)-|ceph-).*{_UUID}.*")),
    ("LVM", re.compile(r"lvol[0-9]+")),
)


def read_name(value: object) -> str:
    """Return the name of a group or volume that LVM knows, or could know."""
    if not isinstance(value, str) or not _ANY.fullmatch(value) or value in (".", ".."):
        hint = f"use 1 to {LVM_CHARS} of A-Z a-z 0-9 + _ . -, and no dash first"
        raise fault("CS-V110", f"{shown(value)} cannot be a name in LVM", hint)
    if reserved := next((part for part in _PARTS if part in value), ""):
        raise fault("CS-V111", f"{shown(value)} is reserved: LVM uses {reserved} for its own parts")
    if start := next((part for part in _STARTS if value.startswith(part)), ""):
        raise fault("CS-V111", f"{shown(value)} is reserved: LVM's own names begin with {start}")
    if owner := owner_of(value):
        hint = f"{owner} may take the volume for its own"
        raise fault("CS-V112", f"{shown(value)} is a name that {owner} gives", hint)
    if value.startswith(f"{TRASH}."):
        hint = "name the volume as it was called, with retire: true and remove: UUID"
        raise fault("CS-V113", f"{shown(value)} is the name of a volume that was retired", hint)
    return value


def owner_of(name: str) -> str:
    """Return who gives such names to what is his; empty = nobody that we know."""
    return next((owner for owner, pattern in _OTHERS if pattern.fullmatch(name)), "")


def unfit(name: str) -> str:
    """Return why a name is not given to something new; empty = it may be."""
    if _OWN.fullmatch(name):
        return ""
    return f"new names are 1 to {OWN_CHARS} of a-z 0-9 _ . +, a letter or digit first, and no dash"


def read_tag(value: object) -> str:
    """Return a tag; ours are not for documents."""
    if not isinstance(value, str) or not _TAG.fullmatch(value):
        hint = "use letters, digits, and . _ + / = ! : & # -; no comma, no space, no @"
        raise fault("CS-V114", f"{shown(value)} cannot be a tag in LVM", hint)
    if value.startswith("confsync."):
        raise fault("CS-V114", f"{shown(value)} is a tag of confsync's own", "leave it out")
    return value


def read_uuid(value: object) -> str:
    """Return the UUID of a volume, as `lvs -o lv_uuid` prints it."""
    if not isinstance(value, str) or not _LV_UUID.fullmatch(value):
        hint = "name the retired volume's own UUID: lvs -o lv_name,lv_uuid"
        raise fault("CS-V115", f"{shown(value)} is not the UUID of a volume", hint)
    return value


@dataclass(frozen=True, slots=True)
class Trash:
    """What the name of a retired volume says: how it was called, and when it was retired."""

    name: str
    at: int

    @property
    def due(self) -> int:
        """When it may be removed at the earliest, seconds since 1970."""
        return self.at + RETIRED_KEPT_S

    def __str__(self) -> str:
        return f"{TRASH}.{self.at}.{self.name}"


def trash_of(name: str) -> Trash | None:
    """Return what the name of a retired volume says, None = it is not one."""
    found = _TRASHED.fullmatch(name)
    return Trash(found[2], int(found[1])) if found else None
