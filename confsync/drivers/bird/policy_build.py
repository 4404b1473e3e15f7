"""From the shape of policies and sets to their values, references resolved.

Separate from `build` because every reference is looked up here: a filter or a set that is not
there, or not there in the family that it is used in, is refused with the name that was meant.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from confsync.drivers.bird.bgp import SECTION
from confsync.drivers.bird.policy import (
    Action,
    Changes,
    Family,
    Filter,
    Foreign,
    Match,
    Named,
    NamedFilter,
    NamedSet,
    Policy,
    Range,
    Rule,
    family_of,
)
from confsync.drivers.bird.policy_shapes import (
    AnyRange,
    ChangesShape,
    FilterShape,
    FiltersShape,
    Members,
    RuleShape,
    SetShape,
)
from confsync.model.errors import Violation, nearest
from confsync.model.ids import Path

WORDS: Final[Mapping[str, Filter]] = {
    "all": Filter((), permit=True),
    "none": Filter((), permit=False),
}


class Policies:
    """Builds policies, and collects what they refer to in vain."""

    def __init__(self, filters: Mapping[str, FiltersShape], sets: Mapping[str, SetShape]) -> None:
        self._filters = filters
        self._sets = sets
        self.faults: list[Violation] = []

    def chosen(self, shape: FilterShape | None, family: Family, at: Path) -> Policy | None:
        """Return a policy for one family; `at` is where a document has it."""
        if shape is None:
            return None
        if shape.foreign:
            self._alone(shape, "foreign", at)
            return Foreign(shape.foreign)
        if not shape.use:
            return self.rules(shape, family, at)
        self._alone(shape, "use", at)
        if shape.use in WORDS:
            return WORDS[shape.use]
        known = self._filters.get(shape.use)
        if known is None:
            self._fault("CS-V072", at, f"there is no filter {shape.use}", self._near(shape.use))
        elif getattr(known, family) is None:
            message = f"the filter {shape.use} has no rules for {family}"
            self._fault("CS-V073", at, message, self._instead(shape.use, family))
        return Named(shape.use)

    def rules(self, shape: FilterShape, family: Family, at: Path) -> Filter:
        """Return the rules that are written on the spot."""
        rules = tuple(
            self._rule(rule, family, (*at, "rules", number))
            for number, rule in enumerate(shape.rules)
        )
        return Filter(rules, shape.default == "permit")

    def named(self) -> tuple[NamedFilter, ...]:
        """Return the section's own filters; they do not refer to each other."""
        return tuple(
            NamedFilter(name, **{str(f): self._half(name, both, f) for f in Family})
            for name, both in sorted(self._filters.items())
        )

    def sets(self) -> tuple[NamedSet, ...]:
        """Return the section's own sets."""
        return tuple(
            NamedSet(
                name,
                ipv4=tuple(_range(one) for one in shape.ipv4),
                ipv6=tuple(_range(one) for one in shape.ipv6),
                asns=shape.asns,
                communities=shape.communities,
                large_communities=shape.large_communities,
            )
            for name, shape in sorted(self._sets.items())
        )

    def _half(self, name: str, both: FiltersShape, family: Family) -> Filter | None:
        shape: FilterShape | None = getattr(both, family)
        at = (SECTION, "filters", name, str(family))
        if shape is None:
            return None
        if shape.use or shape.foreign:
            self._fault("CS-V074", at, "a filter is made of rules, it cannot name another", "")
        return self.rules(shape, family, at)

    def _alone(self, shape: FilterShape, key: str, at: Path) -> None:
        if more := sorted(shape.model_fields_set - {key}):
            message = f"{key} says which filter it is, so that {more[0]} has no effect"
            self._fault("CS-V074", at, message, f"remove {key} or {more[0]}")

    def _rule(self, shape: RuleShape, family: Family, at: Path) -> Rule:
        prefixes: tuple[Range, ...] = ()
        prefix_set = self._members(shape.prefixes, str(family), at, "prefixes")
        if shape.prefix is not None:
            prefixes = (_range(shape),)
        elif shape.ge is not None or shape.le is not None:
            self._fault("CS-V041", (*at, "prefix"), "missing", "ge and le belong to a prefix")
        if shape.prefixes is not None:
            prefixes += tuple(_range(one) for one in shape.prefixes.members)
        for one in prefixes:
            if family_of(one.net) is not family:
                self._fault("CS-V045", at, f"{one.net} is no {family} prefix", "")
        self._same_family(shape, family, at)
        match = Match(
            prefixes=prefixes,
            prefix_set=prefix_set,
            length=(shape.length.ge, shape.length.le) if shape.length else None,
            interfaces=shape.interface,
            protocols=shape.protocol,
            sources=shape.source,
            dest=shape.dest,
            received_from=shape.received_from,
            gateway=shape.gateway,
            path_first=shape.path_first,
            path_last=shape.path_last,
            path_contains=shape.path_contains,
            asn_set=self._set(shape.asns, "asns", (*at, "asns")),
            path=shape.path,
            path_longer_than=shape.path_longer_than,
            communities=_listed(shape.communities),
            community_set=self._members(shape.communities, "communities", at),
            large_communities=_listed(shape.large_communities),
            large_community_set=self._members(shape.large_communities, "large_communities", at),
            kernel_source=shape.kernel_source,
            kernel_metric=shape.kernel_metric,
            roa=(shape.roa.table, shape.roa.state) if shape.roa else None,
            call=shape.call,
        )
        return Rule(match, Action(shape.action), _changes(shape.changes))

    def _members(self, members: Members[Any] | None, part: str, at: Path, key: str = "") -> str:
        """Return the name of a set that stands for its members, if one does."""
        name = members.named if members else ""
        return self._set(name, part, (*at, key or part))

    def _set(self, name: str, part: str, at: Path) -> str:
        if name and name not in self._sets:
            hint = nearest(name, tuple(self._sets)) if self._sets else "add it under sets"
            self._fault("CS-V072", at, f"there is no set {name}", hint)
        elif name and part not in self._sets[name].model_fields_set:
            hint = f"add sets.{name}.{part}; an empty list matches nothing"
            self._fault("CS-V073", at, f"the set {name} says nothing of {part}", hint)
        return name

    def _same_family(self, shape: RuleShape, family: Family, at: Path) -> None:
        changes = shape.changes
        for key, address in (
            ("from", shape.received_from),
            ("gateway", shape.gateway),
            ("set.source_address", changes.source_address if changes else None),
        ):
            if address is not None and family_of(address) is not family:
                self._fault(
                    "CS-V044", (*at, *key.split(".")), f"{address} is no {family} address", ""
                )

    def _near(self, name: str) -> str:
        return nearest(name, (*self._filters, *WORDS))

    def _instead(self, name: str, family: Family) -> str:
        """Return how to mend the use of a filter for the wrong family: another one may be meant."""
        fit = [one for one, both in self._filters.items() if getattr(both, family) is not None]
        meant = difflib.get_close_matches(name, fit, n=1)
        return f"{f'use {meant[0]}, or ' if meant else ''}add filters.{name}.{family}"

    def _fault(self, code: str, at: Path, message: str, hint: str) -> None:
        self.faults.append(Violation(code, at, message, hint))


def _range(shape: AnyRange | RuleShape) -> Range:
    """Return prefixes with both bounds: without `ge` and `le` only the prefix itself."""
    assert shape.prefix is not None
    length = shape.prefix.prefixlen
    longest = length if shape.ge is None and shape.le is None else shape.prefix.max_prefixlen
    return Range(
        net=shape.prefix,
        low=length if shape.ge is None else shape.ge,
        high=longest if shape.le is None else shape.le,
    )


def _listed(members: Members[Any] | None) -> tuple[str, ...]:
    return members.members if members else ()


def _changes(shape: ChangesShape | None) -> Changes | None:
    if shape is None:
        return None
    same = shape.model_dump(exclude={"prepend"})
    prepend = shape.prepend
    if prepend is not None:
        same |= {"prepend_asn": prepend.asn, "prepend_count": prepend.count}
    return Changes(**same)


def tree(policy: Policy) -> dict[str, Any]:
    """Return a policy as documents write it."""
    match policy:
        case Named(name):
            return {"use": name}
        case Foreign(name):
            return {"foreign": name}
        case Filter(rules, permit):
            default = "permit" if permit else "deny"
            return {"rules": [_rule_tree(one) for one in rules], "default": default}


def set_tree(one: NamedSet) -> dict[str, Any]:
    """Return a set as documents write it."""
    return {
        "ipv4": [_range_tree(each) for each in one.ipv4],
        "ipv6": [_range_tree(each) for each in one.ipv6],
        "asns": [f"{low}-{high}" for low, high in one.asns],
        "communities": list(one.communities),
        "large_communities": list(one.large_communities),
    }


def _range_tree(one: Range) -> dict[str, Any]:
    return {"prefix": str(one.net), "ge": one.low, "le": one.high}


def _rule_tree(rule: Rule) -> dict[str, Any]:
    return {**dict(_match_tree(rule.match)), **_action_tree(rule)}


def _match_tree(match: Match) -> Iterator[tuple[str, Any]]:
    if len(match.prefixes) == 1:
        yield from _range_tree(match.prefixes[0]).items()
    elif match.prefixes:
        yield "prefixes", [_range_tree(one) for one in match.prefixes]
    if match.length is not None:
        yield "length", {"ge": match.length[0], "le": match.length[1]}
    if match.roa is not None:
        yield "roa", {"table": match.roa[0], "state": match.roa[1]}
    said: Iterable[tuple[str, Any]] = (
        ("prefixes", match.prefix_set),
        ("interface", list(match.interfaces)),
        ("protocol", list(match.protocols)),
        ("source", list(match.sources)),
        ("dest", match.dest),
        ("from", match.received_from and str(match.received_from)),
        ("gateway", match.gateway and str(match.gateway)),
        ("path_first", match.path_first),
        ("path_last", match.path_last),
        ("path_contains", list(match.path_contains)),
        ("asns", match.asn_set),
        ("path", match.path),
        ("path_longer_than", match.path_longer_than),
        ("communities", match.community_set or list(match.communities)),
        ("large_communities", match.large_community_set or list(match.large_communities)),
        ("kernel_source", match.kernel_source),
        ("kernel_metric", match.kernel_metric),
        ("call", match.call),
    )
    yield from ((key, value) for key, value in said if value not in (None, "", []))


def _action_tree(rule: Rule) -> dict[str, Any]:
    if rule.changes is None:
        return {"action": str(rule.action)}
    made = rule.changes
    said: dict[str, Any] = {
        "local_pref": made.local_pref,
        "med": made.med,
        "preference": made.preference,
        "origin": made.origin,
        "source_address": made.source_address and str(made.source_address),
        "kernel_metric": made.kernel_metric,
        "next_hop": made.next_hop and str(made.next_hop),
        "add_communities": list(made.add_communities),
        "remove_communities": list(made.remove_communities),
        "add_large_communities": list(made.add_large_communities),
        "remove_large_communities": list(made.remove_large_communities),
        "strip_private_as": made.strip_private_as or None,
        "call": made.call,
    }
    if made.prepend_asn is not None:
        said["prepend"] = {"asn": made.prepend_asn, "count": made.prepend_count}
    changes = {key: value for key, value in said.items() if value not in (None, "", [])}
    return {"set": changes, "action": str(rule.action)}
