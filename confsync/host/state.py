"""The state directory: private, and held by one confsync at a time.

Separate because both are checked before anything else is touched: a directory that others can
write, or that leads elsewhere, cannot be believed; and two writers on one host are never right.
"""

from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path
from types import TracebackType
from typing import Self

from confsync.model.errors import AnotherAgent, BadSettings


class HostLock:
    """The right to write to this host, held by an open file; the kernel ends it with us."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / "lock"
        self._fd = -1

    def __enter__(self) -> Self:
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as taken:
            os.close(self._fd)
            message = f"another confsync holds {self._path}; ask it instead: confsync status"
            raise AnotherAgent(message) from taken
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._fd)


def private_dir(path: Path) -> Path:
    """Return the state directory, made if absent.

    Raises: BadSettings when it is a symlink, not ours, or open to others.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.lstat()
    except OSError as fault:
        message = f"state_dir {path}: {fault.strerror}"
        raise BadSettings(message) from fault
    if not stat.S_ISDIR(found.st_mode):
        message = f"state_dir {path} is not a directory of its own (a symlink?)"
        raise BadSettings(message)
    if found.st_uid != os.geteuid() or found.st_mode & 0o022:
        mode = oct(stat.S_IMODE(found.st_mode))
        message = (
            f"state_dir {path} belongs to uid {found.st_uid} with mode {mode}; want ours, 0700"
        )
        raise BadSettings(message)
    return path
