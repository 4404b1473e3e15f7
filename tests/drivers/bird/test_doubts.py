"""What is allowed but deserves a second look, and that nothing else is doubted."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from confsync.drivers.bird.bgp import Bgp
from tests.drivers.bird.golden_cases import BGP, CASES, FOLDER

PROFILES = sorted((Path(__file__).parent / "profiles").glob("*.yaml"))
GOLDEN = [
    FOLDER / case / "document.yaml" for case in CASES if (FOLDER / case / "bird.conf").exists()
]
# What these documents say on purpose, or as the hosts they were taken from do.
ENDS_GRACE = tuple(
    f"bgp.peers.rr{n}.bfd: plain BFD ends what graceful restart would keep; use graceful"
    for n in (1, 2)
)
KNOWN = {
    "compute-bgo": ENDS_GRACE,
    "compute-osl": ENDS_GRACE,
    "resolver": ENDS_GRACE,
    "no_peers": ("bgp.peers: none, so every session of this host ends",),
    "everything": (
        "bgp.peers.transit.asn: 64500 is reserved: for documentation (RFC 5398)",
        "bgp.peers.transit.export.ipv4: 10.0.0.53/32 is announced, but not to this peer",
    ),
}


def doubts(**document) -> tuple[str, ...]:
    """Return what is doubted of a document that breaks no rule."""
    value = BGP.parse({"router_id": "10.0.0.9", "local_as": 65501, **document})
    assert isinstance(value, Bgp), value
    assert () == BGP.rules(value, {})
    return BGP.warnings(value)


@pytest.mark.parametrize(
    ("name", "path"),
    [(path.stem, path) for path in PROFILES] + [(path.parent.name, path) for path in GOLDEN],
)
def test_only_what_deserves_it_is_doubted(name, path):
    value = BGP.parse(yaml.safe_load(path.read_text()))
    assert isinstance(value, Bgp), value
    assert KNOWN.get(name, ()) == BGP.warnings(value)


# --- where routes would be of no use

RR = {"rr1": {"ipv4": "10.0.0.1"}, "rr2": {"ipv4": "10.0.0.2"}}
NO_KERNEL = (
    "bgp.kernel: no route of table {} goes to the kernel; "
    "what BGP learns there ({}) is not used on this host"
)


def test_routes_that_never_reach_the_kernel_are_doubted():
    nowhere = (NO_KERNEL.format("master4", "rr1, rr2"),)
    assert nowhere == doubts(peers=RR, kernel={"export": False})
    assert nowhere == doubts(peers=RR, kernels={})
    assert nowhere == doubts(peers=RR, kernels={"six": {"table": "master6"}})


def test_a_host_that_only_announces_needs_no_kernel():
    assert () == doubts(peers=RR, kernels={}, **{"import": "none"})


def test_a_reflector_needs_no_kernel():
    assert () == doubts(peers=RR, kernels={}, peer_defaults={"rr_client": True})


def test_another_hands_protocols_may_feed_the_kernel():
    file = {"path": "/etc/bird/kernel.conf", "kind": "other", "writer": "puppet"}
    assert () == doubts(peers=RR, kernels={}, foreign=[file])


@pytest.mark.parametrize(
    ("pipe", "reaches"),
    [
        (None, False),
        ({"table": "side4", "peer_table": "master4", "export": "all"}, True),
        ({"table": "side4", "peer_table": "master4", "import": "all"}, False),
        ({"table": "master4", "peer_table": "side4", "import": "all"}, True),
        ({"table": "master4", "peer_table": "side4", "export": "all"}, False),
    ],
)
def test_a_side_table_reaches_the_kernel_through_a_pipe_that_leads_there(pipe, reaches):
    peers = {"p": {"ipv4": "10.0.0.1", "table": {"ipv4": "side4"}}}
    found = doubts(peers=peers, tables={"side4": "ipv4"}, pipes={"x": pipe} if pipe else {})
    assert (() if reaches else (NO_KERNEL.format("side4", "p"),)) == found


FAR = {"p": {"ipv4": "10.0.7.1", "multihop": True}}
UNRESOLVED = (
    "bgp.direct: off for ipv4, so that nothing leads to the next hops that p tells from several "
    "hops away: its routes would be unreachable; set direct, or a route to them"
)


def test_next_hops_that_nothing_leads_to_are_doubted():
    assert (UNRESOLVED,) == doubts(peers=FAR, direct=False)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"direct": True},
        {"direct": False, "routes": {"up": {"prefix": "10.0.0.0/8", "via": "10.0.0.1"}}},
        {"direct": False, "kernel": {"learn": True}},
        {"direct": False, "peer_defaults": {"gateway": "direct"}},
        {"direct": False, "import": "none"},
    ],
)
def test_next_hops_that_may_be_found_are_not_doubted(more):
    assert () == doubts(peers=FAR, **more)


def test_one_of_two_equal_static_routes_is_hidden():
    dark = {"prefix": "192.0.2.0/24", "dest": "blackhole"}
    (doubt,) = doubts(peers=RR, routes={"a": dark, "b": dark})
    wanted = "bgp.routes.b: 192.0.2.0/24 is routes.a too, no less preferred; one hides the other"
    assert wanted == doubt
    assert () == doubts(peers=RR, routes={"a": dark, "b": {**dark, "preference": 100}})


# --- BFD that guards nobody


def test_a_bfd_neighbour_that_ends_nothing_is_doubted():
    def watched(**fields):
        peers = {"rr1": {"ipv4": "10.0.0.1", **fields}}
        return doubts(peers=peers, bfd={"neighbors": [{"address": "10.0.0.1"}]})

    (doubt,) = watched()
    assert doubt.startswith("bgp.bfd.neighbors[0]: 10.0.0.1 is peers.rr1, whose session does not")
    assert doubt.endswith("set peers.rr1.bfd")
    assert () == watched(bfd=True)


def test_a_bfd_neighbour_that_is_a_next_hop_or_in_a_range_is_not_doubted():
    hop = {"prefix": "192.0.2.0/24", "via": [{"address": "10.0.0.7", "bfd": True}]}
    bfd = {"neighbors": [{"address": "10.0.0.7"}, {"address": "10.8.0.1"}]}
    guests = {"ipv4_range": "10.8.0.0/24", "dynamic_name": "guest"}
    assert () == doubts(peers={"guests": guests}, routes={"up": hop}, bfd=bfd)


# --- peers


def test_two_halves_of_one_neighbour_have_one_as():
    peers = {
        "gw-ipv4-a": {"ipv4": "10.0.0.1", "asn": 65010},
        "gw-ipv6-a": {"ipv6": "fd00::1", "asn": 65011},
        "rr4": {"ipv4": "10.0.0.4"},
        "rr6": {"ipv6": "fd00::6", "asn": 65012},
    }
    (doubt,) = doubts(peers=peers, **{"import": "all", "export": "none"})
    wanted = "bgp.peers.gw-ipv6-a.asn: 65011, but gw-ipv4-a, its other half by name, is 65010: "
    assert doubt.startswith(wanted)


# --- what is refused besides


def codes(**document) -> list[str]:
    value = BGP.parse({"router_id": "10.0.0.9", "local_as": 65501, **document})
    assert isinstance(value, Bgp), value
    return [str(fault) for fault in BGP.rules(value, {})]


def test_a_link_local_neighbour_is_one_peer_on_each_interface():
    peers = {"a": {"ipv6": "fe80::1%eth0"}, "b": {"ipv6": "fe80::1%eth1"}}
    assert [] == codes(peers=peers)
    twin = codes(peers={**peers, "c": {"ipv6": "fe80::1%eth1"}})
    assert ["bgp.peers.c.ipv6: fe80::1 is the neighbour of b already (CS-V058)"] == twin


def test_a_guard_and_a_leave_for_our_own_as_do_not_go_together():
    own = {"ipv4": "10.0.0.1", "allow_local_as": 1, "guard": "own_as"}
    assert [
        "bgp.peers.p.guard: own_as refuses all that allow_local_as lets in; remove one (CS-V087)"
    ] == codes(peers={"p": own})


def test_an_unknown_guard_is_refused_with_those_that_there_are():
    (fault,) = BGP.parse({"local_as": 1, "peers": {"p": {"ipv4": "10.0.0.1", "guard": ["bogon"]}}})
    assert str(fault).startswith('bgp.peers.p.guard[0]: "bogon" is not a guard; use default_route')


def test_a_session_of_no_family_is_refused():
    tree = {"local_as": 1, "peers": {"p": {"ipv4": "10.0.0.1", "families": {"ipv4": []}}}}
    (fault,) = BGP.parse(tree)
    assert (
        "bgp.peers.p.families.ipv4: a session of no family brings nothing; "
        "use ipv4, ipv6 or both (CS-V049)"
    ) == str(fault)


# --- what should have ended


def test_what_is_withheld_has_a_deadline_if_it_has_an_end():
    until = {"reason": "CHG-1", "until": "2030-01-01T06:00Z"}
    peers = {
        "a": {"ipv4": "10.0.0.1", "drain": until},
        "b": {"ipv4": "10.0.0.2", "disabled": {**until, "until": "2030-01-02T06:00:00+00:00"}},
        "c": {"ipv4": "10.0.0.3", "drain": {"reason": "CHG-2"}},
    }
    value = BGP.parse({"router_id": "10.0.0.9", "local_as": 65501, "drain": until, "peers": peers})
    assert isinstance(value, Bgp), value
    told = {one.note.partition(":")[0]: one.at for one in BGP.deadlines(value)}
    assert {
        "bgp.drain": "2030-01-01T06:00",
        "bgp.peers.a.drain": "2030-01-01T06:00",
        "bgp.peers.b.disabled": "2030-01-02T06:00:00",
    } == told
    assert (
        "bgp.peers.a.drain: should have ended at 2030-01-01T06:00Z (CHG-1), and traffic still "
        "avoids the peer; remove it, or set a later until"
    ) == BGP.deadlines(value)[1].note
