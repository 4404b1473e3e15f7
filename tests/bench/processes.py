"""What a process costs, read from /proc, and a proxy that counts what it asks of Consul."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import threading
from pathlib import Path

TICK_MS = 1000 / os.sysconf("SC_CLK_TCK")
_REQUEST = re.compile(rb"^(?:GET|PUT) /v1/", re.MULTILINE)
_FIRST_TIME = 11  # utime, stime, cutime, cstime are fields 14 to 17 of stat, these after the name


def cpu_ms(pid: int) -> float:
    """Return the processor time of a process and of its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(one) for one in fields[_FIRST_TIME : _FIRST_TIME + 4]) * TICK_MS


def rss_mb(pid: int, *, peak: bool = False) -> float:
    """Return the resident memory, or the most that it ever was."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(rf"Vm{'HWM' if peak else 'RSS'}:\s+(\d+) kB", status)
    assert found
    return int(found[1]) / 1024


class CountingProxy:
    """Passes TCP on to Consul and counts the requests that go through."""

    def __init__(self, to: str) -> None:
        host, _, port = to.rpartition(":")
        self._to = host, int(port)
        self.requests = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._to)
                for ends in ((near, far, True), (far, near, False)):
                    threading.Thread(target=self._pump, args=ends, daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, counting: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self.requests += len(_REQUEST.findall(data)) if counting else 0
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
