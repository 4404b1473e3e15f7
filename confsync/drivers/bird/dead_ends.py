"""Doubts about routes that would arrive and be of no use, and about what waits for nothing.

Separate because these look at the whole host: which tables reach the kernel, what can resolve a
next hop, which neighbour a BFD session guards. Where another hand's file may hold the missing
part, nothing is doubted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from confsync.drivers.bird import effective
from confsync.drivers.bird.bgp import Bgp, Channel, Peer, StaticRoute
from confsync.drivers.bird.judging import channels
from confsync.drivers.bird.names import table_of
from confsync.drivers.bird.policy import Address, Network

_MAY_ROUTE: Final = frozenset({"peers", "other"})


def doubts(value: Bgp) -> Iterator[str]:
    """Yield what is of no use as far as the document shows."""
    yield from _hidden_routes(value)
    if not any(file.kind in _MAY_ROUTE for file in value.foreign):
        yield from _unused_tables(value)
        yield from _unresolved_next_hops(value)
        yield from _lonely_bfd(value)


def _hidden_routes(value: Bgp) -> Iterator[str]:
    first: dict[tuple[str, Network, int | None], StaticRoute] = {}
    for route in value.routes:
        other = first.setdefault((table_of(route), route.prefix, route.preference), route)
        if other is not route:
            what = f"{route.prefix} is routes.{other.name} too, no less preferred"
            yield f"bgp.routes.{route.name}: {what}; one hides the other"


def _unused_tables(value: Bgp) -> Iterator[str]:
    """Doubt tables that peers fill and no kernel table takes from; a reflector is no router."""
    if any(peer.rr_client or peer.rs_client for peer in value.peers):
        return
    used = _tables_of_kernel(value)
    filled: dict[str, list[str]] = defaultdict(list)
    for peer, channel in _bringing(value):
        table = channel.table or channel.family.master
        if table not in used and peer.name not in filled[table]:
            filled[table].append(peer.name)
    for table, names in filled.items():
        yield (
            f"bgp.kernel: no route of table {table} goes to the kernel; what BGP learns there "
            f"({', '.join(names)}) is not used on this host"
        )


def _bringing(value: Bgp) -> Iterator[tuple[Peer, Channel]]:
    """Yield the channels that bring anything."""
    for peer, channel in channels(value):
        if effective.session_import(value, peer, channel) != effective.NONE:
            yield peer, channel


def _tables_of_kernel(value: Bgp) -> frozenset[str]:
    """Return the tables whose routes reach a kernel table, directly or through pipes."""
    used = {one.table for one in value.syncers if one.exports != effective.NONE}
    size = -1
    while size != len(used):
        size = len(used)
        for pipe in value.pipes:
            policies = dict(effective.pipe_policies(pipe))
            if pipe.peer_table in used and policies["export"] != effective.NONE:
                used.add(pipe.table)
            if pipe.table in used and policies["import"] != effective.NONE:
                used.add(pipe.peer_table)
    return frozenset(used)


def _unresolved_next_hops(value: Bgp) -> Iterator[str]:
    for peer, session in value.pairs:
        for channel in session.channels:
            known = channel.family is not session.family or _resolves(value, peer, channel)
            if not known and effective.session_import(value, peer, channel) != effective.NONE:
                yield (
                    f"bgp.direct: off for {channel.family}, so that nothing leads to the next hops "
                    f"that {peer.name} tells from several hops away: its routes would be "
                    "unreachable; set direct, or a route to them"
                )


def _resolves(value: Bgp, peer: Peer, channel: Channel) -> bool:
    """Tell whether the next hops of a peer may be found in a table."""
    recursive = channel.gateway == "recursive" or (peer.multihop and channel.gateway != "direct")
    table = channel.igp_table or channel.table or channel.family.master
    direct = value.direct is None or getattr(value.direct, channel.family)
    return not recursive or any(
        (
            table == channel.family.master and direct,
            any(table_of(route) == table for route in value.routes),
            any(
                one.table == table and one.learn and one.imports not in (None, effective.NONE)
                for one in value.syncers
            ),
            any(table in (pipe.table, pipe.peer_table) for pipe in value.pipes),
        )
    )


def _lonely_bfd(value: Bgp) -> Iterator[str]:
    peers = {session.neighbor: peer for peer, session in value.pairs}
    hops = {hop.address for route in value.routes for hop in route.via if hop.bfd}
    for number, one in enumerate(value.bfd.neighbors):
        place = f"bgp.bfd.neighbors[{number}]"
        peer = peers.get(one.address)
        if peer is not None and peer.bfd == "off":
            yield (
                f"{place}: {one.address} is peers.{peer.name}, whose session does not end with it; "
                f"set peers.{peer.name}.bfd"
            )
        elif peer is None and one.address not in hops and not _in_a_range(value, one.address):
            yield (
                f"{place}: {one.address} is no peer and no next hop, so that nothing happens when "
                "it falls silent; set bfd at the peers, their addresses are taken from there"
            )


def _in_a_range(value: Bgp, address: Address) -> bool:
    return any(
        session.neighbor_range is not None
        and session.neighbor_range.version == address.version
        and address in session.neighbor_range
        for _, session in value.pairs
    )
