"""What must be as well after a step as before: the volume, its mounts, and the rest of its group.

Separate because health is judged by samples alone; the host is only looked at. A file system is
asked only while its volume is not suspended: it would not answer before that ends.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Final

from confsync.drivers.lvm.found import Group, Volume
from confsync.drivers.lvm.mounts import SWAP
from confsync.drivers.lvm.step import (
    Act,
    CreateGroup,
    ExtendGroup,
    MountVolume,
    Remove,
    Retire,
)
from confsync.drivers.lvm.work import Kit, group_of, identified, named
from confsync.host.files import in_thread
from confsync.model import limits
from confsync.model.ids import Json
from confsync.ports import Judgement, Sample, Verdict

_ALWAYS_FRESH: Final = 2


class LvmProbe:
    """The volume of one act, and whether any other of its group has fallen ill."""

    def __init__(self, act: Act, kit: Kit) -> None:
        self._act = act
        self._kit = kit
        self._taken: list[tuple[float, Json]] = []
        self.name = f"lvm {act.kind} {act.vg}/{getattr(act, 'lv', '')}"

    async def sample(self) -> Sample:
        """Return ``{"sick": {name: how}, "volume": {...} or None, "silent": [mount ...]}``.

        Why a recent one is given again, but for the first two, before and after: lvm reads every
        disk of the host for each.
        """
        now_s = time.monotonic()
        if len(self._taken) < _ALWAYS_FRESH or now_s - self._taken[-1][0] >= limits.LVM_EVERY_S:
            self._taken.append((now_s, await self._look()))
        return self._taken[-1][1]

    async def _look(self) -> Json:
        host = await self._kit.look(self._act.binary, frozenset({self._act.vg}))
        group = group_of(host, self._act)
        volume = self._volume(group)
        well = volume is not None and not volume.health
        mounts = [mount.where for mount in volume.mounts if mount.active] if volume else []
        return {
            "sick": {one.name: one.health for one in group.volumes if one.health} if group else {},
            "volume": {"active": volume.active, "mounts": mounts} if volume else None,
            "silent": await in_thread(_silent, mounts) if well else [],
        }

    def judge(self, baseline: Sample, seen: Sequence[Sample]) -> Judgement:
        """Wait for what was well, or what the act is to bring."""
        now: Json = seen[-1]
        before: Json = baseline or {"sick": {}, "volume": None, "silent": []}
        for name, how in now["sick"].items():
            if name not in before["sick"]:
                return Judgement(Verdict.WAIT, f"{self._act.vg}/{name}: {how}")
        if now["silent"]:
            return Judgement(Verdict.WAIT, f"{', '.join(now['silent'])} does not answer")
        reason = self._missing(before["volume"], now["volume"])
        return Judgement(Verdict.WAIT, reason) if reason else Judgement(Verdict.OK)

    def _missing(self, before: Json, now: Json) -> str:
        """Return what the volume was, or is to be, and is not."""
        act = self._act
        if isinstance(act, CreateGroup | ExtendGroup | Retire | Remove):
            return ""
        name, was = f"{act.vg}/{act.lv}", before or {"active": True, "mounts": []}
        if isinstance(act, MountVolume) and not act.text:
            return ""
        if now is None:
            return f"{name} is not there"
        if was["active"] and not now["active"]:
            return f"{name} is not active"
        wanted = {*was["mounts"], *((act.where,) if isinstance(act, MountVolume) else ())}
        if gone := sorted(wanted - set(now["mounts"])):
            return f"{name} is not mounted at {', '.join(gone)}"
        return ""

    def _volume(self, group: Group | None) -> Volume | None:
        uuid, name = getattr(self._act, "lv_uuid", ""), getattr(self._act, "lv", "")
        return identified(group, uuid) if uuid else named(group, name)


def _silent(mounts: Sequence[str]) -> list[str]:
    """Return the mounted file systems that give no answer."""
    return [where for where in mounts if where != SWAP and not _answers(where)]


def _answers(where: str) -> bool:
    try:
        return os.statvfs(where).f_blocks > 0
    except OSError:
        return False
