"""What an operator may have refused or obeyed on the way in, said in one word each.

Separate because these are everybody's rules, kept as registries and RFCs have them; a document
that wants other numbers writes rules of its own. Each word is a rule like a written one.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network
from typing import Final

from confsync.drivers.bird.policy import Action, Changes, Family, Match, Network, Range, Rule

OWN_AS: Final = "own_as"
SHUTDOWN: Final = "graceful_shutdown"
WORDS: Final = ("default_route", "bogons", "too_long", OWN_AS, "long_path", SHUTDOWN)
"""All guards, in the order in which they ask."""

# Source: IANA's special-purpose registries (RFC 6890), and what never was, or is no longer, given.
_BOGONS: Final[tuple[Network, ...]] = (
    *map(
        IPv4Network,
        (
            *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
            *("172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24"),
            *("192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24"),
            *("224.0.0.0/4", "240.0.0.0/4"),
        ),
    ),
    *map(
        IPv6Network,
        (
            *("::/8", "100::/64", "2001:2::/48", "2001:10::/28"),
            *("2001:db8::/32", "2002::/16", "3ffe::/16", "3fff::/20", "5f00::/16"),
            *("fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8"),
        ),
    ),
)
_LONGEST: Final = {Family.IPV4: 24, Family.IPV6: 48}  # Source: RFC 7454, 6.1.3
_LONGEST_PATH: Final = 100  # no path of the Internet's has half of that; some BGPs fail at 255
_KEPT: Final = 64
# Source: RFC 8326.
GRACEFUL_SHUTDOWN: Final = "65535:0"
OBEY_SHUTDOWN: Final = Rule(
    Match(communities=(GRACEFUL_SHUTDOWN,)), Action.NEXT, Changes(local_pref=0)
)


@lru_cache(maxsize=_KEPT)
def denials(words: tuple[str, ...], family: Family, own_as: int) -> tuple[Rule, ...]:
    """Return the rules that refuse routes; hundreds of peers have the same ones."""
    default, bits = family.default_route, family.default_route.max_prefixlen
    bogons = tuple(
        Range(net, net.prefixlen, bits) for net in _BOGONS if net.version == family.digit
    )
    asked = {
        "default_route": Match(prefixes=(Range(default, 0, 0),)),
        "bogons": Match(prefixes=bogons),
        "too_long": Match(length=(_LONGEST[family] + 1, bits)),
        OWN_AS: Match(path_contains=(own_as,)),
        "long_path": Match(path_longer_than=_LONGEST_PATH),
    }
    return tuple(
        Rule(asked[word], Action.DENY) for word in WORDS if word in words and word in asked
    )
