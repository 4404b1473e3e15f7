"""The impact table, row by row, against two real speakers; and differences as people read them."""

from __future__ import annotations

import re
from copy import deepcopy
from typing import Any

import pytest

from confsync.drivers.bird.bgp import Bgp, peer_tree
from confsync.drivers.bird.impact import PEER_IMPACT, SECTION_IMPACT, differences
from confsync.drivers.bird.render import render
from confsync.model.ids import ObjectId
from confsync.model.plan import Impact
from tests.drivers.bird.golden_cases import BGP
from tests.lab import HERE
from tests.lab.bird import PROTOCOL, Bird, Since, far_config, far_session
from tests.lab.wait import wait_until

BASE: dict[str, Any] = {
    "router_id": "10.0.0.1",
    "local_as": 65501,
    "peers": {
        "p": {
            "ipv4": "10.7.0.2",
            "ipv6": "fd07::2",
            "asn": 65502,
            "hold_s": 9,
            "keepalive_s": 3,
            "connect_retry_s": 1,
            "error_wait_max_s": 2,
            "import": {"ipv4": {"default": "permit"}, "ipv6": {"default": "permit"}},
            "export": {"ipv4": {"default": "permit"}, "ipv6": {"default": "permit"}},
        }
    },
    "announce": {"one": "192.0.2.1/32"},
}
BOTH = frozenset({"cs_p_ipv4", "cs_p_ipv6"})
V4, V6, NOBODY = frozenset({"cs_p_ipv4"}), frozenset({"cs_p_ipv6"}), frozenset()

# What is changed, to what, and whose session BIRD then restarts.
ROWS = [
    ("description", "x", NOBODY),
    ("import.ipv4.default", "deny", NOBODY),
    ("export.ipv6.default", "deny", NOBODY),
    ("next_hop_self", True, NOBODY),
    ("required", False, NOBODY),
    ("bfd", True, NOBODY),
    ("ipv4", "10.7.0.3", V4),
    ("ipv6", "fd07::3", V6),
    ("asn", 65503, BOTH),
    ("source.ipv4", "10.7.0.1", V4),
    ("source.ipv6", "fd07::1", V6),
    ("multihop", True, BOTH),
    ("passive", True, BOTH),
    ("password_file", "SECRET", BOTH),
    ("hold_s", 12, BOTH),
    ("keepalive_s", 2, BOTH),
    ("connect_delay_s", 2, BOTH),
    ("connect_retry_s", 2, BOTH),
    ("error_wait_min_s", 2, BOTH),
    ("error_wait_max_s", 3, BOTH),
]
SECTION_ROWS = [
    ("router_id", "10.0.0.9", BOTH),
    ("local_as", 65504, BOTH),
    ("announce.two", "192.0.2.2/32", NOBODY),
    ("bfd.interval_ms", 400, NOBODY),
    ("bfd.multiplier", 5, NOBODY),
    ("kernel.learn", True, NOBODY),
    ("kernel.export", False, NOBODY),
]


def parsed(tree) -> Bgp:
    value = BGP.parse(tree)
    assert isinstance(value, Bgp), value
    return value


def with_change(dotted: str, after) -> Bgp:
    tree = deepcopy(BASE)
    inner = tree
    *parents, last = dotted.split(".")
    for part in parents:
        inner = inner.setdefault(part, {})
    inner[last] = after
    return parsed(tree)


def all_changes(secret: str) -> dict[str, tuple[Bgp, frozenset[str]]]:
    """Return every row by its dotted path."""
    peer = [(f"peers.p.{field}", after, hit) for field, after, hit in ROWS]
    return {
        dotted: (with_change(dotted, secret if after == "SECRET" else after), hit)
        for dotted, after, hit in (*peer, *SECTION_ROWS)
    }


def predicted(items) -> frozenset[str]:
    """Return the protocols of the sessions that the differences say are hit."""
    hits = {one for item in items for one in item.hits if one.kind == "session"}
    return frozenset(f"cs_{one.name}_{one.group.removeprefix('bgp.')}" for one in hits)


def since(bird: Bird) -> dict[str, str]:
    """Return since when each protocol is in its state."""
    lines = (line[5:] if line[4:5] == "-" else line.lstrip() for line in bird.ctl("show protocols"))
    found = (match for line in lines if (match := PROTOCOL.match(line)))
    return {match["name"]: Since(match["since"]) for match in found}


def configure(bird: Bird, value: Bgp) -> None:
    """Make BIRD take a value, and wait until it has."""
    bird.configure(render(value))
    wait_until("configured", lambda: "Daemon is up" in bird.ctl("configure status")[0])


@pytest.fixture
def pair(lab):
    """Give our speaker and the far one, with both sessions Established."""
    far = lab.namespace("far")
    near_addresses, far_addresses = ("10.7.0.1/24", "fd07::1/64"), ("10.7.0.2/24", "fd07::2/64")
    options = {"near_addresses": near_addresses, "far_addresses": far_addresses}
    lab.cable(HERE, "near0", far, "far0", **options)
    return lab.bird("near", render(parsed(BASE))), lab.bird("far", far_text(), far)


def far_text(*, bfd: bool = False) -> str:
    sessions = far_session("v4", "10.7.0.1", 65501, bfd=bfd)
    sessions += far_session("v6", "fd07::1", 65501, bfd=bfd)
    # It never connects by itself: a collision of two connections would look like a reset.
    sessions = sessions.replace("hold time 9;", "passive; hold time 9;")
    return far_config("10.0.0.2", 65502, sessions, originate=("198.51.100.0/24",))


def test_every_field_has_a_row():
    fields = {field.split(".")[0] for field, _, _ in ROWS}
    (peer,) = with_change("peers.p.source.ipv4", "10.7.0.1").peers
    assert peer_tree(peer).keys() == fields - {"password_file"}
    assert PEER_IMPACT.keys() == fields
    assert SECTION_IMPACT.keys() == {field.split(".")[0] for field, _, _ in SECTION_ROWS}


@pytest.mark.parametrize("dotted", all_changes("/secret"))
def test_the_table_says_whom_a_change_hits(dotted):
    want, hit = all_changes("/secret")[dotted]
    items = differences(parsed(BASE), want)
    assert f"bgp.{dotted}".startswith(items[0].path)
    assert hit == predicted(items)
    if not dotted.startswith("kernel."):
        expected = Impact.SESSION_RESET if hit else Impact.HITLESS
        assert {expected} == {item.impact for item in items}


@pytest.mark.root
@pytest.mark.timeout(300)
def test_bird_resets_the_sessions_that_the_table_names(pair, tmp_path):
    near, far = pair
    secret = tmp_path / "secret.conf"
    secret.write_text('password "x";\n')
    changes = all_changes(str(secret))
    measured = {}
    for dotted, (want, _) in changes.items():
        configure(near, parsed(BASE))
        near.wait_established()
        far.wait_established()
        before = since(near)
        configure(near, want)
        after = since(near)
        measured[dotted] = frozenset(name for name in BOTH if before[name] != after[name])
        assert (dotted == "kernel.learn") == (before["cs_kernel4"] != after["cs_kernel4"]), dotted
        assert before["cs_announce4"] == after["cs_announce4"]
    assert {dotted: hit for dotted, (_, hit) in changes.items()} == measured


@pytest.mark.root
def test_a_peer_that_loses_bfd_resets_the_session(pair):
    near, far = pair
    with_bfd = with_change("peers.p.bfd", after=True)
    near.wait_established()
    before = since(near)
    far.configure(far_text(bfd=True))
    configure(near, with_bfd)
    wait_until(
        "BFD is up", lambda: sum(" Up " in one for one in near.ctl("show bfd sessions")) == 2
    )
    assert {name: before[name] for name in BOTH} == {name: since(near)[name] for name in BOTH}
    configure(near, parsed(BASE))
    wait_until("both are reset", lambda: all(before[name] != since(near)[name] for name in BOTH))
    items = differences(with_bfd, parsed(BASE))
    assert (Impact.SESSION_RESET, BOTH) == (items[0].impact, predicted(items))


@pytest.mark.root
def test_another_peer_comes_and_goes_without_a_trace(pair):
    near, _ = pair
    near.wait_established()
    before = since(near)
    other = {**BASE["peers"]["p"], "ipv4": "10.7.0.77", "ipv6": "fd07::77"}
    configure(near, parsed({**BASE, "peers": {**BASE["peers"], "b": other}}))
    configure(near, parsed(BASE))
    assert before == since(near)


@pytest.mark.root
def test_only_announced_prefixes_reach_a_peer_and_only_its_routes_the_kernel(pair):
    near, far = pair
    near.wait_established()
    wait_until("imported", lambda: "198.51.100.0/24" in HERE.routes())
    assert "192.0.2.1" not in HERE.routes()
    wait_until("exported", lambda: "192.0.2.1" in far.host.routes())


@pytest.mark.root
@pytest.mark.parametrize("multihop", [False, True])
def test_the_defaults_take_all_but_the_default_route_and_give_only_ours(pair, multihop):
    near, far = pair
    tree = deepcopy(BASE)
    tree["peers"]["p"] = {
        "ipv4": "10.7.0.2",
        "source": "10.7.0.1",
        "multihop": multihop,
        "connect_retry_s": 1,
    }
    tree["kernel"] = {"learn": True}
    HERE.ip("route", "add", "203.0.113.0/24", "dev", "near0", "proto", "static")
    configure(near, parsed(tree))
    sessions = far_session("v4", "10.7.0.1", 65501)
    far.configure(
        far_config("10.0.0.2", 65501, sessions, originate=("198.51.100.0/24", "0.0.0.0/0"))
    )
    near.wait_established()
    wait_until("imported", lambda: "198.51.100.0/24" in HERE.routes())
    assert "10.7.0.2" == HERE.routes()["198.51.100.0/24"]["gateway"]
    assert {"198.51.100.0/24"} == HERE.routes().keys()
    wait_until("exported", lambda: taken(far, "v4"))
    assert {"192.0.2.1/32"} == taken(far, "v4")
    assert "203.0.113.0/24" in " ".join(near.ctl("show route"))


def taken(bird: Bird, protocol: str) -> set[str]:
    """Return the prefixes that a speaker has from a session."""
    lines = bird.ctl(f"show route protocol {protocol}")
    return set(re.findall(r"\b[\d.]+/\d+\b", " ".join(lines)))


# --- differences as people read them


def test_a_new_peer_is_one_difference_that_hits_nobody():
    other = {"ipv4": "10.7.0.77", "description": "x"}
    want = parsed({**BASE, "peers": {**BASE["peers"], "b": other}})
    (item,) = differences(parsed(BASE), want)
    assert ("+", "bgp.peers.b", Impact.HITLESS) == (item.op, item.path, item.impact)
    assert frozenset() == item.hits


def test_a_removed_peer_hits_itself_and_its_sessions():
    (item,) = differences(parsed(BASE), parsed({**BASE, "peers": {}}))
    assert ("-", "bgp.peers.p", Impact.SESSION_RESET) == (item.op, item.path, item.impact)
    assert {
        ObjectId("peer", "bgp.peers", "p"),
        ObjectId("session", "bgp.ipv4", "p"),
        ObjectId("session", "bgp.ipv6", "p"),
    } == item.hits


def test_a_removed_family_hits_its_own_session_only():
    tree = deepcopy(BASE)
    del tree["peers"]["p"]["ipv6"]
    for key in ("import", "export"):
        del tree["peers"]["p"][key]["ipv6"]
    items = differences(parsed(BASE), parsed(tree))
    assert V6 == predicted(items)
    assert frozenset() == predicted(differences(parsed(tree), parsed(BASE)))


def test_a_removed_prefix_is_counted():
    (item,) = differences(parsed(BASE), parsed({**BASE, "announce": {}}))
    assert (Impact.HITLESS, {ObjectId("prefix", "bgp.announce", "one")}) == (item.impact, item.hits)


def test_equal_values_do_not_differ():
    assert () == differences(parsed(BASE), parsed(deepcopy(BASE)))


def test_everything_is_new_to_a_host_without_memory():
    items = differences(None, parsed(BASE))
    assert {("+", Impact.HITLESS, frozenset())} == {(one.op, one.impact, one.hits) for one in items}
