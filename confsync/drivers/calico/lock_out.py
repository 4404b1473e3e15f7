"""Whom the wanted resources would lock out of a host.

Separate because it is one judgement with a definition of its own: Calico drops whatever no policy
allows on a host's interface, but for Felix's failsafe ports, from the moment that there is a
HostEndpoint for it. Only the wanted resources are asked: what others wrote may allow more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from confsync.drivers.calico.policy_shapes import EGRESS, INGRESS
from confsync.drivers.calico.resources import Kind, ObjectKey, Resources
from confsync.drivers.calico.selector import Everything, parse
from confsync.model.ids import Json

ALLOWING_PROFILE: Final = "projectcalico-default-allow"
"""Calico's own profile, which allows everything as long as no policy selects the endpoint."""
_DIRECTIONS: Final = {INGRESS: "ingress", EGRESS: "egress"}


def lock_out(value: Resources) -> tuple[tuple[ObjectKey, str], ...]:
    """Return the HostEndpoints with a direction in which nothing is allowed, and why.

    A direction is open if a GlobalNetworkPolicy selects the endpoint by its labels, is for that
    direction, and has at least one rule for it whose action is Allow; or if no policy for that
    direction selects the endpoint and it has Calico's profile that allows everything. What such a
    rule allows, and what the tiers and orders make of it, is not asked. A NetworkPolicy never
    selects a HostEndpoint, for that has no namespace.
    """
    return tuple(
        (key, why) for key, body in value.of(Kind.HOST_ENDPOINT) for why in _reasons(value, body)
    )


def _reasons(value: Resources, endpoint: Json) -> Iterator[str]:
    """Yield why an endpoint is locked out, in one sentence for both directions."""
    selecting = [
        body["spec"]
        for _, body in value.of(Kind.GLOBAL_POLICY)
        if _selects(body["spec"], endpoint.get("labels", {}))
    ]
    profiled = ALLOWING_PROFILE in endpoint["spec"].get("profiles", ())
    shut = [
        word for one, word in _DIRECTIONS.items() if not _open(selecting, one, profiled=profiled)
    ]
    if shut:
        policies = "policy for it allows" if selecting else "policy selects it, so none allows"
        yield f"no {policies} any {' or '.join(shut)}: all but Felix's failsafe ports is dropped"


def _selects(policy: Json, labels: Mapping[str, str]) -> bool:
    """Tell whether a policy selects a host's endpoint, which has no namespace and no account."""
    for word in ("namespaceSelector", "serviceAccountSelector"):
        if word in policy:
            found = parse(policy[word])
            if isinstance(found, Everything) or not found.matches({}):
                return False
    return parse(policy.get("selector", "")).matches(labels)


def _open(selecting: list[Json], direction: str, *, profiled: bool) -> bool:
    for_it = [policy for policy in selecting if direction in policy["types"]]
    if not for_it:
        return profiled
    rules = (rule for policy in for_it for rule in policy.get(_DIRECTIONS[direction], ()))
    return any(rule["action"] == "Allow" for rule in rules)
