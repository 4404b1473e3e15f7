"""What must hold between the values of a `calico` section, whatever the site is like.

Separate because every rule is one plain function and all of them run: a fault never hides another.
Rules about a policy's single rules stand in `rule_rules`.
Source: projectcalico/calico, libcalico-go/lib/validator/v3; for what networking-calico writes,
networking-calico/networking_calico/plugins/ml2/drivers/calico.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from confsync.drivers.calico import objects, selector
from confsync.drivers.calico.policy_shapes import EGRESS, INGRESS
from confsync.drivers.calico.resources import POLICIES, Kind, ObjectKey, Resources
from confsync.drivers.calico.rule_rules import WITH_PORTS, broken_by_rules
from confsync.model.errors import Violation, Violations
from confsync.model.ids import Json, dotted

DEFAULT_TIER: Final = "default"
SETTINGS_OF_OPENSTACK: Final = ("interfacePrefix", "endpointReportingEnabled")
"""Fields of a FelixConfiguration that networking-calico writes whenever neutron-server starts."""
_OWNERS: Final = {
    "ossg.": "networking-calico writes it from a security group",
    "knp.": "Calico makes it from a NetworkPolicy of Kubernetes",
}
_TABLES_MAX: Final = 0xFFFF
_ANNOTATIONS_BYTES: Final = 256 * 1024
"""What Kubernetes, and so Calico, takes of annotations on one object."""
_SSH: Final = 22
_SELECTORS: Final = ("selector", "serviceAccountSelector", "namespaceSelector")


def broken(value: Resources) -> Violations:
    """Return every broken rule."""
    return tuple(violation for rule in RULES for violation in rule(value))


def doubtful(value: Resources) -> tuple[str, ...]:
    """Return what is allowed but deserves a second look."""
    return tuple(note for look in LOOKS for note in look(value))


def _policies(value: Resources) -> Iterator[tuple[ObjectKey, Json]]:
    for key, body in value.of(*POLICIES):
        yield key, body["spec"]


def _others_keep_theirs(value: Resources) -> Iterator[Violation]:
    for key, _ in _policies(value):
        for prefix, owner in _OWNERS.items():
            if key.name.startswith(prefix):
                hint = "leave it out, or choose a name of your own"
                yield Violation("CS-V320", key.place(), owner, hint)
    for key, body in value.of(Kind.FELIX):
        for name in SETTINGS_OF_OPENSTACK:
            if name in body["spec"]:
                message = "networking-calico writes it whenever neutron-server starts"
                yield Violation("CS-V320", key.place(name), message, "leave it out")


def _labels_are_ours(value: Resources) -> Iterator[Violation]:
    for key, body in value.of(*Kind):
        for part in objects.META:
            for name in body.get(part, {}):
                if name.startswith(objects.OWN):
                    hint = "leave it out: Calico puts it there by itself"
                    message = f"one of Calico's own {part}"
                    yield Violation("CS-V302", key.place(part, name), message, hint)


def _annotations_fit(value: Resources) -> Iterator[Violation]:
    for key, body in value.of(*Kind):
        found = body.get("annotations", {})
        size_bytes = sum(len(name.encode()) + len(text.encode()) for name, text in found.items())
        if size_bytes > _ANNOTATIONS_BYTES:
            hint = f"use at most {_ANNOTATIONS_BYTES} on one object"
            message = f"{size_bytes} bytes of annotations"
            yield Violation("CS-V302", key.place("annotations"), message, hint)


def _one_way_of_tracking(value: Resources) -> Iterator[Violation]:
    for key, spec in _policies(value):
        early = [word for word in ("doNotTrack", "preDNAT") if spec.get(word)]
        if len(early) > 1:
            message = "doNotTrack and preDNAT cannot both hold"
            yield Violation("CS-V321", key.place("preDNAT"), message, "make two policies of it")
        for word in early:
            if not spec.get("applyOnForward"):
                message = f"{word} is for packets that are forwarded, too"
                yield Violation("CS-V322", key.place(word), message, "say applyOnForward: true")


def _nothing_leaves_before_dnat(value: Resources) -> Iterator[Violation]:
    for key, spec in _policies(value):
        if spec.get("preDNAT") and (spec.get("egress") or EGRESS in spec["types"]):
            where = "egress" if spec.get("egress") else "types"
            message = "a policy with preDNAT sees only what comes in"
            yield Violation("CS-V323", key.place(where), message, "put it into another policy")


def _rules_have_their_direction(value: Resources) -> Iterator[Violation]:
    for key, spec in _policies(value):
        for word, direction in (("ingress", INGRESS), ("egress", EGRESS)):
            if spec.get(word) and direction not in spec["types"]:
                message = f"the policy is not for {direction}, so these rules do nothing"
                hint = f"add {direction} to types, or leave types out"
                yield Violation("CS-V324", key.place(word), message, hint)


def _global_has_its_place(value: Resources) -> Iterator[Violation]:
    for key, spec in _policies(value):
        for word in _SELECTORS:
            if word in spec and selector.calls(selector.parse(spec[word]), selector.Outside):
                message = "global() is only known in the namespaceSelector of a rule"
                hint = "a policy for hosts selects them by their labels"
                yield Violation("CS-V333", key.place(word), message, hint)


def _tiers_are_named(value: Resources) -> Iterator[Violation]:
    for key, spec in _policies(value):
        prefix, dot, rest = key.name.partition(".")
        tier = spec.get("tier", DEFAULT_TIER)
        if f"{prefix}." in _OWNERS:
            continue
        if dot and prefix == DEFAULT_TIER:
            message = "the usual tier is not said before a name"
            yield Violation("CS-V334", key.place(), message, f"call it {rest}")
        elif (prefix if dot else DEFAULT_TIER) != tier:
            message = f"its tier is {tier}"
            hint = f"say tier: {prefix}" if dot else f"call it {tier}.{key.name}"
            yield Violation("CS-V334", key.place(), message, hint)


def _endpoints_are_found(value: Resources) -> Iterator[Violation]:
    for key, body in value.of(Kind.HOST_ENDPOINT):
        if not body["spec"].get("interfaceName") and not body["spec"].get("expectedIPs"):
            hint = "say interfaceName, or the addresses as expectedIPs"
            yield Violation("CS-V330", key.place(), "nothing says which interface it is", hint)


def _endpoint_ports_are_ports(value: Resources) -> Iterator[Violation]:
    for key, body in value.of(Kind.HOST_ENDPOINT):
        taken: set[tuple[str, Json]] = set()
        for at, port in enumerate(body["spec"].get("ports", ())):
            if port["protocol"] not in WITH_PORTS:
                hint = "use TCP, UDP or SCTP"
                message = f"{port['protocol']} has no ports"
                yield Violation("CS-V325", key.place("ports", at, "protocol"), message, hint)
            if (port["name"], port["protocol"]) in taken:
                message = f"{port['name']} is named twice"
                hint = "give each its own name"
                yield Violation("CS-V311", key.place("ports", at, "name"), message, hint)
            taken.add((port["name"], port["protocol"]))


def _tables_are_said_once(value: Resources) -> Iterator[Violation]:
    for key, body in value.of(Kind.FELIX):
        spec = body["spec"]
        ranges = spec.get("routeTableRanges", ())
        if "routeTableRange" in spec and "routeTableRanges" in spec:
            hint = "keep routeTableRanges"
            message = "routeTableRange and routeTableRanges cannot both be said"
            yield Violation("CS-V331", key.place("routeTableRange"), message, hint)
        for word, found in (
            ("routeTableRange", [spec["routeTableRange"]] if "routeTableRange" in spec else []),
            ("routeTableRanges", ranges),
        ):
            if any(one["min"] > one["max"] for one in found):
                hint = "put the lower number at min"
                yield Violation("CS-V331", key.place(word), "ends before it begins", hint)
        count = sum(one["max"] - one["min"] + 1 for one in ranges)
        if count > _TABLES_MAX:
            message = f"{count} tables"
            hint = f"Felix takes {_TABLES_MAX} in all"
            yield Violation("CS-V331", key.place("routeTableRanges"), message, hint)


def _felix_configurations_apply(value: Resources) -> Iterator[Violation]:
    for key, body in value.of(Kind.FELIX):
        selects = "nodeSelector" in body["spec"]
        for_one = key.name == "default" or key.name.startswith("node.")
        if for_one and selects:
            hint = "leave it out, or choose a name of another form"
            message = f"{key.name} says by its name which nodes it is for"
            yield Violation("CS-V335", key.place("nodeSelector"), message, hint)
        elif not for_one and not selects:
            hint = "call it default or node.NAME (or say nodeSelector, from 3.32 on)"
            yield Violation("CS-V332", key.place(), "no node would take it", hint)


RULES: Final = (
    _others_keep_theirs,
    _labels_are_ours,
    _annotations_fit,
    _one_way_of_tracking,
    _nothing_leaves_before_dnat,
    _rules_have_their_direction,
    _global_has_its_place,
    _tiers_are_named,
    broken_by_rules,
    _endpoints_are_found,
    _endpoint_ports_are_ports,
    _tables_are_said_once,
    _felix_configurations_apply,
)


def _policies_for_everything(value: Resources) -> Iterator[str]:
    for key, body in value.of(Kind.GLOBAL_POLICY):
        if not any(word in body["spec"] for word in _SELECTORS):
            place = dotted(key.place())
            yield f"{place}: no selector, so it is for every workload and every HostEndpoint"


def _ways_in_without_ssh(value: Resources) -> Iterator[str]:
    word = "failsafeInboundHostPorts"
    for key, body in value.of(Kind.FELIX):
        ports = body["spec"].get(word, [])
        ssh = {"protocol": "TCP", "port": _SSH}
        if word in body["spec"] and not any({"protocol": "TCP", **one} == ssh for one in ports):
            place = dotted(key.place(word))
            yield f"{place}: without TCP {_SSH} from anywhere, so policies decide about ssh"


LOOKS: Final = (_policies_for_everything, _ways_in_without_ssh)
