"""A filter's changes of a route, gathered as what a rule may write.

Separate because the order matters: a rule makes its changes in an order of its own, so that what
would come earlier in it than what is gathered already needs a rule of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, Final

from confsync.drivers.bird.clauses import ORIGINS
from confsync.drivers.bird.importer.expressions import (
    Call,
    Const,
    Members,
    Name,
    Node,
    Pair,
    Unsaid,
    is_address,
)
from confsync.drivers.bird.importer.statements import Assign, Do
from confsync.drivers.bird.policy import Changes, Match

_NUMBERS: Final = {
    "bgp_local_pref": "local_pref",
    "bgp_med": "med",
    "preference": "preference",
    "krt_metric": "kernel_metric",
}
_ADDRESSES: Final = {"krt_prefsrc": "source_address", "bgp_next_hop": "next_hop"}
_ORIGINS: Final = {word: name for name, word in ORIGINS.items()}
_KINDS: Final = {
    "bgp_community": (2, "communities"),
    "bgp_large_community": (3, "large_communities"),
}
_PRIVATE: Final = ((64512, 65534), (4_200_000_000, 4_294_967_294))
# The order in which a rule makes its changes, as far as it matters.
_ORDER: Final[Mapping[str, tuple[str, int]]] = {
    "strip_private_as": ("path", 0),
    "prepend_asn": ("path", 1),
    "prepend_count": ("path", 1),
    "remove_communities": ("communities", 0),
    "add_communities": ("communities", 1),
    "remove_large_communities": ("large_communities", 0),
    "add_large_communities": ("large_communities", 1),
}
# What a change makes a later question answer differently.
_READ: Final[Mapping[str, tuple[str, ...]]] = {
    "path": ("path_first", "path_last", "path_contains", "asn_set", "path", "path_longer_than"),
    "communities": ("communities", "community_set"),
    "large_communities": ("large_communities", "large_community_set"),
    "kernel_metric": ("kernel_metric",),
}
_PLAIN: Final = Changes()


def change(one: Assign | Do) -> Changes:
    """Return what a statement changes. Raises: Unsaid."""
    match one:
        case Assign(name, Const(value)) if name in _NUMBERS and type(value) is int:
            number: Any = {_NUMBERS[name]: value}
            return Changes(**number)
        case Assign(name, Const(value)) if name in _ADDRESSES and is_address(value):
            address: Any = {_ADDRESSES[name]: value}
            return Changes(**address)
        case Assign("bgp_origin", Name(word)) if word in _ORIGINS:
            return Changes(origin=_ORIGINS[word])
        case Do(Call("prepend", (Const(int() as asn),), Name("bgp_path"))):
            return Changes(prepend_asn=asn)
        case Do(Call("delete", (Const(Members(items)),), Name("bgp_path"))) if items == _PRIVATE:
            return Changes(strip_private_as=True)
        case Do(Call("add" | "delete" as way, (arg,), Name(name))) if name in _KINDS:
            return _listed(way, name, arg)
        case Assign(name) | Do(Call(name)):
            raise Unsaid(f"a change by {name} that no rule can make")


def _listed(way: str, name: str, arg: Node) -> Changes:
    size, part = _KINDS[name]
    items: tuple[str, ...]
    match arg:
        case Const(Pair(parts) as pair) if len(parts) == size:
            items = (str(pair),)
        case Const(Members() as members) if way == "delete" and members.of(str):
            items = tuple(map(str, members.items))
        case _:
            raise Unsaid(f"a change of {name} that no rule can make")
    if any(item.count(":") != size - 1 for item in items):
        raise Unsaid(f"a change of {name} by a set of another kind")
    key = f"{'add' if way == 'add' else 'remove'}_{part}"
    known: Any = {key: items}
    return Changes(**known)


def made(changes: Changes) -> dict[str, Any]:
    """Return what is changed at all."""
    pairs = ((one.name, getattr(changes, one.name)) for one in fields(Changes))
    return {key: value for key, value in pairs if value != getattr(_PLAIN, key)}


def joined(first: Changes, then: Changes) -> Changes | None:
    """Return both changes as those of one rule; None = a rule would make them in another order."""
    before = made(first)
    for key, value in made(then).items():
        group, rank = _ORDER.get(key, (key, 0))
        later = [k for k in before if _ORDER.get(k, (k, 0))[0] == group]
        if any(_ORDER.get(k, (k, 0))[1] > rank for k in later):
            return None
        if key == "prepend_asn" and key in before:
            if before[key] != value:
                return None
            return replace(first, prepend_count=first.prepend_count + 1)
        if key.startswith("remove_") and key in before:
            return None
        more = key.startswith("add_") and key in before
        known: Any = {key: (*before[key], *value) if more else value}
        first = replace(first, **known)
    return first


def disturbs(changes: Changes, asked: Match) -> bool:
    """Tell whether a question may be answered differently once the changes are made."""
    groups = {_ORDER.get(key, (key, 0))[0] for key in made(changes)}
    return any(
        getattr(asked, key) not in (None, "", ())
        for group in groups
        for key in _READ.get(group, ())
    )
