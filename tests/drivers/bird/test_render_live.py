"""What rendered rules do in a real BIRD, asked of a table that holds one route of each kind.

And what a neighbour sees of it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from confsync.drivers.bird import guards
from confsync.drivers.bird.bgp import Direct, ForeignFile, Limit, NextHop, StaticRoute, Withheld
from confsync.drivers.bird.doubts import doubtful
from confsync.drivers.bird.policy import Changes, Filter, NamedFilter, NamedSet
from confsync.drivers.bird.render import render
from tests.drivers.bird.speakers import (
    DENY,
    F4,
    F6,
    NEXT,
    address,
    channel,
    net,
    peer,
    prefixes,
    rule,
    session,
    speaker,
)
from tests.lab import HERE, Lab
from tests.lab.wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from confsync.drivers.bird.bgp import Bgp
    from tests.lab import FarEnd
    from tests.lab.bird import Bird

pytestmark = pytest.mark.root

DEVICE, ROUTER, HOLE, GONE, BARRED = (f"10.{n}.0.0/16" for n in range(1, 6))
THEIRS, OWN = "10.6.0.0/24", "192.0.2.0/24"
ROUTES = (
    StaticRoute("device", net(DEVICE), (NextHop(interface="host0"),)),
    StaticRoute("router", net(ROUTER), (NextHop(address("192.0.2.9")),)),
    StaticRoute("hole", net(HOLE), dest="blackhole", communities=("65501:100",)),
    StaticRoute("gone", net(GONE), dest="unreachable", kernel_metric=7),
    StaticRoute("barred", net(BARRED), dest="prohibit", local_pref=5),
)
FOREIGN = f"""
protocol static theirs {{
  ipv4;
  route {THEIRS} blackhole {{
    bgp_path.prepend(64999); bgp_path.prepend(65002); bgp_path.prepend(65001);
    bgp_large_community.add((1, 2, 3)); bgp_community.add((65535, 666));
  }};
}}
"""
SETS = (
    NamedSet("nets", ipv4=(prefixes(HOLE), prefixes("10.6.0.0/16", 24, 32))),
    NamedSet("asns", asns=((64990, 65000),)),
    NamedSet("marks", communities=("65535:*",), large_communities=("1:*:*",)),
    NamedSet("empty"),
)
MATCHES = {
    "prefix": ({"prefixes": (prefixes(HOLE), prefixes("10.0.0.0/8"))}, {HOLE}),
    "range": (
        {"prefixes": (prefixes("10.0.0.0/8", 8, 16),)},
        {DEVICE, ROUTER, HOLE, GONE, BARRED},
    ),
    "prefix-set": ({"prefix_set": "nets"}, {HOLE, THEIRS}),
    "empty-prefixes": ({"prefix_set": "empty"}, set()),
    "empty-asns": ({"asn_set": "empty"}, set()),
    "empty-marks": ({"community_set": "empty"}, set()),
    "empty-larges": ({"large_community_set": "empty"}, set()),
    "family-without-members": ({"prefix_set": "asns"}, set()),
    "length": ({"length": (24, 32)}, {THEIRS, OWN}),
    "interface": ({"interfaces": ("host*",)}, {DEVICE, ROUTER, OWN}),
    "other-interface": ({"interfaces": ("tap*", "eth0")}, set()),
    "protocol": ({"protocols": ("theirs", "cs_dir*")}, {THEIRS, OWN}),
    "source": ({"sources": ("direct",)}, {OWN}),
    "sources": ({"sources": ("direct", "bgp", "kernel")}, {OWN}),
    "device": ({"dest": "device"}, {DEVICE, OWN}),
    "router": ({"dest": "router"}, {ROUTER}),
    "unicast": ({"dest": "unicast"}, {DEVICE, ROUTER, OWN}),
    "blackhole": ({"dest": "blackhole"}, {HOLE, THEIRS}),
    "unreachable": ({"dest": "unreachable"}, {GONE}),
    "prohibit": ({"dest": "prohibit"}, {BARRED}),
    "gateway": ({"gateway": address("192.0.2.9")}, {ROUTER}),
    "received": ({"received_from": address("192.0.2.9")}, set()),
    "first": ({"path_first": 65001}, {THEIRS}),
    "last": ({"path_last": 64999}, {THEIRS}),
    "other-last": ({"path_last": 65001}, set()),
    "contains": ({"path_contains": (1, 65002)}, {THEIRS}),
    "asn-set": ({"asn_set": "asns"}, {THEIRS}),
    "mask": ({"path": "* 65002 ?"}, {THEIRS}),
    "long": ({"path_longer_than": 2}, {THEIRS}),
    "too-long": ({"path_longer_than": 3}, set()),
    "community": ({"communities": ("65501:*", "1:2")}, {HOLE}),
    "community-set": ({"community_set": "marks"}, {THEIRS}),
    "large": ({"large_communities": ("1:2:3",)}, {THEIRS}),
    "large-set": ({"large_community_set": "marks"}, {THEIRS}),
    "metric": ({"kernel_metric": 7}, {GONE}),
    "kernel-source": ({"kernel_source": 2}, set()),
    "all-must-hold": ({"dest": "blackhole", "communities": ("65535:666",)}, {THEIRS}),
}
ALL_ROUTES = {DEVICE, ROUTER, HOLE, GONE, BARRED, THEIRS, OWN}


def filters() -> Iterator[NamedFilter]:
    """Give a filter for each match, one that denies what it permits, and those with changes."""
    for name, (match, _) in MATCHES.items():
        yield NamedFilter(name, Filter((rule(**match),), permit=False))
        yield NamedFilter(f"not-{name}", Filter((rule(DENY, **match),), permit=True))
    marked = Changes(local_pref=7, add_communities=("1:2",), remove_communities=("65535:*",))
    shorter = Changes(strip_private_as=True, prepend_asn=65501, prepend_count=2, med=9)
    last = rule(changes=Changes(remove_large_communities=("1:*:*",)), sources=("static",))
    rules = (rule(NEXT, marked), rule(NEXT, shorter), last)
    yield NamedFilter("changes", Filter(rules, permit=False))


@pytest.fixture(scope="module")
def bird(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bird]:
    """Give a BIRD with all of the filters and routes."""
    with Lab(tmp_path_factory.mktemp("lab")) as lab:
        theirs = lab.folder / "theirs.conf"
        theirs.write_text(FOREIGN)
        value = speaker(
            routes=ROUTES,
            sets=SETS,
            syncers=(),
            direct=Direct(("host0",), ipv6=False),
            filters=tuple(filters()),
            foreign=(ForeignFile(str(theirs), "peers", "puppet"),),
        )
        made = lab.bird("near", render(value))
        wait_until("all routes are there", lambda: shown(made, "") == ALL_ROUTES)
        yield made


def shown(bird: Bird, how: str) -> set[str]:
    """Return the prefixes that BIRD shows."""
    reply = bird.ctl(f"show route table master4 {how}")
    lines = (line.removeprefix("1007-").split() for line in reply)
    return {words[0] for words in lines if words and "/" in words[0]}


@pytest.mark.parametrize("name", MATCHES)
def test_a_match_finds_its_routes_and_no_others(name, bird):
    found = shown(bird, f"filter cs_FILTER_{name.replace('-', 'D')}_ipv4")
    rest = shown(bird, f"filter cs_FILTER_notD{name.replace('-', 'D')}_ipv4")
    assert (MATCHES[name][1], ALL_ROUTES - MATCHES[name][1]) == (found, rest)


def test_changes_are_made_in_their_order(bird):
    said = "\n".join(bird.ctl(f"show route {THEIRS} filter cs_FILTER_changes_ipv4 all"))
    assert "BGP.as_path: 65501 65501" in said
    assert "BGP.community: (1,2)" in said
    assert "BGP.local_pref: 7" in said
    assert "BGP.med: 9" in said
    assert "(1, 2, 3)" not in said


# --- with a neighbour

DRAINED = Withheld("CHG-1")


@pytest.mark.parametrize("ibgp", [False, True], ids=["ebgp", "ibgp"])
def test_a_drained_peer_is_asked_to_go_elsewhere(ibgp, lab):
    far = lab.far_end(1, near_asn=65001 if ibgp else 64512)
    own = peer("far", session(far.far4), asn=far.asn, drain=DRAINED)
    fields = {"local_as": 65001 if ibgp else 64512, "announce": ("203.0.113.0/24",)}
    near = lab.bird("near", render(speaker(own, **fields)))
    near.wait_established()
    out = everything(far.bird, "203.0.113.0/24")
    back = everything(near, "198.18.1.0/24")
    assert (ibgp, not ibgp) == ("BGP.local_pref: 0" in out, "BGP.community: (65535,0)" in out)
    assert ("BGP.local_pref: 100" if ibgp else "BGP.local_pref: 0") in back


FINE, LEAVING = "1.0.0.0/24", "1.0.4.0/24"
REFUSED = {
    "default_route": "0.0.0.0/0 blackhole;",
    "bogons": "10.77.0.0/16 blackhole;",
    "too_long": "1.0.1.128/25 blackhole;",
    "own_as": "1.0.3.0/24 blackhole { bgp_path.prepend(64512); };",
    "long_path": f"1.0.2.0/24 blackhole {{ {'bgp_path.prepend(65003); ' * 100} }};",
}
SENT = (
    *REFUSED.values(),
    f"{FINE} blackhole;",
    f"{LEAVING} blackhole {{ bgp_community.add((65535, 0)); }};",
)
MINE = "198.18.1.0/24"  # what the far end announces besides; a bogon as well


@pytest.mark.parametrize("left_out", [None, *REFUSED])
def test_a_guard_refuses_what_it_is_named_after(left_out, lab):
    far = announcing(lab, SENT)
    prefers = Filter((rule(changes=Changes(local_pref=200)),), permit=False)
    own = peer(
        "far",
        session(far.far4, channel(imports=prefers)),
        asn=far.asn,
        allow_local_as=1,
        guard=tuple(word for word in guards.WORDS if word != left_out),
    )
    near = lab.bird("near", render(speaker(own, local_as=64512)))
    near.wait_established()
    assert "BGP.local_pref: 200" in everything(near, FINE)
    assert "BGP.local_pref: 0" in everything(near, LEAVING)
    passed = {REFUSED[left_out].split()[0]} if left_out else set()
    passed |= {MINE} if left_out == "bogons" else set()
    assert {FINE, LEAVING} | passed == shown(near, "protocol cs_far_ipv4")


@pytest.mark.parametrize("direct", [True, False])
def test_next_hops_that_nothing_leads_to_make_unreachable_routes(direct, lab):
    far = lab.far_end(1)
    far.bird.configure(far.bird.config.read_text().replace("direct;", "multihop;"))
    own = peer("far", session(far.far4, source=address(far.near4)), asn=far.asn, multihop=64)
    value = speaker(own, local_as=64512, direct=Direct(ipv4=direct))
    near = lab.bird("near", render(value))
    near.wait_established()
    assert direct != ("unreachable" in everything(near, "198.18.1.0/24"))
    assert direct != any("nothing leads to the next hops" in one for one in doubtful(value))


def announcing(lab: Lab, routes: tuple[str, ...]) -> FarEnd:
    """Return a neighbour that announces these IPv4 routes as well."""
    far = lab.far_end(1)
    before, after = far.bird.config.read_text().split("protocol static s4 { ipv4;")
    more = " ".join(f"route {one}" for one in routes)
    far.bird.configure(f"{before}protocol static s4 {{ ipv4; {more}{after}")
    return far


def everything(bird: Bird, prefix: str) -> str:
    """Return all that BIRD knows of a prefix, once it knows it."""

    def look() -> str:
        found = "\n".join(bird.ctl(f"show route {prefix} all"))
        return found if "BGP" in found else ""

    return wait_until(f"{prefix} is there", look)


def test_a_live_bird_shows_what_was_said(lab):
    """Show the options that BIRD tells of: they mean there what they mean here."""
    far = lab.far_end(1, near_asn=65001)
    own = channel(
        import_limit=Limit(50, "block"),
        export_limit=Limit(60, "warn"),
        preference=150,
        keep_filtered=True,
        import_table=True,
        add_paths="rx",
    )
    both = session(far.far4, own, channel(F6, extended_next_hop=True), source=address(far.near4))
    one = peer(
        "far",
        both,
        asn="internal",
        rr_client=True,
        graceful_restart="on",
        graceful_restart_s=77,
        extended_messages=True,
        description="rack 4",
        local_as=65001,
    )
    off = peer("off", session("10.9.1.7"), disabled=DRAINED)
    near = lab.bird("near", render(speaker(one, off)))
    near.wait_established("cs_far_ipv4")
    said = " ".join("\n".join(near.ctl('show protocols all "cs_far*"')).split())
    wanted = (
        "Description: rack 4",
        "Local AS: 65001",
        "Extended message",
        "Restart time: 77",
        "AF supported: ipv4 ipv6",
        "Session: internal route-reflector AS4",
        "Source address: 10.9.1.1",
        "Preference: 150",
        "Import limit: 50 1006- Action: block",
        "Export limit: 60 1006- Action: warn",
        "Channel ipv6",
    )
    assert [] == [words for words in wanted if words.replace(" 1006-", "") not in said], said
    assert "down" == near.sessions()["cs_off_ipv4"].state


def test_an_unnumbered_neighbour_brings_both_families(lab):
    host = lab.namespace("far")
    ends = {"near_addresses": ("fe80::1/64",), "far_addresses": ("fe80::2/64",)}
    lab.cable(HERE, "wire0", host, "wire0", **ends)
    near, far = (
        lab.bird(name, render(unnumbered(own, other, asn, net4)), place)
        for name, own, other, asn, net4, place in (
            ("near", "fe80::1", "fe80::2", 65001, "203.0.113.0/24", HERE),
            ("far", "fe80::2", "fe80::1", 65002, "198.18.1.0/24", host),
        )
    )
    near.wait_established("cs_tor_ipv6")
    assert "via fe80::2 on wire0" in everything(near, "198.18.1.0/24")
    assert "via fe80::1 on wire0" in everything(far, "203.0.113.0/24")


def unnumbered(near: str, far: str, asn: int, announced: str) -> Bgp:
    """Return a speaker whose one neighbour is known by its interface."""
    both = (channel(F4, extended_next_hop=True), channel(F6))
    own = peer("tor", session(far, *both, source=address(near), interface="wire0"), asn="external")
    return speaker(own, local_as=asn, announce=(announced,), router_id=address(f"10.0.0.{asn % 9}"))


def test_neighbours_of_a_range_get_sessions_of_their_own(lab):
    far = lab.far_end(1)
    guests = replace(session(), neighbor=None, neighbor_range=net("10.9.1.0/24"))
    own = peer("guests", guests, asn="external", dynamic_name="guest", dynamic_name_digits=3)
    near = lab.bird("near", render(speaker(own, local_as=64512)))
    far.bird.wait_established("v4")
    near.wait_established("guest001")
    assert "cs_guests_ipv4" in near.sessions()
