"""Whether calico/node's own BIRD is at work on this host: ours then keeps off.

Separate because it looks at other processes, which nothing else here does. calico/node's BIRD
shares the host's network, and so port 179, but neither its files nor its process ids; confd
overwrites what it reads. A BIRD of the host's own, as with Calico on OpenStack, is not meant, nor
is Felix. Nothing is concluded from silence: what cannot be read is passed over.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from confsync.model.errors import HostBusy

FOLDERS: Final = ("/etc/calico/confd", "/run/calico", "/var/run/calico")
"""Where calico/node keeps what its BIRD reads, and where that one listens."""
SOCKETS: Final = ("/run/calico/bird.ctl", "/run/calico/bird6.ctl")
_PROGRAMS: Final = frozenset({b"bird\n", b"bird6\n"})
_PATH: Final = re.compile(r"(?:-\w*)?(/.*)", re.DOTALL)  # an option's value may touch it
_READ_BYTES: Final = 4096  # what is longer is not how calico/node starts it
_INSTEAD: Final = "change Calico's resources instead (section calico), or disable [drivers.bird]"


def require_alone(*paths: str) -> None:
    """Refuse beside calico/node's BIRD, and where one of our paths is Calico's: HostBusy."""
    for path in filter(None, paths):
        if _is_calicos(path) or _is_calicos(os.path.realpath(path)):
            raise HostBusy(f"{path} belongs to calico/node, which overwrites it: {_INSTEAD}")
    if seen := next(_signs(), ""):
        message = f"calico/node runs its own BIRD on this host ({seen}), and there is one port 179"
        raise HostBusy(f"{message}: {_INSTEAD}")


def _signs() -> Iterator[str]:
    """Find that BIRD, the cheap way first; either way may be closed to us."""
    yield from (f"{path} answers" for path in SOCKETS if _answers(path))
    with suppress(OSError):
        for pid in filter(str.isdigit, os.listdir("/proc")):
            path = _path_of_calico(pid)
            if path and _shares_our_network(pid):
                yield f"process {pid}: {path}"


def _answers(path: str) -> bool:
    """Tell whether somebody listens; a socket that was left behind refuses."""
    with socket.socket(socket.AF_UNIX) as asking:
        asking.setblocking(False)
        try:
            asking.connect(path)
        except BlockingIOError:  # a listener that is behind with its work
            return True
        except OSError:
            return False
    return True


def _path_of_calico(pid: str) -> str:
    """Return which file of Calico's a BIRD was started with; empty = none, or no BIRD.

    Why: the name first, since reading the arguments waits for a process that hangs in the kernel.
    """
    try:
        if _read(f"/proc/{pid}/comm") not in _PROGRAMS:
            return ""
        words = os.fsdecode(_read(f"/proc/{pid}/cmdline")).split("\0")
    except OSError:
        return ""
    paths = (found[1] for word in words[1:] if (found := _PATH.fullmatch(word)))
    return next(filter(_is_calicos, paths), "")


def _is_calicos(path: str) -> bool:
    return any(Path(path).is_relative_to(folder) for folder in FOLDERS)


def _read(path: str) -> bytes:
    """Return a short file of the kernel's; each pass reads as many as there are processes."""
    fd = os.open(path, os.O_RDONLY)
    try:
        return os.read(fd, _READ_BYTES)
    finally:
        os.close(fd)


def _shares_our_network(pid: str) -> bool:
    """Tell whether a process has our network; one of which it is not known may have it.

    Why: `ns/net` shows nothing without CAP_SYS_PTRACE, which the agent's unit withholds. Each
    network has files of its own below `net`.
    """
    try:
        return os.stat(f"/proc/{pid}/net/dev").st_ino == os.stat("/proc/self/net/dev").st_ino
    except OSError:
        return True
