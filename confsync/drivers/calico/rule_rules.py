"""What must hold within each rule of a policy: protocol, ports, families, whom it is about.

Separate because a rule is judged by itself, and there are many such judgements.
Source: projectcalico/calico, libcalico-go/lib/validator/v3 (validateRule, validateEntityRule).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from confsync.drivers.calico import selector
from confsync.drivers.calico.resources import POLICIES, Kind, ObjectKey, Resources
from confsync.model.errors import Violation
from confsync.model.ids import Json, Path

WITH_PORTS: Final = ("TCP", "UDP", "SCTP", 6, 17, 132)
_ICMP: Final = {"ICMP": 4, 1: 4, "ICMPv6": 6, 58: 6}
"""The protocols that are ICMP, and the family of each."""
_TCP: Final = ("TCP", 6)
_ENDS: Final = ("source", "destination")
_NETS: Final = ("nets", "notNets")
_PORTS: Final = ("ports", "notPorts")
_NO_SERVICES: Final = (*_NETS, "selector", "notSelector", "namespaceSelector", "serviceAccounts")
"""What a service says by itself."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of a policy, and where it stands."""

    key: ObjectKey
    direction: str
    at: int
    said: Json

    def place(self, *path: str | int) -> Path:
        """Return the place of one of its values."""
        return self.key.place(self.direction, self.at, *path)

    @property
    def ends(self) -> Iterator[tuple[str, Json]]:
        """Yield the source and the destination, as far as they are said."""
        return ((end, self.said[end]) for end in _ENDS if end in self.said)


def broken_by_rules(value: Resources) -> Iterator[Violation]:
    """Yield what is wrong within the rules of policies."""
    for key, body in value.of(*POLICIES):
        for direction in ("ingress", "egress"):
            for at, said in enumerate(body["spec"].get(direction, ())):
                rule = Rule(key, direction, at, said)
                for judge in JUDGES:
                    yield from judge(rule)


def _ports_need_a_protocol(rule: Rule) -> Iterator[Violation]:
    if rule.said.get("protocol") in WITH_PORTS:
        return
    for end, entity in rule.ends:
        for word in _PORTS:
            if word in entity:
                message = "only TCP, UDP and SCTP have ports"
                hint = "say protocol: TCP, or which of them"
                yield Violation("CS-V325", rule.place(end, word), message, hint)


def _icmp_needs_its_protocol(rule: Rule) -> Iterator[Violation]:
    if "icmp" in rule.said and rule.said.get("protocol") not in _ICMP:
        message = "only ICMP and ICMPv6 have types and codes"
        yield Violation("CS-V326", rule.place("icmp"), message, "say protocol: ICMP, or ICMPv6")
    for word in ("icmp", "notICMP"):
        if "code" in rule.said.get(word, {}) and "type" not in rule.said[word]:
            message = "a code says nothing without its type"
            yield Violation("CS-V326", rule.place(word, "code"), message, "say the type, too")


def _protocols_are_of_the_version(rule: Rule) -> Iterator[Violation]:
    version = rule.said.get("ipVersion")
    for word in ("protocol", "notProtocol"):
        own = _ICMP.get(rule.said.get(word))
        if version and own and own != version:
            message = f"{_named(rule.said[word])} is of IPv{own}, and ipVersion is {version}"
            yield Violation("CS-V327", rule.place(word), message, f"say ipVersion: {own}")


def _networks_are_of_one_family(rule: Rule) -> Iterator[Violation]:
    """Yield each network that is of another family than what is said before it."""
    family, because = rule.said.get("ipVersion"), "ipVersion"
    protocol = rule.said.get("protocol")
    if family is None and protocol in _ICMP:
        family, because = _ICMP[protocol], _named(protocol)
    for place, net in _networks(rule):
        own = 6 if ":" in net else 4
        if family is None:
            family, because = own, net
        elif own != family:
            message = f"{net} is of IPv{own}, and {because} of IPv{family}"
            yield Violation("CS-V327", place, message, "make a rule for each family")


def _networks(rule: Rule) -> Iterator[tuple[Path, str]]:
    for end, entity in rule.ends:
        for word in _NETS:
            for at, net in enumerate(entity.get(word, ())):
                yield rule.place(end, word, at), net


def _named(protocol: Json) -> str:
    return protocol if isinstance(protocol, str) else f"protocol {protocol}"


def _services_stand_alone(rule: Rule) -> Iterator[Violation]:
    usual = "source" if rule.direction == "ingress" else "destination"
    for end, entity in rule.ends:
        if "services" not in entity:
            continue
        place = rule.place(end, "services")
        if end != usual:
            message = f"services cannot be the {end} of {rule.direction}"
            yield Violation("CS-V328", place, message, f"name them as {usual}")
        banned = (*_NO_SERVICES, *(_PORTS if end == "destination" else ()))
        for word in banned:
            if word in entity:
                hint = "a service says it by itself: leave it out"
                message = f"{word} cannot stand beside services"
                yield Violation("CS-V328", rule.place(end, word), message, hint)
        if rule.key.kind is Kind.GLOBAL_POLICY and "namespace" not in entity["services"]:
            message = "a global policy has no namespace to look for the service in"
            yield Violation("CS-V328", place, message, "say the service's namespace")


def _http_is_for_what_comes_in(rule: Rule) -> Iterator[Violation]:
    if "http" not in rule.said:
        return
    place, said = rule.place("http"), rule.said
    if said["action"] != "Allow":
        yield Violation("CS-V329", place, "http is only known to Allow", "say action: Allow")
    if rule.direction == "egress":
        yield Violation("CS-V329", place, "http is only known to ingress", "put it there")
    if said.get("protocol", "TCP") not in _TCP:
        yield Violation("CS-V329", rule.place("protocol"), "HTTP is TCP", "say TCP, or nothing")
    for at, path in enumerate(said["http"].get("paths", ())):
        if ("exact" in path) == ("prefix" in path):
            hint = "say one of exact and prefix"
            message = "a path is either the whole or how it begins"
            yield Violation("CS-V329", rule.place("http", "paths", at), message, hint)


def _global_stands_alone(rule: Rule) -> Iterator[Violation]:
    for end, entity in rule.ends:
        for word in ("selector", "notSelector", "namespaceSelector"):
            found = selector.parse(entity.get(word, ""))
            alone = word == "namespaceSelector" and isinstance(found, selector.Outside)
            if selector.calls(found, selector.Outside) and not alone:
                message = "global() is only known alone in namespaceSelector"
                hint = "write namespaceSelector: global()"
                yield Violation("CS-V333", rule.place(end, word), message, hint)


JUDGES: Final = (
    _ports_need_a_protocol,
    _icmp_needs_its_protocol,
    _protocols_are_of_the_version,
    _networks_are_of_one_family,
    _services_stand_alone,
    _http_is_for_what_comes_in,
    _global_stands_alone,
)
