"""Carries volume groups, volumes, file systems and mounts to the host, and back.

Separate because this joins what is known of each kind of act. Everything before the pivot can be
taken back; a grown file system and a confirmed removal come after it. A change that another lvm,
or a dead agent's, has begun is waited for before anything is looked at.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict

from confsync.drivers.lvm import attach, filesystems, groups, volumes
from confsync.drivers.lvm.adoption import survey
from confsync.drivers.lvm.attach import UNITS
from confsync.drivers.lvm.command import Commands
from confsync.drivers.lvm.found import Host
from confsync.drivers.lvm.heal import mend
from confsync.drivers.lvm.health import LvmProbe
from confsync.drivers.lvm.observe import Observer
from confsync.drivers.lvm.step import Act, act_of
from confsync.drivers.lvm.storage import Storage
from confsync.drivers.lvm.work import Kit, Work
from confsync.host.files import in_thread
from confsync.model.errors import ConfsyncError, RollbackFailed, StepFailed
from confsync.model.ids import DriverName, Json
from confsync.model.plan import Step
from confsync.model.section import Observed, Ownership
from confsync.ports import Checkpoint, Position, Probe, Survey

_WORKS: Final[Mapping[str, type[Work[Any]]]] = {
    "vg.create": groups.MakeGroup,
    "vg.extend": groups.GrowGroup,
    "lv.create": volumes.MakeVolume,
    "lv.extend": volumes.GrowVolume,
    "lv.tags": volumes.Retag,
    "lv.activate": volumes.Switch,
    "lv.retire": volumes.SetAside,
    "lv.remove": volumes.Destroy,
    "fs.make": filesystems.Make,
    "fs.grow": filesystems.Extend,
    "mount": attach.Attach,
}


_GROUP: Final = re.compile(r"[A-Za-z0-9+_.][A-Za-z0-9+_.-]{0,126}", re.ASCII)
_RECORDS: Final = "/etc/lvm/backup"
_MOUNTS: Final = "/proc/self/mountinfo"


def read_group(text: str) -> str:
    """Return the name of a volume group, which is a part of paths. Raises ValueError."""
    if not _GROUP.fullmatch(text) or text in {".", ".."}:
        raise ValueError(f"{text!r} cannot be the name of a volume group")
    return text


class LvmSettings(BaseModel):
    """Which volume groups of this host may be touched; none by default."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = False
    volume_groups: tuple[Annotated[str, AfterValidator(read_group)], ...] = ()
    binary: str = "/usr/sbin/lvm"


class LvmDriver:
    """The storage of this host."""

    name = DriverName("lvm")

    def __init__(self, settings: LvmSettings, commands: Commands | None = None) -> None:
        self._settings = settings
        self._commands = commands or Commands()
        self._kit = Kit(self._commands, Observer(self._commands).look)

    def decode(self, record: Json) -> Step:
        """Return the step of a journal record. Raises JournalTooNew."""
        step = Step.from_json(record)
        act_of(step)
        return step

    def close(self) -> None:
        """There is no connection to give up."""

    async def heal(self) -> tuple[str, ...]:
        """Bring back to order what a killed lvm left, in the groups that may be touched."""
        await self._commands.settle()
        told: list[str] = []
        for vg in self._settings.volume_groups:
            told += await mend(self._kit, self._settings.binary, vg)
        return tuple(told)

    # --- looking

    async def observe(self, adopted: Json | None = None) -> Observed:
        """Return what lvm and the kernel say of the groups that may be touched."""
        try:
            found = await self._look(adopted)
        except ConfsyncError as fault:
            return Observed(Ownership.ABSENT, {}, str(fault))
        notes = tuple(f"{group.name}: {why}" for group in found.groups for why in group.trouble)
        return Observed(Ownership.OWNED, found.model_dump(mode="json"), notes=notes)

    async def pulse(self) -> str:
        """Return the looks of lvm's own records of the groups, of the mounts and of our units."""
        records = (f"{_RECORDS}/{vg}" for vg in self._settings.volume_groups)
        return await in_thread(_signs, (*records, UNITS))

    async def survey(self, want: Storage | None) -> Survey:
        """Return which of the wanted volumes could be taken over, as they stand."""
        if want is None:
            return Survey(None, "what is wanted of storage is written by people")
        try:
            return survey(want, await self._look(None))
        except ConfsyncError as fault:
            return Survey(None, str(fault))

    async def _look(self, adopted: Json | None) -> Host:
        """Return the host, with the volumes that were taken over here."""
        groups = frozenset(self._settings.volume_groups)
        known = (adopted or {}).get("names", {})
        host = await self._kit.look(self._settings.binary, groups)
        taken = {"known": known, "adopted": tuple(sorted(known.values()))}
        return host.model_copy(update=taken)

    # --- the acts

    async def check(self, step: Step) -> None:
        """Prove that the act would succeed, by its own guards."""
        await self._work(step).check()

    async def checkpoint(self, step: Step) -> Checkpoint:
        """Return what undo needs beside the step."""
        return await self._work(step).checkpoint()

    async def apply(self, step: Step, saved: Checkpoint, revert_after_s: float) -> None:  # noqa: ARG002
        """Act, and read it back."""
        await self._work(step).apply(saved)

    async def undo(self, step: Step, saved: Checkpoint) -> None:
        """Take back what this step did, after mending what a cut left."""
        told: tuple[str, ...] = ()
        try:
            await self._commands.settle()
            told = await self._mend(step)
            await self._work(step).undo(saved)
        except ConfsyncError as fault:
            again = "when that is mended: confsync agent resume"
            reason = "; ".join((f"{step.target}: {fault}", *told, again))
            raise RollbackFailed(reason) from fault

    async def commit(self, step: Step, saved: Checkpoint) -> None:
        """Do what is forward only; what a cut left is mended before it is tried again."""
        await self._commands.settle()
        try:
            await self._work(step).commit(saved)
        except StepFailed:
            await self._mend(step)
            raise

    async def position(self, step: Step, saved: Checkpoint) -> Position:
        """Tell where the host stands, by one fresh look."""
        try:
            return await self._work(step).position(saved)
        except ConfsyncError:
            return Position.UNKNOWN

    def probes(self, step: Step) -> tuple[Probe, ...]:
        """Return the one probe of the step's volume and its group."""
        return (LvmProbe(act_of(step), self._kit),)

    def _work(self, step: Step) -> Work[Act]:
        act = act_of(step)
        return _WORKS[act.kind](act, self._kit)

    async def _mend(self, step: Step) -> tuple[str, ...]:
        act = act_of(step)
        uuid = getattr(act, "lv_uuid", "")
        return await mend(self._kit, act.binary, act.vg, (uuid,) if uuid else ())


def _signs(paths: tuple[str, ...]) -> str:
    """Return what differs when a file was written, or a volume mounted, by another hand."""
    found = []
    for path in paths:
        with suppress(OSError):
            told = os.stat(path)
            found.append(f"{path} {told.st_mtime_ns} {told.st_ino}")
    with suppress(OSError), open(_MOUNTS, "rb") as mounts:
        found.append(sha256(mounts.read()).hexdigest())
    return "; ".join(found)
