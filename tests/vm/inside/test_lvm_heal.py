"""What another death left is brought back to order where it is ours, and told where it is not."""

from __future__ import annotations

import subprocess

import pytest

from confsync.model.errors import HostBusy
from confsync.model.section import Ownership
from tests.lab.storage import VG, Storage, sh

REFRESH = f"lvchange --refresh {VG}/data"


@pytest.fixture
def storage(disks: list[str]) -> Storage:
    sh(f"vgcreate -q -s 4m {VG} {disks[0]} {disks[1]}")
    sh(f"lvcreate -q -l 8 -n data {VG} && mkfs.ext4 -q /dev/{VG}/data")
    sh(f"mount /dev/{VG}/data /mnt && echo x >/mnt/file && sync")
    return Storage()


def ours() -> None:
    sh(f"lvchange -q --addtag confsync.managed {VG}/data")


async def test_a_suspended_volume_of_ours_goes_on(storage: Storage):
    ours()
    sh(f"dmsetup suspend {VG}-data")
    seen = await storage.driver.observe()
    assert Ownership.OWNED is seen.ownership, "a look does not stand still with it"
    assert "stand still" in " ".join(seen.notes)
    (told,) = await storage.driver.heal()
    assert REFRESH in told
    assert not (await storage.volume("data")).health
    assert "x\n" == sh("echo y >/mnt/more && sync && cat /mnt/file")
    assert () == await storage.driver.heal()


async def test_one_that_is_not_ours_is_left_alone_and_the_recipe_is_told(storage: Storage):
    sh(f"dmsetup suspend {VG}-data")
    (told,) = await storage.driver.heal()
    assert told.endswith(f"to mend it: {REFRESH}")
    assert (await storage.volume("data")).health
    sh(f"dmsetup resume {VG}-data")


async def test_a_table_that_is_not_what_the_metadata_say_is_loaded_anew(storage: Storage):
    ours()
    sh(f"dmsetup suspend {VG}-data && echo 0 8192 error | dmsetup load {VG}-data")
    assert (await storage.volume("data")).health
    await storage.driver.heal()
    assert not (await storage.volume("data")).health
    assert "x\n" == sh("cat /mnt/file")


async def test_a_new_volume_whose_device_got_no_table_is_mended(storage: Storage):
    sh(f"lvcreate -q -an -Zn -Wn -l 2 -n fresh --addtag confsync.txn=1 {VG}")
    uuid = sh(f"lvs --noheadings -o vg_uuid,lv_uuid {VG}/fresh | tr -d ' \\n-'")
    sh(f"dmsetup create {VG}-fresh --notable --uuid LVM-{uuid}")
    assert "no table" in (await storage.volume("fresh")).health
    assert f"lvchange --refresh {VG}/fresh" in (await storage.driver.heal())[0]
    fresh = await storage.volume("fresh")
    assert (True, "") == (fresh.active, fresh.health)


# What is to be typed stands in the words that are told: the test types it.


async def test_a_move_that_has_died_is_left_to_people_with_the_recipe(storage: Storage):
    ours()
    place = (await storage.volume("data")).segments
    sh("modprobe dm-mirror; echo 1 >/sys/module/dm_mirror/parameters/raid1_resync_throttle")
    with subprocess.Popen(["pvmove", "-qi", "100", "/dev/ubda"], stderr=subprocess.DEVNULL) as move:
        sh(f"until lvs -a {VG} | grep -q pvmove0; do sleep 0.1; done")
        move.kill()
    planned = await storage.new_volume("new", 2)
    with pytest.raises(HostBusy, match="being moved"):
        await storage.apply(planned)
    (told,) = await storage.driver.heal()
    assert "pvmove --abort" in told
    sh("pvmove -q --abort")
    assert () == await storage.driver.heal()
    assert place == (await storage.volume("data")).segments
    assert "x\n" == sh("echo 3 >/proc/sys/vm/drop_caches; cat /mnt/file")


async def test_a_part_that_runs_without_its_volume_is_told_with_the_recipe(storage: Storage):
    sh(f"lvcreate -q --type thin-pool -L 32m -n pool {VG} && lvchange -q -an {VG}/pool")
    assert () == await storage.driver.heal()
    sh(f"lvchange -q -y -ay {VG}/pool_tmeta")
    planned = await storage.new_volume("new", 2)
    with pytest.raises(HostBusy, match="runs without its volume"):
        await storage.apply(planned)
    (told,) = await storage.driver.heal()
    sh(told.partition("to mend it: ")[2].partition(",")[0])
    sh(f"lvchange -q -ay {VG}/pool")
    assert () == await storage.driver.heal()
    await storage.apply(await storage.new_volume("new", 2))


async def test_half_written_metadata_are_made_whole(storage: Storage, disks: list[str]):
    sh(f"dd if={disks[1]} of=/run/old bs=1M count=1 status=none")
    ours()
    sh(f"dd if=/run/old of={disks[1]} bs=1M count=1 status=none; sync")
    assert "differ between its devices" in " ".join((await storage.driver.observe()).notes)
    (told,) = await storage.driver.heal()
    assert f"vgck --updatemetadata {VG}" in told
    assert () == (await storage.group()).trouble
    assert () == await storage.driver.heal()


async def test_groups_that_the_settings_do_not_name_are_nobodys_business(storage: Storage):
    ours()
    sh(f"dmsetup suspend {VG}-data")
    assert () == await Storage(groups=("other",)).driver.heal()
    sh(f"dmsetup resume {VG}-data")
