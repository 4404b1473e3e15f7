"""The LVM driver with one act at a time, as a transaction does it.

Why not the whole flow: each act has its own ways to be cut, and is judged by itself here.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path
from typing import Any

from confsync.drivers.lvm.command import Commands
from confsync.drivers.lvm.driver import LvmDriver, LvmSettings
from confsync.drivers.lvm.found import Group, Host, Volume
from confsync.drivers.lvm.step import (
    MANAGED,
    Act,
    CreateGroup,
    CreateVolume,
    ExtendGroup,
    ExtendVolume,
    FileSystem,
    Member,
    Retire,
    args_of,
)
from confsync.model.ids import DriverName
from confsync.model.plan import Impact, Step
from confsync.ports import Judgement, Position, Verdict
from tests.lab.wait import LabError

NONCE = "0123abcd"
VG = "vg0"


def sh(command: str, *, check: bool = True) -> str:
    """Run a shell command that succeeds; return its output. Raises LabError with it."""
    done = subprocess.run(
        ["sh", "-ec", command],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if check and done.returncode:
        raise LabError(f"{command}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def content(device: str) -> str:
    """Return a digest of a whole disk, as it is when all that was written has reached it."""
    sh(f"sync {device}; blockdev --flushbufs {device}")
    with Path(device).open("rb", buffering=0) as disk:
        return hashlib.file_digest(disk, "sha256").hexdigest()


def step_of(act: Act) -> Step:
    """Return the step that carries an act."""
    target = "/".join(filter(None, (act.vg, getattr(act, "lv", ""))))
    return Step(DriverName("lvm"), act.kind, 1, target, Impact.HITLESS, act.kind, args_of(act))


class Storage:
    """The driver over real LVM, with the acts that a plan would hold."""

    def __init__(
        self,
        binary: str = "/usr/sbin/lvm",
        groups: tuple[str, ...] = (VG,),
        commands: Commands | None = None,
    ) -> None:
        self.binary = binary
        settings = LvmSettings(enabled=True, volume_groups=groups, binary=binary)
        self.driver = LvmDriver(settings, commands)

    # --- looking

    async def host(self) -> Host:
        """Return what the driver observes."""
        seen = await self.driver.observe()
        if seen.problem:
            raise LabError(seen.problem)
        return Host.of(seen.detail)

    async def group(self, name: str = VG) -> Group:
        """Return a group."""
        return next(group for group in (await self.host()).groups if group.name == name)

    async def volume(self, name: str) -> Volume:
        """Return a volume of the group."""
        return next(found for found in (await self.group()).volumes if found.name == name)

    async def names(self) -> list[str]:
        """Return the names of the group's volumes."""
        return [volume.name for volume in (await self.group()).volumes]

    # --- acts, planned on what stands now

    def member(self, device: str) -> Member:
        """Return a device as a plan names it."""
        size_bytes = int(sh(f"blockdev --getsize64 {device}"))
        return Member(path=os.path.realpath(device), name=device, size_bytes=size_bytes)

    def new_group(self, *devices: str) -> CreateGroup:
        """Make a group."""
        members = tuple(map(self.member, devices))
        return CreateGroup(**self._new, members=members, extent_bytes=4 << 20)

    async def more_devices(self, *devices: str) -> ExtendGroup:
        """Extend the group."""
        return ExtendGroup(**await self._base(), members=tuple(map(self.member, devices)))

    async def new_volume(
        self, lv: str, extents: int, fs: FileSystem = FileSystem.NONE
    ) -> CreateVolume:
        """Make a volume in the group."""
        tags = (MANAGED, f"confsync.id={lv}")
        return CreateVolume(**await self._base(), lv=lv, extents=extents, fs=fs, tags=tags)

    async def more_extents(self, lv: str, extents: int) -> ExtendVolume:
        """Grow a volume, and the file system on it where it is mounted."""
        found = await self.volume(lv)
        where = next((mount.where for mount in found.mounts if mount.active), "")
        return ExtendVolume(
            **await self._of(lv),
            old_extents=found.extents,
            new_extents=extents,
            segments=found.segments,
            fs=FileSystem(found.fs or "none"),
            mount=where,
        )

    async def retire(self, lv: str) -> Retire:
        """Set a volume aside."""
        active = (await self.volume(lv)).active
        return Retire(**await self._of(lv), to=f"trash.1.{lv}", was_active=active)

    async def of(self, kind: type[Any], lv: str, **more: Any) -> Any:
        """Return another act on a volume that exists."""
        return kind(**await self._of(lv), **more)

    @property
    def _new(self) -> dict[str, Any]:
        return {"binary": self.binary, "vg": VG, "nonce": NONCE}

    async def _base(self) -> dict[str, Any]:
        group = await self.group()
        return {**self._new, "vg_uuid": group.uuid, "vg_digest": group.digest}

    async def _of(self, lv: str) -> dict[str, Any]:
        return {**await self._base(), "lv": lv, "lv_uuid": (await self.volume(lv)).uuid}

    # --- what a transaction does

    async def apply(self, act: Act) -> Any:
        """Check, note what undo needs, apply; return the checkpoint."""
        step = step_of(act)
        await self.driver.check(step)
        saved = await self.driver.checkpoint(step)
        await self.driver.apply(step, saved, 0.0)
        return saved

    async def undo(self, act: Act, saved: Any = None) -> None:
        """Go back, and prove it."""
        step = step_of(act)
        await self.driver.undo(step, saved or {})
        assert Position.OLD is await self.driver.position(step, saved or {})

    async def commit(self, act: Act, saved: Any = None) -> None:
        """Make it final, and prove it; twice is as good as once."""
        step = step_of(act)
        for _ in range(2):
            await self.driver.commit(step, saved or {})
            position = await self.driver.position(step, saved or {})
            assert Position.NEW is position, await self.group(act.vg)

    async def verdict(self, act: Act, baseline: Any) -> Judgement:
        """Judge the health now."""
        (probe,) = self.driver.probes(step_of(act))
        return probe.judge(baseline, (await probe.sample(),))

    async def baseline(self, act: Act) -> Any:
        """Return a sample before the act."""
        (probe,) = self.driver.probes(step_of(act))
        return await probe.sample()


OK = Judgement(Verdict.OK)
