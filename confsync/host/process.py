"""Run one child to its end, with bounds on time, memory, processor and output.

Separate because a child that is forgotten goes on working on the host after its caller was
cancelled. Invariant: when `run` returns or raises, the child and its process group are gone; when
`run_unkilled` does, the child is gone, or its `StillRuns` names it.
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Self

from confsync.model import limits
from confsync.model.errors import DeadlinePassed, HostBusy

_ENVIRONMENT: Final = {"LC_ALL": "C", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}


@dataclass(frozen=True, slots=True)
class Finished:
    """How a child ended; `code` is negative for a signal."""

    code: int
    stdout: str
    stderr: str


class StillRuns(DeadlinePassed):
    """A child that may not be killed was asked to end and did not, yet."""


async def run(
    argv: Sequence[str],
    timeout_s: float,
    *,
    stdin: int = subprocess.DEVNULL,
    memory_bytes: int = limits.CHILD_MEMORY_BYTES,
    cpu_s: int = limits.CHILD_CPU_S,
    output_bytes: int = limits.CHILD_OUTPUT_BYTES,
    environment: Mapping[str, str] = _ENVIRONMENT,
) -> Finished:
    """Run a program, without input unless `stdin` is an open file, and return how it ended.

    Raises: DeadlinePassed when it was killed for being too slow; HostBusy when it cannot start.
    Why: Popen starts by vfork and awaiting a pidfd costs nothing; asyncio's own subprocess is 5 ms
    slower under uvloop, and a `preexec_fn` 2 ms, therefore the limits are set from here.
    """
    with _Sinks(output_bytes) as sinks:
        child = _start(argv, stdin, sinks, environment)
        _bound(
            child,
            (resource.RLIMIT_AS, memory_bytes),
            (resource.RLIMIT_CPU, cpu_s),
            (resource.RLIMIT_FSIZE, output_bytes),
        )
        await _to_its_end(child, argv[0], timeout_s)
        return sinks.told(child.returncode)


async def run_unkilled(
    argv: Sequence[str],
    timeout_s: float,
    *,
    stdin: int,
    patience_s: float,
    output_bytes: int = limits.CHILD_OUTPUT_BYTES,
    environment: Mapping[str, str] = _ENVIRONMENT,
) -> Finished:
    """Run a program that may be asked to end, by SIGTERM after `timeout_s`, but never killed.

    A caller that is cancelled waits as long. No bound of ours ends it hard: a write beyond
    `output_bytes` fails, and time and memory are its own.
    Raises: DeadlinePassed when it ended after it was asked to; StillRuns when it did not, for
    another `patience_s`; HostBusy when it cannot start.
    """
    with _Sinks(output_bytes) as sinks:
        # Python ignores SIGXFSZ, and a child that inherits this gets an error in its place.
        child = _start(argv, stdin, sinks, environment, restore_signals=False)
        _bound(child, (resource.RLIMIT_FSIZE, output_bytes))
        ended = _reaped(child)
        try:
            await _uncut(ended, timeout_s)
        finally:
            if late := not ended.done():
                child.terminate()
                await _uncut(ended, patience_s)
        if not ended.done():
            message = f"{argv[0]} (pid {child.pid}) did not end within {timeout_s:g} s"
            raise StillRuns(f"{message}, and not when it was asked to; it is left to itself")
        if late:
            raise DeadlinePassed(f"{argv[0]} did not end within {timeout_s:g} s; it was stopped")
        return sinks.told(child.returncode)


class _Sinks:
    """Where a child's output goes: memory that it can write to even after we have gone."""

    def __init__(self, size_bytes: int) -> None:
        self._size_bytes = size_bytes
        self.out, self.err = (os.memfd_create(name, os.MFD_CLOEXEC) for name in ("out", "err"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.out)
        os.close(self.err)

    def told(self, code: int) -> Finished:
        """Return how the child ended, with all that it said."""
        return Finished(code, self._text(self.out), self._text(self.err))

    def _text(self, fd: int) -> str:
        return os.pread(fd, self._size_bytes, 0).decode(errors="replace")


def _start(
    argv: Sequence[str],
    stdin: int,
    sinks: _Sinks,
    environment: Mapping[str, str],
    *,
    restore_signals: bool = True,
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            argv,
            stdin=stdin,
            stdout=sinks.out,
            stderr=sinks.err,
            env=dict(environment),
            start_new_session=True,
            restore_signals=restore_signals,
        )
    except OSError as fault:
        raise HostBusy(f"{argv[0]} cannot be started: {fault.strerror}") from fault


def _bound(child: subprocess.Popen[bytes], *bounds: tuple[int, int]) -> None:
    with suppress(ProcessLookupError):
        for bound, most in (*bounds, (resource.RLIMIT_CORE, 0)):
            resource.prlimit(child.pid, bound, (most, most))


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


def _reaped(child: subprocess.Popen[bytes]) -> asyncio.Future[None]:
    """Return what is done once the child has ended and is reaped, whoever waits for it or not."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()
    pidfd = os.pidfd_open(child.pid)

    def reap() -> None:
        _settle(loop, pidfd, ended)
        os.close(pidfd)
        child.wait()

    loop.add_reader(pidfd, reap)
    return ended


async def _uncut(ended: asyncio.Future[None], timeout_s: float | None = None) -> None:
    """Wait for an end, however often we are cancelled; whoever cancels is heard afterwards."""
    loop = asyncio.get_running_loop()
    due = None if timeout_s is None else loop.time() + timeout_s
    cancelled: asyncio.CancelledError | None = None
    while not ended.done() and (due is None or loop.time() < due):
        try:
            await asyncio.wait({ended}, timeout=due and due - loop.time())
        except asyncio.CancelledError as cut:
            cancelled = cut
    if cancelled is not None:
        raise cancelled
