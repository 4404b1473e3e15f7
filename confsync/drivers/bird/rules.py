"""What must hold between the values of a `bgp` section.

Separate because every rule is one plain function and all of them run: a fault never hides
another. Each refuses something that BIRD itself would refuse late, or accept and misroute.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from ipaddress import IPv4Network, IPv6Address, IPv6Network
from typing import Final

from confsync.drivers.bird import effective, guards
from confsync.drivers.bird.bgp import SECTION, Bgp, Peer
from confsync.drivers.bird.judging import channels, may_permit
from confsync.drivers.bird.names import symbols
from confsync.drivers.bird.policy import (
    Address,
    Filter,
    Foreign,
    Network,
    family_of,
)
from confsync.model.errors import Violation, Violations
from confsync.model.ids import Path

# RFC 6996 (private use), RFC 5398 (documentation), RFC 4893 (AS_TRANS), RFC 7300 (last ones)
_PRIVATE_AS: Final = (range(64512, 65535), range(4_200_000_000, 4_294_967_295))
RESERVED_AS: Final = {
    "AS_TRANS (RFC 6793)": range(23456, 23457),
    "for documentation (RFC 5398)": range(64496, 64512),
    "the last 16-bit AS (RFC 7300)": range(65535, 65536),
    "for documentation, too (RFC 5398)": range(65536, 65552),
    "the last AS (RFC 7300)": range(4_294_967_295, 4_294_967_296),
}
_UNASSIGNED_AS: Final = range(65552, 131072)
_NOT_PUBLIC: Final[tuple[Network, ...]] = (
    *map(
        IPv4Network,
        ("10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"),
    ),
    *map(IPv6Network, ("fc00::/7", "fe80::/10")),
)
_NOT_ROUTED: Final[tuple[Network, ...]] = (
    *map(IPv4Network, ("127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4")),
    *map(IPv6Network, ("::1/128", "fe80::/10", "ff00::/8")),
)


def broken(value: Bgp) -> Violations:
    """Return every broken rule."""
    return tuple(violation for rule in RULES for violation in rule(value))


def _at(*path: str | int) -> Path:
    return (SECTION, *path)


def _as_exists(value: Bgp) -> Iterator[Violation]:
    """Refuse AS numbers that nobody can have (IANA), as a mistyped one often is."""
    places = {_at("local_as"): value.local_as}
    for peer in value.peers:
        if isinstance(peer.asn, int) and not value.internal(peer):
            places[_at("peers", peer.name, "asn")] = peer.asn
    for place, asn in places.items():
        if asn in _UNASSIGNED_AS:
            message = f"AS {asn} is not assigned to anybody (IANA)"
            yield Violation("CS-V086", place, message, "is a digit mistyped?")


def _has_address(value: Bgp) -> Iterator[Violation]:
    for peer in value.peers:
        if not peer.sessions:
            hint = "set ipv4, ipv6 or both"
            yield Violation("CS-V054", _at("peers", peer.name), "the peer has no address", hint)


def _policy_is_explicit(value: Bgp) -> Iterator[Violation]:
    """Refuse an eBGP session without import and export policy (RFC 8212)."""
    for peer, channel in channels(value):
        for key, chosen in (("import", channel.imports), ("export", channel.exports)):
            if chosen is None and not value.internal(peer):
                whose = peer.asn if isinstance(peer.asn, str) else f"AS {peer.asn}"
                yield Violation(
                    "CS-V056",
                    _at("peers", peer.name, key, channel.family),
                    f"{whose} is not ours ({value.local_as}): eBGP needs an explicit {key}",
                    f"set {key}.{channel.family} for the peer, peer_defaults or the section",
                )


def _bfd_has_source(value: Bgp) -> Iterator[Violation]:
    for peer, session in value.pairs:
        if peer.multihop and peer.bfd != "off" and session.source is None:
            yield Violation(
                "CS-V057",
                _at("peers", peer.name, "source", session.family),
                "missing, but BFD over several hops must know its own address",
                f"set source.{session.family}",
            )


def _neighbours_differ(value: Bgp) -> Iterator[Violation]:
    first: dict[tuple[Address, str], Peer] = {}
    for peer, session in value.pairs:
        if session.neighbor is None:
            continue
        # a link-local address is another neighbour on each interface
        where = session.interface if session.neighbor.is_link_local else ""
        other = first.setdefault((session.neighbor, where), peer)
        if other is not peer:
            message = f"{session.neighbor} is the neighbour of {other.name} already"
            yield Violation("CS-V058", _at("peers", peer.name, session.family), message)


def _neighbour_is_not_us(value: Bgp) -> Iterator[Violation]:
    ours: dict[Address, str] = {value.router_id: "our router id"} if value.router_id else {}
    ours |= {session.source: "our source address" for _, session in value.pairs if session.source}
    ours |= {
        one.prefix.network_address: f"announce.{one.name}"
        for one in value.announce
        if one.prefix.prefixlen == one.prefix.max_prefixlen
    }
    for peer, session in value.pairs:
        if session.neighbor and (what := ours.get(session.neighbor)):
            message = f"{session.neighbor} is {what}: a host is no neighbour of its own"
            yield Violation("CS-V059", _at("peers", peer.name, session.family), message)


def _announced_once(value: Bgp) -> Iterator[Violation]:
    first: dict[Network, str] = {}
    for one in value.announce:
        other = first.setdefault(one.prefix, one.name)
        if other != one.name:
            message = f"{one.prefix} is announced as {other} already"
            yield Violation("CS-V060", _at("announce", one.name), message)


def _announced_is_routable(value: Bgp) -> Iterator[Violation]:
    for one in value.announce:
        if any(_inside(one.prefix, net) for net in _NOT_ROUTED):
            message = f"{one.prefix} is never routed between hosts"
            yield Violation("CS-V061", _at("announce", one.name), message)


def _nothing_private_leaks(value: Bgp) -> Iterator[Violation]:
    """Refuse a default route or a private prefix to somebody else's public AS."""
    for peer, channel in channels(value):
        if value.internal(peer) or not isinstance(peer.asn, int) or not _is_public(peer.asn):
            continue
        for prefix in value.announced(channel.family):
            if may_permit(value, channel.exports, prefix) and (what := _unfit_for_public(prefix)):
                yield Violation(
                    "CS-V062",
                    _at("peers", peer.name, "export", channel.family),
                    f"{prefix} is {what} and would be announced to the public AS {peer.asn}",
                    "deny it in the export filter, or do not announce it",
                )


def _timers_fit(value: Bgp) -> Iterator[Violation]:
    for peer in value.peers:
        timers, place = peer.timers, _at("peers", peer.name)
        if 0 < timers.hold_s < timers.keepalive_s:
            message = f"{timers.keepalive_s} is longer than the hold time, {timers.hold_s}"
            hint = f"use at most {max(1, timers.hold_s // 3)}"
            yield Violation("CS-V063", (*place, "keepalive_s"), message, hint)
        if timers.error_wait_min_s > timers.error_wait_max_s:
            message = f"{timers.error_wait_min_s} exceeds error_wait_max_s"
            hint = f"use at most {timers.error_wait_max_s}"
            yield Violation("CS-V063", (*place, "error_wait_min_s"), message, hint)


def _bounds_fit(value: Bgp) -> Iterator[Violation]:
    """Refuse rules of filters that could never match."""
    for place, chosen in _policies(value):
        for at, rule in enumerate(chosen.rules):
            for one in rule.match.prefixes:
                if not one.net.prefixlen <= one.low <= one.high:
                    longest = one.net.max_prefixlen
                    yield Violation(
                        "CS-V064",
                        (*place, "rules", at),
                        f"nothing in {one.net} is from /{one.low} to /{one.high} long",
                        f"{one.net.prefixlen} <= ge <= le <= {longest}",
                    )


def _policies(value: Bgp) -> Iterator[tuple[Path, Filter]]:
    """Yield all rules that are written anywhere, with where documents have them."""
    for peer, channel in channels(value):
        for key, chosen in (("import", channel.imports), ("export", channel.exports)):
            if isinstance(chosen, Filter):
                yield _at("peers", peer.name, key, channel.family), chosen
    for one in value.filters:
        for name, half in (("ipv4", one.ipv4), ("ipv6", one.ipv6)):
            if half is not None:
                yield _at("filters", one.name, name), half
    for group, things in (("kernels", value.syncers), ("pipes", value.pipes)):
        for thing in things:
            for key, chosen in (("import", thing.imports), ("export", thing.exports)):
                if isinstance(chosen, Filter):
                    yield _at(group, thing.name, key), chosen


def _link_local_has_interface(value: Bgp) -> Iterator[Violation]:
    for peer, session in value.pairs:
        far = session.neighbor
        # 169.254.0.0/16 is as any other address to BIRD; clouds peer from there.
        if isinstance(far, IPv6Address) and far.is_link_local and not session.interface:
            yield Violation(
                "CS-V080",
                _at("peers", peer.name, session.family),
                f"{far} is link-local: without an interface BIRD cannot tell where",
                f"write {far}%eth0, or set interface",
            )


def _ranges_are_dynamic(value: Bgp) -> Iterator[Violation]:
    for peer, session in value.pairs:
        if session.neighbor_range is not None and not peer.dynamic_name:
            hint = "set dynamic_name, such as office"
            message = "a range of neighbours needs a name for the sessions that it brings"
            yield Violation("CS-V081", _at("peers", peer.name, "dynamic_name"), message, hint)


def _names_differ(value: Bgp) -> Iterator[Violation]:
    seen: set[str] = set()
    for name in symbols(value):
        if name in seen:
            message = f"two things would be called {name} in BIRD, which refuses that"
            yield Violation("CS-V076", (SECTION,), message, "give one of them another name")
        seen.add(name)


def _foreign_is_let_be(value: Bgp) -> Iterator[Violation]:
    """Refuse what would have to be added to a filter that another hand writes."""
    for peer, channel in channels(value):
        for policy in effective.overlaid(value, peer, channel):
            if isinstance(policy, Foreign):
                message = f"drained, but {policy.foreign} is another hand's: nothing can be added"
                hint = "disable the peer, or drain it in that filter"
                yield Violation("CS-V082", _at("peers", peer.name, "drain"), message, hint)
        if peer.guard and isinstance(channel.imports, Foreign):
            message = f"set, but {channel.imports.foreign} is another hand's: nothing can be added"
            place = _at("peers", peer.name, "guard")
            yield Violation("CS-V082", place, message, "guard in that filter, and remove it here")
    for one in value.syncers:
        if one.source_address is not None and isinstance(one.exports, Foreign):
            message = f"set, but {one.exports.foreign} is another hand's: nothing can be added"
            place = _at("kernels", one.name, "source_address")
            yield Violation("CS-V082", place, message, "set it in that filter")


def _reflection_fits(value: Bgp) -> Iterator[Violation]:
    for peer in value.peers:
        if peer.rr_client and not value.internal(peer):
            message = "only a neighbour of our own AS can be a client of ours"
            yield Violation("CS-V083", _at("peers", peer.name, "rr_client"), message, "remove it")
        if peer.rs_client and value.internal(peer):
            message = "only a neighbour of another AS can be a client of a route server"
            yield Violation("CS-V083", _at("peers", peer.name, "rs_client"), message, "remove it")


def _stale_needs_restart(value: Bgp) -> Iterator[Violation]:
    for peer in value.peers:
        if peer.llgr in ("on", "aware") and peer.graceful_restart == "off":
            message = "long-lived graceful restart needs graceful restart"
            hint = "set graceful_restart"
            yield Violation("CS-V084", _at("peers", peer.name, "llgr"), message, hint)


def _only_between_as(value: Bgp) -> Iterator[Violation]:
    for peer in value.peers:
        if value.internal(peer) and peer.enforce_first_as:
            message = "no neighbour of our own AS puts its AS first: every route would be refused"
            yield Violation("CS-V085", _at("peers", peer.name, "enforce_first_as"), message)
        if peer.role and value.internal(peer):
            message = "roles are for neighbours of other AS"
            yield Violation("CS-V085", _at("peers", peer.name, "role"), message, "remove it")


def _own_as_is_one_thing(value: Bgp) -> Iterator[Violation]:
    for peer in value.peers:
        if peer.allow_local_as and guards.OWN_AS in peer.guard:
            message = f"{guards.OWN_AS} refuses all that allow_local_as lets in"
            yield Violation("CS-V087", _at("peers", peer.name, "guard"), message, "remove one")


RULES: Final[tuple[Callable[[Bgp], Iterator[Violation]], ...]] = (
    _as_exists,
    _has_address,
    _policy_is_explicit,
    _bfd_has_source,
    _neighbours_differ,
    _neighbour_is_not_us,
    _announced_once,
    _announced_is_routable,
    _nothing_private_leaks,
    _timers_fit,
    _bounds_fit,
    _link_local_has_interface,
    _ranges_are_dynamic,
    _names_differ,
    _foreign_is_let_be,
    _reflection_fits,
    _stale_needs_restart,
    _only_between_as,
    _own_as_is_one_thing,
)


def _is_public(asn: int) -> bool:
    """Tell whether an AS is somebody's on the Internet."""
    return not any(asn in block for block in (*_PRIVATE_AS, *RESERVED_AS.values()))


def _unfit_for_public(prefix: Network) -> str:
    if prefix == family_of(prefix).default_route:
        return "the default route"
    return "private" if any(_inside(prefix, net) for net in _NOT_PUBLIC) else ""


def _inside(inner: Network, outer: Network) -> bool:
    return (
        inner.version == outer.version
        and inner.prefixlen >= outer.prefixlen
        and inner.network_address in outer
    )
