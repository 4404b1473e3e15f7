"""What a session, a static route and a log say in BIRD's file, option by option.

Separate because most options are one line each, and written only where they are said: what BIRD
does of itself is not repeated, so that an adopted session does not restart over it.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from typing import Final

from confsync.drivers.bird.bgp import (
    BfdNeighbor,
    Channel,
    Limit,
    Log,
    NextHop,
    Peer,
    Session,
    StaticRoute,
)
from confsync.drivers.bird.syntax import Written, community, quoted, symbol, word

Option = tuple[Written, object]

_ADD_PATHS: Final = {"both": "on"}
_TARGETS: Final = ("syslog", "stderr")


def _said(*pairs: tuple[str, object]) -> Iterator[Option]:
    """Return the options that are said; True is written as such, False is BIRD's own default."""
    for name, value in pairs:
        if value is not None and value is not False and value != "":
            yield Written(name), word(value) if type(value) is str else value


def local_end(session: Session, peer: Peer, common_as: int) -> Written:
    """Return our end of a session; no address where none is said: BIRD chooses it."""
    source = "" if session.source is None else f" {session.source}"
    port = "" if peer.local_port is None else f" port {peer.local_port:d}"
    return Written(
        f"local{source}{port} as {common_as if peer.local_as is None else peer.local_as:d}"
    )


def far_end(session: Session, peer: Peer) -> Written:
    """Return the other end of a session, or the prefix where others may be."""
    far = session.neighbor or f"range {session.neighbor_range}"
    port = "" if peer.port is None else f" port {peer.port:d}"
    asn = word(peer.asn) if isinstance(peer.asn, str) else f"as {peer.asn:d}"
    return Written(f"neighbor {far}{port} {asn}")


def peer_options(peer: Peer) -> Iterator[Option]:
    """Return a peer's options that are said, but for its timers."""
    graceful = "" if peer.graceful_restart == "aware" else peer.graceful_restart
    yield from _said(
        ("passive", peer.passive),
        ("strict bind", peer.strict_bind),
        ("bfd", "" if peer.bfd == "off" else peer.bfd),
        ("ttl security", peer.ttl_security),
        ("check link", None if peer.check_link is None else _switch(peer.check_link)),
        ("setkey", None if peer.setkey is None else _switch(peer.setkey)),
        ("rr client", peer.rr_client),
        ("rr cluster id", peer.rr_cluster_id),
        ("rs client", peer.rs_client),
        ("local role", peer.role.replace("-", "_")),
        ("allow local as", peer.allow_local_as),
        ("enforce first as", peer.enforce_first_as),
        ("interpret communities", None if peer.interpret_communities else "off"),
        ("path metric", None if peer.path_metric else "off"),
        ("med metric", peer.med_metric),
        ("default bgp_med", peer.default_med),
        ("default bgp_local_pref", peer.default_local_pref),
        ("enable extended messages", peer.extended_messages),
        ("disable after error", peer.disable_after_error),
        ("graceful restart", graceful),
        ("graceful restart time", peer.graceful_restart_s),
        ("long lived graceful restart", peer.llgr),
        ("long lived stale time", peer.llgr_stale_s),
        ("dynamic name", quoted(peer.dynamic_name) if peer.dynamic_name else None),
        ("dynamic name digits", peer.dynamic_name_digits),
    )


def channel_options(channel: Channel, peer: Peer) -> Iterator[Option]:
    """Return a channel's options that are said, but for its table and policies."""
    yield from _said(
        ("preference", channel.preference),
        ("import limit", _limit(channel.import_limit)),
        ("receive limit", _limit(channel.receive_limit)),
        ("export limit", _limit(channel.export_limit)),
        ("import keep filtered", channel.keep_filtered),
        ("import table", channel.import_table),
        ("next hop", _next_hop(channel.next_hop)),
        ("extended next hop", channel.extended_next_hop),
        ("add paths", _ADD_PATHS.get(channel.add_paths, channel.add_paths)),
        ("gateway", channel.gateway),
        ("igp table", symbol(channel.igp_table) if channel.igp_table else None),
        ("cost", peer.cost),
    )


def _switch(on: bool) -> str:
    return "on" if on else "off"


def _limit(limit: Limit | None) -> Written | None:
    return None if limit is None else Written(f"{limit.routes:d} action {word(limit.action)}")


def _next_hop(said: str) -> Written | None:
    if said in ("", "self", "keep"):
        return word(said) if said else None
    return Written(f"address {ip_address(said)}")


def hops(via: tuple[NextHop, ...]) -> Written:
    """Return where a static route leads; several next hops share its traffic."""
    return Written(" ".join(_hop(one) for one in via))


def _hop(one: NextHop) -> str:
    if one.address is None:
        far = quoted(one.interface)
    else:
        scope = f"%{_interface(one.interface)}" if one.interface else ""
        far = Written(f"{one.address}{scope}")
    weight = "" if one.weight is None else f" weight {one.weight:d}"
    return f"via {far}{weight}{' bfd' * one.bfd}{' onlink' * one.onlink}"


def _interface(name: str) -> Written:
    """Return an interface's name where BIRD wants a symbol, not a text."""
    return Written(f"'{symbol(name).strip(chr(39))}'")


def attributes(route: StaticRoute) -> tuple[Written, ...]:
    """Return the attributes that a static route is born with."""
    numbered = (
        ("preference", route.preference),
        ("bgp_local_pref", route.local_pref),
        ("krt_metric", route.kernel_metric),
        ("krt_prefsrc", route.source_address),
    )
    return (
        *(Written(f"{name} = {value};") for name, value in numbered if value is not None),
        *(Written(f"bgp_community.add({community(one)});") for one in route.communities),
    )


def bfd_neighbor(one: BfdNeighbor) -> Written:
    """Return a BFD neighbour that no session asks for."""
    interface = f" dev {quoted(one.interface)}" if one.interface else ""
    source = "" if one.source is None else f" local {one.source}"
    return Written(f"{one.address}{interface}{source}{' multihop on' * one.multihop}")


def log(one: Log) -> Written:
    """Return where BIRD logs, and what."""
    target = word(one.target) if one.target in _TARGETS else quoted(one.target)
    name = f" name {quoted(one.name)}" if one.name else ""
    classes = f"{{ {', '.join(map(word, one.classes))} }}" if one.classes else "all"
    return Written(f"{target}{name} {classes}")
