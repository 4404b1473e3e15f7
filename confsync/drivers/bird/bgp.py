"""The `bgp` section's values: what one host's BGP speaker should be.

Separate because parsing, rules, rendering and planning all speak of these. Everything is explicit
here, defaults included, so that equal values render to equal bytes; peers and announcements are
sorted by name, sessions are IPv4 first.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

from confsync.model.ids import Json, ObjectId, SectionName

SECTION: Final = SectionName("bgp")

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class Family(StrEnum):
    """An address family, as documents name it."""

    IPV4 = "ipv4"
    IPV6 = "ipv6"

    @property
    def digit(self) -> int:
        """Return 4 or 6."""
        return int(self[-1])

    @property
    def default_route(self) -> Network:
        """Return the prefix that covers the whole family."""
        return IPv4Network("0.0.0.0/0") if self is Family.IPV4 else IPv6Network("::/0")


def family_of(thing: Address | Network) -> Family:
    """Return the family of an address or prefix."""
    return Family.IPV4 if thing.version == 4 else Family.IPV6  # noqa: PLR2004


@dataclass(frozen=True, slots=True)
class Rule:
    """Prefixes inside `prefix` whose length is `low` to `high` are permitted or denied."""

    prefix: Network
    low: int
    high: int
    permit: bool

    def matches(self, net: Network) -> bool:
        """Tell whether the rule decides about a prefix, as BIRD's ``net ~ [...]`` would."""
        if not self.low <= net.prefixlen <= self.high or net.version != self.prefix.version:
            return False
        return net.network_address in self.prefix and net.prefixlen >= self.prefix.prefixlen


@dataclass(frozen=True, slots=True)
class Filter:
    """Ordered rules, the first match decides; what no rule matches gets `permit`."""

    rules: tuple[Rule, ...]
    permit: bool

    def permits(self, net: Network) -> bool:
        """Tell what the filter does with a prefix."""
        return next((rule.permit for rule in self.rules if rule.matches(net)), self.permit)


@dataclass(frozen=True, slots=True)
class Session:
    """One peer in one family: one protocol of BIRD's.

    Shape: no `imports` = all but the default route; no `exports` = exactly what we announce.
    """

    family: Family
    neighbor: Address
    source: Address | None
    imports: Filter | None
    exports: Filter | None


@dataclass(frozen=True, slots=True)
class Timers:
    """A peer's timers; any change of them restarts its sessions.

    Units: seconds.
    """

    hold_s: int
    keepalive_s: int
    connect_delay_s: int
    connect_retry_s: int
    error_wait_min_s: int
    error_wait_max_s: int


@dataclass(frozen=True, slots=True)
class Peer:
    """A neighbouring speaker, with one session per family."""

    name: str
    asn: int
    sessions: tuple[Session, ...]
    timers: Timers
    multihop: bool
    bfd: bool
    passive: bool
    next_hop_self: bool
    required: bool
    description: str
    password_file: str

    def protocol(self, session: Session) -> str:
        """Return the name of a session's protocol.

        Why: BIRD takes no bare dash, and a quoted name needs quoting in every command too. Names
        in documents are lower case, so a capital D for the dash keeps different names different.
        """
        return f"cs_{self.name.replace('-', 'D')}_{session.family}"

    def session_id(self, session: Session) -> ObjectId:
        """Return how policy counts a session."""
        return ObjectId("session", f"{SECTION}.{session.family}", self.name)


@dataclass(frozen=True, slots=True)
class Announcement:
    """A prefix that this host originates."""

    name: str
    prefix: Network


@dataclass(frozen=True, slots=True)
class Kernel:
    """Whether BGP routes go to the kernel's table, and its routes come to us."""

    export: bool
    learn: bool


@dataclass(frozen=True, slots=True)
class Bfd:
    """The timing of all BFD sessions of the host."""

    interval_ms: int
    multiplier: int

    @property
    def detection_s(self) -> float:
        """Return after how much silence a neighbour is declared gone."""
        return self.interval_ms * self.multiplier / 1000


@dataclass(frozen=True, slots=True)
class Bgp:
    """One host's BGP speaker."""

    router_id: IPv4Address
    local_as: int
    peers: tuple[Peer, ...]
    announce: tuple[Announcement, ...]
    kernel: Kernel
    bfd: Bfd

    def announced(self, family: Family) -> tuple[Network, ...]:
        """Return the prefixes that we originate in a family."""
        return tuple(one.prefix for one in self.announce if family_of(one.prefix) is family)

    def internal(self, peer: Peer) -> bool:
        """Tell whether a peer is of our own AS (iBGP)."""
        return peer.asn == self.local_as

    @property
    def pairs(self) -> tuple[tuple[Peer, Session], ...]:
        """Return every session with its peer."""
        return tuple((peer, session) for peer in self.peers for session in peer.sessions)


def tree_of(value: Bgp) -> dict[str, Json]:
    """Return the value as a document that says everything explicitly; `parse` reads it back."""
    return {
        "router_id": str(value.router_id),
        "local_as": value.local_as,
        "peers": {peer.name: peer_tree(peer) for peer in value.peers},
        "announce": {one.name: str(one.prefix) for one in value.announce},
        "kernel": {"export": value.kernel.export, "learn": value.kernel.learn},
        "bfd": {"interval_ms": value.bfd.interval_ms, "multiplier": value.bfd.multiplier},
    }


def peer_tree(peer: Peer) -> dict[str, Json]:
    """Return a peer as its part of a document."""
    tree: dict[str, Json] = {
        "asn": peer.asn,
        "multihop": peer.multihop,
        "bfd": peer.bfd,
        "passive": peer.passive,
        "next_hop_self": peer.next_hop_self,
        "required": peer.required,
        "description": peer.description,
        **{name: getattr(peer.timers, name) for name in Timers.__slots__},
    }
    if peer.password_file:
        tree["password_file"] = peer.password_file
    for session in peer.sessions:
        tree[session.family] = str(session.neighbor)
        if session.source is not None:
            tree.setdefault("source", {})[session.family] = str(session.source)
        for key, chosen in (("import", session.imports), ("export", session.exports)):
            if chosen is not None:
                tree.setdefault(key, {})[session.family] = _filter_tree(chosen)
    return {str(key): tree[key] for key in tree}


def _filter_tree(chosen: Filter) -> Json:
    action = {True: "permit", False: "deny"}
    rules = [
        {"prefix": str(one.prefix), "ge": one.low, "le": one.high, "action": action[one.permit]}
        for one in chosen.rules
    ]
    return {"rules": rules, "default": action[chosen.permit]}
