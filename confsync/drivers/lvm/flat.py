"""From a document to the value, also from puppet-lvm's words and their defaults.

Separate because the flat maps are another's language: what it leaves unsaid has other defaults
than ours, and every one that is taken is told.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from confsync.drivers.lvm.mounts import SWAP
from confsync.drivers.lvm.shapes import Document, FlatVolumeShape, GroupShape, VolumeShape
from confsync.drivers.lvm.step import FileSystem
from confsync.drivers.lvm.storage import (
    Reference,
    Storage,
    WantedGroup,
    WantedVolume,
    Written,
    usual_mount,
)
from confsync.model.errors import Violation, Violations, nearest
from confsync.model.ids import Path, dotted

FLAT_FS: Final = FileSystem.EXT4
"""What puppet-lvm makes where no `fs_type` is said."""


def storage_of(document: Document) -> tuple[Storage, Violations]:
    """Return the value, and what could not be derived."""
    building = _Building(document)
    groups = tuple(building.group(name) for name in sorted(document.volume_groups))
    building.look_at_devices(groups)
    references = tuple(Reference(*item) for item in sorted(document.references.items()))
    return Storage(groups, references, tuple(building.notes)), tuple(building.faults)


class _Building:
    """A document on its way to the value; what is said against it and about it."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self.notes: list[str] = []
        self.faults: list[Violation] = []
        self._volumes: dict[str, list[WantedVolume]] = {}
        for name, flat in sorted(document.logical_volumes.items()):
            at = Written(("logical_volumes", name), flat=True)
            group = flat.volume_group
            if not group:
                self._fault("CS-V041", at.place("volume_group"), "missing", "it has no default")
            elif group not in document.volume_groups:
                known = nearest(group, document.volume_groups)
                self._fault("CS-V131", at.place("volume_group"), f"there is no {group}", known)
            else:
                self._volumes.setdefault(group, []).append(self._flat(name, flat, at))

    def group(self, name: str) -> WantedGroup:
        """Return a group with all its volumes."""
        shape = self._document.volume_groups[name]
        at = Written(("volume_groups", name), flat=bool(shape.physical_volumes))
        if shape.ensure == "absent":
            hint = "retire its volumes; the group itself stays"
            self._fault("CS-V134", at.place("ensure"), "a group is never removed", hint)
        if shape.devices and shape.physical_volumes:
            message = "devices and physical_volumes say the same"
            self._fault("CS-V135", at.place("devices"), message, "keep one of them")
        if not shape.createonly:
            self._note(at, "createonly is ignored: no device is ever taken out of a group")
        volumes = [*self._nested(shape, at), *self._volumes.get(name, ())]
        self._refuse_twins(volumes)
        return WantedGroup(
            name=name,
            devices=shape.devices or shape.physical_volumes,
            extent_bytes=shape.extent_size,
            headroom_bytes=shape.headroom,
            volumes=tuple(sorted(volumes, key=lambda one: one.name)),
            at=at,
        )

    def look_at_devices(self, groups: tuple[WantedGroup, ...]) -> None:
        """Compare the map of physical volumes with what groups are made of."""
        declared = self._document.physical_volumes
        used = {device for group in groups for device in group.devices}
        for device, shape in declared.items():
            at = Written(("physical_volumes", device), flat=True)
            if shape.ensure == "absent":
                hint = "leave it out; what is on it stays"
                self._fault(
                    "CS-V134", at.place("ensure"), "a physical volume is never removed", hint
                )
            elif device not in used:
                hint = "name it in the group that it is for, or leave it out"
                self._fault("CS-V132", at.place(), "no group is made of this device", hint)
        if forced := [device for device, shape in declared.items() if shape.force]:
            at = Written(("physical_volumes",))
            text = f"force is ignored ({', '.join(forced)}): what is not blank is refused"
            self._note(at, text)
        for group in groups if declared else ():
            for device in group.devices:
                if device not in declared:
                    self._note(group.at, f"{device} is not among physical_volumes")

    def _nested(self, shape: GroupShape, at: Written) -> Iterator[WantedVolume]:
        for name, volume in shape.volumes.items():
            yield _volume(name, volume, Written((*at.path, "volumes", name)))
        for name, flat in shape.logical_volumes.items():
            yield self._flat(name, flat, Written((*at.path, "logical_volumes", name), flat=True))

    def _refuse_twins(self, volumes: list[WantedVolume]) -> None:
        seen: dict[str, WantedVolume] = {}
        for one in volumes:
            if one.name in seen:
                message = f"is written at {dotted(seen[one.name].at.place())} already"
                self._fault("CS-V136", one.at.place(), message, "keep one of them")
            seen.setdefault(one.name, one)

    def _flat(self, name: str, flat: FlatVolumeShape, at: Written) -> WantedVolume:
        """Return a volume of puppet-lvm's words."""
        if flat.force:
            self._note(at, "force is ignored: nothing is ever forced")
        if flat.model_fields_set & {"dump", "passno"}:
            self._note(at, "pass and dump are ignored: a mount unit has neither")
        gone = flat.retire or flat.ensure == "absent"
        fs = FileSystem.NONE if gone or not flat.createfs else self._fs(flat, at)
        return WantedVolume(
            name=name,
            size=flat.size,
            fs=fs,
            mount="" if gone else self._mount(name, flat, fs, at),
            options=() if gone else flat.options,
            tags=tuple(sorted(set(flat.tags))),
            retire=gone,
            remove=flat.remove,
            at=at,
        )

    def _fs(self, flat: FlatVolumeShape, at: Written) -> FileSystem:
        if flat.fs_type is None:
            self._note(at, f"no fs_type, so {FLAT_FS}, as puppet-lvm has it")
        return FLAT_FS if flat.fs_type is None else FileSystem(flat.fs_type)

    def _mount(self, name: str, flat: FlatVolumeShape, fs: FileSystem, at: Written) -> str:
        if fs is FileSystem.NONE:
            if flat.mountpath:
                self._note(at, "mountpath has no effect: there is no file system")
            return ""
        if not flat.mounted:
            return ""
        if fs is FileSystem.SWAP:
            return SWAP
        if flat.mountpath is None:
            self._note(at, f"no mountpath, so /{name}, as puppet-lvm has it")
        return f"/{name}" if flat.mountpath is None else flat.mountpath

    def _note(self, at: Written, text: str) -> None:
        self.notes.append(f"{dotted(at.place())}: {text}")

    def _fault(self, code: str, place: Path, message: str, hint: str) -> None:
        self.faults.append(Violation(code, place, message, hint))


def _volume(name: str, shape: VolumeShape, at: Written) -> WantedVolume:
    fs = FileSystem(shape.fs)
    return WantedVolume(
        name=name,
        size=shape.size,
        fs=fs,
        mount=usual_mount(fs) if shape.mount is None else shape.mount,
        options=shape.options,
        tags=tuple(sorted(set(shape.tags))),
        retire=shape.retire,
        remove=shape.remove,
        at=at,
    )


def missing_level(fault: Violation) -> Violation:
    """Say so where a volume's own keys stand in the place of its name."""
    match fault.path:
        case (_, "logical_volumes", str(key)) | (_, _, _, "logical_volumes", str(key)):
            words = {field.alias or name for name, field in FlatVolumeShape.model_fields.items()}
            if key in words:
                hint = f"the name of the volume is missing above {key}"
                return Violation(fault.code, fault.path, fault.message, hint)
    return fault
