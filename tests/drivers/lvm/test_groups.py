"""Groups are made of blank devices, and taken back to blank ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from confsync.drivers.lvm.devices import uuid_of
from confsync.drivers.lvm.step import MANAGED
from confsync.model.errors import NotOwned, RollbackFailed, StepFailed
from confsync.ports import Position
from tests.lab.lvm import Lvm
from tests.lab.storage import NONCE, VG, Storage, step_of

pytestmark = pytest.mark.root


def blank(device: str) -> bool:
    return not any(Path(device).read_bytes())


async def test_a_group_is_made_and_taken_back_to_blank_devices(storage: Storage, lvm: Lvm):
    one, two, _ = lvm.devices
    act = storage.new_group(one, two)
    await storage.apply(act)
    group = await storage.group()
    assert (sorted((one, two)), 4 << 20) == (sorted(group.devices), group.extent_bytes)
    assert MANAGED in group.tags
    for _ in range(2):
        await storage.undo(act)
    assert blank(one)
    assert blank(two)
    await storage.apply(act)
    await storage.commit(act)
    assert (MANAGED,) == (await storage.group()).tags


async def test_a_group_is_extended_and_reduced_again(storage: Storage, lvm: Lvm):
    lvm.must("vgcreate", VG, lvm.devices[0])
    act = await storage.more_devices(*lvm.devices[1:])
    await storage.apply(act)
    assert sorted(lvm.devices) == sorted((await storage.group()).devices)
    for _ in range(2):
        await storage.undo(act)
    assert [lvm.devices[0]] == list((await storage.group()).devices)
    assert blank(lvm.devices[1])
    await storage.apply(act := await storage.more_devices(lvm.devices[1]))
    await storage.commit(act)


@pytest.mark.parametrize("done", [0, 1, 2])
async def test_what_a_cut_left_is_taken_back(storage: Storage, lvm: Lvm, done: int):
    act = storage.new_group(*lvm.devices[:2])
    for member in act.members[:done]:
        uuid = uuid_of(NONCE, member)
        lvm.must("pvcreate", "--norestorefile", "--uuid", uuid, member.path)
    if done:
        assert Position.MIXED is await storage.driver.position(step_of(act), {})
    await storage.undo(act)
    assert all(map(blank, lvm.devices))


async def test_a_cut_between_taking_the_label_and_the_rest_is_taken_back(
    storage: Storage, lvm: Lvm
):
    act = storage.new_group(lvm.devices[0])
    await storage.apply(act)
    lvm.must("vgremove", VG)
    lvm.must("pvremove", lvm.devices[0])
    assert not blank(lvm.devices[0])
    await storage.undo(act)
    assert blank(lvm.devices[0])


async def test_a_physical_volume_of_another_hand_is_not_taken_back(storage: Storage, lvm: Lvm):
    act = storage.new_group(*lvm.devices[:2])
    lvm.must("pvcreate", lvm.devices[0])
    lvm.must("vgcreate", VG, lvm.devices[1])
    before = [Path(device).read_bytes() for device in lvm.devices]
    await storage.driver.undo(step_of(act), {})
    assert before == [Path(device).read_bytes() for device in lvm.devices]


async def test_a_group_that_somebody_uses_by_now_is_kept(storage: Storage, lvm: Lvm):
    act = storage.new_group(lvm.devices[0])
    await storage.apply(act)
    lvm.must("lvcreate", "-l1", "-an", "-Zn", "-Wn", "-n", "theirs", VG)
    with pytest.raises(RollbackFailed, match="no longer empty"):
        await storage.undo(act)
    assert ["theirs"] == await storage.names()


async def test_an_extension_that_somebody_uses_by_now_is_kept(storage: Storage, lvm: Lvm):
    lvm.must("vgcreate", VG, lvm.devices[0])
    act = await storage.more_devices(lvm.devices[1])
    await storage.apply(act)
    lvm.must("lvcreate", "-l1", "-an", "-Zn", "-Wn", "-n", "theirs", VG, lvm.devices[1])
    with pytest.raises(RollbackFailed, match="still in use"):
        await storage.undo(act)


async def test_a_name_that_is_taken_is_refused(storage: Storage, lvm: Lvm):
    lvm.must("vgcreate", VG, lvm.devices[0])
    with pytest.raises(NotOwned, match="already"):
        await storage.apply(storage.new_group(lvm.devices[1]))


async def test_a_device_that_lvm_may_not_use_since_the_check_is_told_and_left_blank(
    storage: Storage, lvm: Lvm
):
    config = Path(lvm.env["LVM_SYSTEM_DIR"], "lvm.conf")
    act = storage.new_group(*lvm.devices[:2])
    await storage.driver.check(step_of(act))
    text = config.read_text().replace(f'"a|^{lvm.devices[1]}$|",', "")
    config.write_text(text)
    with pytest.raises(StepFailed, match="rejected by filter"):
        await storage.driver.apply(step_of(act), {}, 0.0)
    await storage.undo(act)
    assert all(map(blank, lvm.devices))
