"""The doors of the HTTP application: sockets, and the limits that aiohttp does not keep.

Separate from `http` because nothing here knows a path or a status. aiohttp waits for ever for the
end of a request's head and names its version in its own error answers; so a request head is taken
in here, whole and within a deadline, before aiohttp sees a byte. Invariants: one request per
connection; a head is at most HTTP_HEADER_BYTES and complete within HTTP_REQUEST_S; connections are
counted per peer and per door, so that a flood on TCP cannot shut the unix socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import grp
import os
import re
import socket
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final, cast

from confsync.model import limits
from confsync.model.errors import BadSettings, HostBusy

ADMIN_GROUP: Final = "confsync-admin"
HEAD: Final = re.compile(
    rb"[A-Z]{1,16} /[!-~]* HTTP/1\.[01]\r\n"
    rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\x00\r\n]*\r\n)*\r\n"
)
ODD: Final = re.compile(rb"\ncontent-length:(?! ?\d{1,9}\r)|\ntransfer-encoding:")
"""Heads that two readers may end at different places; our bodies are short and counted."""
Factory = Callable[[], asyncio.Protocol]


class Door:
    """One listening socket's guests: how many there are, and who may still come in."""

    def __init__(self, inner: Factory) -> None:
        self._inner = inner
        self._guests: Counter[str] = Counter()

    def __call__(self) -> asyncio.Protocol:
        """Return the protocol for one more connection."""
        return Doorman(self, self._inner())

    def enter(self, peer: str) -> bool:
        """Count a guest in; False = there are too many."""
        self._guests[peer] += 1
        return (
            self._guests[peer] <= limits.HTTP_CONNECTIONS_PER_PEER
            and self._guests.total() <= limits.HTTP_CONNECTIONS
        )

    def leave(self, peer: str) -> None:
        """Count a guest out."""
        self._guests[peer] -= 1
        self._guests += Counter()  # forgets peers without connections


class Doorman(asyncio.Protocol):
    """Takes in one request head, whole and in time, then steps aside."""

    def __init__(self, door: Door, inner: asyncio.Protocol) -> None:
        self._door = door
        self._inner = inner
        self._head = b""
        self._open = False
        self._done = False
        self._deaf = False
        self._peer = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let a guest in, or refuse him."""
        self._transport = cast("asyncio.Transport", transport)
        name = transport.get_extra_info("peername")
        self._peer = name[0] if isinstance(name, tuple) else "local"
        self._deadline = asyncio.get_running_loop().call_later(
            limits.HTTP_REQUEST_S, self._transport.abort
        )
        self._open = self._door.enter(self._peer)
        if self._open:
            self._inner.connection_made(transport)
        else:
            self._refuse(b"503 Too Many Connections")

    def data_received(self, data: bytes) -> None:
        """Collect the head; afterwards pass everything on."""
        if self._done:
            self._inner.data_received(data)
            return
        if self._deaf:
            return
        self._head += data
        head, end, _ = self._head.partition(b"\r\n\r\n")
        if len(head) + len(end) > limits.HTTP_HEADER_BYTES:
            self._refuse(b"431 Request Header Fields Too Large")
        elif end and not _is_plain(head + end):
            self._refuse(b"400 Bad Request")
        elif end:
            self._done = True
            self._deadline.cancel()
            self._inner.data_received(self._head)

    def eof_received(self) -> bool | None:
        """Pass on the end of the request."""
        return self._inner.eof_received() if self._done else None

    def pause_writing(self) -> None:
        """Pass on that the guest reads slowly."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Pass on that he reads again."""
        self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Count the guest out."""
        self._deadline.cancel()
        self._door.leave(self._peer)
        if self._open:
            self._inner.connection_lost(exc)

    def _refuse(self, status: bytes) -> None:
        """Answer in aiohttp's place, and hear nothing more."""
        self._deaf = True
        self._transport.write(
            b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
        self._transport.close()


def _is_plain(head: bytes) -> bool:
    """Tell whether aiohttp will take a head; its own refusals would name its version."""
    lower = head.lower()
    hosts = lower.count(b"\nhost:")
    return bool(HEAD.fullmatch(head)) and hosts == 1 and not ODD.search(lower)


async def open_tcp(listen: str, inner: Factory) -> asyncio.Server:
    """Listen on ``host:port``. Raises HostBusy when the port is taken."""
    host, _, port = listen.rpartition(":")
    loop = asyncio.get_running_loop()
    try:
        return await loop.create_server(Door(inner), host.strip("[]"), int(port), backlog=128)
    except OSError as error:
        raise HostBusy(f"[http] listen: cannot listen on {listen}: {error.strerror}") from error


async def open_unix(path: Path, inner: Factory) -> asyncio.Server:
    """Listen on a unix socket that replaces a stale one; mode 0660, group of the admins.

    Raises: BadSettings for a path that cannot be one.
    """
    door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        _bind(door, path)
        return await asyncio.get_running_loop().create_unix_server(Door(inner), sock=door)
    except OSError as error:
        door.close()
        raise BadSettings(
            f"[http] socket: cannot make {path}: {error.strerror or error}"
        ) from error


def _bind(door: socket.socket, path: Path) -> None:
    """Bind beside the path and rename: nobody ever meets the socket with other rights."""
    if path.exists() and not path.is_socket():
        raise FileExistsError(errno.EEXIST, "it exists and is no socket")
    beside = path.with_name(path.name + ".new")
    beside.unlink(missing_ok=True)
    door.bind(str(beside))
    with contextlib.suppress(KeyError, PermissionError):
        os.chown(beside, -1, grp.getgrnam(ADMIN_GROUP).gr_gid)
    beside.chmod(0o660)
    beside.replace(path)


def remove_socket(path: Path) -> None:
    """Take the socket's name away, so that callers see at once that nobody is there."""
    path.unlink(missing_ok=True)
