"""What must hold between the values of a `bgp` section, and what deserves a second look.

Separate because every rule is one plain function and all of them run: a fault never hides
another. Each refuses something that BIRD itself would refuse late, or accept and misroute.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from ipaddress import IPv4Network, IPv6Network
from typing import Final

from confsync.drivers.bird.bgp import SECTION, Address, Bgp, Network, Peer, Session, family_of
from confsync.model.errors import Violation, Violations
from confsync.model.ids import Path
from confsync.model.limits import BFD_INTERVAL_SAFE_MS

# RFC 6996 (private use), RFC 5398 (documentation), RFC 4893 (AS_TRANS), RFC 7300 (last ones)
_PRIVATE_AS: Final = (range(64512, 65535), range(4_200_000_000, 4_294_967_295))
_RESERVED_AS: Final = {
    "AS_TRANS (RFC 6793)": range(23456, 23457),
    "for documentation (RFC 5398)": range(64496, 64512),
    "the last 16-bit AS (RFC 7300)": range(65535, 65536),
    "for documentation, too (RFC 5398)": range(65536, 65552),
    "not assigned to anybody (IANA)": range(65552, 131072),
    "the last AS (RFC 7300)": range(4_294_967_295, 4_294_967_296),
}
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


def _has_address(value: Bgp) -> Iterator[Violation]:
    for peer in value.peers:
        if not peer.sessions:
            hint = "set ipv4, ipv6 or both"
            yield Violation("CS-V054", _at("peers", peer.name), "the peer has no address", hint)


def _policy_is_explicit(value: Bgp) -> Iterator[Violation]:
    """Refuse an eBGP session without import and export policy (RFC 8212)."""
    for peer, session in value.pairs:
        for key, chosen in (("import", session.imports), ("export", session.exports)):
            if chosen is None and not value.internal(peer):
                yield Violation(
                    "CS-V056",
                    _at("peers", peer.name, key, session.family),
                    f"AS {peer.asn} is not ours ({value.local_as}): eBGP needs an explicit {key}",
                    f"set {key}.{session.family} for the peer, peer_defaults or the section",
                )


def _bfd_has_source(value: Bgp) -> Iterator[Violation]:
    for peer, session in value.pairs:
        if peer.multihop and peer.bfd and session.source is None:
            yield Violation(
                "CS-V057",
                _at("peers", peer.name, "source", session.family),
                "missing, but BFD over several hops must know its own address",
                f"set source.{session.family}",
            )


def _neighbours_differ(value: Bgp) -> Iterator[Violation]:
    first: dict[Address, Peer] = {}
    for peer, session in value.pairs:
        other = first.setdefault(session.neighbor, peer)
        if other is not peer:
            message = f"{session.neighbor} is the neighbour of {other.name} already"
            yield Violation("CS-V058", _at("peers", peer.name, session.family), message)


def _neighbour_is_not_us(value: Bgp) -> Iterator[Violation]:
    ours: dict[Address, str] = {value.router_id: "our router id"}
    ours |= {session.source: "our source address" for _, session in value.pairs if session.source}
    ours |= {
        one.prefix.network_address: f"announce.{one.name}"
        for one in value.announce
        if one.prefix.prefixlen == one.prefix.max_prefixlen
    }
    for peer, session in value.pairs:
        if what := ours.get(session.neighbor):
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
    for peer, session in value.pairs:
        if value.internal(peer) or not _is_public(peer.asn) or session.exports is None:
            continue
        for prefix in value.announced(session.family):
            if session.exports.permits(prefix) and (what := _unfit_for_public(prefix)):
                yield Violation(
                    "CS-V062",
                    _at("peers", peer.name, "export", session.family),
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
    for peer, session in value.pairs:
        for key, chosen in (("import", session.imports), ("export", session.exports)):
            for at, rule in enumerate(chosen.rules if chosen else ()):
                if not rule.prefix.prefixlen <= rule.low <= rule.high:
                    yield Violation(
                        "CS-V064",
                        _at("peers", peer.name, key, session.family, "rules", at),
                        f"nothing in {rule.prefix} is from /{rule.low} to /{rule.high} long",
                        f"{rule.prefix.prefixlen} <= ge <= le <= {rule.prefix.max_prefixlen}",
                    )


RULES: Final[tuple[Callable[[Bgp], Iterator[Violation]], ...]] = (
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
)


def doubtful(value: Bgp) -> tuple[str, ...]:
    """Return what is allowed but deserves a second look."""
    return tuple(_doubts(value))


def _doubts(value: Bgp) -> Iterator[str]:
    if not value.peers:
        yield "bgp.peers: none, so every session of this host ends"
    users = defaultdict(list, {value.local_as: ["bgp.local_as"]})
    for peer in value.peers:
        if not value.internal(peer):
            users[peer.asn].append(f"bgp.peers.{peer.name}.asn")
    for asn, places in users.items():
        for what, reserved in _RESERVED_AS.items():
            if asn in reserved:
                yield f"{places[0]}: {asn} is reserved: {what}"
    if any(peer.bfd for peer in value.peers) and value.bfd.interval_ms < BFD_INTERVAL_SAFE_MS:
        yield f"bgp.bfd.interval_ms: below {BFD_INTERVAL_SAFE_MS} a busy host loses its sessions"
    for peer, session in value.pairs:
        yield from _doubts_of(value, peer, session)


def _doubts_of(value: Bgp, peer: Peer, session: Session) -> Iterator[str]:
    place = f"bgp.peers.{peer.name}"
    if session.exports and session.exports.permit and not value.internal(peer):
        yield f"{place}.export.{session.family}: all that no rule denies goes to AS {peer.asn}"
    for net in value.announced(session.family):
        if session.exports and not session.exports.permits(net):
            yield f"{place}.export.{session.family}: {net} is announced, but not to this peer"
    if peer.timers.hold_s == 0 and not peer.bfd:
        yield f"{place}.hold_s: 0 and no BFD: a dead peer is never noticed"


def _is_public(asn: int) -> bool:
    """Tell whether an AS is somebody's on the Internet."""
    return not any(asn in block for block in (*_PRIVATE_AS, *_RESERVED_AS.values()))


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
