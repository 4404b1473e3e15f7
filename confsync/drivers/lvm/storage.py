"""What a host's storage shall be, as the `lvm` section's value.

Separate because rules and plans work on it and nothing can be of the wrong type any more. However
a document wrote it, the value is the same; only faults need to know where it was written.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from confsync.drivers.lvm.mounts import SWAP
from confsync.drivers.lvm.sizes import ALL_FREE, Size, exact
from confsync.drivers.lvm.step import FileSystem
from confsync.model.ids import Json, ObjectId, Path, SectionName

SECTION: Final = SectionName("lvm")
VOLUMES: Final = f"{SECTION}.volumes"
"""The set within which a budget counts removed volumes."""
_FLAT_WORDS: Final = {"fs": "fs_type", "mount": "mountpath", "devices": "physical_volumes"}


@dataclass(frozen=True, slots=True)
class Written:
    """Where a part of the value stands in the operator's document, and in which words."""

    path: Path
    flat: bool = False

    def place(self, word: str = "") -> Path:
        """Return the path of the part, or of one of its keys."""
        key = _FLAT_WORDS.get(word, word) if self.flat else word
        return (SECTION, *self.path, key) if key else (SECTION, *self.path)


@dataclass(frozen=True, slots=True)
class WantedVolume:
    """A logical volume.

    Shape: `mount` is a folder, ``swap``, or empty = nothing is mounted; `retire` = it is renamed
    aside; `remove` is the UUID of the retired volume that may go for good (empty = none).
    """

    name: str
    size: Size = ALL_FREE
    fs: FileSystem = FileSystem.NONE
    mount: str = ""
    options: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    retire: bool = False
    remove: str = ""
    at: Written = field(default=Written(()), compare=False)

    def tree(self) -> Json:
        """Return it as its part of a document."""
        said = {
            "size": str(self.size),
            "fs": str(self.fs),
            "mount": self.mount or "none",
            "options": list(self.options),
            "tags": list(self.tags),
            "retire": self.retire,
        }
        return {**said, "remove": self.remove} if self.remove else said


@dataclass(frozen=True, slots=True)
class WantedGroup:
    """A volume group; no `devices` = whichever it has, `extent_bytes` None = the usual, or as is.

    Units: `headroom_bytes` stay free after every change.
    """

    name: str
    devices: tuple[str, ...] = ()
    extent_bytes: int | None = None
    headroom_bytes: int = 0
    volumes: tuple[WantedVolume, ...] = ()
    at: Written = field(default=Written(()), compare=False)

    def tree(self) -> Json:
        """Return it as its part of a document."""
        said = {
            "devices": list(self.devices),
            "headroom": exact(self.headroom_bytes) if self.headroom_bytes else 0,
            "volumes": {one.name: one.tree() for one in self.volumes},
        }
        return {**said, "extent_size": exact(self.extent_bytes)} if self.extent_bytes else said


@dataclass(frozen=True, slots=True)
class Reference:
    """What relies on a volume: a name for people, and ``group/volume``."""

    name: str
    target: str


@dataclass(frozen=True, slots=True)
class Storage:
    """A host's volume groups; `notes` are warnings that come of how it was written."""

    groups: tuple[WantedGroup, ...] = ()
    references: tuple[Reference, ...] = ()
    notes: tuple[str, ...] = field(default=(), compare=False)

    @property
    def pairs(self) -> Iterator[tuple[WantedGroup, WantedVolume]]:
        """Yield every volume with its group."""
        return ((group, volume) for group in self.groups for volume in group.volumes)

    def tree(self) -> Json:
        """Return the explicit document, which reading gives back."""
        return {
            "volume_groups": {one.name: one.tree() for one in self.groups},
            "references": {one.name: one.target for one in self.references},
        }

    def inventory(self) -> frozenset[ObjectId]:
        """Return the volumes that this value keeps."""
        return frozenset(
            object_id(group.name, volume.name) for group, volume in self.pairs if not volume.retire
        )


def object_id(group: str, volume: str) -> ObjectId:
    """Return the identity of a volume."""
    return ObjectId("volume", VOLUMES, f"{group}/{volume}")


def usual_mount(fs: FileSystem) -> str:
    """Return where a volume goes of which a document does not say it."""
    return SWAP if fs is FileSystem.SWAP else ""
