"""Where a peer's value comes from, held against what the section really makes of the document."""

from __future__ import annotations

import json

import pytest

from confsync.drivers.bird.inherit import fallbacks
from confsync.drivers.bird.section import BgpSection
from confsync.model.explain import has, value_at

PEER = {"ipv4": "10.0.0.1", "asn": 65001}
RULES = {"rules": [{"prefix": "10.0.0.0/8", "action": "permit"}]}


def document(own=None, defaults=None, core=None, **more):
    peer = {**PEER, "group": "core", **(own or {})}
    groups = {"core": core or {}}
    base = {"router_id": "10.0.0.9", "local_as": 65000, "peer_defaults": defaults or {}}
    return {**base, "groups": groups, "peers": {"rr1": peer}, **more}


@pytest.mark.parametrize(
    ("tree", "field", "expected"),
    [
        (document(defaults={"hold_s": 60}), ("hold_s",), "peer_defaults"),
        (document(core={"hold_s": 60}, defaults={"hold_s": 70}), ("hold_s",), "groups"),
        (document(core={"bfd": True}), ("bfd",), "groups"),
        (document(defaults={"source": {"ipv4": "10.0.0.9"}}), ("source", "ipv4"), "peer_defaults"),
        (document(defaults={"import": {"ipv4": RULES}}), ("import", "ipv4"), "peer_defaults"),
        (document(**{"import": {"ipv4": RULES}}), ("import", "ipv4"), "import"),
        (document(own={"import": {"ipv4": {}}}, **{"import": {"ipv4": RULES}}),
         ("import", "ipv4", "rules"), None),
        (document(core={"drain": {"reason": "x"}},
                  defaults={"drain": {"reason": "y", "until": "2026-01-01T00:00:00Z"}}),
         ("drain", "until"), None),
        (document(own={"import": {"ipv4": "all"}}, defaults={"import": {"ipv4": RULES}}),
         ("import", "ipv4", "rules"), None),
        (document(), ("hold_s",), None),
    ],
)  # fmt: skip
def test_the_place_that_is_named_holds_the_value_that_the_section_takes(tree, field, expected):
    path = ("peers", "rr1", *field)
    assert not has(tree, path), "the peer is silent"
    found = next((base for base in fallbacks(tree, path) if has(tree, base)), None)
    assert expected == (found and found[0])
    if found is not None:
        section = BgpSection()
        value = json.loads(section.canonical(section.parse(tree)))
        said = {**tree, "peers": {"rr1": {**tree["peers"]["rr1"], **_nested(field, tree, found)}}}
        assert value == json.loads(section.canonical(section.parse(said)))


def _nested(field, tree, found):
    value = value_at(tree, found)
    for part in reversed(field):
        value = {part: value}
    return value


@pytest.mark.parametrize("path", [("peers", "rr1", "ipv4"), ("local_as",), ("peers",), ()])
def test_what_only_a_peer_or_nobody_can_say_comes_from_nowhere_else(path):
    assert () == fallbacks(document(defaults={"hold_s": 60}), path)


def test_a_whole_peer_takes_from_its_group_and_the_defaults():
    assert (("groups", "core"), ("peer_defaults",)) == fallbacks(document(), ("peers", "rr1"))


@pytest.mark.parametrize(
    ("path", "kind", "default", "impact"),
    [
        (("peers", "rr1", "hold_s"), "a value", 90, "session reset"),
        (("peer_defaults", "hold_s"), "a value", 90, "session reset"),
        (("peers", "rr1", "required"), "a value", True, "hitless"),
        (("peers", "rr1", "bfd"), "a value", "off", ""),
        (("local_as",), "a value", None, "session reset"),
        (("announce", "x"), "a value", None, "hitless"),
        (("peers",), "a map by name", None, ""),
        (("foreign",), "a list", None, "hitless"),
        (("bfd",), "a map", None, "hitless"),
    ],
)
def test_a_place_is_described_by_its_shape(path, kind, default, impact):
    found = BgpSection().describe(path)
    assert (kind, default, impact) == (found.kind, found.default, found.impact)


@pytest.mark.parametrize(
    "path",
    [("peer",), ("peers", "rr1", "asnn"), ("local_as", "x"), ("foreign", "x"), ("bfd", "x", "y")],
)
def test_a_place_that_no_shape_has_is_not_described(path):
    assert BgpSection().describe(path) is None


def test_the_section_itself_is_a_map_with_known_keys():
    assert "peer_defaults" in BgpSection().describe(()).keys
