"""Whom a set of resources locks out: each endpoint, and the direction that is shut."""

from __future__ import annotations

from typing import Any

import pytest

from confsync.drivers.calico.lock_out import lock_out
from confsync.drivers.calico.reading import read
from confsync.drivers.calico.resources import Resources

ALLOW = [{"action": "Allow"}]
BOTH = {"selector": "role == 'compute'", "ingress": ALLOW, "egress": ALLOW}
ENDPOINT = {"labels": {"role": "compute"}, "node": "a", "interfaceName": "bond0"}
PROFILED = {**ENDPOINT, "profiles": ["projectcalico-default-allow"]}


def locked(endpoint: dict[str, Any], namespaced: bool = False, **policies: Any) -> str:
    """Return why the one endpoint is locked out, empty = it is not."""
    kind = {"networkpolicies": {"default": policies}} if namespaced else {}
    tree = {"globalnetworkpolicies": policies, **kind, "hostendpoints": {"a": endpoint}}
    if namespaced:
        del tree["globalnetworkpolicies"]
    value = read(tree)
    assert isinstance(value, Resources), value
    found = lock_out(value)
    assert ["hostendpoints/a"] * len(found) == [str(key) for key, _ in found]
    return "; ".join(why for _, why in found)


NONE = "no policy selects it, so none allows any ingress or egress: "
REST = "all but Felix's failsafe ports is dropped"


@pytest.mark.parametrize(
    ("policy", "why"),
    [
        (BOTH, ""),
        ({**BOTH, "selector": "role == 'storage'"}, NONE + REST),
        ({**BOTH, "labels": {"role": "x"}, "selector": "all()"}, ""),
        ({"ingress": ALLOW, "egress": ALLOW}, ""),
        ({**BOTH, "egress": []}, f"no policy for it allows any egress: {REST}"),
        ({**BOTH, "ingress": []}, f"no policy for it allows any ingress: {REST}"),
        (
            {**BOTH, "ingress": [{"action": "Pass"}, {"action": "Log"}]},
            f"no policy for it allows any ingress: {REST}",
        ),
        ({**BOTH, "namespaceSelector": "all()"}, NONE + REST),
        ({**BOTH, "namespaceSelector": "has(x)"}, NONE + REST),
        ({**BOTH, "namespaceSelector": "!has(x)"}, ""),
        ({**BOTH, "serviceAccountSelector": "has(x)"}, NONE + REST),
    ],
)
def test_an_endpoint_needs_a_policy_that_allows_something_each_way(policy, why):
    assert why == locked(ENDPOINT, allow=policy)


def test_two_policies_may_open_a_way_each():
    inwards, outwards = {**BOTH, "egress": []}, {**BOTH, "ingress": []}
    assert "" == locked(ENDPOINT, inwards=inwards, outwards=outwards)


def test_a_policy_of_a_namespace_opens_nothing_for_a_host():
    assert NONE + REST == locked(ENDPOINT, namespaced=True, allow=BOTH)


def test_calicos_profile_opens_what_no_policy_is_for():
    assert "" == locked(PROFILED)
    assert "" == locked(PROFILED, allow={**BOTH, "egress": []})
    denied = {**BOTH, "egress": [{"action": "Deny"}]}
    assert f"no policy for it allows any egress: {REST}" == locked(PROFILED, allow=denied)


def test_an_endpoint_without_labels_is_selected_by_what_they_are_not():
    bare = {"node": "a", "interfaceName": "bond0"}
    assert "" == locked(bare, allow={**BOTH, "selector": "!has(role)"})
    assert NONE + REST == locked(bare, allow=BOTH)


def test_without_endpoints_nobody_is_locked_out():
    assert () == lock_out(read({"globalnetworkpolicies": {"deny": {}}}))
