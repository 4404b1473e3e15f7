from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest
import uvloop

from confsync.host.process import Finished, run
from confsync.model.errors import DeadlinePassed, HostBusy
from tests.lab.wait import wait_until

LOOPS = pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])


def run_on(loop, work):
    with asyncio.Runner(loop_factory=loop) as runner:
        return runner.run(work)


def sh(script, timeout_s=10.0, **bounds):
    return run(["/bin/sh", "-c", script], timeout_s, **bounds)


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat").read_text()
    return stat.rpartition(")")[2].split()[0] != "Z"


@LOOPS
@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("echo out; echo err >&2; exit 3", Finished(3, "out\n", "err\n")),
        ("kill -ABRT $$", Finished(-signal.SIGABRT, "", "")),
        ("cat; echo $LC_ALL", Finished(0, "C\n", "")),
        (r"printf '\377'", Finished(0, "\ufffd", "")),
    ],
)
def test_a_child_is_told_as_it_ended(loop, script, expected):
    assert expected == run_on(loop, sh(script))


@LOOPS
def test_output_is_bounded(loop):
    done = run_on(loop, sh("sleep 0.1; exec yes", output_bytes=4096))
    assert (-signal.SIGXFSZ, 4096) == (done.code, len(done.stdout))


@LOOPS
def test_memory_is_bounded(loop):
    done = run_on(
        loop, sh("sleep 0.1; x=x; while :; do x=$x$x; done", memory_bytes=64 * 1024 * 1024)
    )
    assert 0 != done.code


@LOOPS
def test_a_slow_child_and_its_children_are_killed(loop, tmp_path):
    note = tmp_path / "pid"
    begun = time.monotonic()
    with pytest.raises(DeadlinePassed, match="did not end within"):
        run_on(loop, sh(f"sleep 100 & echo $! > {note}; wait", timeout_s=0.3))
    assert time.monotonic() - begun < 5
    pid = int(note.read_text())
    wait_until("the grandchild's end", lambda: not alive(pid), timeout_s=5)


@LOOPS
def test_a_cancelled_child_is_gone_before_the_caller_goes_on(loop, tmp_path):
    note = tmp_path / "pid"

    async def work():
        task = asyncio.create_task(sh(f"echo $$ > {note}.new; mv {note}.new {note}; sleep 100"))
        while not note.exists():
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return alive(int(note.read_text()))

    assert run_on(loop, work()) is False


@LOOPS
def test_what_a_child_leaves_running_is_killed_too(loop, tmp_path):
    done = run_on(loop, sh("sleep 100 & echo $!"))
    pid = int(done.stdout)
    wait_until("the orphan's end", lambda: not alive(pid), timeout_s=5)


@LOOPS
def test_a_program_that_cannot_start_is_said(loop):
    with pytest.raises(HostBusy, match="No such file"):
        run_on(loop, run(["/nonexistent"], 1))


@LOOPS
def test_no_descriptor_is_left_behind(loop):
    async def work():
        await sh("true")
        before = len(list(Path("/proc/self/fd").iterdir()))
        for _ in range(20):
            await sh("true")
        return len(list(Path("/proc/self/fd").iterdir())) - before

    assert 0 == run_on(loop, work())
