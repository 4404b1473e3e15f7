"""What each layer says of one place, and the places that an operator writes."""

from __future__ import annotations

import pytest

from confsync.model import nodes
from confsync.model.errors import UnknownKey
from confsync.model.explain import join, leaves, parse_key, plain, said
from confsync.model.ids import KeyPath, LayerPath
from confsync.model.nodes import Origin


def layer(name, tree):
    return nodes.grow(tree, Origin(LayerPath(name), KeyPath(f"desired/{name}/bgp"), ()))


def words(*trees, path):
    layers = [layer(f"l{number}", tree) for number, tree in enumerate(trees)]
    return [(str(one.origin.layer), one.value) for one in said(layers, path)]


RR1 = {"rr1": {"asn": 64512}}


@pytest.mark.parametrize(
    ("trees", "expected"),
    [
        ([RR1, {"rr1": {"asn": 65501}}], [("l0", 64512), ("l1", 65501)]),
        ([RR1, {"rr1": {"ipv4": "10.0.0.1"}}], [("l0", 64512)]),
        ([RR1, {"rr1": None}], [("l0", 64512), ("l1", None)]),
        ([RR1, {"rr1": {"asn": None}}], [("l0", 64512), ("l1", None)]),
        ([{"rr1": None}, RR1], [("l0", None), ("l1", 64512)]),
        ([RR1, {"rr2": {}}], [("l0", 64512)]),
        ([], []),
    ],
)
def test_each_layer_that_speaks_of_a_place_is_heard_weakest_first(trees, expected):
    assert expected == words(*trees, path=("rr1", "asn"))


def test_a_place_in_a_list_is_heard_of_the_list_that_has_it():
    first, second = {"rules": [{"action": "deny"}]}, {"rules": []}
    path = ("rules", 0, "action")
    assert [("l0", "deny")] == words(first, path=path)
    (one,) = said([layer("l", first)], path)
    assert (path, path) == (one.at, one.origin.path)
    hidden = said([layer("l", first), layer("l", second)], path)[-1]
    assert (("rules",), []) == (hidden.at, hidden.value), "a list is replaced whole"


def test_the_leaves_below_a_map_are_those_of_all_layers():
    trees = [layer("a", {"rr1": {"asn": 1, "bfd": True}}), layer("b", {"rr1": {"asn": 2, "x": []}})]
    assert (("rr1", "asn"), ("rr1", "bfd"), ("rr1", "x")) == leaves(trees, ("rr1",))


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("bgp.peers.rr1.asn", ("bgp", "peers", "rr1", "asn")),
        ("bgp.peers.rr1.bgo.asn", ("bgp", "peers", "rr1.bgo", "asn")),
        ("bgp.filters.in.rules[0].asn", ("bgp", "filters", "in", "rules", 0, "asn")),
        ("bgp.new.deep", ("bgp", "new", "deep")),
        ("bgp", ("bgp",)),
    ],
)  # fmt: skip
def test_a_place_is_read_as_it_is_written_everywhere(key, expected):
    known = {"bgp": {"peers": {"rr1": {}, "rr1.bgo": {}}, "filters": {"in": {}}}}
    assert expected == parse_key(key, known)


@pytest.mark.parametrize("key", [".bgp", "bgp..peers", "bgp.", "bgp.rules[x]", "bgp[", "bgp]", ""])
def test_what_is_no_place_is_refused_with_an_example(key):
    with pytest.raises(UnknownKey, match=r"written like bgp\.peers\.rr1\.asn"):
        parse_key(key, {})


def test_all_places_that_any_layer_names_are_known():
    trees = [layer("a", {"rr1": {"asn": 1}}), layer("b", {"rr1": None, "rr2": {"asn": 2}})]
    assert {"rr1": {"asn": 1}, "rr2": {"asn": 2}} == plain(trees)
    assert {"a": {"b": 1, "c": 2}} == join({"a": {"b": 1}}, {"a": {"c": 2}})
