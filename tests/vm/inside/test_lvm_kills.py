"""lvm is killed in the middle of each act of the driver's: the way back ends at the old state.

The agent may die as well: what goes back is a new driver, which knows only the step. A sample of
points; CONFSYNC_TEST_SEED repeats one, CONFSYNC_TEST_POINTS=0 takes all (with scripts/guest).
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from confsync.drivers.lvm.step import Act, FileSystem
from confsync.model.errors import RollbackFailed, StepFailed
from tests.lab.storage import VG, Storage, sh, step_of
from tests.vm.inside.conftest import blank

POINTS = int(os.environ.get("CONFSYNC_TEST_POINTS", "1"))
SEED = int(os.environ.get("CONFSYNC_TEST_SEED", random.randrange(1 << 32)))
CALLS = ("ioctl", "io_submit")
ARMED, TRACE = Path("/run/armed"), Path("/run/trace")
WRAPPER = """#!/bin/bash
# One command, the one that is named, is traced; and killed, if it is told at which call.
if [ -s /run/armed ] && read -r command options </run/armed && [ "$command" = "$1" ]; then
    : >/run/armed
    exec strace -o /run/trace $options /usr/sbin/lvm "$@"
fi
exec /usr/sbin/lvm "$@"
"""
Plan = Callable[[Storage], Awaitable[Act]]
ACTS: dict[str, tuple[Plan, str]] = {
    "create": (lambda storage: storage.new_volume("new", 4, FileSystem.EXT4), "lvcreate"),
    "extend": (lambda storage: storage.more_extents("data", 24), "lvextend"),
    "deactivate": (lambda storage: storage.retire("idle"), "lvchange"),
    "retire": (lambda storage: storage.retire("idle"), "lvrename"),
}


def stage() -> Storage:
    """Give a group with a mounted volume that holds data, and one that nobody uses."""
    first, second, _ = blank()
    sh(f"vgcreate -q -s 4m {VG} {first} {second}")
    sh(f"lvcreate -q -l 12 -n data --addtag confsync.managed {VG}")
    sh(f"lvcreate -q -l 4 -n idle --addtag confsync.managed {VG}")
    sh(f"mkfs.ext4 -q /dev/{VG}/data && mount /dev/{VG}/data /mnt && seq 100000 >/mnt/file; sync")
    return told()


def told() -> Storage:
    """Return a driver of a new process."""
    binary = Path("/run/lvm.sh")
    binary.write_text(WRAPPER)
    binary.chmod(0o755)
    return Storage(str(binary))


def arm(command: str, options: str) -> None:
    """Have the next lvm of this command traced."""
    ARMED.write_text(f"{command} {options}\n")


def sample() -> list[tuple[str, int]]:
    """Return the traced system calls that may have changed something, or a sample."""
    made = [line.partition("(")[0] for line in TRACE.read_text().splitlines()]
    totals = {call: made.count(call) for call in CALLS}
    late = [(call, at) for call, total in totals.items() for at in range(total // 3 + 1, total + 1)]
    assert len(late) > POINTS
    sys.stdout.write(f"{len(late)} points, of which {POINTS or 'all'}: CONFSYNC_TEST_SEED={SEED}\n")
    return random.Random(SEED).sample(late, POINTS) if POINTS else late


@pytest.mark.timeout(0 if POINTS == 0 else 120)
@pytest.mark.parametrize("name", ACTS)
async def test_the_way_back_from_a_killed_lvm_ends_at_the_old_state(name: str):
    plan, command = ACTS[name]
    storage = stage()
    arm(command, f"-e trace={','.join(CALLS)}")
    await storage.apply(await plan(storage))
    for call, at in sample():
        where = f"{command} killed at {call} {at}, CONFSYNC_TEST_SEED={SEED}"
        storage = stage()
        checksum = sh("sha256sum /mnt/file")
        before = (await storage.group()).volumes
        act = await plan(storage)
        saved = await storage.driver.checkpoint(step_of(act))
        arm(command, f"-e inject={call}:signal=KILL:when={at}")
        with pytest.raises(StepFailed, match="signal 9"):
            await storage.driver.apply(step_of(act), saved, 0.0)
        again = told()
        await again.undo(act, saved)
        assert before == (await again.group()).volumes, where
        assert checksum == sh("echo 3 >/proc/sys/vm/drop_caches; sha256sum /mnt/file"), where
        await again.apply(await plan(again))


@pytest.mark.timeout(0 if POINTS == 0 else 120)
@pytest.mark.parametrize(
    ("name", "command"), [("create", "lvremove"), ("extend", "lvreduce"), ("retire", "lvrename")]
)
async def test_a_way_back_that_is_cut_itself_is_gone_again(name: str, command: str):
    plan, _ = ACTS[name]
    storage = stage()
    saved = await storage.apply(act := await plan(storage))
    arm(command, f"-e trace={','.join(CALLS)}")
    await storage.undo(act, saved)
    for call, at in sample():
        where = f"{command} killed at {call} {at}, CONFSYNC_TEST_SEED={SEED}"
        storage = stage()
        checksum = sh("sha256sum /mnt/file")
        before = (await storage.group()).volumes
        saved = await storage.apply(act := await plan(storage))
        arm(command, f"-e inject={call}:signal=KILL:when={at}")
        with pytest.raises(RollbackFailed, match="signal 9"):
            await storage.driver.undo(step_of(act), saved)
        again = told()
        await again.undo(act, saved)
        assert before == (await again.group()).volumes, where
        assert checksum == sh("echo 3 >/proc/sys/vm/drop_caches; sha256sum /mnt/file"), where


@pytest.mark.timeout(0 if POINTS == 0 else 120)
async def test_a_commit_that_is_cut_is_finished():
    storage = stage()
    await storage.apply(act := await storage.new_volume("new", 4, FileSystem.EXT4))
    arm("lvchange", f"-e trace={','.join(CALLS)}")
    await storage.commit(act)
    for call, at in sample():
        storage = stage()
        await storage.apply(act := await storage.new_volume("new", 4, FileSystem.EXT4))
        arm("lvchange", f"-e inject={call}:signal=KILL:when={at}")
        with pytest.raises(StepFailed, match="signal 9"):
            await storage.driver.commit(step_of(act), {})
        await told().commit(act)
