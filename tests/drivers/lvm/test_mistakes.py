"""Mistakes that operators have made, each as what was wrong and what was right.

A folder for each: `right.yaml` is what ran before or ended the mistake; it passes without a word,
and stands on the host. `told.txt` is all that a person is told when `wrong.yaml` takes its place.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from confsync.drivers.lvm.found import Host
from confsync.drivers.lvm.section import LvmSection
from confsync.drivers.lvm.storage import Storage
from confsync.model import policy
from confsync.model.desired import Desired, build
from confsync.model.errors import InvalidConfig
from confsync.model.ids import SectionName
from confsync.model.layers import merge
from confsync.model.plan import Plan
from confsync.model.snapshot import Layer, Snapshot
from tests.drivers.lvm.machine import after, device, host, seen

FOLDER = Path(__file__).parent / "mistakes"
MISTAKES = sorted(path.name for path in FOLDER.iterdir())
LVM = LvmSection()
SECTIONS = {SectionName("lvm"): LVM}
GROUPS = ("vg_ext", "vg_instances", "vg_logactive", "vg_cache1", "vg_cache2")

WWN = "wwn-0x600062b2216365c030cecc050f12782a"


def blank() -> Host:
    """Return a host with a system disk, of which a partition is blank, and a second disk."""
    by_id = "/dev/disk/by-id/"
    root = "is mounted at /"
    disks = (
        device("/dev/sda", 500, names=(f"{by_id}scsi-0",), uses=("has partitions", root)),
        device("/dev/sda3", names=(f"{by_id}scsi-0-part3",), uses=(root,)),
        device("/dev/sda4", names=(f"{by_id}scsi-0-part4",)),
        device("/dev/sda5", names=(f"{by_id}scsi-0-part5",)),
        device("/dev/sdb", names=(f"{by_id}scsi-1", f"{by_id}{WWN}")),
    )
    return host(devices=disks, allowed=GROUPS)


def desired(mistake: str, which: str) -> Desired:
    """Read a document as an agent would. Raises: InvalidConfig."""
    raw = (FOLDER / mistake / f"{which}.yaml").read_bytes()
    return build(SECTIONS, merge(Snapshot((Layer("site", {"lvm": raw}),)), ("site",), {}))


def storage(found: Desired) -> Storage:
    value = found.values[SectionName("lvm")]
    assert isinstance(value, Storage)
    return value


def standing(mistake: str) -> Host:
    """Return the host on which what was right stands."""
    want = storage(desired(mistake, "right"))
    return after(blank(), LVM.plan(want, None, seen(blank())))


def told(mistake: str) -> list[str]:
    """Return what a person sees of a mistake."""
    right = desired(mistake, "right")
    had, now = storage(right), seen(standing(mistake))
    try:
        wrong = desired(mistake, "wrong")
        want = storage(wrong)
    except InvalidConfig as fault:
        return [f"refused: {one}" for one in fault.violations]
    lines = [f"warning: {note}" for note in (*wrong.warnings, *LVM.remarks(want, had, now))]
    try:
        steps = LVM.plan(want, had, now)
    except InvalidConfig as fault:
        return [*lines, *(f"refused: {wrong.blame(one)}" for one in fault.violations)]
    guards = policy.refusals(
        Plan(wrong.revision, steps),
        LVM.inventory(had),
        LVM.inventory(want),
        right.tree,
        wrong.tree,
        policy.Budgets(),
        (),
    )
    shown = [item for step in steps for item in step.differences]
    lines += [f"{one} [{one.impact}]" for one in shown]
    return [*lines, *(f"held: {guard}" for guard in guards)]


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_refused_or_stands_out(mistake):
    lines = told(mistake)
    assert lines
    assert (FOLDER / mistake / "told.txt").read_text() == "".join(f"{line}\n" for line in lines)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_what_was_right_passes_without_a_word(mistake):
    right = desired(mistake, "right")
    assert () == right.warnings
    want, now = storage(right), standing(mistake)
    assert () == LVM.plan(want, None, seen(now))
    assert () == LVM.remarks(want, None, seen(now))


def test_a_folder_holds_a_mistake_and_nothing_else():
    for mistake in MISTAKES:
        names = {path.name for path in (FOLDER / mistake).iterdir()}
        assert {"wrong.yaml", "right.yaml", "told.txt"} == names, mistake
