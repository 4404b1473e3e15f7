"""Traffic that runs while something is done to the hosts between: UDP, each packet echoed.

Run as a program on both ends: `echo ADDRESS PORT`, and `ask FROM ADDRESS PORT`, which sends every
few milliseconds until SIGTERM and then prints how many packets came back.
"""

from __future__ import annotations

import contextlib
import json
import select
import signal
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.lab.process import Process
from tests.lab.wait import wait_until

if TYPE_CHECKING:
    from tests.lab.net import Host

EVERY_S = 0.005
LATE_S = 0.5  # an answer that takes longer is lost
ROOT = Path(__file__).parents[2]


class Count(NamedTuple):
    """How many packets were sent, and which of them never came back, by their number."""

    sent: int
    lost: list[int]


class Traffic:
    """One flow between two hosts."""

    def __init__(
        self, folder: Path, here: Host, source: str, there: Host, target: str, port: int = 4000
    ) -> None:
        """Start both ends, and wait for the first answer."""
        folder.mkdir(parents=True, exist_ok=True)
        env = {"PYTHONPATH": str(ROOT)}
        program = (sys.executable, "-m", __name__)
        echo = there.argv(*program, "echo", target, str(port))
        self._echo = Process(echo, folder / "echo.log", env=env)
        ask = here.argv(*program, "ask", source, target, str(port))
        self._ask = Process(ask, folder / "ask.log", env=env)
        wait_until("traffic flows", lambda: "flows" in self._ask.text)

    def end(self) -> Count:
        """Stop sending, and tell what was lost since the first answer."""
        self._ask.send(signal.SIGTERM)
        self._ask.wait()
        self._echo.kill()
        return Count(**json.loads(self._ask.text.splitlines()[-1]))

    def close(self) -> None:
        """Kill both ends; legal at any time."""
        self._ask.kill()
        self._echo.kill()


def _socket(address: str, port: int = 0) -> socket.socket:
    made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((address, port))
    return made


def _echo(address: str, port: int) -> None:
    line = _socket(address, port)
    while True:
        data, who = line.recvfrom(64)
        line.sendto(data, who)


def _ask(source: str, target: str, port: int) -> None:
    ending: list[int] = []
    signal.signal(signal.SIGTERM, lambda *_: ending.append(1))
    line = _socket(source)
    waiting: set[int] = set()
    number, flows = 0, False
    over_s = time.monotonic()
    while not ending or time.monotonic() < over_s:
        if not ending:
            number += 1
            waiting.add(number)
            over_s = time.monotonic() + LATE_S
            with contextlib.suppress(OSError):  # no route: lost
                line.sendto(str(number).encode(), (target, port))
        if select.select([line], [], [], EVERY_S)[0]:
            try:
                waiting.discard(int(line.recv(64)))
            except OSError:  # an ICMP answer: lost
                continue
            if not flows:  # what came before the first answer was never to arrive
                flows, waiting = True, set()
                sys.stdout.write("flows\n")
                sys.stdout.flush()
            time.sleep(EVERY_S)
    sys.stdout.write(json.dumps({"sent": number, "lost": sorted(waiting)}) + "\n")


if __name__ == "__main__":
    if sys.argv[1] == "echo":
        _echo(sys.argv[2], int(sys.argv[3]))
    _ask(sys.argv[2], sys.argv[3], int(sys.argv[4]))
