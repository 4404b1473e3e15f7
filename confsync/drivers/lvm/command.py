"""Run lvm, and the tools that make file systems and mounts.

Separate because a program that changes storage must never be cut: a killed lvm leaves volumes
suspended. Invariant: one changing program of ours at a time, over the death of an agent too. Each
holds the lock as its input, an empty file: so it reads nothing, whoever runs it (a transient unit
gets it as well), and the lock is free when it has ended. Other descriptors lvm closes at once.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from confsync.host import process
from confsync.host.process import Finished
from confsync.model import limits
from confsync.model.errors import DeadlinePassed, HostBusy, StepFailed

LOCK: Final = "/run/lock/lvm/confsync"
UDEVD: Final = "/run/udev/control"
_SYSTEMD: Final = "/run/systemd/system"
_BARE: Final = {
    "LC_ALL": "C",
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    "LVM_SUPPRESS_FD_WARNINGS": "1",
}
_AT_ONCE: Final = ("--config", "global/wait_for_locks=0")
_LOCKED: Final = "Can't get lock for "
"""What lvm says, untranslated, when another one holds a group."""


class Commands:
    """The programs that a driver runs; `lock_file` is the one that changing programs hold."""

    def __init__(self, lock_file: str = LOCK, lock_wait_s: float = limits.LVM_LOCK_S) -> None:
        self._lock_file = lock_file
        self._lock_wait_s = lock_wait_s

    async def read(self, *argv: str, codes: tuple[int, ...] = (0,)) -> Finished:
        """Run a program that changes nothing.

        Raises: HostBusy when it ends otherwise than with one of `codes`, or not in time.
        """
        try:
            ended = await process.run(
                argv,
                limits.LVM_READ_S,
                output_bytes=limits.LVM_OUTPUT_BYTES,
                environment=_environment(),
            )
        except DeadlinePassed as slow:
            raise HostBusy(f"{_words(argv)}: no answer within {limits.LVM_READ_S:g} s") from slow
        if ended.code not in codes:
            raise HostBusy(f"{_words(argv)}: {_told(ended)}")
        return ended

    async def change(self, binary: str, *words: str) -> None:
        """Run an lvm that changes something; the caller reads back what came of it.

        Raises: HostBusy while another one holds the group, and nothing is done then; StepFailed;
        DeadlinePassed when the outcome is uncertain.
        """
        now = asyncio.get_running_loop().time
        due = now() + self._lock_wait_s
        while True:
            ended = await self._alone((binary, *words, *_AT_ONCE))
            if ended.code == 0:
                return
            if _LOCKED not in ended.stderr:
                raise StepFailed(f"{_words((binary, *words))}: {_told(ended)}")
            if now() >= due:
                raise HostBusy(f"{_words((binary, *words))}: {_told(ended)}")
            await asyncio.sleep(limits.SAMPLE_EVERY_S)

    async def in_host(self, *argv: str) -> str:
        """Run a tool where mounts are the host's own, and return what it said.

        Raises: HostBusy, StepFailed, DeadlinePassed.
        Why a transient unit: the agent's own view of the file systems is read-only.
        """
        if has_systemd():
            quiet = ("systemd-run", "--wait", "--pipe", "--collect", "--quiet", "--")
            ended = await self._alone((*quiet, *argv))
        else:
            ended = await self._alone(argv)
        if ended.code:
            raise StepFailed(f"{_words(argv)}: {_told(ended)}")
        return ended.stdout

    async def systemctl(self, *words: str) -> None:
        """Ask systemd. Raises HostBusy, StepFailed, DeadlinePassed."""
        ended = await self._alone(("systemctl", "--quiet", *words))
        if ended.code:
            raise StepFailed(f"{_words(('systemctl', *words))}: {_told(ended)}")

    async def settle(self) -> None:
        """Wait until no changing program is at work, though its agent has died.

        Raises: HostBusy when it does not end.
        """
        with _opened(self._lock_file) as lock:
            await _hold(lock, limits.LVM_CHANGE_S + limits.LVM_PATIENCE_S)

    async def _alone(self, argv: tuple[str, ...]) -> Finished:
        with _opened(self._lock_file) as lock:
            await _hold(lock, self._lock_wait_s)
            return await process.run_unkilled(
                argv,
                limits.LVM_CHANGE_S,
                stdin=lock,
                patience_s=limits.LVM_PATIENCE_S,
                output_bytes=limits.LVM_OUTPUT_BYTES,
                environment=_environment(),
            )


def has_systemd() -> bool:
    """Tell whether systemd runs this host."""
    return os.path.isdir(_SYSTEMD)


def require_udevd(path: str = UDEVD) -> None:
    """Raise HostBusy where udevd left its socket and is gone: lvm would wait for it for ever."""
    if "DM_DISABLE_UDEV" in _environment() or not os.path.exists(path):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as channel:
        channel.settimeout(limits.SAMPLE_EVERY_S)
        try:
            channel.connect(path)
        except OSError as fault:
            reason = f"{path}: {fault}; lvm would wait for udevd for ever"
            raise HostBusy(f"udevd does not answer on {reason}") from fault


def _environment() -> dict[str, str]:
    """Return what a child is given; where no udevd runs, lvm may be told to do without."""
    without = os.environ.get("DM_DISABLE_UDEV")
    if without and not os.path.exists(UDEVD):
        return {**_BARE, "DM_DISABLE_UDEV": without}
    return _BARE


@contextmanager
def _opened(path: str) -> Iterator[int]:
    """Open the lock's file, empty: it is what a child reads."""
    flags = os.O_RDONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        lock = os.open(path, flags, 0o600)
    except OSError as fault:
        raise HostBusy(f"{path}: {fault.strerror}") from fault
    try:
        yield lock
    finally:
        os.close(lock)


async def _hold(lock: int, timeout_s: float) -> None:
    now = asyncio.get_running_loop().time
    due = now() + timeout_s
    while not _locked(lock):
        if now() >= due:
            message = f"a program that confsync started has not ended within {timeout_s:g} s"
            raise HostBusy(f"{message}: see fuser -v {LOCK}")
        await asyncio.sleep(limits.SAMPLE_EVERY_S)


def _locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _words(argv: tuple[str, ...]) -> str:
    return " ".join((os.path.basename(argv[0]), *argv[1:]))


def _told(ended: Finished) -> str:
    """Return how a program failed, and what it said."""
    said = ended.stderr.strip() or ended.stdout.strip()
    text = "; ".join(line.strip() for line in said.splitlines())[: limits.TOLD_CHARS]
    how = f"signal {-ended.code}" if ended.code < 0 else f"exit code {ended.code}"
    return f"{how}: {text}" if text else how
