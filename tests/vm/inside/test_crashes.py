"""A killed `lvm` leaves what was measured and no more, and the recipes mend it: a sample of points.

CONFSYNC_TEST_SEED repeats a sample. All points, some minutes of a CPU:
`CONFSYNC_TEST_POINTS=0 scripts/guest python -m pytest tests/vm/inside/test_crashes.py`
"""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path

import pytest

from tests.vm.crashes import CALLS, CRASHES, PREPARE, Crash, look
from tests.vm.layouts import UNMAP

POINTS = int(os.environ.get("CONFSYNC_TEST_POINTS", "3"))
SEED = int(os.environ.get("CONFSYNC_TEST_SEED", random.randrange(1 << 32)))
# A killed lvm may not have come to make the node; on a host udevd makes it.
CONTENT = "vgmknodes vg0; head --bytes 4M /dev/vg0/{} | sha256sum"


def run(command: str) -> str:
    done = subprocess.run(["sh", "-ec", command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def prepare() -> str:
    """Make the group and fill its volume; return the content's digest."""
    subprocess.run(["sh", "-c", UNMAP], capture_output=True, check=False)
    run("wipefs --all --quiet /dev/ubda /dev/ubdb /dev/ubdc")
    run(PREPARE)
    run("dd if=/dev/urandom of=/dev/vg0/old bs=1M count=4 conv=fsync")
    return run(CONTENT.format("old"))


def kill_points(crash: Crash) -> list[tuple[str, int]]:
    """Return the calls of the command that change something, all or a sample."""
    prepare()
    trace = Path("/run/trace")
    run(f"strace -f -o {trace} -e trace={','.join(CALLS)} {crash.command}")
    assert crash.new == look()
    points = []
    for call in CALLS:
        made = trace.read_text().count(f" {call}(")
        points += [(call, number) for number in range(made // 3, made + 1)]
    return random.Random(SEED).sample(points, POINTS) if POINTS else points


@pytest.mark.timeout(0 if POINTS == 0 else 120)
@pytest.mark.parametrize("name", CRASHES)
def test_a_killed_command_leaves_what_is_known_and_is_mended(disks: list[str], name: str):
    crash = CRASHES[name]
    for call, number in kill_points(crash):
        where = f"{crash.command} killed at {call} {number}, CONFSYNC_TEST_SEED={SEED}"
        content = prepare()
        fate = f"strace -f -o /dev/null -e inject={call}:signal=KILL:when={number}"
        subprocess.run(["sh", "-c", f"{fate} {crash.command}"], capture_output=True, check=False)

        left = look()
        assert left in crash.leaves, where
        run(crash.leaves[left])

        mended = look()
        assert mended in (crash.old, crash.new), f"{where}, which left {left}"
        data = "new" if "new a 16" == mended else "old"
        assert content == run(CONTENT.format(data)), where
