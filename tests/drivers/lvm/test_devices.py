"""Devices and groups that are somebody's: refused with the reason, and no byte is changed.

What the kernel itself uses (mounts, swap, md, device-mapper) is made in the guest, tests/vm.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from confsync.drivers.lvm import command, devices
from confsync.drivers.lvm.devices import against
from confsync.model.errors import ConfsyncError, HostBusy, NotOwned, StepFailed
from tests.lab.lvm import Loop, Lvm
from tests.lab.storage import VG, Storage, content, sh, step_of

pytestmark = pytest.mark.root
MIB = 1024 * 1024
PARTITION = "printf '\\0\\0\\0\\0\\203\\0\\0\\0\\0\\10\\0\\0\\0\\10\\0\\0'"
ZEROS = "head -c 48 /dev/zero"  # three more entries
LAYOUTS = {
    "ext4": ("mkfs.ext4 -q {0}", "not zero in its first MiB"),
    "swap": ("mkswap --quiet {0}", "not zero in its first MiB"),
    "a partition table": (
        f"({PARTITION}; {ZEROS}; printf '\\125\\252') | dd of={{0}} bs=1 seek=446 status=none",
        "not zero in its first MiB",
    ),
    "LUKS": ("printf 'LUKS\\272\\276\\0\\2' | dd of={0} status=none", "not zero in its first MiB"),
    "a member of md at the end": (
        "printf '\\374\\116\\053\\251\\1' | dd of={0} bs=4096 seek=16382 status=none",
        "not zero in its last MiB",
    ),
    "data without a signature": ("echo data | dd of={0} status=none", "not zero in its first MiB"),
    "data at the end": ("echo data | dd of={0} bs=1M seek=63 status=none", "not zero in its last"),
    "a signature that blkid alone knows": (
        "printf '\\136\\361\\253\\057' | dd of={0} bs=1M seek=2 status=none",
        "holds a signature .VMFS.",
    ),
    "a physical volume": ("{lvm} pvcreate -q {0}", "not zero in its first MiB"),
}


@pytest.fixture
def disk(lvm: Lvm) -> str:
    return lvm.devices[0]


@pytest.mark.parametrize("layout", LAYOUTS)
async def test_a_device_that_is_somebodys_is_refused(
    storage: Storage, lvm: Lvm, disk: str, layout: str
):
    make, reason = LAYOUTS[layout]
    sh(make.format(disk, lvm=storage.binary))
    lvm.must("vgcreate", VG, lvm.devices[2])
    before = [content(device) for device in lvm.devices]
    with pytest.raises(NotOwned, match=reason) as refused:
        await storage.apply(await storage.more_devices(disk))
    assert f"{disk} " in str(refused.value)
    assert before == [content(device) for device in lvm.devices]
    lvm.must("vgremove", VG)
    with pytest.raises(NotOwned, match=reason):
        await storage.apply(storage.new_group(lvm.devices[1], disk))
    assert before[0] == content(disk)


async def test_a_device_that_changed_under_its_name_is_refused(
    storage: Storage, lvm: Lvm, tmp_path: Path
):
    name = tmp_path / "by-id"
    name.symlink_to(lvm.devices[0])
    act = storage.new_group(str(name))
    name.unlink()
    name.symlink_to(lvm.devices[1])
    with pytest.raises(NotOwned, match=f"was {lvm.devices[0]} when this was planned"):
        await storage.apply(act)


async def test_a_device_that_lvm_is_told_not_to_look_at_is_refused(
    storage: Storage, lvm: Lvm, disk: str, tmp_path: Path
):
    hidden = Loop(tmp_path / "hidden", 64)
    before = [content(device) for device in (disk, hidden.device)]
    with pytest.raises(NotOwned, match=f"{hidden.device} is kept from LVM"):
        await storage.driver.check(step_of(storage.new_group(disk, hidden.device)))
    lvm.must("vgcreate", VG, lvm.devices[1])
    with pytest.raises(NotOwned, match=f"--adddev {hidden.device}"):
        await storage.driver.check(step_of(await storage.more_devices(hidden.device)))
    assert before == [content(device) for device in (disk, hidden.device)]
    hidden.close()


def test_what_speaks_against_a_device_is_told_in_words(storage: Storage, disk: str):
    member = storage.member(disk)
    assert [] == list(against(member))
    for more, told in (
        ({"size_bytes": member.size_bytes + 512}, "bytes when this was planned"),
        ({"path": "/dev/null", "name": "/dev/null"}, "is no block device"),
        ({"path": "/dev/nothing", "name": "/dev/nothing"}, "cannot be looked at: No such file"),
    ):
        assert told in " ".join(against(member.model_copy(update=more)))


def test_a_leg_of_a_multipath_that_is_not_set_up_is_known_by_its_twin(
    storage: Storage, lvm: Lvm, monkeypatch: pytest.MonkeyPatch
):
    legs = [Path(device).name for device in lvm.devices[:2]]
    monkeypatch.setattr(devices, "_identity", lambda name: "naa.5" if name in legs else "")
    member = storage.member(lvm.devices[0])
    assert [f"is one of several paths to one disk ({legs[1]})"] == list(against(member))
    assert [] == list(against(storage.member(lvm.devices[2])))


# --- groups

LOCKED = """sed -i '/extent_size/i lock_type = "sanlock"\\nlock_args = "1.0.0:lvmlock"'"""
SHARED = (
    f"{{lvm}} vgcfgbackup -q -f $file vg0; {LOCKED} $file; {{lvm}} vgcfgrestore -q -f $file vg0"
)
TROUBLES = {
    "exported": ("{lvm} vgexport -q vg0", "exported"),
    "foreign": ("{lvm} vgchange -q -y --systemid another vg0", "another system"),
    "missing": ("dd if=/dev/zero of={1} bs=1M count=1 status=none", "missing"),
    "shared": (f"file=$(mktemp); {SHARED}; rm $file", "shared with other hosts"),
    "twice": ("dd if={0} of={2} bs=1M status=none", "twice"),
}


@pytest.fixture
def group(lvm: Lvm) -> str:
    lvm.must("vgcreate", "-s4m", VG, *lvm.devices[:2])
    lvm.must("lvcreate", "-l4", "-an", "-Zn", "-Wn", "-n", "theirs", VG)
    return VG


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.usefixtures("group")
async def test_a_group_in_trouble_is_left_alone(storage: Storage, lvm: Lvm, trouble: str):
    make, reason = TROUBLES[trouble]
    planned = await storage.new_volume("data", 4)
    sh(make.format(*lvm.devices, lvm=storage.binary))
    before = [content(disk) for disk in lvm.devices]
    assert reason in " ".join((await storage.driver.observe()).notes)
    for act in (planned, await storage.new_volume("data", 4)):
        with pytest.raises(HostBusy, match=reason):
            await storage.apply(act)
    assert before == [content(disk) for disk in lvm.devices]


@pytest.mark.usefixtures("group")
async def test_what_no_longer_fits_is_refused(storage: Storage, lvm: Lvm):
    with pytest.raises(NotOwned, match="already"):
        await storage.apply(await storage.new_volume("theirs", 4))
    act = await storage.new_volume("data", 4)
    lvm.must("lvcreate", "-l1", "-an", "-Zn", "-Wn", "-n", "later", VG)
    with pytest.raises(HostBusy, match="has changed since"):
        await storage.apply(act)
    assert ["later", "theirs"] == await storage.names()


@pytest.mark.usefixtures("group")
async def test_a_volume_may_count_on_the_devices_that_come_with_it(storage: Storage, lvm: Lvm):
    free = (await storage.group()).free
    for act in (
        await storage.more_devices(lvm.devices[2]),
        await storage.new_volume("data", free + 1),
    ):
        await storage.driver.check(step_of(act))


@pytest.mark.usefixtures("group")
async def test_free_extents_that_vanish_after_the_check_are_a_failed_step(
    storage: Storage, lvm: Lvm
):
    act = await storage.new_volume("data", (await storage.group()).free)
    await storage.driver.check(step_of(act))
    lvm.must("lvcreate", "-l1", "-an", "-Zn", "-Wn", "-n", "later", VG)
    with pytest.raises(StepFailed, match="insufficient free space"):
        await storage.driver.apply(step_of(act), {}, 0.0)
    await storage.undo(act)
    assert ["later", "theirs"] == await storage.names()


@pytest.mark.usefixtures("group")
async def test_a_lock_that_another_lvm_holds_is_told_and_nothing_is_done(
    storage: Storage, lvm: Lvm, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(command.limits, "LVM_READ_S", 1.0)
    monkeypatch.setattr(storage.driver._commands, "_lock_wait_s", 1.0)
    act = await storage.new_volume("data", 4)
    before = [content(disk) for disk in lvm.devices]
    lock = Path(lvm.env["LVM_SYSTEM_DIR"], "lock", f"V_{VG}")
    with subprocess.Popen(["flock", lock, "sleep", "100"], stdin=subprocess.DEVNULL) as holder:
        try:
            with pytest.raises(HostBusy, match="no answer within"):
                await storage.driver.check(step_of(act))
            with pytest.raises(HostBusy, match="Can't get lock"):
                await storage.driver.apply(step_of(act), {}, 0.0)
        finally:
            subprocess.run(["pkill", "-P", str(holder.pid)], check=False)
    assert before == [content(disk) for disk in lvm.devices]
    with pytest.raises(ConfsyncError):
        await storage.apply(act)  # nothing is ever active here
    await storage.undo(act)
    assert ["theirs"] == await storage.names()
