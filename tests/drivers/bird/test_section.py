"""The `bgp` section: documents, faults, the canonical form, and plans."""

from __future__ import annotations

import json
from ipaddress import IPv4Network
from types import MappingProxyType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from confsync.drivers.bird import guards
from confsync.drivers.bird.bgp import Bgp
from confsync.drivers.bird.policy import Filter, Range
from confsync.drivers.bird.render import protocols, render, render_id
from confsync.drivers.bird.section import DRIFT
from confsync.drivers.bird.tree import tree_of
from confsync.model.ids import ObjectId
from confsync.model.plan import Impact, Step
from tests.drivers.bird.golden_cases import BGP, CASES, FOLDER, outcome
from tests.drivers.bird.speakers import seen

SAMPLE = {
    "local_as": 65501,
    "peers": {
        "rr1": {"ipv4": "172.18.6.1", "ipv6": "fd00::6:1", "source": "172.18.6.9"},
        "rr2": {"ipv4": "172.18.6.2", "ipv6": "fd00::6:2", "source": "172.18.6.9"},
    },
}


def parsed(tree) -> Bgp:
    value = BGP.parse(tree)
    assert isinstance(value, Bgp), value
    return value


def codes(tree) -> set[str]:
    value = BGP.parse(tree)
    faults = BGP.rules(value, {}) if isinstance(value, Bgp) else value
    return {fault.code for fault in faults}


@pytest.mark.parametrize("case", CASES)
def test_a_golden_document_has_its_outcome(case):
    name, text = outcome(case)
    assert (FOLDER / case / name).read_text() == text
    assert {"document.yaml", name} == {path.name for path in (FOLDER / case).iterdir()}


# --- documents


def test_what_a_peer_says_goes_over_the_defaults_deeply():
    defaults = {"source": {"ipv4": "10.0.0.8", "ipv6": "fd00::8"}, "import": {"ipv4": {}}}
    own = {"ipv4": "10.0.0.1", "source": "10.0.0.9", "import": {"ipv4": {"default": "permit"}}}
    value = parsed({"local_as": 1, "peer_defaults": defaults, "peers": {"p": own}})
    (session,) = value.peers[0].sessions
    (channel,) = session.channels
    assert ("10.0.0.9", Filter((), permit=True)) == (str(session.source), channel.imports)


def test_a_peers_own_filter_replaces_the_sections_in_its_family_only():
    common = {"ipv4": {"default": "permit"}, "ipv6": {"default": "permit"}}
    peer = {"ipv4": "10.0.0.1", "ipv6": "fd00::1", "import": {"ipv4": {"default": "deny"}}}
    tree = {"router_id": "10.0.0.9", "local_as": 1, "import": common, "peers": {"p": peer}}
    policies = [one.channels[0].imports for _, one in parsed(tree).pairs]
    assert [Filter((), permit=False), Filter((), permit=True)] == policies


def test_the_one_ipv4_source_is_the_router_id():
    assert "172.18.6.9" == str(parsed(SAMPLE).router_id)


def test_next_hop_self_is_the_default_inside_our_as_only():
    peers = {"in": {"ipv4": "10.0.0.1"}, "out": {"ipv4": "10.0.0.2", "asn": 2}}
    value = parsed({"router_id": "10.0.0.9", "local_as": 1, "peers": peers})
    told = {peer.name: session.channels[0].next_hop for peer, session in value.pairs}
    assert {"in": "self", "out": ""} == told


def test_a_read_only_tree_is_read_as_well():
    frozen = MappingProxyType({**SAMPLE, "kernel": MappingProxyType({"learn": True})})
    assert parsed({**SAMPLE, "kernel": {"learn": True}}) == parsed(frozen)


def test_a_secret_in_the_wrong_place_is_never_repeated():
    for key in ("password", "password_file"):
        peer = {"ipv4": "10.0.0.1", key: "hunter2"}
        assert "hunter2" not in str(BGP.parse({"local_as": 1, "peers": {"p": peer}}))


def test_one_faulty_peer_does_not_hide_the_broken_rules_of_others():
    peers = {
        "bad": {"ipv4": 7},
        "worse": {"ipv4": "10.0.0.1", "asn": 2, "nonsense": 1},
        "twin": {"ipv4": "10.0.0.1"},
    }
    tree = {"router_id": "10.0.0.9", "local_as": 1, "peers": peers}
    assert {"CS-V040", "CS-V044", "CS-V056", "CS-V058"} == codes(tree)


@pytest.mark.parametrize("text", ["x" * 5000, "é" * 300, "a\ud800b", '"', "a\nb", "\x7f"])
def test_every_string_field_refuses_what_bird_cannot_hold(text):
    peer = {"ipv4": "10.0.0.1", "source": {"ipv4": "10.0.0.9"}}
    places = [("local_as",), ("router_id",), ("announce", "a")]
    places += [("peers", "p", key) for key in (*peer, "ipv6", "asn", "description")]
    places += [("peers", "p", "password_file"), ("peers", "p", "source", "ipv6")]
    places += [("import", "ipv4", "default"), ("peers", text), (text,), ("announce", text)]
    for place in places:
        tree = {"local_as": 1, "peers": {"p": dict(peer)}, "announce": {}, "import": {"ipv4": {}}}
        inner = tree
        for part in place[:-1]:
            inner = inner[part]
        inner[place[-1]] = text
        faults = BGP.parse(tree)
        assert isinstance(faults, tuple), place
        assert all(len(fault.message) < 200 for fault in faults), place


@pytest.mark.parametrize("tree", [None, [], "bgp", 7, {1: 2}, {"peers": {"a": {"b": {"c": {}}}}}])
def test_anything_but_a_section_is_refused(tree):
    assert isinstance(BGP.parse(tree), tuple)


def test_a_huge_integer_is_refused_shortly():
    (fault,) = BGP.parse({**SAMPLE, "local_as": 10**200})
    assert len(str(fault)) < 160


# --- what deserves a second look


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"local_as": 65535}, "reserved"),
        ({"local_as": 23456}, "AS_TRANS"),
        ({"peers": {}, "router_id": "10.0.0.1"}, "none"),
        ({"bfd": {"interval_ms": 50}, "peer_defaults": {"bfd": True}}, "busy"),
        ({"peer_defaults": {"hold_s": 0}}, "never noticed"),
        ({"announce": {"a": "192.0.2.0/24"}, "export": {"ipv4": {}}}, "but not to this peer"),
    ],
)
def test_doubtful_values_are_warned_of(change, word):
    value = parsed({**SAMPLE, **change})
    assert () == BGP.rules(value, {})
    assert any(word in warning for warning in BGP.warnings(value))


def test_the_sample_needs_no_second_look():
    assert () == BGP.warnings(parsed(SAMPLE))


# --- the canonical form


@st.composite
def filters(draw, longest: int, prefixes):
    rules = []
    for prefix in draw(st.lists(prefixes, max_size=3)):
        length = int(prefix.split("/")[1])
        ge = draw(st.none() | st.integers(length, longest))
        le = draw(st.none() | st.integers(ge or length, longest))
        rule = {"prefix": prefix, "ge": ge, "le": le, "action": draw(ACTION)}
        rules.append({key: part for key, part in rule.items() if part is not None})
    return {"rules": rules, "default": draw(ACTION)}


LAW = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
ACTION = st.sampled_from(["permit", "deny"])
NAME = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,10}", fullmatch=True)
FILTERS4 = filters(32, st.sampled_from(["0.0.0.0/0", "10.0.0.0/8", "192.0.2.0/24"]))
FILTERS6 = filters(128, st.sampled_from(["::/0", "fd00::/8", "2001:db8::/32"]))
BY_FAMILY = st.fixed_dictionaries({}, optional={"ipv4": FILTERS4, "ipv6": FILTERS6})
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "asn": st.integers(1, 2**32 - 1) | st.integers(1, 2**32 - 1).map(str),
        "bfd": st.booleans(),
        "multihop": st.booleans(),
        "next_hop_self": st.booleans(),
        "required": st.booleans(),
        "hold_s": st.sampled_from([0, 3, 90]),
        "description": st.text(st.characters(categories=["L", "N"]), max_size=20),
        "source": st.sampled_from(["10.9.9.9", "fd09::9", {"ipv4": "10.9.9.8", "ipv6": "fd09::8"}]),
        "import": BY_FAMILY,
        "export": BY_FAMILY,
        "guard": st.lists(st.sampled_from(guards.WORDS)),
    },
)


@st.composite
def documents(draw):
    peers = {}
    for number, name in enumerate(draw(st.lists(NAME, unique=True, max_size=4)), start=1):
        peers[name] = {"ipv4": f"10.1.0.{number}", "ipv6": f"fd01::{number}"}
    names = draw(st.lists(NAME, unique=True, max_size=3))
    return {
        "router_id": "10.0.0.1",
        "local_as": draw(st.integers(1, 2**32 - 1)),
        "peer_defaults": draw(OPTIONS),
        "peers": {name: peer | draw(OPTIONS) for name, peer in peers.items()},
        "announce": {name: f"192.0.2.{number}/32" for number, name in enumerate(names)},
        "import": draw(BY_FAMILY),
        "export": draw(BY_FAMILY),
        "kernel": {"learn": draw(st.booleans())},
    }


@LAW
@given(documents())
def test_the_canonical_form_is_read_back_as_an_equal_value(tree):
    value = parsed(tree)
    again = parsed(json.loads(BGP.canonical(value)))
    assert value == again
    assert render(value) == render(again)


@LAW
@given(documents())
def test_the_order_of_keys_means_nothing(tree):
    backwards = {key: tree[key] for key in reversed(tree)}
    backwards["peers"] = {name: tree["peers"][name] for name in reversed(tree["peers"])}
    assert render(parsed(tree)) == render(parsed(backwards))


def test_a_range_matches_as_bird_would():
    one = Range(IPv4Network("10.0.0.0/8"), 16, 24)
    nets = ("10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "10.1.2.3/32", "11.0.0.0/16")
    assert [False, True, True, False, False] == [one.matches(IPv4Network(net)) for net in nets]


def test_inventory_counts_peers_sessions_and_prefixes():
    value = parsed({**SAMPLE, "announce": {"dns": "192.0.2.53/32"}})
    assert {
        *(ObjectId("peer", "bgp.peers", name) for name in ("rr1", "rr2")),
        *(ObjectId("session", "bgp.ipv4", name) for name in ("rr1", "rr2")),
        *(ObjectId("session", "bgp.ipv6", name) for name in ("rr1", "rr2")),
        ObjectId("prefix", "bgp.announce", "dns"),
    } == BGP.inventory(value)


# --- plans


def changed(**fields) -> Bgp:
    return parsed({**SAMPLE, **fields})


def with_rr1(**fields) -> Bgp:
    peers = {**SAMPLE["peers"], "rr1": {**SAMPLE["peers"]["rr1"], **fields}}
    return changed(peers=peers)


def step_to(want: Bgp, had: Bgp | None, **fields) -> Step:
    (step,) = BGP.plan(want, had, seen(had, **fields))
    return step


def test_nothing_is_planned_for_what_stands():
    value = parsed(SAMPLE)
    assert () == BGP.plan(value, value, seen(value))
    assert () == BGP.plan(value, None, seen(value))


def test_a_protocol_held_by_hand_is_no_reason_to_plan():
    value = parsed(SAMPLE)
    assert () == BGP.plan(value, value, seen(value, held=["cs_rr1_ipv4"]))
    assert () == BGP.plan(value, value, seen(value, file_held=["cs_rr1_ipv4"]))


def test_a_protocol_held_by_hand_stays_held_by_the_next_change():
    step = step_to(with_rr1(description="x"), parsed(SAMPLE), held=["cs_rr2_ipv4", "gone"])
    assert ["cs_rr2_ipv4"] == step.args["held"]
    assert "protocol bgp cs_rr2_ipv4 {\n  disabled;" in step.args["text"]
    required = {name: one["required"] for name, one in step.args["expect"]["sessions"].items()}
    assert [name for name, one in required.items() if not one] == ["cs_rr2_ipv4"]


def test_a_hitless_change_is_short_and_touches_nobody():
    step = step_to(with_rr1(description="x"), parsed(SAMPLE))
    assert (Impact.HITLESS, 3.0, 1.0) == (step.impact, step.verify_s, step.hold_s)
    assert "1 change to /etc/bird/bird.conf" == step.summary
    assert not any(one["touched"] for one in step.args["expect"]["sessions"].values())


def test_a_reset_names_the_sessions_that_it_hits():
    step = step_to(with_rr1(hold_s=30), parsed(SAMPLE))
    assert (Impact.SESSION_RESET, 15.0, 3.0) == (step.impact, step.verify_s, step.hold_s)
    touched = {name for name, one in step.args["expect"]["sessions"].items() if one["touched"]}
    assert {"cs_rr1_ipv4", "cs_rr1_ipv6"} == touched


def test_slow_timers_get_more_patience():
    step = step_to(with_rr1(connect_delay_s=20, error_wait_min_s=10), parsed(SAMPLE))
    assert 50.0 == step.verify_s


def test_the_operators_own_patience_wins():
    step = step_to(with_rr1(hold_s=30), parsed(SAMPLE), verify_s=40, hold_s=0.5)
    assert (40, 0.5) == (step.verify_s, step.hold_s)


def test_a_slow_bfd_needs_a_longer_hold():
    had = changed(bfd={"interval_ms": 1000, "multiplier": 5})
    step = step_to(changed(bfd={"interval_ms": 1000}, router_id="10.0.0.1"), had)
    assert 15.0 == step.hold_s


def test_the_first_plan_adds_everything():
    step = step_to(parsed(SAMPLE), None)
    assert Impact.HITLESS is step.impact
    assert {"+"} == {item.op for item in step.differences}
    assert all(one["touched"] for one in step.args["expect"]["sessions"].values())
    assert 15.0 == step.verify_s


@pytest.mark.parametrize("field", ["disk", "running_render"])
def test_drift_is_a_difference_that_may_reset_anything(field):
    value = parsed(SAMPLE)
    step = step_to(value, value, **{field: None})
    assert (DRIFT,) == tuple(item.before for item in step.differences)
    assert Impact.SESSION_RESET is step.impact
    assert all(one["touched"] for one in step.args["expect"]["sessions"].values())


def test_drift_is_told_besides_what_changes():
    had = parsed(SAMPLE)
    step = step_to(with_rr1(description="x"), had, running_render="0" * 32)
    assert ["bgp", "bgp.peers.rr1.description"] == [item.path for item in step.differences]


def test_our_file_without_a_memory_of_it_is_drift():
    (step,) = BGP.plan(parsed(SAMPLE), None, seen(with_rr1(hold_s=9)))
    assert "bgp" == step.differences[0].path
    assert Impact.SESSION_RESET is step.impact


def test_a_step_survives_the_journal():
    step = step_to(with_rr1(hold_s=30), parsed(SAMPLE))
    again = Step.from_json(json.loads(json.dumps(step.as_json())))
    assert step.as_json() == again.as_json()
    assert step.args["render"] == render_id(step.args["text"])
    assert list(protocols(with_rr1())) == step.args["expect"]["protocols"]


@pytest.mark.parametrize(
    ("fields", "imports", "exports"),
    [
        ({"description": "x"}, set(), set()),
        ({"import": {"ipv4": {}}}, {"cs_rr1_ipv4"}, set()),
        ({"export": {"ipv6": {}}}, set(), {"cs_rr1_ipv6"}),
    ],
)
def test_a_plan_says_whose_routes_may_change(fields, imports, exports):
    sessions = step_to(with_rr1(**fields), parsed(SAMPLE)).args["expect"]["sessions"]
    assert imports == {name for name, one in sessions.items() if one["imports"]}
    assert exports == {name for name, one in sessions.items() if one["exports"]}


def test_an_announced_prefix_changes_the_exports_of_its_family():
    step = step_to(changed(announce={"a": "192.0.2.1/32"}), parsed(SAMPLE))
    sessions = step.args["expect"]["sessions"]
    assert {"cs_rr1_ipv4", "cs_rr2_ipv4"} == {n for n, one in sessions.items() if one["exports"]}


def test_the_kernel_is_expected_to_hold_what_sessions_can_bring():
    had = changed(kernel={"learn": True})
    expect = step_to(parsed(SAMPLE), had).args["expect"]
    assert {"ipv4": True, "ipv6": True, "changed": True} == expect["kernel"]
    assert Impact.KERNEL_RESTART is step_to(parsed(SAMPLE), had).impact


def test_the_explicit_tree_names_every_default():
    peer = tree_of(parsed(SAMPLE))["peers"]["rr1"]
    told = (peer["asn"], peer["hold_s"], peer["next_hop"]["ipv4"])
    assert (65501, 90, "self") == told
