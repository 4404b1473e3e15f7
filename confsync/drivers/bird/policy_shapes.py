"""The shape of filters, rules and sets in a `bgp` document.

Separate because peers, kernel tables and pipes all take policies, and a policy is written in three
ways: by the name of a filter of ours (`all` and `none` are two that everybody has), by the name of
another hand's, or as rules on the spot.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Generic, TypeVar

from pydantic import BeforeValidator, Field, PlainValidator

from confsync.drivers.bird import fields, policy_fields
from confsync.drivers.bird.clauses import DESTS, ORIGINS, ROA_STATES, SOURCES
from confsync.drivers.bird.policy import Address, Family, Network
from confsync.model import shapes
from confsync.model.shapes import Shape

T = TypeVar("T")

Name = Annotated[str, PlainValidator(fields.read_name)]
Symbol = Annotated[str, PlainValidator(fields.read_symbol)]
Flag = Annotated[bool, PlainValidator(shapes.read_flag)]
Asn = Annotated[int, PlainValidator(fields.read_asn)]
Count = Annotated[int, PlainValidator(shapes.integer(0, 2**32 - 1))]
AnyAddress = Annotated[Address, PlainValidator(fields.read_any_address)]
AnyPrefix = Annotated[Network, PlainValidator(fields.read_any_prefix)]
_Prefix4 = Annotated[Network, PlainValidator(fields.prefix_of(Family.IPV4))]
_Prefix6 = Annotated[Network, PlainValidator(fields.prefix_of(Family.IPV6))]
_Length4 = Annotated[int, PlainValidator(shapes.integer(0, 32))]
_Length6 = Annotated[int, PlainValidator(shapes.integer(0, 128))]
_Decision = Annotated[str, PlainValidator(shapes.choice("an action", "permit", "deny"))]
_Action = Annotated[str, PlainValidator(shapes.choice("an action", "permit", "deny", "next"))]
_Source = Annotated[str, PlainValidator(shapes.choice("a source of routes", *SOURCES))]
_Dest = Annotated[str, PlainValidator(shapes.choice("a destination", *DESTS))]
_Pattern = Annotated[str, PlainValidator(fields.read_interfaces)]
_Path = Annotated[str, PlainValidator(policy_fields.read_path)]
_Call = Annotated[str, PlainValidator(policy_fields.read_call)]
_Asns = Annotated[tuple[int, int], PlainValidator(policy_fields.read_asns)]
_Pair = Annotated[str, PlainValidator(policy_fields.community_of(2, patterns=False))]
_Large = Annotated[str, PlainValidator(policy_fields.community_of(3, patterns=False))]
_Pairs = Annotated[str, PlainValidator(policy_fields.community_of(2, patterns=True))]
_Larges = Annotated[str, PlainValidator(policy_fields.community_of(3, patterns=True))]


def _in_a_list(value: object) -> object:
    """Let a single value stand for a list of it."""
    return value if isinstance(value, list | tuple) else [value]


Listed = BeforeValidator(_in_a_list)


def _by_family(value: object) -> object:
    """Let what is said once count for both families."""
    if isinstance(value, dict) and value.keys() <= set(Family):
        return value
    return {str(family): value for family in Family}


class Each(Shape, Generic[T]):
    """One thing for each family."""

    ipv4: T | None = None
    ipv6: T | None = None


EACH: Final = BeforeValidator(_by_family)


class Withhold(Shape):
    """Why something is out of use, and when that should end."""

    reason: Annotated[str, PlainValidator(fields.read_reason)]
    until: Annotated[str, PlainValidator(fields.read_moment)] = ""


class Sources(Shape):
    """A host's own address in each family."""

    ipv4: Annotated[Address, PlainValidator(fields.address_of(Family.IPV4))] | None = None
    ipv6: Annotated[Address, PlainValidator(fields.address_of(Family.IPV6))] | None = None


def spread(value: object) -> object:
    """Let a bare address count for its own family."""
    if isinstance(value, str):
        return {Family.IPV6 if ":" in value else Family.IPV4: value}
    return value


class LengthShape(Shape):
    """How long a prefix is."""

    ge: _Length6 = 0
    le: _Length6 = 128


class RangeShape4(Shape):
    """IPv4 prefixes inside one."""

    prefix: _Prefix4
    ge: _Length4 | None = None
    le: _Length4 | None = None


class RangeShape6(Shape):
    """IPv6 prefixes inside one."""

    prefix: _Prefix6
    ge: _Length6 | None = None
    le: _Length6 | None = None


class RangeShape(Shape):
    """Prefixes inside one of whichever family."""

    prefix: AnyPrefix
    ge: _Length6 | None = None
    le: _Length6 | None = None


AnyRange = RangeShape4 | RangeShape6 | RangeShape


def _as_range(value: object) -> object:
    """Let a bare prefix stand for exactly itself."""
    return value if isinstance(value, dict) else {"prefix": value}


_Range4 = Annotated[RangeShape4, BeforeValidator(_as_range)]
_Range6 = Annotated[RangeShape6, BeforeValidator(_as_range)]
_Range = Annotated[RangeShape, BeforeValidator(_as_range)]


class RoaShape(Shape):
    """What a table of another hand says of a route's origin."""

    table: Symbol
    state: Annotated[str, PlainValidator(shapes.choice("a state", *ROA_STATES))]


class PrependShape(Shape):
    """An AS put before the path, once or more."""

    asn: Asn
    count: Annotated[int, PlainValidator(shapes.integer(1, 16))] = 1


class ChangesShape(Shape):
    """What a rule writes into a route."""

    local_pref: Count | None = None
    med: Count | None = None
    preference: Annotated[int, PlainValidator(shapes.integer(0, 65_535))] | None = None
    origin: Annotated[str, PlainValidator(shapes.choice("an origin", *ORIGINS))] = ""
    source_address: AnyAddress | None = None
    kernel_metric: Count | None = None
    next_hop: AnyAddress | None = None
    prepend: PrependShape | None = None
    add_communities: Annotated[tuple[_Pair, ...], Listed] = ()
    remove_communities: Annotated[tuple[_Pairs, ...], Listed] = ()
    add_large_communities: Annotated[tuple[_Large, ...], Listed] = ()
    remove_large_communities: Annotated[tuple[_Larges, ...], Listed] = ()
    strip_private_as: Flag = False
    call: _Call = ""


def _named_or_listed(value: object) -> object:
    """Let a set's name stand where its members may."""
    if isinstance(value, str) and value[:1].isalpha() and ":" not in value:
        return {"named": value}
    return {"members": value if isinstance(value, list | tuple) else [value]}


_MEMBERS: Final = BeforeValidator(_named_or_listed)


class Members(Shape, Generic[T]):
    """Values on the spot, or the name of a set of them."""

    named: Name = ""
    members: tuple[T, ...] = ()


class RuleShape(Shape):
    """A line of a filter: all that it asks must hold of a route."""

    prefix: AnyPrefix | None = None
    ge: _Length6 | None = None
    le: _Length6 | None = None
    prefixes: Annotated[Members[_Range], _MEMBERS] | None = None
    length: LengthShape | None = None
    interface: Annotated[tuple[_Pattern, ...], Listed] = ()
    protocol: Annotated[tuple[Symbol, ...], Listed] = ()
    source: Annotated[tuple[_Source, ...], Listed] = ()
    dest: _Dest = ""
    received_from: AnyAddress | None = Field(default=None, alias="from")
    gateway: AnyAddress | None = None
    path_first: Asn | None = None
    path_last: Asn | None = None
    path_contains: Annotated[tuple[Asn, ...], Listed] = ()
    asns: Name = ""
    path: _Path = ""
    path_longer_than: Annotated[int, PlainValidator(shapes.integer(0, 255))] | None = None
    communities: Annotated[Members[_Pairs], _MEMBERS] | None = None
    large_communities: Annotated[Members[_Larges], _MEMBERS] | None = None
    kernel_source: Annotated[int, PlainValidator(shapes.integer(0, 255))] | None = None
    kernel_metric: Count | None = None
    roa: RoaShape | None = None
    call: _Call = ""
    changes: ChangesShape | None = Field(default=None, alias="set")
    action: _Action


class RuleShape4(RuleShape):
    """A rule about IPv4 routes."""

    prefix: _Prefix4 | None = None
    ge: _Length4 | None = None
    le: _Length4 | None = None
    prefixes: Annotated[Members[_Range4], _MEMBERS] | None = None  # type: ignore[assignment]


class RuleShape6(RuleShape):
    """A rule about IPv6 routes."""

    prefix: _Prefix6 | None = None
    prefixes: Annotated[Members[_Range6], _MEMBERS] | None = None  # type: ignore[assignment]


class FilterShape(Shape):
    """A policy; what no rule decides is denied unless `default` says otherwise."""

    rules: tuple[RuleShape, ...] = ()
    default: _Decision = "deny"
    use: Name = ""
    foreign: Symbol = ""


class FilterShape4(FilterShape):
    """A policy for IPv4 routes."""

    rules: tuple[RuleShape4, ...] = ()


class FilterShape6(FilterShape):
    """A policy for IPv6 routes."""

    rules: tuple[RuleShape6, ...] = ()


def _as_policy(value: object) -> object:
    """Let a name stand for the filter of that name."""
    return {"use": value} if isinstance(value, str) else value


Policy4 = Annotated[FilterShape4, BeforeValidator(_as_policy)]
Policy6 = Annotated[FilterShape6, BeforeValidator(_as_policy)]
AnyPolicy = Annotated[FilterShape, BeforeValidator(_as_policy)]


class FiltersShape(Shape):
    """One policy for each family: a list can never be used for the wrong one."""

    ipv4: Policy4 | None = None
    ipv6: Policy6 | None = None


def _for_both(value: object) -> object:
    """Let a filter's name count for both families."""
    if isinstance(value, str) or (isinstance(value, dict) and value.keys() == {"foreign"}):
        return {str(family): value for family in Family}
    return value


Policies = Annotated[FiltersShape, BeforeValidator(_for_both)]


class SetShape(Shape):
    """Values that several rules use."""

    ipv4: tuple[_Range4, ...] = ()
    ipv6: tuple[_Range6, ...] = ()
    asns: tuple[_Asns, ...] = ()
    communities: tuple[_Pairs, ...] = ()
    large_communities: tuple[_Larges, ...] = ()


def _split(value: object) -> object:
    """Part a plain list of prefixes by family."""
    if not isinstance(value, list | tuple):
        return value
    parts: dict[str, list[Any]] = {str(family): [] for family in Family}
    for one in value:
        prefix = one.get("prefix") if isinstance(one, dict) else one
        parts[Family.IPV6 if ":" in str(prefix) else Family.IPV4].append(one)
    return parts


Set = Annotated[SetShape, BeforeValidator(_split)]
