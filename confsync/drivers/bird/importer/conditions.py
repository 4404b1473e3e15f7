"""A condition of BIRD's as what a rule may ask, exactly or not at all.

Separate because this is the dictionary: each entry is the opposite of one line of `clauses`, and
says for one family what BIRD would find; what is about the other family's routes never holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from confsync.drivers.bird.clauses import SOURCES
from confsync.drivers.bird.importer.expressions import (
    Call,
    Const,
    Mask,
    Members,
    Name,
    Node,
    Op,
    Pair,
    Prefixes,
    Unsaid,
    Value,
    is_address,
    is_nowhere,
)
from confsync.drivers.bird.importer.matches import ALWAYS, Unsimple, both, either
from confsync.drivers.bird.policy import Address, Family, Match, Network, Range

_SWAPPED: Final = {"=": "=", "<": ">", ">": "<", "<=": ">=", ">=": "<=", "~": "~"}
_NEGATED: Final = {"!=": "=", "!~": "~"}
_DESTS: Final = {
    "RTD_UNREACHABLE": "unreachable",
    "RTD_BLACKHOLE": "blackhole",
    "RTD_PROHIBIT": "prohibit",
    "RTD_UNICAST": "unicast",
}
_UNUSED: Final = {"RTS_STATIC_DEVICE"}  # no protocol of BIRD 2 has it any more


@dataclass(slots=True)
class Sets:
    """The named sets that conditions use: parts by their constant's name."""

    used: dict[tuple[str, str], Members] = field(default_factory=dict)

    def name(self, constant: str, part: str, members: Members) -> str:
        """Return what a set is called in a document."""
        self.used[set_name(constant), part] = members
        return set_name(constant)


def legal(name: str) -> str:
    """Return a name of another hand as documents can have it."""
    plain = "".join(c if c.isascii() and (c.isalnum() or c == "-") else "_" for c in name.lower())
    return plain.strip("_-")[:40] or "x"


def set_name(constant: str) -> str:
    """Return the name of a set, without what we put around it ourselves."""
    if constant.startswith("cs_SET_"):
        return constant.removeprefix("cs_SET_").rpartition("_")[0].replace("D", "-")
    return legal(constant)


@dataclass(frozen=True, slots=True)
class Asked:
    """For which family conditions are read, and where the sets they use are noted."""

    family: Family
    sets: Sets

    def match(self, node: Node) -> Match | None:
        """Return what a condition asks; None = it never holds. Raises: Unsimple, Unsaid."""
        match node:
            case Const(bool() as holds):
                return ALWAYS if holds else None
            case Op("&&"):
                return self._all(node)
            case Op("||", left, right):
                return either(self.match(left), self.match(right))
            case Op(sign, left, right) if sign in _SWAPPED:
                return self._compared(sign, left, right)
        raise Unsimple("a condition that no rule can ask")

    def _all(self, node: Node) -> Match | None:
        terms = list(_terms(node))
        unicast = Op("=", Name("dest"), Name("RTD_UNICAST"))
        found: Match | None = ALWAYS
        if unicast in terms:
            for term in terms:
                match term:
                    case Op("!=" | "=" as sign, Name("gw"), far) if is_nowhere(far):
                        terms.remove(term)
                        terms.remove(unicast)
                        found = Match(dest="router" if sign == "!=" else "device")
                        break
        for term in terms:
            asked = self.match(term)
            if asked is None:
                return None
            found = both(found, asked)
        return found

    def _compared(self, sign: str, left: Node, right: Node) -> Match | None:
        """Return what a comparison asks, where it is no opposite of a known one."""
        if isinstance(left, Const) and not isinstance(right, Const):
            left, right, sign = right, left, _SWAPPED[sign]
        if isinstance(left, Const) and isinstance(right, Const) and sign == "=":
            return ALWAYS if left.value == right.value else None
        asked = _ASKED.get((_subject(left), sign))
        if asked is None and negated(Op(sign, left, right)):
            raise Unsimple("a condition that is another one's opposite")
        if asked is None:
            raise Unsaid("a condition on something that rules do not know")
        return asked(self, right)

    def both(self, one: Match, other: Match | None) -> Match | None:
        """Return what asks for both, by the members of named sets where need be.

        Raises: Unsimple.
        """
        try:
            return both(one, other)
        except Unsimple:
            return both(self._plain(one), self._plain(other))

    def _plain(self, match: Match | None) -> Match | None:
        """Return a condition with the prefixes of a named set in its place."""
        if match is None or not match.prefix_set or match.prefixes:
            return match
        members = self.sets.used[match.prefix_set, str(self.family)].items
        return replace(match, prefix_set="", prefixes=_ranges(members, self.family))

    # --- one reader for each thing that is asked about

    def net_is(self, right: Node) -> Match | None:
        net = _value(right)
        if not isinstance(net, Network):
            raise Unsaid("a condition on a prefix")
        return self._prefixes((Prefixes(net, net.prefixlen, net.prefixlen),))

    def net_in(self, right: Node) -> Match | None:
        members = _value(right)
        if isinstance(members, Network):
            longest = members.max_prefixlen
            return self._prefixes((Prefixes(members, members.prefixlen, longest),))
        if not isinstance(members, Members) or not members.of(Prefixes):
            raise Unsaid("a condition on a prefix")
        if isinstance(right, Const) and right.name:
            ranges = _ranges(members.items, self.family)
            if not ranges:
                return None
            return Match(prefix_set=self.sets.name(right.name, str(self.family), members))
        return self._prefixes(members.items)

    def _prefixes(self, items: tuple[Any, ...]) -> Match | None:
        ranges = _ranges(items, self.family)
        return Match(prefixes=ranges) if ranges else None

    def length(self, low: int, high: int) -> Match | None:
        longest = 32 if self.family is Family.IPV4 else 128
        low, high = max(0, low), min(high, longest)
        return Match(length=(low, high)) if low <= high else None

    def asns(self, right: Node) -> Match | None:
        match right:
            case Const(Mask(text)):
                return Match(path=text)
            case Const(Members() as members, name) if members.of(tuple):
                if name:
                    return Match(asn_set=self.sets.name(name, "asns", members))
                pairs: Any = members.items
                if all(low == high for low, high in pairs):
                    return Match(path_contains=tuple(low for low, _ in pairs))
            case Const(int() as asn) if type(asn) is int:
                return Match(path_contains=(asn,))
        raise Unsaid("a condition on bgp_path")

    def communities(self, right: Node) -> Match | None:
        name, items = self._tags(right, "bgp_community", "communities", 2)
        return Match(community_set=name) if name else Match(communities=items)

    def large_communities(self, right: Node) -> Match | None:
        name, items = self._tags(right, "bgp_large_community", "large_communities", 3)
        return Match(large_community_set=name) if name else Match(large_communities=items)

    def _tags(
        self, right: Node, attribute: str, part: str, size: int
    ) -> tuple[str, tuple[str, ...]]:
        """Return the communities that are asked for: a set's name, or themselves."""
        match right:
            case Const(Pair(parts) as pair) if len(parts) == size:
                return "", (str(pair),)
            case Const(Members() as members, name) if members.of(str):
                items = tuple(map(str, members.items))
                if any(item.count(":") != size - 1 for item in items):
                    raise Unsaid("a set of communities of another kind")
                return self.sets.name(name, part, members) if name else "", items
        raise Unsaid(f"a condition on {attribute}")


def _ranges(items: tuple[Any, ...], family: Family) -> tuple[Range, ...]:
    """Return the prefixes of one family; those of the other one never match its routes."""
    mine = [one for one in items if one.net.version == family.digit]
    if any(one.low < one.net.prefixlen or one.low > one.high for one in mine):
        raise Unsaid("a set that holds prefixes shorter than its own")
    return tuple(Range(one.net, one.low, one.high) for one in mine)


def _terms(node: Node) -> tuple[Node, ...]:
    match node:
        case Op("&&", left, right):
            return (*_terms(left), *_terms(right))
    return (node,)


def _subject(node: Node) -> str:
    match node:
        case Name(text):
            return text
        case Call(name, (), Name(of)):
            return f"{of}.{name}"
        case Call("roa_check"):
            return "roa_check"
    return ""


def _value(node: Node) -> Value | None:
    return node.value if isinstance(node, Const) else None


def _text(make: Callable[[str], Match], *, wild: bool) -> Callable[[Asked, Node], Match | None]:
    def asked(_: Asked, right: Node) -> Match | None:
        found = _value(right)
        if not isinstance(found, str) or (not wild and {"*", "?"} & set(found)):
            raise Unsaid("a condition on a name")
        return make(found)

    return asked


def _number(make: Callable[[Asked, int], Match | None]) -> Callable[[Asked, Node], Match | None]:
    def asked(self: Asked, right: Node) -> Match | None:
        found = _value(right)
        if type(found) is not int:
            raise Unsaid("a condition on something else than a number")
        return make(self, found)

    return asked


def _address(make: Callable[[Address], Match]) -> Callable[[Asked, Node], Match | None]:
    def asked(self: Asked, right: Node) -> Match | None:
        found: Any = _value(right)
        if not is_address(found) or int(found) == 0:
            raise Unsaid("a condition on an address")
        return make(found) if found.version == self.family.digit else None

    return asked


def _sources(_: Asked, right: Node) -> Match | None:
    match right:
        case Name(word):
            words = {word.upper()}
        case Const(Members(items)) if all(type(item) is str for item in items):
            words = {str(item).upper() for item in items}
        case _:
            raise Unsaid("a condition on source")
    chosen, left = [], words - _UNUSED
    for name, parts in SOURCES.items():
        if left and set(parts) <= left:
            chosen.append(name)
            left -= set(parts)
    if left:
        raise Unsaid("a source of routes that rules do not know")
    return Match(sources=tuple(chosen)) if chosen else None


def _dest(_: Asked, right: Node) -> Match | None:
    if not isinstance(right, Name) or right.text not in _DESTS:
        raise Unsaid("a condition on dest")
    return Match(dest=_DESTS[right.text])


def _net_type(self: Asked, right: Node) -> Match | None:
    if not isinstance(right, Name) or not right.text.startswith("NET_"):
        raise Unsaid("a condition on net.type")
    return ALWAYS if right.text == f"NET_IP{self.family.digit}" else None


def _longer_than(length: int) -> Match:
    return Match(path_longer_than=length) if length >= 0 else ALWAYS


def _length_in(self: Asked, right: Node) -> Match | None:
    match right:
        case Const(Members(((int() as low, int() as high),))):
            return self.length(low, high)
    raise Unsaid("a condition on net.len")


_LONGEST: Final = 128
_ASKED: Final[Mapping[tuple[str, str], Callable[[Asked, Node], Match | None]]] = {
    ("net", "="): Asked.net_is,
    ("net", "~"): Asked.net_in,
    ("net.len", "="): _number(lambda self, n: self.length(n, n)),
    ("net.len", ">"): _number(lambda self, n: self.length(n + 1, _LONGEST)),
    ("net.len", ">="): _number(lambda self, n: self.length(n, _LONGEST)),
    ("net.len", "<"): _number(lambda self, n: self.length(0, n - 1)),
    ("net.len", "<="): _number(lambda self, n: self.length(0, n)),
    ("net.len", "~"): _length_in,
    ("net.type", "="): _net_type,
    ("ifname", "="): _text(lambda name: Match(interfaces=(name,)), wild=False),
    ("ifname", "~"): _text(lambda name: Match(interfaces=(name,)), wild=True),
    ("proto", "="): _text(lambda name: Match(protocols=(name,)), wild=False),
    ("proto", "~"): _text(lambda name: Match(protocols=(name,)), wild=True),
    ("source", "="): _sources,
    ("source", "~"): _sources,
    ("dest", "="): _dest,
    ("from", "="): _address(lambda far: Match(received_from=far)),
    ("gw", "="): _address(lambda far: Match(gateway=far)),
    ("bgp_path.first", "="): _number(lambda _, n: Match(path_first=n)),
    ("bgp_path.last", "="): _number(lambda _, n: Match(path_last=n)),
    ("bgp_path.len", ">"): _number(lambda _, n: _longer_than(n)),
    ("bgp_path.len", ">="): _number(lambda _, n: _longer_than(n - 1)),
    ("bgp_path", "~"): Asked.asns,
    ("bgp_community", "~"): Asked.communities,
    ("bgp_large_community", "~"): Asked.large_communities,
    ("krt_source", "="): _number(lambda _, n: Match(kernel_source=n)),
    ("krt_metric", "="): _number(lambda _, n: Match(kernel_metric=n)),
}


def negated(node: Node) -> Node | None:
    """Return the condition whose opposite this one is; None where it is no opposite."""
    match node:
        case Op(sign, left, right) if sign in _NEGATED:
            return Op(_NEGATED[sign], left, right)
        case Op("<", Call("len", (), Name("bgp_path")) as left, Const(int() as most)):
            return Op(">", left, Const(most - 1))
        case Op("<=", Call("len", (), Name("bgp_path")) as left, Const(int() as most)):
            return Op(">", left, Const(most))
    return None
