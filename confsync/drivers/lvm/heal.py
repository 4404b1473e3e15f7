"""Bring back to order what a killed lvm left half done, of what is ours.

Separate because these are the measured recipes, and each is for one finding only. What has no safe
recipe, or is not ours, is reported with the words that an operator would type.
"""

from __future__ import annotations

from typing import Final

from confsync.drivers.lvm.found import Group, Volume
from confsync.drivers.lvm.observe import HALF_WRITTEN
from confsync.drivers.lvm.report import MENDED_BY, REFRESHED
from confsync.drivers.lvm.step import MANAGED
from confsync.drivers.lvm.work import TXN, Kit
from confsync.model.errors import ConfsyncError

_ROUNDS: Final = 2
"""The first refresh may resume a table that was never committed; the second puts that right."""


async def mend(kit: Kit, binary: str, vg: str, uuids: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Bring a group's metadata, and volumes of ours or with these UUIDs, back to order.

    Return what was done and what is left, each a sentence. Raises: HostBusy when lvm is silent.
    """
    group, told = await _group(kit, binary, vg), []
    if group and HALF_WRITTEN in group.trouble:
        told.append(await _try(kit, binary, f"{vg} half written", "vgck", "--updatemetadata", vg))
        group = await _group(kit, binary, vg)
    for _ in range(_ROUNDS):
        sick = [volume for volume in _sick(group) if _is_ours(volume, uuids)]
        for volume in sick:
            name = f"{vg}/{volume.name}"
            what = f"{name} ({volume.health})"
            told.append(await _try(kit, binary, what, "lvchange", "--refresh", name))
        group = await _group(kit, binary, vg) if sick else group
    left = [why for why in group.trouble if MENDED_BY in why] if group else []
    return (*told, *(_recipe(vg, one) for one in _sick(group)), *(f"{vg}: {why}" for why in left))


async def _group(kit: Kit, binary: str, vg: str) -> Group | None:
    host = await kit.look(binary, frozenset({vg}))
    return next((group for group in host.groups if group.name == vg), None)


def _sick(group: Group | None) -> list[Volume]:
    volumes = group.volumes if group else ()
    return [one for one in volumes if any(how in one.health for how in REFRESHED)]


def _is_ours(volume: Volume, uuids: tuple[str, ...]) -> bool:
    made = any(tag.startswith(f"{TXN}=") for tag in volume.tags)
    return made or MANAGED in volume.tags or volume.uuid in uuids


def _recipe(vg: str, volume: Volume) -> str:
    name = f"{vg}/{volume.name}"
    return f"{name}: {volume.health}; {MENDED_BY}lvchange --refresh {name}"


async def _try(kit: Kit, binary: str, what: str, *words: str) -> str:
    """Run a recipe; return what it was for, with how it went."""
    try:
        await kit.commands.change(binary, *words)
    except ConfsyncError as fault:
        return f"{what}: {fault}"
    return f"{what}: {' '.join(words)}"
