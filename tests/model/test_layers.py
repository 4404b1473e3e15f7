"""Layers: which ones, how they merge, whose fault a value is."""

import json
from functools import reduce
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from confsync.model import nodes
from confsync.model.errors import (
    BadSettings,
    InvalidConfig,
    NeedsFact,
    SchemaViolated,
    Unparsable,
    Violation,
)
from confsync.model.ids import canonical
from confsync.model.layers import layer_paths, merge
from confsync.model.nodes import Origin
from confsync.model.snapshot import Layer, Snapshot

GOLDEN = Path(__file__).parent / "golden" / "merge"
HIERARCHY = (
    "common",
    "roles/{role}",
    "sites/{site}/common",
    "sites/{site}/roles/{role}",
    "nodes/{node}",
)
NAMES = {"site": "bgo", "role": "compute", "node": "bgo-compute-03"}
FIFTEEN = (
    "common/common",
    "common/modules",
    "common/roles/{role}",
    "common/variants/{role}-{variant}",
    "common/platform/{platform}",
    "{site}/common",
    "{site}/modules",
    "{site}/roles/{role}",
    "{site}/variants/{role}-{variant}",
    "{site}/platform/{platform}",
    "nodes/{site}/{node}",
)


def merged(documents, *, hierarchy=HIERARCHY, names=NAMES, origin=""):
    """Merge documents given by layer and name, in the hierarchy's order."""
    layers = tuple(
        Layer(path, {name: text.encode() for name, text in documents.get(path, {}).items()})
        for path in layer_paths(hierarchy, names)
    )
    return merge(Snapshot(layers, origin=origin), hierarchy, names)


def refusal(documents, kind=InvalidConfig, names=NAMES):
    with pytest.raises(kind) as refused:
        merged(documents, names=names)
    assert kind is type(refused.value)
    return [str(violation) for violation in refused.value.violations]


# --- which layers


def test_layers_are_named_by_the_node_weakest_first():
    expected = (
        "common",
        "roles/compute",
        "sites/bgo/common",
        "sites/bgo/roles/compute",
        "nodes/bgo-compute-03",
    )
    assert expected == layer_paths(HIERARCHY, NAMES)


def test_a_level_whose_name_the_node_lacks_is_left_out():
    paths = layer_paths(FIFTEEN, {**NAMES, "variant": "", "platform": "el9"})
    assert "bgo/platform/el9" in paths
    assert not [path for path in paths if "variants" in path]
    assert len(FIFTEEN) - 2 == len(paths)


@pytest.mark.parametrize(
    ("hierarchy", "names", "message"),
    [
        (("sites/{site}", "sites/{site}/roles/{role}"), NAMES, "lies within sites/bgo"),
        (("common", "common"), NAMES, "lies within common"),
        (("roles/{rol}",), NAMES, "did you mean role"),
        (("Common",), NAMES, "'Common' cannot be a key"),
        (("a//b",), NAMES, "'a//b' cannot be a key"),
        (("/a",), NAMES, "cannot be a key"),
        (("../a",), NAMES, "cannot be a key"),
        (("a{",), NAMES, "cannot be a key"),
        (("nodes/{node}",), {"node": "../../x"}, "node: '../../x' cannot be part"),
        (("nodes/{node}",), {"node": "BGO"}, "cannot be part of a key"),
        (("nodes/{node}",), {}, "no level is left"),
        ((), NAMES, "no level is left"),
        (("a" * 201,), NAMES, "cannot be a key"),
    ],
)
def test_a_hierarchy_that_would_mix_or_escape_is_refused(hierarchy, names, message):
    with pytest.raises(BadSettings, match=message):
        layer_paths(hierarchy, names)


def test_a_layer_may_begin_like_another_without_lying_in_it():
    assert ("site", "sites/bgo") == layer_paths(("site", "sites/{site}"), NAMES)


# --- how they merge


@pytest.mark.parametrize("case", sorted(path.stem for path in GOLDEN.glob("*.json")))
def test_golden_merge(case):
    golden = json.loads((GOLDEN / f"{case}.json").read_text())
    hierarchy = golden.get("hierarchy", HIERARCHY)
    names = {**NAMES, **golden.get("facts", {})}
    found = merged(golden["documents"], hierarchy=hierarchy, names=names)
    assert golden["tree"] == found.tree
    assert golden.get("warnings", []) == list(found.warnings)


def test_golden_refusal():
    golden = json.loads((GOLDEN / "refused" / "several.json").read_text())
    assert golden["refused"] == refusal(golden["documents"], Unparsable)


def test_a_document_may_sit_at_any_depth():
    found = merged(
        {
            "common": {"bgp": "local_as: 1\npeers: {rr1: {asn: 1}}"},
            "nodes/bgo-compute-03": {"bgp/peers/rr3": "asn: 3", "bgp/peers": "rr2: {asn: 2}"},
        }
    )
    peers = {"rr1": {"asn": 1}, "rr2": {"asn": 2}, "rr3": {"asn": 3}}
    assert {"bgp": {"local_as": 1, "peers": peers}} == found.tree


def test_a_null_removes_what_weaker_layers_say_and_stronger_ones_may_say_it_again():
    documents = {
        "common": {"bgp": "{a: 1, b: {c: 2, d: 3}}"},
        "roles/compute": {"bgp": "{a: ~, b: {c: ~}}"},
        "nodes/bgo-compute-03": {"bgp": "{b: ~, e: ~}"},
    }
    assert {"bgp": {}} == merged(documents).tree
    documents["nodes/bgo-compute-03"]["bgp"] = "{a: 5}"
    assert {"bgp": {"a": 5, "b": {"d": 3}}} == merged(documents).tree


def test_a_mapping_that_replaces_a_null_begins_anew():
    documents = {
        "common": {"bgp": "{peers: {rr1: {asn: 1}}}"},
        "roles/compute": {"bgp": "{peers: ~}"},
        "nodes/bgo-compute-03": {"bgp": "{peers: {rr2: {asn: 2}}}"},
    }
    assert {"bgp": {"peers": {"rr2": {"asn": 2}}}} == merged(documents).tree


def test_the_snapshot_is_left_as_it_was():
    documents = {"common": {"bgp": "a: {b: 1}"}, "roles/compute": {"bgp": "a: {c: 2}"}}
    assert merged(documents).tree == merged(documents).tree


# --- faults, all at once


def test_a_leaf_set_twice_in_one_layer_names_both_keys():
    documents = {"common": {"bgp": "peers:\n  rr1:\n    asn: 1\n", "bgp/peers/rr1": "asn: 2"}}
    expected = (
        "desired/common/bgp/peers/rr1:1:6 bgp.peers.rr1.asn: desired/common/bgp sets it too, "
        "in the same layer; keep one of them (CS-L02)"
    )
    assert [expected] == refusal(documents, SchemaViolated)


def test_a_scalar_and_a_mapping_in_one_layer_are_twice_too():
    documents = {"common": {"bgp": "peers: ~", "bgp/peers": "{}"}}
    assert "desired/common/bgp sets it too" in refusal(documents, SchemaViolated)[0]


def test_faults_of_all_documents_are_told_at_once():
    documents = {
        "common": {"bgp": "a: [1", "lvm": "b: '{fact.x}'", "felix/..": "c: 1"},
        "nodes/bgo-compute-03": {"bgp": "c: *x"},
    }
    found = refusal(documents, Unparsable)
    assert ["CS-D04", "CS-L01", "CS-D05", "CS-L04"] == [text[-7:-1] for text in found]


@pytest.mark.parametrize(
    "name",
    ["../etc", "a//b", "/a", "a%2fb", "Bgp", "a\nb", "a\0b", "bgp/", "", "rr\u202e", "\u0430"],
)
def test_a_key_that_is_not_one_is_refused_by_its_visible_name(name):
    (text,) = refusal({"common": {name: "a: 1"}}, SchemaViolated)
    assert "this cannot be a key" in text
    assert text.isascii()
    assert text.isprintable()


def test_only_lacking_facts_are_an_error_of_this_node():
    documents = {"common": {"bgp": "peers:\n  rr1:\n    source: '{fact.ipv4.trp1}'\n"}}
    known = {**NAMES, "fact.ipv4.trp2": "172.18.0.7"}
    expected = (
        "desired/common/bgp:3:13 bgp.peers.rr1.source: this node has no {fact.ipv4.trp1}; "
        "did you mean fact.ipv4.trp2? (CS-L04)"
    )
    assert [expected] == refusal(documents, NeedsFact, known)


# --- facts


def test_facts_are_put_into_values_and_nowhere_else():
    documents = {
        "common": {"bgp": "'{node}': '{site}-{role}'\nlist: ['{node}', {x: '{fact.a.b}/32'}]\nn: 1"}
    }
    found = merged(documents, names={**NAMES, "fact.a.b": "10.0.0.1"})
    expected = {
        "{node}": "bgo-compute",
        "list": ["bgo-compute-03", {"x": "10.0.0.1/32"}],
        "n": 1,
    }
    assert {"bgp": expected} == found.tree


def test_what_was_put_in_is_not_read_again():
    names = {**NAMES, "fact.a": "{fact.b}", "fact.b": "secret"}
    assert {"bgp": {"x": "{fact.b}"}} == merged(
        {"common": {"bgp": "x: '{fact.a}'"}}, names=names
    ).tree


@pytest.mark.parametrize(
    "text", ["{sit}", "{fact}", "{fact.}", "{}", "{ site }", "a{b", "a}b", "{{site}}", "{site.x}"]
)
def test_braces_that_are_no_fact_are_refused(text):
    assert "(CS-L03)" in refusal({"common": {"bgp": f"x: '{text}'"}}, SchemaViolated)[0]


def test_a_hidden_value_needs_no_facts():
    documents = {"common": {"bgp": "x: '{fact.a}'"}, "nodes/bgo-compute-03": {"bgp": "x: 1"}}
    assert {"bgp": {"x": 1}} == merged(documents).tree


def test_a_node_without_a_variant_lacks_it():
    names = {**NAMES, "variant": ""}
    assert (
        "this node has no {variant}"
        in refusal({"common": {"bgp": "x: '{variant}'"}}, NeedsFact, names)[0]
    )


# --- provenance and blame


DOCUMENTS = {
    "common": {"bgp": "local_as: 1\npeers:\n  rr1:\n    asn: 1\n"},
    "sites/bgo/common": {"bgp/peers/rr1": "ipv4: 10.0.0.1\n", "bgp": "list:\n- 1\n- 2\n"},
    "nodes/bgo-compute-03": {"bgp": "local_as: ~\n"},
}


def test_each_part_of_the_tree_knows_its_document():
    found = merged(DOCUMENTS).provenance
    common, site = "common", "sites/bgo/common"
    assert Origin(common, "desired/common/bgp", ("peers",)) == found["bgp", "peers"]
    assert (
        Origin(common, "desired/common/bgp", ("peers", "rr1", "asn"))
        == found["bgp", "peers", "rr1", "asn"]
    )
    key = "desired/sites/bgo/common/bgp/peers/rr1"
    assert Origin(site, key, ()) == found["bgp", "peers", "rr1"]
    assert Origin(site, key, ("ipv4",)) == found["bgp", "peers", "rr1", "ipv4"]


@pytest.mark.parametrize(
    ("path", "place"),
    [
        (("bgp", "peers", "rr1", "asn"), "common/bgp:4:10"),
        (("bgp", "peers", "rr1", "bfd"), "sites/bgo/common/bgp/peers/rr1:1:1"),
        (("bgp", "peers", "rr2"), "common/bgp:2:1"),
        (("bgp", "list", 1), "sites/bgo/common/bgp:3:3"),
        (("bgp", "local_as"), "nodes/bgo-compute-03/bgp:1:11"),
        (("bgp", "router_id"), "nodes/bgo-compute-03/bgp:1:1"),
    ],
)
def test_a_violation_is_blamed_on_the_document_that_caused_it(path, place):
    blamed = merged(DOCUMENTS, origin="consul:confsync/v1/").blame(Violation("X", path, "bad"))
    found = f"{blamed.where}:{blamed.line}:{blamed.column}"
    assert f"consul:confsync/v1/desired/{place}" == found


def test_what_no_document_mentions_is_nobodys_fault():
    violation = Violation("X", ("lvm", "x"), "bad")
    assert violation == merged(DOCUMENTS).blame(violation)


def test_a_file_is_blamed_by_its_name():
    layer = Layer("common", {"bgp": b"a: 1\n"}, places={"bgp": "tree/common/bgp.yaml"})
    found = merge(Snapshot((layer,), origin="tree/"), HIERARCHY, NAMES)
    assert "tree/common/bgp.yaml" == found.blame(Violation("X", ("bgp", "a"), "bad")).where


def test_a_violation_that_knows_its_place_keeps_it():
    known = Violation("X", ("bgp",), "bad", where="elsewhere", line=7, column=1)
    assert known == merged(DOCUMENTS).blame(known)


# --- laws

VALUES = st.none() | st.integers(0, 3) | st.lists(st.integers(0, 2), max_size=2)
TREES = st.dictionaries(
    st.sampled_from("abc"),
    st.recursive(
        VALUES,
        lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
        max_leaves=8,
    ),
    max_size=3,
)
# Names decide the kind: an upper part is always a mapping, a lower one never.
SAME_SHAPE = st.dictionaries(
    st.sampled_from("AB"),
    st.dictionaries(st.sampled_from("ab"), VALUES, max_size=2),
    max_size=2,
)


def node(tree, name="x"):
    return nodes.grow(tree, Origin("common", f"desired/common/{name}", ()))


def straight(trees):
    """Merge without origins: the rule itself, in five lines."""

    def lay(base, over):
        if not (isinstance(base, dict) and isinstance(over, dict)):
            return over
        return base | {k: lay(base[k], v) if k in base else v for k, v in over.items()}

    return reduce(lay, trees, {})


def without_nulls(tree):
    return {
        key: without_nulls(value) if isinstance(value, dict) else value
        for key, value in tree.items()
        if value is not None
    }


@settings(deadline=None)
@given(SAME_SHAPE, SAME_SHAPE, SAME_SHAPE)
def test_merge_is_associative_by_rank(low, mid, high):
    a, b, c = node(low), node(mid), node(high)
    left = nodes.overlay(nodes.overlay(a, b), c)
    right = nodes.overlay(a, nodes.overlay(b, c))
    assert nodes.bare(left) == nodes.bare(right)


@settings(deadline=None)
@given(TREES)
def test_empty_layers_change_nothing(tree):
    assert node(tree) == nodes.overlay(nodes.EMPTY, node(tree))
    assert node(tree) == nodes.overlay(node(tree), nodes.EMPTY)
    assert node(tree) == nodes.overlay(node(tree), node(tree))


@settings(deadline=None)
@given(st.lists(TREES, min_size=5, max_size=5))
def test_merge_is_the_plain_rule_and_every_leaf_has_its_document(trees):
    documents = {
        path: {"s": canonical(tree).decode()}
        for path, tree in zip(layer_paths(HIERARCHY, NAMES), trees, strict=True)
    }
    found = merged(documents)
    assert {"s": without_nulls(straight(trees))} == found.tree
    for path, part in nodes.walk(node(found.tree)):
        if path:
            origin = found.provenance[path]
            document = json.loads(found.texts[origin.key].raw)
            value = reduce(lambda inner, key: inner[key], origin.path, document)
            assert isinstance(value, dict) or value == part.value
