"""BFD's protocol as our timing: one for all, and others for some interfaces.

Separate because BIRD has a timing for each kind of session, of which the other kind may never
come up on a host; what no session uses is left alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from confsync.drivers.bird.bgp import Bfd, BfdNeighbor, BfdTiming, Peer
from confsync.drivers.bird.importer import options as o
from confsync.drivers.bird.importer.expressions import Cursor, Unsaid
from confsync.drivers.bird.importer.options import Losses, Said
from confsync.drivers.bird.importer.outline import Option, Outline, Protocol

USUAL: Final = Bfd(300, 3)  # what documents have by themselves


@dataclass(frozen=True, slots=True)
class _Timing:
    """What one kind of session is timed by. Source: BIRD 2.0.12, proto/bfd/bfd.h."""

    rx_ms: int = 10
    tx_ms: int = 100
    multiplier: int = 5
    passive: bool = False

    def on(self, pattern: str) -> BfdTiming:
        """Return it as the timing of some interfaces."""
        return BfdTiming(pattern, self.tx_ms, self.multiplier, self.passive, self.gap_ms)

    @property
    def gap_ms(self) -> int | None:
        """Return how often packets may come, where that is not how often they are sent."""
        return None if self.rx_ms == self.tx_ms else self.rx_ms


def bfd(protocol: Protocol, outline: Outline, losses: Losses, peers: tuple[Peer, ...]) -> Bfd:
    """Return the timing that a protocol gives to the sessions that there are."""
    interfaces: list[BfdTiming] = []
    neighbors: list[BfdNeighbor] = []
    multihop = _Timing()

    def one(cursor: Cursor) -> None:
        nonlocal multihop
        if cursor.got("interface"):
            patterns = list(_patterns(cursor))
            timing = _timing(o.block(cursor), cursor)
            interfaces.extend(timing.on(pattern) for pattern in patterns)
        elif cursor.got("multihop"):
            multihop = _timing(o.block(cursor), cursor)
        elif cursor.got("neighbor"):
            neighbors.append(_neighbor(cursor))
        elif not cursor.got("disabled"):
            raise Unsaid("not known to documents")

    o.each(protocol.options, outline.constants, protocol.name, losses, one)
    asked = [peer for peer in peers if peer.bfd != "off"]
    far = any(peer.multihop for peer in asked) or any(one.multihop for one in neighbors)
    near = any(not peer.multihop for peer in asked) or any(not one.multihop for one in neighbors)
    return _made(interfaces, multihop, tuple(neighbors), near=near, far=far)


def _made(
    interfaces: list[BfdTiming],
    multihop: _Timing,
    neighbors: tuple[BfdNeighbor, ...],
    *,
    near: bool,
    far: bool,
) -> Bfd:
    """Return one timing for all, where need be with another one for all interfaces."""
    everywhere = next((one for one in interfaces if one.pattern == "*"), None)
    rest = [one for one in interfaces if one.pattern != "*"]
    if everywhere is None and near:
        everywhere = _Timing().on("*")
    if far or (multihop != _Timing() and everywhere is None):
        common = Bfd(multihop.tx_ms, multihop.multiplier, rx_ms=multihop.gap_ms)
    elif everywhere is not None and not everywhere.passive:
        rx_ms = everywhere.rx_ms
        common = Bfd(everywhere.interval_ms, everywhere.multiplier, rx_ms=rx_ms)
    else:
        common = USUAL
    same = BfdTiming("*", common.interval_ms, common.multiplier, rx_ms=common.rx_ms)
    if everywhere is not None and everywhere != same:
        rest.append(everywhere)
    return Bfd(
        common.interval_ms,
        common.multiplier,
        tuple(sorted(rest, key=lambda one: one.pattern)),
        neighbors,
        rx_ms=common.rx_ms,
    )


def _patterns(cursor: Cursor) -> Iterator[str]:
    yield o.text(cursor)
    while cursor.got(","):
        yield o.text(cursor)


def _timing(options: list[Option], cursor: Cursor) -> _Timing:
    said: Said = {}
    for option in options:
        inner = Cursor(option.tokens, cursor.constants)
        if inner.got("interval"):
            said["rx_ms"] = said["tx_ms"] = o.milliseconds(inner)
        elif inner.phrase("min rx interval"):
            said["rx_ms"] = o.milliseconds(inner)
        elif inner.phrase("min tx interval"):
            said["tx_ms"] = o.milliseconds(inner)
        elif inner.got("multiplier"):
            said["multiplier"] = o.number(inner)
        elif inner.got("passive"):
            said["passive"] = o.flag(inner)
        else:
            raise Unsaid(f"{option.words} of its timing")
    return _Timing(**said)


def _neighbor(cursor: Cursor) -> BfdNeighbor:
    said: Said = {"address": o.address(cursor)}
    if cursor.got("%") or cursor.got("dev"):
        said["interface"] = o.interface(cursor)
    if cursor.got("local"):
        said["source"] = o.address(cursor)
    if cursor.got("multihop"):
        said["multihop"] = o.flag(cursor)
    if not cursor.done:
        raise Unsaid("more than is known of a neighbour")
    return BfdNeighbor(**said)
