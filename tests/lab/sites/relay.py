"""Passes frames between two interfaces and holds each of them for a while: a long line.

Run as a program: `relay INTERFACE INTERFACE MILLISECONDS`; prints `ready`. Frames are passed with
the kernel's own header, so that what a sender left to its network card is left to the next one.
"""

from __future__ import annotations

import select
import socket
import sys
import time
from collections import deque

EVERYTHING = 0x0003  # ETH_P_ALL
SOL_PACKET, PACKET_VNET_HDR, PACKET_IGNORE_OUTGOING = 263, 15, 23
FRAME_BYTES = 65536 + 64
HELD = 10_000  # frames each way; a line has no more room


def port(interface: str) -> socket.socket:
    """Open an interface for all that comes in."""
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(EVERYTHING))
    for option in (PACKET_VNET_HDR, PACKET_IGNORE_OUTGOING):
        opened.setsockopt(SOL_PACKET, option, 1)
    opened.bind((interface, 0))
    opened.setblocking(False)
    return opened


def main(one: str, other: str, delay_ms: str) -> None:
    """Pass frames until killed."""
    ends = (port(one), port(other))
    held = {end: deque[tuple[float, bytes]](maxlen=HELD) for end in ends}
    opposite = dict(zip(ends, reversed(ends), strict=True))
    delay_s = int(delay_ms) / 1000
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while True:
        due = min((queue[0][0] for queue in held.values() if queue), default=None)
        wait_s = None if due is None else max(0, due - time.monotonic())
        for end in select.select(ends, (), (), wait_s)[0]:
            held[opposite[end]].append((time.monotonic() + delay_s, end.recv(FRAME_BYTES)))
        now = time.monotonic()
        for end, queue in held.items():
            while queue and queue[0][0] <= now:
                _send(end, queue.popleft()[1])


def _send(end: socket.socket, frame: bytes) -> None:
    try:
        end.send(frame)
    except OSError as error:  # the other end is down or its queue is full: a line loses it
        sys.stderr.write(f"lost a frame of {len(frame)} bytes: {error}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
