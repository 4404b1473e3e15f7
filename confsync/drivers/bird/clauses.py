"""A rule's conditions and changes, in BIRD's language.

Separate from the templates because these are expressions, not layout. An empty set is written as
`false`: BIRD has no empty set of prefixes, and no condition at all would mean every route.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from confsync.drivers.bird.names import set_parts, set_symbol
from confsync.drivers.bird.policy import Action, Changes, Family, Match, NamedSet, Rule
from confsync.drivers.bird.syntax import (
    Written,
    call,
    community,
    mask,
    numbers,
    prefixes,
    quoted,
    symbol,
    verdict,
)

# BIRD's words for where a route comes from, by ours.
SOURCES: Final[Mapping[str, tuple[str, ...]]] = {
    "static": ("RTS_STATIC",),
    "direct": ("RTS_DEVICE",),
    "device": ("RTS_DEVICE",),
    "kernel": ("RTS_INHERIT",),
    "inherit": ("RTS_INHERIT",),
    "redirect": ("RTS_REDIRECT",),
    "bgp": ("RTS_BGP",),
    "ospf": ("RTS_OSPF", "RTS_OSPF_IA", "RTS_OSPF_EXT1", "RTS_OSPF_EXT2"),
    "rip": ("RTS_RIP",),
    "babel": ("RTS_BABEL",),
    "pipe": ("RTS_PIPE",),
}
_UNICAST: Final = "dest = RTD_UNICAST"
DESTS: Final[Mapping[str, str]] = {
    "unreachable": "dest = RTD_UNREACHABLE",
    "blackhole": "dest = RTD_BLACKHOLE",
    "prohibit": "dest = RTD_PROHIBIT",
    "unicast": _UNICAST,
    # No gateway is `::` to BIRD in either family; 0.0.0.0 is another address to it.
    "router": f"{_UNICAST} && gw != ::",
    "device": f"{_UNICAST} && gw = ::",
}
ORIGINS: Final = {"igp": "ORIGIN_IGP", "egp": "ORIGIN_EGP", "incomplete": "ORIGIN_INCOMPLETE"}
ROA_STATES: Final = {"valid": "ROA_VALID", "invalid": "ROA_INVALID", "unknown": "ROA_UNKNOWN"}
# Source: RFC 6996.
_PRIVATE_AS: Final = "[64512..65534, 4200000000..4294967294]"
_NEVER: Final = "false"

Sets = Mapping[str, NamedSet]


def definitions(one: NamedSet) -> Iterator[tuple[str, tuple[Written, ...]]]:
    """Return the parts of a set that are written: a symbol each, and its members."""
    writers: Mapping[str, tuple[Iterable[Any], Callable[[Any], Written]]] = {
        "ipv4": (one.ipv4, prefixes),
        "ipv6": (one.ipv6, prefixes),
        "asns": (one.asns, numbers),
        "pairs": (one.communities, community),
        "larges": (one.large_communities, community),
    }
    for part in set_parts(one):
        members, write = writers[part]
        yield set_symbol(one.name, part), tuple(write(member) for member in members)


def condition(match: Match, family: Family, sets: Sets, names: Mapping[str, str]) -> Written | None:
    """Return what must hold for a rule to apply; None = it always does."""
    found = [
        *_about_prefix(match, family, sets),
        *_about_origin(match, names),
        *_about_path(match, sets),
        *_about_communities(match, sets),
        *_about_rest(match),
    ]
    if _NEVER in found:
        return Written(_NEVER)
    return Written(" && ".join(found)) if found else None


def _about_prefix(match: Match, family: Family, sets: Sets) -> Iterator[str]:
    if match.prefixes:
        yield f"net ~ {_set(prefixes(one) for one in match.prefixes)}"
    if match.prefix_set:
        yield _in_set("net", match.prefix_set, str(family), sets)
    if match.length is not None:
        low, high = match.length
        yield f"net.len = {low:d}" if low == high else f"net.len ~ [{low:d}..{high:d}]"


def _about_origin(match: Match, names: Mapping[str, str]) -> Iterator[str]:
    if match.interfaces:
        yield _any("ifname", match.interfaces)
    if match.protocols:
        yield _any("proto", [names.get(one, one) for one in match.protocols])
    if match.sources:
        words = dict.fromkeys(word for one in match.sources for word in SOURCES[one])
        yield f"source = {words.popitem()[0]}" if len(words) == 1 else f"source ~ {_set(words)}"
    if match.dest:
        yield DESTS[match.dest]
    if match.received_from is not None:
        yield f"from = {match.received_from}"
    if match.gateway is not None:
        yield f"gw = {match.gateway}"


def _about_path(match: Match, sets: Sets) -> Iterator[str]:
    if match.path_first is not None:
        yield f"bgp_path.first = {match.path_first:d}"
    if match.path_last is not None:
        yield f"bgp_path.last = {match.path_last:d}"
    if match.path_contains:
        yield f"bgp_path ~ {_set(numbers((one, one)) for one in match.path_contains)}"
    if match.asn_set:
        yield _in_set("bgp_path", match.asn_set, "asns", sets)
    if match.path:
        yield f"bgp_path ~ {mask(match.path)}"
    if match.path_longer_than is not None:
        yield f"bgp_path.len > {match.path_longer_than:d}"


def _about_communities(match: Match, sets: Sets) -> Iterator[str]:
    if match.communities:
        yield f"bgp_community ~ {_set(map(community, match.communities))}"
    if match.community_set:
        yield _in_set("bgp_community", match.community_set, "pairs", sets)
    if match.large_communities:
        yield f"bgp_large_community ~ {_set(map(community, match.large_communities))}"
    if match.large_community_set:
        yield _in_set("bgp_large_community", match.large_community_set, "larges", sets)


def _about_rest(match: Match) -> Iterator[str]:
    if match.kernel_source is not None:
        yield f"krt_source = {match.kernel_source:d}"
    if match.kernel_metric is not None:
        yield f"krt_metric = {match.kernel_metric:d}"
    if match.roa is not None:
        table, state = match.roa
        yield f"roa_check({symbol(table)}, net, bgp_path.last) = {ROA_STATES[state]}"
    if match.call:
        yield call(match.call)


def _set(members: Iterable[str]) -> str:
    return f"[{', '.join(members)}]"


def _in_set(what: str, name: str, part: str, sets: Sets) -> str:
    """Return the question whether something is in a named set; nothing is in an empty one."""
    return f"{what} ~ {set_symbol(name, part)}" if part in set_parts(sets[name]) else _NEVER


def _any(what: str, patterns: Iterable[str]) -> str:
    """Return the question whether a text is one of some patterns."""
    found = [f"{what} {'~' if {'*', '?'} & set(one) else '='} {quoted(one)}" for one in patterns]
    return found[0] if len(found) == 1 else f"({' || '.join(found)})"


def statements(rule: Rule) -> tuple[Written, ...]:
    """Return what a rule does, its decision last."""
    done = tuple(Written(f"{one};") for one in _changes(rule.changes or Changes()))
    if rule.action is Action.NEXT:
        return done
    return (*done, verdict(rule.action is Action.PERMIT))


def _changes(made: Changes) -> Iterator[str]:
    """Return the changes: another hand's first, so that what is said here holds at the end."""
    if made.call:
        yield call(made.call)
    numbered = (
        ("bgp_local_pref", made.local_pref),
        ("bgp_med", made.med),
        ("preference", made.preference),
        ("krt_metric", made.kernel_metric),
    )
    yield from (f"{name} = {number:d}" for name, number in numbered if number is not None)
    if made.origin:
        yield f"bgp_origin = {ORIGINS[made.origin]}"
    if made.source_address is not None:
        yield f"krt_prefsrc = {made.source_address}"
    if made.next_hop is not None:
        yield f"bgp_next_hop = {made.next_hop}"
    yield from _path_changes(made)
    yield from _listed("bgp_community", made.remove_communities, made.add_communities)
    yield from _listed(
        "bgp_large_community", made.remove_large_communities, made.add_large_communities
    )


def _path_changes(made: Changes) -> Iterator[str]:
    if made.strip_private_as:
        yield f"bgp_path.delete({_PRIVATE_AS})"
    if made.prepend_asn is not None:
        yield from [f"bgp_path.prepend({made.prepend_asn:d})"] * made.prepend_count


def _listed(what: str, remove: tuple[str, ...], add: tuple[str, ...]) -> Iterator[str]:
    if remove:
        yield f"{what}.delete({_set(map(community, remove))})"
    yield from (f"{what}.add({community(one)})" for one in add)
