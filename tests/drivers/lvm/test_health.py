"""What a volume must be after a step, judged by samples alone."""

from __future__ import annotations

from typing import Any

import pytest

from confsync.drivers.lvm.command import Commands
from confsync.drivers.lvm.found import Host
from confsync.drivers.lvm.health import LvmProbe
from confsync.drivers.lvm.step import (
    Act,
    CreateVolume,
    ExtendVolume,
    FileSystem,
    MountVolume,
    Retire,
)
from confsync.drivers.lvm.work import Kit
from confsync.ports import Judgement, Verdict
from tests.lab.storage import NONCE, OK, VG

BASE: dict[str, Any] = {"binary": "lvm", "vg": VG, "nonce": NONCE, "lv": "data"}
CREATE = CreateVolume(**BASE, extents=4, fs=FileSystem.NONE)
EXTEND = ExtendVolume(
    **BASE,
    lv_uuid="u",
    old_extents=4,
    new_extents=8,
    segments=(),
    fs=FileSystem.XFS,
    mount="/srv",
)
RETIRE = Retire(**BASE, lv_uuid="u", to="trash.1.data", was_active=True)
MOUNT = MountVolume(**BASE, unit="srv.mount", where="/srv", text="[Mount]")
UNMOUNT = MountVolume(**BASE, unit="srv.mount", where="/srv", text="", old="[Mount]")


def sample(
    *mounts: str, active: bool = True, there: bool = True, silent: str = "", **sick: str
) -> Any:
    volume = {"active": active, "mounts": list(mounts)} if there else None
    return {"sick": sick, "volume": volume, "silent": [silent] if silent else []}


CASES: list[tuple[Act, Any, Any, str]] = [
    (CREATE, sample(there=False), sample(), ""),
    (CREATE, sample(there=False), sample(there=False), "vg0/data is not there"),
    (CREATE, sample(there=False), sample(active=False), "vg0/data is not active"),
    (EXTEND, sample("/srv"), sample("/srv"), ""),
    (EXTEND, sample("/srv"), sample(), "vg0/data is not mounted at /srv"),
    (EXTEND, sample("/srv"), sample("/srv", silent="/srv"), "/srv does not answer"),
    (EXTEND, sample("/srv"), sample("/srv", other="suspended"), "vg0/other: suspended"),
    (EXTEND, sample("/srv", other="suspended"), sample("/srv", other="suspended"), ""),
    (EXTEND, sample(active=False), sample(active=False), ""),
    (RETIRE, sample(), sample(there=False), ""),
    (MOUNT, sample(), sample("/srv"), ""),
    (MOUNT, sample(), sample(), "vg0/data is not mounted at /srv"),
    (UNMOUNT, sample("/srv"), sample(), ""),
    (EXTEND, None, sample("/srv"), ""),
]


@pytest.mark.parametrize(("act", "before", "now", "reason"), CASES)
def test_a_volume_must_be_as_well_as_before_and_what_the_act_brings(
    act: Act, before: Any, now: Any, reason: str
):
    expected = Judgement(Verdict.WAIT, reason) if reason else OK
    assert expected == LvmProbe(act, None).judge(before, (now,))  # type: ignore[arg-type]


async def test_lvm_is_asked_before_and_after_and_then_not_too_often():
    looks = 0

    async def look(binary: str, names: frozenset[str]) -> Host:
        nonlocal looks
        looks += 1
        return Host(binary=binary, at=0, allowed=tuple(names))

    probe = LvmProbe(CREATE, Kit(Commands(), look))
    for _ in range(5):
        assert sample(there=False) == await probe.sample()
    assert 2 == looks
