"""Two conditions as one: what meets both, what meets either.

Separate because this is a calculus of its own, without a word of BIRD's. None = nothing meets it.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, Final

from confsync.drivers.bird.policy import Match, Range

ALWAYS: Final = Match()
_ANY: Final = (
    *("prefixes", "interfaces", "protocols", "sources", "path_contains"),
    *("communities", "large_communities"),
)


class Unsimple(ValueError):
    """A condition that no single rule can ask; its parts perhaps can."""


def said(match: Match) -> dict[str, Any]:
    """Return what a match asks."""
    pairs = ((one.name, getattr(match, one.name)) for one in fields(Match))
    return {key: value for key, value in pairs if value not in (None, "", ())}


def both(one: Match | None, other: Match | None) -> Match | None:
    """Return what asks for both; None = nothing meets both. Raises: Unsimple."""
    if one is None or other is None:
        return None
    found = one
    for key, value in said(other).items():
        mine = said(found).get(key)
        if mine in (None, value):
            found = replace(found, **{key: value})
        elif key == "prefixes":
            inner = tuple(c for a in mine for b in value for c in _inside(a, b))
            if not inner:
                return None
            found = replace(found, prefixes=inner)
        elif key == "length":
            low, high = max(mine[0], value[0]), min(mine[1], value[1])
            if low > high:
                return None
            found = replace(found, length=(low, high))
        elif key == "sources":
            shared = tuple(name for name in mine if name in value)
            if not shared:
                return None
            found = replace(found, sources=shared)
        else:
            raise Unsimple(f"two conditions on {key} at once")
    if found.prefixes and found.length is not None:
        low, high = found.length
        if all(net.high < low or net.low > high for net in found.prefixes):
            return None
    if found.prefix_set and len(found.prefixes) > 1:
        raise Unsimple("a set and other prefixes at once")
    if (found.communities and found.community_set) or (
        found.large_communities and found.large_community_set
    ):
        raise Unsimple("a set and other communities at once")
    return found


def _inside(one: Range, other: Range) -> tuple[Range, ...]:
    """Return what is in both ranges."""
    inner, outer = (one, other) if one.net.prefixlen >= other.net.prefixlen else (other, one)
    low, high = max(one.low, other.low), min(one.high, other.high)
    if inner.net.network_address not in outer.net or low > high:
        return ()
    return (Range(inner.net, low, high),)


def either(one: Match | None, other: Match | None) -> Match | None:
    """Return what asks for one of both. Raises: Unsimple."""
    if one is None or other is None:
        return other if one is None else one
    if ALWAYS in (one, other):
        return ALWAYS
    mine, theirs = said(one), said(other)
    if mine.keys() == theirs.keys() and len(mine) == 1:
        (key,) = mine
        if key in _ANY:
            known: Any = {key: tuple(dict.fromkeys((*mine[key], *theirs[key])))}
            return replace(one, **known)
    raise Unsimple("conditions of which either may hold")
