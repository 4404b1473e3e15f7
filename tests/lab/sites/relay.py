"""Passes frames between two interfaces as a long, narrow or bad line does: late, and not all.

Run as a program: `relay INTERFACE INTERFACE MILLISECONDS PERCENT KBIT`, each way: how late, how
many are lost, how many bits pass in a second (0: all). Prints `ready`. Frames are passed with the
kernel's own header, so that what a sender left to its network card is left to the next one.
"""

from __future__ import annotations

import random
import select
import socket
import sys
import time
from collections import deque

EVERYTHING = 0x0003  # ETH_P_ALL
SOL_PACKET, PACKET_VNET_HDR, PACKET_IGNORE_OUTGOING = 263, 15, 23
FRAME_BYTES = 65536 + 64
HELD = 1000  # frames each way; a line has no more room
LONGEST_S = 60.0


def port(interface: str) -> socket.socket:
    """Open an interface for all that comes in."""
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(EVERYTHING))
    for option in (PACKET_VNET_HDR, PACKET_IGNORE_OUTGOING):
        opened.setsockopt(SOL_PACKET, option, 1)
    opened.bind((interface, 0))
    opened.setblocking(False)
    return opened


class Way:
    """Frames on their way to one end."""

    def __init__(self, end: socket.socket, delay_ms: float, lost_percent: float, kbit: float):
        self._end = end
        self._delay_s = delay_ms / 1000
        self._lost = lost_percent / 100
        self._bits_a_second = kbit * 1000
        self._free_at = 0.0
        self._held = deque[tuple[float, bytes]]()

    def take(self, frame: bytes, now: float) -> None:
        """Hold a frame, or lose it: by chance, or because the line is full."""
        if len(self._held) >= HELD or random.random() < self._lost:
            return
        at = now
        if self._bits_a_second:
            self._free_at = max(now, self._free_at) + len(frame) * 8 / self._bits_a_second
            at = self._free_at
        self._held.append((at + self._delay_s, frame))

    @property
    def due(self) -> float:
        """When the next frame leaves; infinite when there is none."""
        return self._held[0][0] if self._held else float("inf")

    def give(self, now: float) -> None:
        """Send what is due."""
        while self.due <= now:
            _send(self._end, self._held.popleft()[1])


def main(one: str, other: str, *numbers: str) -> None:
    """Pass frames until killed."""
    ends = (port(one), port(other))
    ways = {end: Way(to, *map(float, numbers)) for end, to in zip(ends, ends[::-1], strict=True)}
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while True:
        now = time.monotonic()
        wait_s = min(way.due for way in ways.values()) - now
        for end in select.select(ends, (), (), min(max(0, wait_s), LONGEST_S))[0]:
            ways[end].take(end.recv(FRAME_BYTES), time.monotonic())
        now = time.monotonic()
        for way in ways.values():
            way.give(now)


def _send(end: socket.socket, frame: bytes) -> None:
    try:
        end.send(frame)
    except OSError as error:  # the other end is down or its queue is full: a line loses it
        sys.stderr.write(f"lost a frame of {len(frame)} bytes: {error}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
