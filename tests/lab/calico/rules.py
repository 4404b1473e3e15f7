"""What Calico's client refuses of a decoded object, and what it fills in.

Separate because `validate` asks it without a datastore. It holds the rules that a driver can run
into, not all of the real ones: what is refused here is refused there.

Source: projectcalico/calico, libcalico-go/lib/errors/errors.go (the texts),
libcalico-go/lib/validator/v3/validator.go, libcalico-go/lib/clientv3/ippool.go and
libcalico-go/lib/clientv3/globalnetworkpolicy.go. The text for a BGPPeer's missing BGPFilter is
ours: only that it is refused is known.
"""

from __future__ import annotations

import copy
import re
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.lab.calico.store import Key

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.lab.calico.kinds import Object

NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
NAME_CHARACTERS = 253
ACTIONS = ("Allow", "Deny", "Log", "Pass")
TIER_LABEL = "projectcalico.org/tier"
LINK_LOCAL = {4: ip_network("169.254.0.0/16"), 6: ip_network("fe80::/10")}
BLOCK_SIZES = {4: (20, 32, 26), 6: (116, 128, 122)}  # least, most, default


class Fault(NamedTuple):
    """One field that is refused."""

    name: str
    value: Any
    reason: str

    def __str__(self) -> str:
        value = "" if self.value is None else f" = '{self.value}'"
        return f"{self.name}{value} ({self.reason})"


class InvalidError(Exception):
    """An object that the client refuses; nothing reached the datastore."""

    def __init__(self, faults: list[Fault]) -> None:
        """Word it as the real one does."""
        if len(faults) == 1:
            super().__init__(f"error with field {faults[0]}")
        else:
            lines = "".join(f"-  {fault}\n" for fault in faults)
            super().__init__(f"error with the following fields:\n{lines}")


def judged(item: Object, old: Object | None, held: Mapping[Key, Object] | None) -> Object:
    """Return the object as it is stored, in the place of `old`, in a store that holds `held`.

    Without `held` nothing is said about other objects.

    Raises: InvalidError.
    """
    item = _completed(item)
    checks = {
        "GlobalNetworkPolicy": _policy,
        "NetworkPolicy": _policy,
        "GlobalNetworkSet": _network_set,
        "NetworkSet": _network_set,
        "HostEndpoint": _host_endpoint,
        "Node": _node,
    }
    faults = list(_name(item))
    if item["kind"] == "IPPool":
        faults += _pool(item, old, held or {})
    elif item["kind"] == "BGPPeer":
        faults += _peer(item["spec"], held)
    elif item["kind"] in checks:
        faults += checks[item["kind"]](item["spec"])
    if faults:
        raise InvalidError(faults)
    return item


def _completed(item: Object) -> Object:
    item = copy.deepcopy(item)
    spec = item["spec"]
    if item["kind"] in {"GlobalNetworkPolicy", "NetworkPolicy"}:
        if not spec.get("types"):
            directions = [name for name in ("Ingress", "Egress") if spec.get(name.lower())]
            spec["types"] = directions or ["Ingress"]
        spec.setdefault("tier", "default")
        item["metadata"].setdefault("labels", {}).setdefault(TIER_LABEL, spec["tier"])
    elif item["kind"] == "IPPool" and _network(spec.get("cidr")):
        network = ip_network(spec["cidr"], strict=False)
        spec |= {
            "blockSize": spec.get("blockSize") or BLOCK_SIZES[network.version][2],
            "allowedUses": spec.get("allowedUses") or ["Workload", "Tunnel"],
            "nodeSelector": spec.get("nodeSelector") or "all()",
            "ipipMode": spec.get("ipipMode") or "Never",
            "vxlanMode": spec.get("vxlanMode") or "Never",
            "assignmentMode": spec.get("assignmentMode") or "Automatic",
        }
    return item


def _tag(field: str, value: Any, tag: str) -> Fault:
    return Fault(field, value, f"Reason: failed to validate Field: {field} because of Tag: {tag} ")


def _network(text: Any) -> bool:
    try:
        return isinstance(text, str) and bool(ip_network(text, strict=False))
    except ValueError:
        return False


def _networks(field: str, found: Any) -> Iterator[Fault]:
    for number, text in enumerate(found or []):
        if not _network(text):
            yield _tag(f"{field}[{number}]", text, "cidr")


def _name(item: Object) -> Iterator[Fault]:
    name = item["metadata"].get("name", "")
    if not name:
        yield Fault("Metadata.Name", "", "field must be set for a Create request")
    elif len(name) > NAME_CHARACTERS or not NAME.fullmatch(name):
        yield _tag("Metadata.Name", name, "name")


def _network_set(spec: Object) -> Iterator[Fault]:
    yield from _networks("Nets", spec.get("nets"))


def _policy(spec: Object) -> Iterator[Fault]:
    if len(set(spec["types"])) < len(spec["types"]):
        yield _tag("Types", spec["types"], "unique")
    for name in spec["types"]:
        if name not in {"Ingress", "Egress"}:
            yield _tag("Types", name, "policyType")
    if spec.get("doNotTrack") and spec.get("preDNAT"):
        yield Fault("PolicySpec.PreDNAT", None, "PreDNAT and DoNotTrack cannot both be true")
    if (spec.get("doNotTrack") or spec.get("preDNAT")) and not spec.get("applyOnForward"):
        yield Fault("PolicySpec.ApplyOnForward", None, "ApplyOnForward must be true")
    if spec.get("preDNAT") and (spec.get("egress") or "Egress" in spec["types"]):
        yield Fault("PolicySpec.Egress", None, "PreDNAT PolicySpec cannot have any Egress rules")
    for rule in [*(spec.get("ingress") or []), *(spec.get("egress") or [])]:
        if rule.get("action") not in ACTIONS:
            yield _tag("Action", rule.get("action", ""), "action")
        for side in ("source", "destination"):
            yield from _networks("Nets", (rule.get(side) or {}).get("nets"))


def _host_endpoint(spec: Object) -> Iterator[Fault]:
    if not spec.get("node"):
        yield Fault("Node", "", "no node is specified")
    if not spec.get("interfaceName") and not spec.get("expectedIPs"):
        yield Fault("InterfaceName", "", "no interface or expected IPs have been specified")


def _node(spec: Object) -> Iterator[Fault]:
    if "bgp" in spec and not spec["bgp"]:
        yield Fault("BGP", None, "Spec.BGP should not be empty")


def _peer(spec: Object, held: Mapping[Key, Object] | None) -> Iterator[Fault]:
    for one, other in (("node", "nodeSelector"), ("peerIP", "peerSelector")):
        if spec.get(one) and spec.get(other):
            yield Fault(one, spec[one], f"{one} must be empty when {other} is set")
    if spec.get("peerSelector") and spec.get("asNumber"):
        yield Fault("asNumber", spec["asNumber"], "asNumber must be empty when peerSelector is set")
    for name in spec.get("filters") or []:
        if held is not None and Key("BGPFilter", name) not in held:
            yield Fault("BGPPeer.Spec.Filters", name, "BGPFilter does not exist")


def _pool(item: Object, old: Object | None, held: Mapping[Key, Object]) -> Iterator[Fault]:
    spec, name = item["spec"], item["metadata"].get("name", "")
    text = spec.get("cidr", "")
    if not _network(text):
        reason = "IPPool CIDR must be a valid subnet" if text else "IPPool CIDR must be specified"
        yield Fault("IPPool.Spec.CIDR", text or None, reason)
        return
    network, size = ip_network(text, strict=False), spec["blockSize"]
    if old and old["spec"]["cidr"] != text:
        yield Fault("IPPool.Spec.CIDR", text, "IPPool CIDR cannot be modified")
    if old and old["spec"].get("blockSize") != size:
        yield Fault("IPPool.Spec.BlockSize", size, "IPPool BlockSize cannot be modified")
    least, most, _ = BLOCK_SIZES[network.version]
    if not least <= size <= most:
        reason = f"IPv{network.version} block size must be between {least} and {most}"
        yield Fault("IPPool.Spec.BlockSize", size, reason)
    if not spec.get("disabled") and network.prefixlen > size:
        reason = "IP pool size is too small for use with Calico IPAM."
        reason += " It must be equal to or greater than the block size."
        yield Fault("IPPool.Spec.CIDR", text, reason)
    for key, other in held.items() if old is None else ():
        if key.kind == "IPPool" and key.name != name and _overlap(text, other["spec"]["cidr"]):
            reason = f"IPPool({name}) CIDR overlaps with IPPool({key.name}) CIDR "
            yield Fault("IPPool.Spec.CIDR", text, reason + other["spec"]["cidr"])
    if "Never" not in {spec["vxlanMode"], spec["ipipMode"]}:
        reason = "Cannot enable both VXLAN and IPIP on the same IPPool"
        yield Fault("IPPool.Spec.VXLANMode", spec["vxlanMode"], reason)
    if str(network) != text:
        yield Fault("IPPool.Spec.CIDR", text, "IPPool CIDR is not strictly masked")
    if _overlap(text, str(LINK_LOCAL[network.version])):
        reason = f"IPPool CIDR overlaps with IPv{network.version} Link Local range "
        yield Fault("IPPool.Spec.CIDR", text, reason + str(LINK_LOCAL[network.version]))


def _overlap(one: str, other: str) -> bool:
    first, second = ip_network(one, strict=False), ip_network(other, strict=False)
    return first.version == second.version and first.overlaps(second)
