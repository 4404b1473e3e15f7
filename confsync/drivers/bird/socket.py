"""BIRD's control socket: framing, one conversation at a time, a deadline on each.

Separate because what the daemon cannot take (a long line, a quote, a second question in the air)
must be impossible to send. Invariant: replies belong to their commands; after anything unexpected
the connection is dropped, so that a late reply can never be taken for another one.
Source: BIRD 2.0.12, nest/cli.c; a line above 1023 bytes resets the connection, an unfinished one
above 4094 hangs the daemon for ever.
"""

from __future__ import annotations

import asyncio
import errno
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from confsync.model import limits
from confsync.model.errors import DeadlinePassed, HostBusy, HostRefused

_LINE: Final = re.compile(r"[0-9]{4}([- ])")
_READ_BYTES: Final = 64 * 1024


class DaemonDown(HostBusy):
    """Nobody listens: BIRD is not running."""


class Unreadable(ValueError):
    """What came is not BIRD's protocol."""


class Line(NamedTuple):
    """One line of a reply, with the code that holds for it."""

    code: int
    text: str


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole reply; its last line's code tells how it ended."""

    lines: tuple[Line, ...]

    @property
    def code(self) -> int:
        return self.lines[-1].code

    @property
    def text(self) -> str:
        return self.lines[-1].text

    def find(self, *codes: int) -> str | None:
        """Return the first line with one of these codes."""
        return next((line.text for line in self.lines if line.code in codes), None)


class Framer:
    """Bytes in, whole replies out; knows nothing of sockets.

    Shape: ``1002-text`` more follows, ``1002 text`` the last line, a space alone stands for the
    code of the line before, ``+text`` is an announcement that belongs to no reply.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._lines: list[Line] = []
        self._size_bytes = 0

    def feed(self, data: bytes) -> list[Reply]:
        """Return the replies that these bytes complete. Raises Unreadable."""
        whole, newline, self._rest = (self._rest + data).rpartition(b"\n")
        if len(self._rest) > limits.BIRD_LINE_BYTES:
            raise Unreadable("a line without end")
        if not newline:
            return []
        self._size_bytes += len(whole)
        replies = []
        for text in whole.decode(errors="replace").split("\n"):
            if text[:1] == " " and self._lines:
                self._lines.append(Line(self._lines[-1].code, text[1:]))
            elif head := _LINE.match(text):
                self._lines.append(Line(int(text[:4]), text[5:]))
                if head[1] == " ":
                    replies.append(Reply(tuple(self._lines)))
                    self._lines, self._size_bytes = [], 0
            elif text[:1] != "+":
                raise Unreadable(f"{text[:40]!r}")
        if self._size_bytes > limits.BIRD_REPLY_BYTES:
            raise Unreadable("a reply without end")
        return replies


def quoted(path: str) -> str:
    """Return a path as an argument of a command. Raises HostRefused: BIRD knows no escapes."""
    if '"' in path or not path.isprintable():
        raise HostRefused(f"{path!r} cannot be written in a command of BIRD's")
    return f'"{path}"'


def encoded(commands: Sequence[str]) -> bytes:
    """Return the bytes of one write. Raises HostRefused for what would harm the daemon."""
    if not all(command.isprintable() for command in commands):
        raise HostRefused("a command of BIRD's is one line without control characters")
    data = "".join(f"{command}\n" for command in commands).encode()
    if len(data) > limits.BIRD_COMMAND_BYTES:
        raise HostRefused(f"a command of {len(data)} bytes is too long for BIRD")
    return data


class ControlSocket:
    """One connection, kept between conversations and opened anew when it died."""

    def __init__(self, path: str, timeout_s: float = limits.BIRD_COMMAND_S) -> None:
        self.path = path
        self._timeout_s = timeout_s
        self.greeting = ""
        self._socket: socket.socket | None = None
        self._framer = Framer()
        self._turn = asyncio.Lock()

    async def ask(self, *commands: str) -> tuple[Reply, ...]:
        """Send commands in one write and return their replies, in order.

        Raises: HostRefused when they may not be sent; DaemonDown, HostBusy when nothing was sent;
        DeadlinePassed when they were, and what became of them is unknown.
        """
        data = encoded(commands)
        async with self._turn:
            try:
                connection = await self._connected()
                return await self._exchange(connection, data, len(commands))
            except BaseException:
                self.close()
                raise

    def close(self) -> None:
        """Give the connection up; the next question opens another one."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    async def _connected(self) -> socket.socket:
        if self._socket is not None:
            if not _has_ended(self._socket):
                return self._socket
            self.close()
        self._framer = Framer()
        self._socket = _connect(self.path)
        try:
            async with asyncio.timeout(self._timeout_s):
                (greeting,) = await self._replies(self._socket, 1)
        except TimeoutError as slow:
            raise HostBusy(f"BIRD on {self.path} does not greet: it hangs") from slow
        except (OSError, EOFError, Unreadable) as fault:
            raise HostBusy(f"what listens on {self.path} is not BIRD: {fault}") from fault
        self.greeting = greeting.text
        return self._socket

    async def _exchange(
        self, connection: socket.socket, data: bytes, count: int
    ) -> tuple[Reply, ...]:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._timeout_s):
                await loop.sock_sendall(connection, data)
                return await self._replies(connection, count)
        except TimeoutError as slow:
            message = f"BIRD did not answer within {self._timeout_s:g} s; the outcome is unknown"
            raise DeadlinePassed(message) from slow
        except (OSError, EOFError) as cut:
            message = "BIRD closed the connection in mid reply; the outcome is unknown"
            raise DeadlinePassed(message) from cut
        except Unreadable as fault:
            message = f"BIRD's reply cannot be read ({fault}); the outcome is unknown"
            raise DeadlinePassed(message) from fault

    async def _replies(self, connection: socket.socket, count: int) -> tuple[Reply, ...]:
        loop = asyncio.get_running_loop()
        found: list[Reply] = []
        while len(found) < count:
            if not (data := await loop.sock_recv(connection, _READ_BYTES)):
                raise EOFError("it closed the connection")
            found += self._framer.feed(data)
        if len(found) > count:
            raise Unreadable("more replies than questions")
        return tuple(found)


_REASONS: Final = {
    errno.ENOENT: (DaemonDown, "BIRD is not running: there is no socket {}"),
    errno.ECONNREFUSED: (DaemonDown, "BIRD is not running: nobody listens on {}"),
    errno.EACCES: (HostBusy, "BIRD's socket {} is not for us: permission denied"),
    errno.EAGAIN: (HostBusy, "BIRD's socket {} takes no more connections: it hangs"),
}


def _connect(path: str) -> socket.socket:
    """Connect without waiting: a unix socket answers at once or not at all."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        connection.connect(path)
    except OSError as fault:
        connection.close()
        kind, text = _REASONS.get(fault.errno or 0, (HostBusy, f"BIRD's socket {{}}: {fault}"))
        raise kind(text.format(path)) from fault
    return connection


def _has_ended(connection: socket.socket) -> bool:
    """Tell whether BIRD went away while nobody looked."""
    try:
        return not connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True
