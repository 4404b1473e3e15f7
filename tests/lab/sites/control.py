"""A lab that stays: one process in the background owns it and does what it is told.

Separate from the command line, which comes and goes. Invariant: the daemons end with the owner,
however it ends; only the folder stays then, and the next `up` removes it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from tests.lab import Lab
from tests.lab.cache import cached
from tests.lab.net import enter_own_namespace
from tests.lab.sites import Sites
from tests.lab.sites.shell import shell
from tests.lab.wait import LabError

if TYPE_CHECKING:
    from collections.abc import Sequence

FOLDER = cached("lab")
SOCKET = FOLDER / "control.sock"
LOG = FOLDER / "lab.log"
CALL_S = 120.0
ORDER_S = 5.0  # whoever connects says what it wants


def ask(*words: str) -> Any:
    """Tell the owner one order and return its answer. Raises LabError, when there is none too."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(CALL_S)
        try:
            connection.connect(str(SOCKET))
        except OSError as error:
            raise LabError("no lab is up: scripts/lab up") from error
        connection.sendall(json.dumps(words).encode() + b"\n")
        with connection.makefile() as reply:
            answer = json.loads(reply.readline() or '{"error": "the lab ended"}')
    if "error" in answer:
        raise LabError(answer["error"])
    return answer["data"]


def own(options: dict[str, Any]) -> None:
    """Make a lab in `FOLDER`, which is empty, and own it until `down` or a signal."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    enter_own_namespace()
    try:
        with contextlib.suppress(SystemExit), Lab(FOLDER) as lab:
            owner = Owner(Sites(lab, **options))
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(str(SOCKET))
                listener.listen()
                while owner.serve(listener):
                    pass
    finally:
        # Not after a failure: `up` shows the log, and people look at what the daemons wrote.
        if sys.exc_info()[0] is None:
            shutil.rmtree(FOLDER)


def _leave(*_: object) -> NoReturn:
    """Leave once; removing what was made is not interrupted again."""
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    raise SystemExit


class Owner:
    """Orders and what they do."""

    def __init__(self, sites: Sites) -> None:
        self._sites = sites

    def serve(self, listener: socket.socket) -> bool:
        """Answer one order; False after `down`."""
        connection, _ = listener.accept()
        connection.settimeout(ORDER_S)
        with connection, connection.makefile("rw") as stream, contextlib.suppress(OSError):
            words = json.loads(stream.readline() or "[]")
            if not words:
                return True
            try:
                answer = {"data": self.obey(*words)}
            except (LabError, OSError, ValueError, subprocess.SubprocessError) as error:
                answer = {"error": str(error)}
            stream.write(json.dumps(answer) + "\n")
            return bool(words[0] != "down")
        return True

    def obey(self, order: str, *words: str) -> Any:
        """Do one thing and say what became of it. Raises LabError for a name that is not there."""
        match order:
            case "status":
                return self._status()
            case "down":
                return "the lab ends"
            case "host":
                return shell(self._sites, *words)._asdict()
            case "cut" | "cut_silently" | "heal" | "delay":
                return self._link(order, *words)
            case "kill" | "stop" | "cont" | "start":
                daemons = self._sites.matching(*words)
                for one in daemons:
                    getattr(one, order)()
                return "\n".join(f"{one.name} is {one.state}" for one in daemons)
        raise LabError(f"no order {order!r}")

    def _link(self, order: str, name: str, *numbers: str) -> str:
        links = self._sites.links_matching(name)
        for link in links:
            getattr(link, order)(*map(int, numbers))
        return "\n".join(f"{link.name} is {link.state or 'whole'}" for link in links)

    def _status(self) -> dict[str, Any]:
        daemons = self._sites.daemons.values()
        return {
            "folder": str(self._sites.lab.folder),
            "owner": os.getpid(),
            "daemons": [(one.name, one.state, one.pids, _rss_kib(one.pids)) for one in daemons],
            "links": {name: link.state for name, link in self._sites.links.items()},
        }


def _rss_kib(pids: Sequence[int]) -> int:
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            total += sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
    return total
