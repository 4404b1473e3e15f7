"""The steps of LVM, version 1: their arguments as values.

Separate because undo and commit may run in a newer process, long after the settings changed: all
they know is here, read back from the journal. `apply` of a step is a reversible act, `commit` its
forward-only tail (a grown file system, a confirmed removal).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from confsync.drivers.lvm.found import Segment
from confsync.model.errors import JournalTooNew
from confsync.model.ids import Json
from confsync.model.plan import Step

VERSION: Final = 1
MANAGED: Final = "confsync.managed"
"""The tag of what is ours; ``confsync.id=NAME`` beside it says what for, ``confsync.txn=NONCE``
which plan made it: undo destroys only what carries its own plan's nonce."""


class FileSystem(StrEnum):
    """What may be made on a volume."""

    NONE = "none"
    XFS = "xfs"
    EXT4 = "ext4"
    SWAP = "swap"


class _Act(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    binary: str
    vg: str
    vg_uuid: str = ""
    """Empty where an earlier step of the same plan makes the group."""
    vg_digest: str = ""
    """`Group.digest` of the reading that was planned on; empty with `vg_uuid`."""
    nonce: str
    """Names the plan that made it: hex digits, from the digest of what was read and wanted."""


class Member(BaseModel):
    """A device that becomes a physical volume: proved blank, and still this very device."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    name: str
    """As the document names it: a stable name, else the path."""
    size_bytes: int


class CreateGroup(_Act):
    """Undo: vgremove and pvremove, while it holds no volume."""

    kind: Literal["vg.create"] = "vg.create"
    members: tuple[Member, ...]
    extent_bytes: int


class ExtendGroup(_Act):
    """Undo: vgreduce and pvremove of members that hold nothing."""

    kind: Literal["vg.extend"] = "vg.extend"
    members: tuple[Member, ...]


class CreateVolume(_Act):
    """Makes volume and file system. Undo: lvremove of the volume with this nonce, if not open."""

    kind: Literal["lv.create"] = "lv.create"
    lv: str
    extents: int
    fs: FileSystem
    tags: tuple[str, ...] = ()


class MakeFileSystem(_Act):
    """mkfs on an owned volume without any signature. Undo: wipe what this very step wrote."""

    kind: Literal["fs.make"] = "fs.make"
    lv: str
    lv_uuid: str
    fs: FileSystem


class ExtendVolume(_Act):
    """lvextend; undo: back to the old extents, if no file system grew. Commit: grow `fs`."""

    kind: Literal["lv.extend"] = "lv.extend"
    lv: str
    lv_uuid: str
    old_extents: int
    new_extents: int
    segments: tuple[Segment, ...]
    fs: FileSystem
    mount: str = ""
    """Where it is mounted (xfs grows only so); empty = not mounted."""


class GrowFileSystem(_Act):
    """A file system that is smaller than its volume (a commit that a death cut off by hand).

    Apply and undo: nothing. Commit: grow it.
    """

    kind: Literal["fs.grow"] = "fs.grow"
    lv: str
    lv_uuid: str
    extents: int
    fs: FileSystem
    mount: str = ""


class ChangeTags(_Act):
    """Undo: the recorded tags again. Taking over puts our tags on like this, too."""

    kind: Literal["lv.tags"] = "lv.tags"
    lv: str
    lv_uuid: str
    old: tuple[str, ...]
    new: tuple[str, ...]


class Activate(_Act):
    """Undo: deactivate."""

    kind: Literal["lv.activate"] = "lv.activate"
    lv: str
    lv_uuid: str


class Retire(_Act):
    """Renames aside (`to`), no automatic activation, deactivated. Undo: all of it back."""

    kind: Literal["lv.retire"] = "lv.retire"
    lv: str
    lv_uuid: str
    to: str
    was_active: bool


class Remove(_Act):
    """The confirmed end of a retired volume. Apply and undo: nothing. Commit: wipe and lvremove."""

    kind: Literal["lv.remove"] = "lv.remove"
    lv: str
    lv_uuid: str


class MountVolume(_Act):
    """Writes a mount (or swap) unit of ours, and starts it. Undo: stops it, the old text again.

    Shape: `unit` is the file's name (``var-lib-nova-instances.mount``), `text` all of it, empty =
    the unit goes; `old` what stood there (empty = nothing).
    """

    kind: Literal["mount"] = "mount"
    lv: str
    unit: str
    where: str
    text: str
    old: str = ""


Act = (
    CreateGroup
    | ExtendGroup
    | CreateVolume
    | MakeFileSystem
    | ExtendVolume
    | GrowFileSystem
    | ChangeTags
    | Activate
    | Retire
    | Remove
    | MountVolume
)
_READER: Final[TypeAdapter[Act]] = TypeAdapter(Annotated[Act, Field(discriminator="kind")])


def act_of(step: Step) -> Act:
    """Read a step's arguments. Raises JournalTooNew."""
    try:
        if step.version != VERSION:
            raise JournalTooNew(f"a step {step.kind!r} of LVM has version {step.version}")
        return _READER.validate_python(step.args)
    except ValidationError as fault:
        raise JournalTooNew(f"a step {step.kind!r} of LVM cannot be read: {fault}") from fault


def args_of(act: Act) -> Json:
    """Return what `Step.args` holds of an act."""
    return act.model_dump(mode="json")
