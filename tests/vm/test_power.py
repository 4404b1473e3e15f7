"""The power is cut while LVM writes: at the next boot the group is whole."""

from __future__ import annotations

import json
import os
import random
import time
from typing import TYPE_CHECKING

import pytest

from tests.lab.wait import wait_until

if TYPE_CHECKING:
    from tests.vm.guest import Guest

pytestmark = pytest.mark.root

CUTS = int(os.environ.get("CONFSYNC_TEST_POINTS", "1")) or 20
SEED = int(os.environ.get("CONFSYNC_TEST_SEED", random.randrange(1 << 32)))
BUSY = """\
vgcreate vg0 /dev/ubda /dev/ubdb /dev/ubdc
lvcreate --size 32m --name kept vg0 && mkfs.ext4 -q /dev/vg0/kept
mount /dev/vg0/kept /mnt && seq 100000 >/mnt/file && sync
for n in $(seq 1000); do
    lvcreate --yes --size 4m --addtag first --name v$n vg0 && lvchange --addtag second vg0/v$n
    lvextend --size 8m vg0/v$n && lvrename vg0 v$n w$n
    echo $n >>/guest/made
done
"""


def test_a_power_cut_leaves_a_group_that_is_whole(guest: Guest):
    chance = random.Random(SEED)
    made = guest.folder / "made"
    made.unlink(missing_ok=True)
    guest.start(BUSY)
    wait_until("volumes are made", lambda: made.exists() and made.read_text().split())
    time.sleep(chance.uniform(0, 2))
    guest.cut()
    finished = made.read_text().count("\n")
    guest.boot()

    where = f"CONFSYNC_TEST_SEED={SEED}, {finished} rounds"
    assert "" == guest.must("vgck vg0 2>&1"), where
    told = json.loads(guest.must("lvs --reportformat json -o lv_name vg0"))
    volumes = {row["lv_name"] for row in told["report"][0]["lv"]}
    assert {f"w{n}" for n in range(1, finished)} <= volumes, where
    assert len(volumes) <= finished + 2, where
    guest.must("vgchange --activate y vg0 && fsck.ext4 -n /dev/vg0/kept")
    assert "100000\n" == guest.must("mount /dev/vg0/kept /mnt && tail -n 1 /mnt/file")


KEPT = "mkdir -p /persist && mount /dev/ubdc /persist"


@pytest.mark.timeout(600)
@pytest.mark.parametrize("sample", range(CUTS))
def test_a_power_cut_in_a_change_of_both_leaves_old_or_new_on_both(guest: Guest, sample: int):
    chance = random.Random(SEED + sample)
    for name in ("turn", "found"):
        (guest.folder / name).unlink(missing_ok=True)
    guest.must(f"mkfs.ext4 -q /dev/ubdc && {KEPT} && mkdir /persist/lab")
    guest.start("python -m tests.vm.power begin /persist/lab", 500)
    turn = guest.folder / "turn"
    wait_until("it changes", lambda: turn.exists() and turn.read_text() not in {"", "1"}, 200)
    time.sleep(chance.uniform(0, 12))
    guest.cut()
    latest = int(turn.read_text())
    guest.boot()
    guest.must(f"{KEPT} && vgchange --activate y vg_ext")
    guest.must("python -m tests.vm.power look /persist/lab", 400)

    where = f"CONFSYNC_TEST_SEED={SEED}, sample {sample}, turn {latest}"
    found = json.loads((guest.folder / "found").read_text())
    assert found["routing"] == [found["storage"]], where
    assert latest - 1 <= found["storage"] <= latest, where
    assert (True, "", ["kept"]) == (found["runs"], found["suspended"], found["volumes"]), where
    assert (guest.folder / "data").read_text() == found["data"], where
