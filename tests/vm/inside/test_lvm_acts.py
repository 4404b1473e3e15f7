"""Every act of the LVM driver on real device-mapper: done, undone, made final, each read back."""

from __future__ import annotations

import pytest

from confsync.drivers.lvm.step import (
    Activate,
    ChangeTags,
    FileSystem,
    GrowFileSystem,
    MakeFileSystem,
    Remove,
)
from confsync.model.errors import ConfsyncError, HostBusy, NotOwned, RollbackFailed
from tests.lab.storage import OK, VG, Storage, sh
from tests.lab.storage import step_of as step

XFS_EXTENTS = 80  # 320 MiB


@pytest.fixture
def storage(disks: list[str]) -> Storage:
    sh(f"vgcreate -q -s 4m {VG} {disks[0]} {disks[1]}")
    return Storage()


@pytest.mark.parametrize(
    ("fs", "extents"),
    [
        (FileSystem.NONE, 4),
        (FileSystem.EXT4, 8),
        (FileSystem.XFS, XFS_EXTENTS),
        (FileSystem.SWAP, 4),
    ],
)
async def test_a_volume_is_made_undone_made_again_and_kept(
    storage: Storage, fs: FileSystem, extents: int
):
    before = await storage.group()
    act = await storage.new_volume("data", extents, fs)
    baseline = await storage.baseline(act)
    await storage.apply(act)
    found = await storage.volume("data")
    assert (extents, True, "" if fs is FileSystem.NONE else fs) == (
        found.extents,
        found.active,
        found.fs,
    )
    assert OK == await storage.verdict(act, baseline)
    await storage.undo(act)
    await storage.undo(act)
    after = await storage.group()
    assert (before.volumes, before.free) == (after.volumes, after.free)
    again = await storage.new_volume("data", extents, fs)
    await storage.apply(again)
    await storage.commit(again)
    assert tuple(sorted(act.tags)) == (await storage.volume("data")).tags


async def test_a_stale_signature_in_free_extents_is_wiped_and_none_is_left_behind(
    storage: Storage,
):
    sh(f"lvcreate -q -l 8 -n old {VG} && mkfs.ext4 -q /dev/{VG}/old && lvremove -q -y {VG}/old")
    act = await storage.new_volume("data", 8)
    await storage.apply(act)
    assert "" == (await storage.volume("data")).fs
    await storage.undo(act)
    made = await storage.new_volume("data", 8, FileSystem.EXT4)
    await storage.apply(made)
    await storage.undo(made)
    sh(f"lvcreate -q -l 8 -n theirs {VG}")  # without --yes it is refused if it finds one


async def test_undo_takes_only_what_its_plan_made(storage: Storage):
    act = await storage.new_volume("data", 4)
    sh(f"lvcreate -q -l 4 -n data {VG} && lvcreate -q -l 4 -n other {VG}")
    await storage.driver.undo(step(act), {})
    assert ["data", "other"] == await storage.names()


async def test_a_new_volume_that_is_in_use_is_not_taken_back(storage: Storage):
    act = await storage.new_volume("data", 8, FileSystem.EXT4)
    await storage.apply(act)
    sh(f"mount /dev/{VG}/data /mnt && echo x >/mnt/file")
    with pytest.raises(RollbackFailed, match="in use"):
        await storage.undo(act)
    assert "x\n" == sh("cat /mnt/file; umount /mnt")


async def test_a_signature_that_another_hand_put_on_it_is_kept(storage: Storage):
    act = await storage.new_volume("data", 8)
    await storage.apply(act)
    sh(f"mkfs.ext4 -q /dev/{VG}/data")
    with pytest.raises(RollbackFailed, match="did not write"):
        await storage.undo(act)
    assert "ext4" == (await storage.volume("data")).fs


@pytest.mark.parametrize("fs", [FileSystem.EXT4, FileSystem.XFS])
async def test_a_mounted_file_system_grows_with_its_volume_at_the_commit(
    storage: Storage, fs: FileSystem
):
    await storage.apply(made := await storage.new_volume("data", XFS_EXTENTS, fs))
    await storage.commit(made)
    sh(f"mount /dev/{VG}/data /mnt && seq 100000 >/mnt/file && sync")
    checksum = sh("sha256sum /mnt/file")
    busy = "while sleep 0.1; do seq 10000 >/mnt/busy; sync /mnt/busy; done"
    sh(f"({busy}) >/run/writer 2>&1 & echo $! >/run/pid")
    before = await storage.volume("data")
    act = await storage.more_extents("data", XFS_EXTENTS * 2)
    baseline = await storage.baseline(act)
    await storage.apply(act)
    assert OK == await storage.verdict(act, baseline)
    await storage.undo(act)
    assert before == await storage.volume("data")
    again = await storage.more_extents("data", XFS_EXTENTS * 2)
    await storage.apply(again)
    await storage.commit(again)
    grown = await storage.volume("data")
    assert grown.fs_bytes
    assert grown.fs_bytes > 1.9 * (before.fs_bytes or 0)
    with pytest.raises(RollbackFailed, match="never made smaller"):
        await storage.driver.undo(step(again), {})
    sh("kill $(cat /run/pid)")
    assert "" == sh("cat /run/writer"), "whoever wrote meanwhile met no error"
    assert checksum == sh("echo 3 >/proc/sys/vm/drop_caches; sha256sum /mnt/file")


async def test_a_file_system_that_lags_behind_its_volume_is_grown(storage: Storage):
    await storage.apply(made := await storage.new_volume("data", 8, FileSystem.EXT4))
    await storage.commit(made)
    sh(f"mount /dev/{VG}/data /mnt && lvextend -q -l 16 {VG}/data")
    act = await storage.of(GrowFileSystem, "data", extents=16, fs=FileSystem.EXT4, mount="/mnt")
    await storage.apply(act)
    await storage.undo(act)
    await storage.commit(act)
    assert 16 * (4 << 20) == (await storage.volume("data")).fs_bytes


async def test_only_a_mounted_file_system_may_be_grown(storage: Storage):
    await storage.apply(made := await storage.new_volume("data", 8, FileSystem.EXT4))
    await storage.commit(made)
    act = await storage.more_extents("data", 16)
    with pytest.raises(HostBusy, match="is not mounted"):
        await storage.apply(act)


async def test_a_file_system_is_made_on_an_empty_volume_and_taken_off(storage: Storage):
    await storage.apply(made := await storage.new_volume("data", 8))
    await storage.commit(made)
    act = await storage.of(MakeFileSystem, "data", fs=FileSystem.EXT4)
    await storage.apply(act)
    assert "ext4" == (await storage.volume("data")).fs
    with pytest.raises(NotOwned, match="holds a signature"):
        await storage.apply(act)
    await storage.undo(act)
    assert "" == (await storage.volume("data")).fs


async def test_tags_are_changed_and_changed_back_beside_those_of_others(storage: Storage):
    sh(f"lvcreate -q -l 4 -n data --addtag theirs --addtag a {VG}")
    act = await storage.of(ChangeTags, "data", old=("a", "theirs"), new=("b", "theirs"))
    await storage.apply(act)
    sh(f"lvchange -q --addtag later {VG}/data")
    assert ("b", "later", "theirs") == (await storage.volume("data")).tags
    await storage.undo(act)
    assert ("a", "later", "theirs") == (await storage.volume("data")).tags
    act = await storage.of(ChangeTags, "data", old=("a",), new=("b",))
    await storage.apply(act)
    await storage.commit(act)


async def test_a_volume_is_activated_and_deactivated(storage: Storage):
    sh(f"lvcreate -q -l 4 -n data -an {VG}")
    act = await storage.of(Activate, "data")
    await storage.apply(act)
    assert (await storage.volume("data")).active
    await storage.undo(act)
    await storage.apply(act := await storage.of(Activate, "data"))
    await storage.commit(act)


async def test_a_retired_volume_comes_back_with_its_content(storage: Storage):
    await storage.apply(made := await storage.new_volume("data", 8, FileSystem.EXT4))
    await storage.commit(made)
    sh(f"mount /dev/{VG}/data /mnt && echo x >/mnt/file && umount /mnt")
    before = await storage.volume("data")
    act = await storage.retire("data")
    saved = await storage.apply(act)
    found = await storage.volume("trash.1.data")
    assert (before.uuid, False) == (found.uuid, found.active)
    sh(f"vgchange -q -aay {VG}")
    assert not (await storage.volume("trash.1.data")).active, "no boot activates it"
    await storage.undo(act, saved)
    assert before == await storage.volume("data")
    await storage.apply(await storage.retire("data"))
    sh(f"lvrename -q {VG} trash.1.data data && lvchange -q --setautoactivation y {VG}/data")
    sh(f"lvchange -q -an {VG}/data && vgchange -q -aay {VG}")
    assert "x\n" == sh(f"mount /dev/{VG}/data /mnt && cat /mnt/file; umount /mnt")


async def test_a_volume_in_use_is_not_retired(storage: Storage):
    sh(f"lvcreate -q -l 8 -n data {VG} && mkfs.ext4 -q /dev/{VG}/data")
    sh(f"mount /dev/{VG}/data /mnt")
    act = await storage.retire("data")
    with pytest.raises(NotOwned, match="in use"):
        await storage.apply(act)


async def test_a_confirmed_removal_is_final_and_leaves_no_signature(storage: Storage):
    await storage.apply(made := await storage.new_volume("data", 8, FileSystem.EXT4))
    await storage.commit(made)
    await storage.apply(aside := await storage.retire("data"))
    await storage.commit(aside)
    act = await storage.of(Remove, "trash.1.data")
    await storage.apply(act)
    await storage.undo(act)
    await storage.commit(act)
    assert [] == await storage.names()
    sh(f"lvcreate -q -l 8 -n theirs {VG}")  # without --yes it is refused if it finds one


async def test_what_is_not_ours_is_not_removed(storage: Storage):
    sh(f"lvcreate -q -l 8 -n theirs {VG}")
    act = await storage.of(Remove, "theirs")
    with pytest.raises(NotOwned, match="not ours"):
        await storage.apply(act)
    with pytest.raises(ConfsyncError, match="not ours"):
        await storage.commit(act)
    assert ["theirs"] == await storage.names()


async def test_a_group_that_changed_since_the_plan_is_left_alone(storage: Storage):
    act = await storage.new_volume("data", 4)
    sh(f"lvcreate -q -l 4 -n theirs {VG}")
    with pytest.raises(HostBusy, match="has changed since"):
        await storage.apply(act)
