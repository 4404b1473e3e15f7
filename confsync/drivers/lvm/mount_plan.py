"""Which mount units are written and taken away for a volume.

Separate because a mount has other hands besides ours: what fstab or another unit mounts is theirs,
and is never doubled.
"""

from __future__ import annotations

from confsync.drivers.lvm.draft import Draft, change
from confsync.drivers.lvm.found import Mount, Volume
from confsync.drivers.lvm.mounts import SWAP, options_of, unit_name, unit_text
from confsync.drivers.lvm.step import MountVolume
from confsync.drivers.lvm.storage import WantedVolume
from confsync.model.plan import Difference, Impact


def plan_mounts(draft: Draft, want: WantedVolume, live: Volume | None) -> None:
    """Plan the mount that is wanted, and take away those of ours that are not."""
    mounts = live.mounts if live else ()
    for one in mounts:
        if one.unit and one.where != want.mount:
            _take_away(draft, want, one)
    if not want.mount:
        return
    target = f"{draft.vg}/{want.name}"
    if (holder := draft.held.get(want.mount, target)) != target:
        message = f"{holder} is mounted at {want.mount}"
        hint = "choose another folder, or take its mount away first"
        draft.refuse("CS-V162", want.at.place("mount"), message, hint)
        return
    here = next((one for one in mounts if one.where == want.mount), Mount(where=want.mount))
    others = [one.where for one in mounts if one.active and not one.unit and one is not here]
    if others and not here.active:
        message = f"it is mounted at {others[0]} by another hand"
        hint = f"unmount it there, or say mount: {others[0]}"
        draft.refuse("CS-V160", want.at.place("mount"), message, hint)
    elif here.line and not here.unit:
        state = "" if here.active else ", and it is not mounted now"
        draft.note(f"{target} is mounted by another hand ({here.line}){state}")
    else:
        _write(draft, want, here)


def plan_unmounts(draft: Draft, want: WantedVolume, live: Volume) -> None:
    """Take away all mounts of ours."""
    for one in live.mounts:
        if one.unit:
            _take_away(draft, want, one)


def _write(draft: Draft, want: WantedVolume, here: Mount) -> None:
    what = f"/dev/{draft.vg}/{want.name}"
    text = unit_text(what, want.mount, str(want.fs), want.options)
    if here.active and here.text == text:
        return
    unit = unit_name(want.mount, what=what)
    act = MountVolume(
        **draft.base, lv=want.name, unit=unit, where=want.mount, text=text, old=here.text
    )
    depth = 0 if want.mount == SWAP else want.mount.count("/")
    draft.add(act, f"{draft.vg}/{want.name}", _written(draft, want, here, text), depth=depth)


def _written(draft: Draft, want: WantedVolume, here: Mount, text: str) -> Difference:
    path = f"lvm.{draft.vg}/{want.name}"
    if here.unit and here.text != text:
        note = "holds from the next mount on" if here.active else ""
        return change(f"{path}.options", options_of(here.text), options_of(text), note=note)
    if here.unit:
        return change(f"{path}.mount", "not mounted", want.mount)
    return change(f"{path}.mount", None, want.mount)


def _take_away(draft: Draft, want: WantedVolume, one: Mount) -> None:
    act = MountVolume(
        **draft.base, lv=want.name, unit=one.unit, where=one.where, text="", old=one.text
    )
    impact = Impact.OUT_OF_USE if one.active else Impact.HITLESS
    shown = change(f"lvm.{draft.vg}/{want.name}.mount", one.where, None, impact)
    draft.add(act, f"{draft.vg}/{want.name}", shown, depth=one.where.count("/"))
