"""Any document at all is read or refused, and whatever is read can be judged."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from confsync.drivers.calico.felix import VERSIONS, faults_for
from confsync.drivers.calico.lock_out import lock_out
from confsync.drivers.calico.reading import read
from confsync.drivers.calico.resources import Resources
from confsync.drivers.calico.rules import broken, doubtful
from confsync.model.ids import canonical

ENTITY = {"nets": ["10.0.0.0/8"], "selector": "has(a)", "ports": [22, "1:2", "web"]}
RULE = {
    "action": "Allow",
    "ipVersion": 4,
    "protocol": "TCP",
    "icmp": {"type": 8, "code": 0},
    "source": {**ENTITY, "services": {"name": "a", "namespace": "b"}},
    "destination": {**ENTITY, "serviceAccounts": {"names": ["a"], "selector": "all()"}},
    "http": {"methods": ["GET"], "paths": [{"exact": "/a"}]},
}
POLICY = {"order": 1.5, "selector": "all()", "types": ["Ingress"], "ingress": [RULE]}
DOCUMENT = {
    "globalnetworkpolicies": {"a": {**POLICY, "preDNAT": True, "applyOnForward": True}},
    "networkpolicies": {"default": {"b": {**POLICY, "labels": {"x": "y"}}}},
    "globalnetworksets": {"c": {"nets": ["fd00::/8"], "annotations": {"x": "y"}}},
    "networksets": {"default": {"d": {"nets": []}}},
    "hostendpoints": {
        "e": {
            "labels": {"a": "b"},
            "node": "n",
            "interfaceName": "*",
            "expectedIPs": ["192.0.2.1"],
            "ports": [{"name": "web", "protocol": "TCP", "port": 80}],
        }
    },
    "felixconfigurations": {
        "default": {
            "failsafeInboundHostPorts": [{"protocol": "TCP", "port": 22}],
            "routeTableRanges": [{"min": 1, "max": 2}],
            "reportingInterval": "30s",
            "bpfLogFilters": {"all": "tcp"},
            "iptablesMarkMask": 0xFFFF0000,
        }
    },
}
LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
) | st.sampled_from(["", "all()", "global()", "a.b", "::/0", "TCP", 0, 1, 2**64, -1, "1:2"])
ANYTHING = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)


def places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return every place of a tree but its root."""
    if not isinstance(tree, dict | list):
        return []
    parts = tree.items() if isinstance(tree, dict) else enumerate(tree)
    return [place for key, one in parts for place in ((*path, key), *places(one, (*path, key)))]


PLACES = places(DOCUMENT)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(PLACES), ANYTHING), min_size=1, max_size=3))
def test_any_document_is_read_or_refused(changes):
    tree = copy.deepcopy(DOCUMENT)
    for path, value in changes:
        inside: Any = tree
        for part in path[:-1]:
            inside = inside[part] if _has(inside, part) else {}
        if isinstance(inside, dict) or _has(inside, path[-1]):
            inside[path[-1]] = value
    judge(read(tree))


def _has(inside: Any, part: Any) -> bool:
    if isinstance(inside, dict):
        return part in inside
    return isinstance(inside, list) and part in range(len(inside))


def judge(found: Any) -> None:
    if not isinstance(found, Resources):
        assert found
        assert all(str(one) and "calico" == one.path[0] for one in found)
        return
    assert found == read(found.tree())
    assert canonical(found.tree())
    assert isinstance((broken(found), doubtful(found), lock_out(found)), tuple)
    assert all(isinstance(faults_for(found, version), tuple) for version in VERSIONS)


@given(st.dictionaries(st.sampled_from(sorted(DOCUMENT)), ANYTHING))
def test_anything_below_a_kind_is_read_or_refused(tree):
    judge(read(tree))


def test_the_document_that_is_changed_here_is_one_that_is_read():
    assert isinstance(read(DOCUMENT), Resources)
