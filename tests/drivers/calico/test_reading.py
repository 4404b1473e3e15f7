"""Documents of every kind: what Calico makes of them, and each fault at its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from confsync.drivers.calico.reading import read
from confsync.drivers.calico.resources import SECTION, Kind, ObjectKey, Resources
from confsync.drivers.calico.rules import broken
from confsync.drivers.calico.shapes import READ_ONLY, READER
from confsync.model.errors import Violation, Violations
from confsync.model.ids import dotted

GOLDEN = Path(__file__).parent / "golden"


def cases(which: str) -> list[Any]:
    return [
        pytest.param(kind, case, id=f"{kind}: {case['says']}")
        for kind in Kind
        for case in yaml.safe_load((GOLDEN / f"{kind}.yaml").read_text())[which]
    ]


def faults(tree: dict[str, Any]) -> Violations:
    value = read(tree)
    return broken(value) if isinstance(value, Resources) else value


def value_of(tree: dict[str, Any]) -> Resources:
    value = read(tree)
    assert isinstance(value, Resources), "\n".join(map(str, value))
    assert () == broken(value)
    return value


def placed(kind: Kind, fault: Violation) -> str:
    """Return a fault's code and its place below its kind."""
    assert (SECTION, kind) == fault.path[:2]
    assert fault.message
    assert fault.hint
    return f"{fault.code} {dotted(fault.path[2:])}".strip()


@pytest.mark.parametrize(("kind", "case"), cases("good"))
def test_a_good_document_means_what_calico_stores(kind, case):
    value = value_of({str(kind): case["says"]})
    assert {str(kind): case.get("means", case["says"])} == value.tree()
    assert value == read(value.tree())


@pytest.mark.parametrize(("kind", "case"), cases("bad"))
def test_a_bad_document_is_refused_at_its_place(kind, case):
    assert case["faults"] == [placed(kind, one) for one in faults({str(kind): case["says"]})]


def test_each_kind_has_good_and_bad_forms():
    for kind in Kind:
        assert {"good", "bad"} == set(yaml.safe_load((GOLDEN / f"{kind}.yaml").read_text()))
    assert {"felix_values.yaml", "selectors.yaml", *(f"{kind}.yaml" for kind in Kind)} == {
        path.name for path in GOLDEN.iterdir()
    }


@pytest.mark.parametrize("kind", sorted(READ_ONLY))
def test_a_kind_that_is_only_read_is_refused_with_the_reason(kind):
    (fault,) = faults({kind: {"a": {}}, "globalnetworksets": {"a": {}}})
    assert ("CS-V300", ("calico", kind), READ_ONLY[kind]) == (fault.code, fault.path, fault.hint)


def test_an_unknown_kind_is_told_the_nearest():
    (fault,) = faults({"globalnetworkpolicy": {}})
    assert "did you mean globalnetworkpolicies?" == fault.hint


def test_host_bits_are_told_both_networks_that_may_be_meant():
    (fault,) = faults({"globalnetworksets": {"ula": {"nets": ["fd00::/7"]}}})
    assert (
        'calico.globalnetworksets.ula.nets[0]: "fd00::/7" has host bits set;'
        " maybe you want fd00::/8 or fc00::/7 (CS-V304)"
    ) == str(fault)


def test_a_fault_of_the_shape_does_not_hide_the_broken_rules_elsewhere():
    tree = {
        "ippools": {},
        "globalnetworkpolicies": {"a": {"order": "x"}, "ossg.b": {}},
        "hostendpoints": {"c": {"node": "c"}},
    }
    assert ["CS-V300", "CS-V309", "CS-V320", "CS-V330"] == [one.code for one in faults(tree)]


def test_objects_are_found_by_their_keys():
    value = value_of(
        {"networksets": {"default": {"a": {"labels": {"x": "y"}}}}, "hostendpoints": {}}
    )
    key = ObjectKey(Kind.SET, "default", "a")
    assert {key: {"labels": {"x": "y"}, "spec": {}}} == dict(value.objects)
    assert "networksets/default/a" == str(key)
    assert "globalnetworkpolicies/a" == str(ObjectKey(Kind.GLOBAL_POLICY, "", "a"))
    assert "NetworkSet" == key.kind.resource


def test_what_may_stand_at_a_place_is_described():
    assert "a map by name" == READER.described(("globalnetworkpolicies",)).kind
    rule = READER.described(("globalnetworkpolicies", "a", "ingress", 0))
    assert {"action", "ipVersion", "notICMP", "source"} <= set(rule.keys)
    assert "vxlanPort" in READER.described(("felixconfigurations", "default")).keys
    assert READER.described(("felixconfigurations", "default", "vxlanProt")) is None
