from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest
import uvloop

from confsync.host.process import Finished, StillRuns, run, run_unkilled
from confsync.model.errors import DeadlinePassed, HostBusy
from tests.lab.wait import wait_until

LOOPS = pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])


def run_on(loop, work):
    with asyncio.Runner(loop_factory=loop) as runner:
        return runner.run(work)


def sh(script, timeout_s=10.0, **bounds):
    return run(["/bin/sh", "-c", script], timeout_s, **bounds)


def unkilled(script, timeout_s=10.0, patience_s=10.0, **bounds):
    async def work():
        empty = os.open("/dev/null", os.O_RDONLY)
        try:
            return await run_unkilled(
                ["/bin/sh", "-c", script], timeout_s, stdin=empty, patience_s=patience_s, **bounds
            )
        finally:
            os.close(empty)

    return work()


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
def test_a_child_that_may_not_be_killed_is_asked_and_waited_for(loop, tmp_path):
    note = tmp_path / "ended"
    script = f"trap 'sleep 0.3; touch {note}; exit 7' TERM; while :; do sleep 0.05; done"
    with pytest.raises(DeadlinePassed, match="it was stopped"):
        run_on(loop, unkilled(script, timeout_s=0.3))
    assert note.exists()


@LOOPS
def test_one_that_does_not_end_is_named_and_left_to_itself(loop, tmp_path):
    note = tmp_path / "pid"
    script = f"trap '' TERM; echo $$ > {note}; sleep 1; sleep 0.01"

    async def work():
        with pytest.raises(StillRuns, match="left to itself") as said:
            await unkilled(script, timeout_s=0.2, patience_s=0.2)
        pid = int(note.read_text())
        assert f"(pid {pid})" in str(said.value)
        assert alive(pid)
        async with asyncio.timeout(5):
            while Path(f"/proc/{pid}").exists():  # until it is reaped
                await asyncio.sleep(0.01)

    run_on(loop, work())


@LOOPS
def test_a_cancelled_caller_waits_for_a_child_that_may_not_be_killed(loop, tmp_path):
    note = tmp_path / "ended"

    async def work():
        task = asyncio.create_task(unkilled(f"sleep 0.3; touch {note}"))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return note.exists()

    assert run_on(loop, work())


@LOOPS
def test_what_such_a_child_starts_lives_on_and_too_much_output_is_an_error(loop):
    done = run_on(loop, unkilled("sleep 100 >/dev/null & echo $!"))
    pid = int(done.stdout)
    assert alive(pid)
    os.kill(pid, signal.SIGKILL)
    done = run_on(loop, unkilled("sleep 0.1; exec yes", output_bytes=4096))
    assert (1, 4096) == (done.code, len(done.stdout)), "an error, no signal"


@LOOPS
@pytest.mark.parametrize("runner", [sh, unkilled])
def test_no_descriptor_is_left_behind(loop, runner):
    async def work():
        await runner("true")
        before = len(list(Path("/proc/self/fd").iterdir()))
        for _ in range(20):
            await runner("true")
        return len(list(Path("/proc/self/fd").iterdir())) - before

    assert 0 == run_on(loop, work())
