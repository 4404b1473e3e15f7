"""Ask the kernel for routes and addresses, over rtnetlink.

Separate because `ip -json` as a child costs ten times more than all other observations together.
Invariant: read only; each turn of the event loop handles one batch of the kernel's answer, so
that a full table does not hold up the agent.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final, NamedTuple

from confsync.model import limits
from confsync.model.errors import HostBusy

PROTOCOL_BIRD: Final = 12
_SOL_NETLINK, _STRICT_CHECK = 270, 12
_ERROR, _DONE = 2, 3
_GET_ADDRESS, _GET_ROUTE = 22, 26
_REQUEST_DUMP: Final = 0x301
_UNICAST: Final = 1
_DEAD: Final = 1
_BATCH_BYTES: Final = 64 * 1024
_IFA_ADDRESS, _IFA_LOCAL, _IFA_FLAGS = 1, 2, 8
# secondary/temporary, duplicate found, deprecated, tentative: not an address to be known by
_UNFIT: Final = 0x01 | 0x08 | 0x20 | 0x40

_HEADER: Final = struct.Struct("=IHHII")
_ROUTE: Final = struct.Struct("=8BI")
_ADDRESS: Final = struct.Struct("=4BI")
_ATTRIBUTE: Final = struct.Struct("=HH")
_U32: Final = struct.Struct("=I")


@dataclass(frozen=True, slots=True)
class RouteCounts:
    """BIRD's routes of one family in all tables: with a live next hop, and leading nowhere."""

    real: int
    dead: int


class InterfaceAddress(NamedTuple):
    """One address of an interface; `scope` 0 is global; `fit` = neither tentative nor temporary."""

    interface: str
    address: IPv4Address | IPv6Address
    scope: int
    fit: bool


async def bird_routes(family: socket.AddressFamily) -> RouteCounts:
    """Count the kernel's routes that BIRD put there. Raises HostBusy."""
    request = _ROUTE.pack(family, 0, 0, 0, 0, PROTOCOL_BIRD, 0, 0, 0)
    real = dead = 0
    for batch in _dump(_GET_ROUTE, request):
        for body in batch:
            _, _, _, _, _, protocol, _, kind, flags = _ROUTE.unpack_from(body)
            if protocol != PROTOCOL_BIRD:
                continue
            if kind == _UNICAST and not flags & _DEAD:
                real += 1
            else:
                dead += 1
        await asyncio.sleep(0)
    return RouteCounts(real, dead)


def addresses() -> tuple[InterfaceAddress, ...]:
    """Return all addresses in the kernel's order. Raises HostBusy."""
    try:
        names = dict(socket.if_nameindex())
    except OSError as fault:
        raise HostBusy(f"the kernel does not name its interfaces: {fault.strerror}") from fault
    request = _ADDRESS.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
    return tuple(
        found
        for batch in _dump(_GET_ADDRESS, request)
        for body in batch
        if (found := _address(body, names)) is not None
    )


def _address(body: memoryview, names: dict[int, str]) -> InterfaceAddress | None:
    family, _, flags, scope, index = _ADDRESS.unpack_from(body)
    attributes = dict(_attributes(body[_ADDRESS.size :]))
    raw = attributes.get(_IFA_LOCAL, attributes.get(_IFA_ADDRESS))
    if raw is None or index not in names:
        return None
    if (wide := attributes.get(_IFA_FLAGS)) is not None:
        (flags,) = _U32.unpack_from(wide)
    address = IPv4Address(bytes(raw)) if family == socket.AF_INET else IPv6Address(bytes(raw))
    return InterfaceAddress(names[index], address, scope, not flags & _UNFIT)


def _attributes(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        size, kind = _ATTRIBUTE.unpack_from(data, at)
        if size < _ATTRIBUTE.size:
            return
        yield kind, data[at + _ATTRIBUTE.size : at + size]
        at += _aligned(size)


def _dump(kind: int, request: bytes) -> Iterator[list[memoryview]]:
    """Yield the answer's messages, batch by batch."""
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
            kernel.settimeout(limits.NETLINK_S)
            with suppress(OSError):  # an older kernel sends everything; the caller selects
                kernel.setsockopt(_SOL_NETLINK, _STRICT_CHECK, 1)
            size = _HEADER.size + len(request)
            kernel.send(_HEADER.pack(size, kind, _REQUEST_DUMP, 1, 0) + request)
            done = False
            while not done:
                batch, done = _messages(memoryview(kernel.recv(_BATCH_BYTES)))
                yield batch
    except OSError as fault:
        raise HostBusy(f"the kernel does not list its routes: {fault}") from fault


def _messages(data: memoryview) -> tuple[list[memoryview], bool]:
    found: list[memoryview] = []
    at = 0
    while at < len(data):
        size, kind, _, _, _ = _HEADER.unpack_from(data, at)
        body = data[at + _HEADER.size : at + size]
        if kind == _DONE:
            return found, True
        if kind == _ERROR:
            raise OSError(-struct.unpack_from("=i", body)[0], "netlink refused the request")
        found.append(body)
        at += _aligned(size)
    return found, False


def _aligned(size: int) -> int:
    return (size + 3) & ~3
