"""Run one child to its end, with bounds on time, memory, processor and output.

Separate because a child that is forgotten goes on working on the host after its caller was
cancelled. Invariant: when `run` returns or raises, the child and its process group are gone.
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from confsync.model import limits
from confsync.model.errors import DeadlinePassed, HostBusy

_ENVIRONMENT: Final = {"LC_ALL": "C", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}


@dataclass(frozen=True, slots=True)
class Finished:
    """How a child ended; `code` is negative for a signal."""

    code: int
    stdout: str
    stderr: str


async def run(
    argv: Sequence[str],
    timeout_s: float,
    *,
    memory_bytes: int = limits.CHILD_MEMORY_BYTES,
    cpu_s: int = limits.CHILD_CPU_S,
    output_bytes: int = limits.CHILD_OUTPUT_BYTES,
) -> Finished:
    """Run a program without input and return how it ended.

    Raises: DeadlinePassed when it was killed for being too slow; HostBusy when it cannot start.
    Why: Popen starts by vfork and awaiting a pidfd costs nothing; asyncio's own subprocess is 5 ms
    slower under uvloop, and a `preexec_fn` 2 ms, therefore the limits are set from here.
    """
    out, err = _sink("stdout"), _sink("stderr")
    try:
        child = _start(argv, out, err)
        bounds = (
            (resource.RLIMIT_AS, memory_bytes),
            (resource.RLIMIT_CPU, cpu_s),
            (resource.RLIMIT_FSIZE, output_bytes),
            (resource.RLIMIT_CORE, 0),
        )
        with suppress(ProcessLookupError):
            for bound, most in bounds:
                resource.prlimit(child.pid, bound, (most, most))
        await _to_its_end(child, argv[0], timeout_s)
        return Finished(child.returncode, _text(out, output_bytes), _text(err, output_bytes))
    finally:
        os.close(out)
        os.close(err)


def _start(argv: Sequence[str], out: int, err: int) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env=_ENVIRONMENT,
            start_new_session=True,
        )
    except OSError as fault:
        raise HostBusy(f"{argv[0]} cannot be started: {fault.strerror}") from fault


async def _to_its_end(child: subprocess.Popen[bytes], name: str, timeout_s: float) -> None:
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()
    pidfd = os.pidfd_open(child.pid)
    loop.add_reader(pidfd, _settle, loop, pidfd, ended)
    try:
        async with asyncio.timeout(timeout_s):
            await asyncio.shield(ended)
    except TimeoutError as slow:
        raise DeadlinePassed(f"{name} did not end within {timeout_s:g} s; killed") from slow
    finally:
        # The child is not reaped yet, so its group's number cannot belong to anybody else.
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        try:
            await _uncut(ended)
        finally:
            os.close(pidfd)
            child.wait()


def _settle(loop: asyncio.AbstractEventLoop, pidfd: int, ended: asyncio.Future[None]) -> None:
    loop.remove_reader(pidfd)
    ended.set_result(None)


async def _uncut(ended: asyncio.Future[None]) -> None:
    """Wait for a child that was killed; whoever cancels us meanwhile is heard afterwards."""
    cancelled: asyncio.CancelledError | None = None
    while not ended.done():
        try:
            await asyncio.wait({ended})
        except asyncio.CancelledError as cut:
            cancelled = cut
    if cancelled is not None:
        raise cancelled


def _sink(name: str) -> int:
    return os.memfd_create(name, os.MFD_CLOEXEC)


def _text(fd: int, size_bytes: int) -> str:
    return os.pread(fd, size_bytes, 0).decode(errors="replace")
