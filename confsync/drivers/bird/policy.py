"""The values that routes are judged by: families, prefixes, filters and the sets they use.

Separate because sessions, kernel tables and pipes all use the same policies, and because this is
all that is known of routes. Empty means "no condition"; an empty set of values matches nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

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
    def master(self) -> str:
        """Return the name of BIRD's own table."""
        return f"master{self.digit}"

    @property
    def default_route(self) -> Network:
        """Return the prefix that covers the whole family."""
        return IPv4Network("0.0.0.0/0") if self is Family.IPV4 else IPv6Network("::/0")


def family_of(thing: Address | Network) -> Family:
    """Return the family of an address or prefix."""
    return Family.IPV4 if thing.version == 4 else Family.IPV6  # noqa: PLR2004


class Action(StrEnum):
    """What a matching rule decides; `next` = nothing yet, its changes stay made."""

    PERMIT = "permit"
    DENY = "deny"
    NEXT = "next"


@dataclass(frozen=True, slots=True)
class Range:
    """All prefixes inside `net` that are `low` to `high` bits long."""

    net: Network
    low: int
    high: int

    def matches(self, net: Network) -> bool:
        """Tell whether BIRD's ``net ~ [...]`` would match."""
        if not self.low <= net.prefixlen <= self.high or net.version != self.net.version:
            return False
        return net.network_address in self.net and net.prefixlen >= self.net.prefixlen


@dataclass(frozen=True, slots=True)
class Match:
    """What a rule asks of a route: all that is said must hold, any of several values does.

    Shape: `prefix_set`, `asn_set`, `community_set` and `large_community_set` name sets of the
    section; `path` is a mask in BIRD's words (``* 65001 ?``); `roa` is a table of another hand
    and one of valid, invalid, unknown; `call` is a function of another hand with its arguments.
    """

    prefixes: tuple[Range, ...] = ()
    prefix_set: str = ""
    length: tuple[int, int] | None = None
    interfaces: tuple[str, ...] = ()
    protocols: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    dest: str = ""
    received_from: Address | None = None
    gateway: Address | None = None
    path_first: int | None = None
    path_last: int | None = None
    path_contains: tuple[int, ...] = ()
    asn_set: str = ""
    path: str = ""
    path_longer_than: int | None = None
    communities: tuple[str, ...] = ()
    community_set: str = ""
    large_communities: tuple[str, ...] = ()
    large_community_set: str = ""
    kernel_source: int | None = None
    kernel_metric: int | None = None
    roa: tuple[str, str] | None = None
    call: str = ""


@dataclass(frozen=True, slots=True)
class Changes:
    """What a rule writes into a route that it matches."""

    local_pref: int | None = None
    med: int | None = None
    preference: int | None = None
    origin: str = ""
    source_address: Address | None = None
    kernel_metric: int | None = None
    next_hop: Address | None = None
    prepend_asn: int | None = None
    prepend_count: int = 1
    add_communities: tuple[str, ...] = ()
    remove_communities: tuple[str, ...] = ()
    add_large_communities: tuple[str, ...] = ()
    remove_large_communities: tuple[str, ...] = ()
    strip_private_as: bool = False
    call: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of a filter."""

    match: Match
    action: Action
    changes: Changes | None = None


@dataclass(frozen=True, slots=True)
class Filter:
    """Ordered rules, the first that permits or denies decides; `permit` is for all other routes."""

    rules: tuple[Rule, ...]
    permit: bool


@dataclass(frozen=True, slots=True)
class Named:
    """A filter of the section's own `filters`, by its name."""

    filter: str


@dataclass(frozen=True, slots=True)
class Foreign:
    """A filter that another hand's file defines, by its name there."""

    foreign: str


Policy = Filter | Named | Foreign


@dataclass(frozen=True, slots=True)
class NamedFilter:
    """A filter that several channels use; each family has its own."""

    name: str
    ipv4: Filter | None = None
    ipv6: Filter | None = None


@dataclass(frozen=True, slots=True)
class NamedSet:
    """Values that several rules use; an empty set matches nothing.

    Shape: `asns` are ranges, both ends included.
    """

    name: str
    ipv4: tuple[Range, ...] = ()
    ipv6: tuple[Range, ...] = ()
    asns: tuple[tuple[int, int], ...] = ()
    communities: tuple[str, ...] = ()
    large_communities: tuple[str, ...] = ()
