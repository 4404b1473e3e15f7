"""What is planned on real layouts: `planned.txt` beside the report that it is planned on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from confsync.drivers.lvm.plan import weigh
from confsync.drivers.lvm.report import Readings, host_of
from confsync.drivers.lvm.section import LvmSection
from confsync.drivers.lvm.storage import Storage

REPORTS = Path(__file__).parent / "reports"
LAYOUTS = sorted(path.name for path in REPORTS.iterdir())
DISKS = [f"/dev/ubd{letter}" for letter in "abcdef"]
NOW = 1_764_255_600


def wanted(devices: list[str]) -> Storage:
    """Return the wish for more of `data`, which is ours, and for a volume that is new."""
    volumes = {"data": {"size": "24MiB"}, "fresh": {"size": "8MiB", "fs": "ext4", "mount": "/x"}}
    tree: Any = {"volume_groups": {"vg0": {"devices": devices, "volumes": volumes}}}
    value = LvmSection().parse(tree)
    assert isinstance(value, Storage), value
    return value


def planned(layout: str) -> str:
    folder = REPORTS / layout
    readings = Readings((folder / "report.json").read_text(), (folder / "lsblk.json").read_text())
    told = {"binary": "/usr/sbin/lvm", "at": NOW, "allowed": ("vg0",)}
    found = host_of(readings, **told, adopted=())
    ours = tuple(v.uuid for one in found.groups for v in one.volumes if v.name == "data")
    now = found.model_copy(update={"adopted": ours})
    weighed = weigh(wanted(DISKS[:1] if now.groups else DISKS), None, now)
    lines = [f"refused: {one}" for one in weighed.faults]
    lines += [f"stopped: {one}" for one in weighed.stopped]
    if not lines:
        shown = [item for step in weighed.steps for item in step.differences]
        lines = [f"{one}   {one.impact}; {one.note}".removesuffix("; ") for one in shown]
    lines += [f"left alone: {one}" for one in weighed.notes]
    return "".join(f"{line}\n" for line in lines)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_real_layout_has_its_plan(layout):
    assert (REPORTS / layout / "planned.txt").read_text() == planned(layout)
