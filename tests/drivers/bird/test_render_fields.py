"""Every field of the values: the line that it becomes, and that BIRD takes it."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest

from confsync.drivers.bird.bgp import (
    Bfd,
    BfdNeighbor,
    BfdTiming,
    Daemon,
    Direct,
    ForeignFile,
    Limit,
    Log,
    NextHop,
    Pipe,
    StaticRoute,
    Syncer,
    Table,
    Withheld,
)
from confsync.drivers.bird.policy import Changes, Filter, Foreign, Named, NamedFilter, NamedSet
from confsync.drivers.bird.render import render
from tests.drivers.bird.speakers import (
    ALL,
    F4,
    F6,
    NEXT,
    NONE,
    TIMERS,
    address,
    channel,
    filtering,
    net,
    peer,
    prefixes,
    rule,
    session,
    speaker,
    verdict,
)

FOREIGN = """\
roa4 table theirs4;
function f(int a) { return true; }
function g(prefix a; pair b; bool c; ip d) { return true; }
function p() { bgp_med = 1; }
filter their_filter { accept; }
"""
SETS = (
    NamedSet(
        "some-nets",
        (prefixes("10.0.0.0/8"), prefixes("192.168.0.0/16", 16, 24)),
        (prefixes("2001:db8::/32", 33, 128),),
        ((5, 5), (7, 9)),
        ("65501:100", "65535:*"),
        ("1:2:3", "1:*:*"),
    ),
    NamedSet("nothing"),
)
PRIVATE4 = Table("private4", F4)
WITHHELD = Withheld("CHG-1")
MULTIHOP = {"multihop": 64}

# What a rule asks, and how BIRD is asked.
MATCHES = {
    "net ~ [10.0.0.0/8]": {"prefixes": (prefixes("10.0.0.0/8"),)},
    "net ~ [10.0.0.0/8, 0.0.0.0/0{0,7}]": {
        "prefixes": (prefixes("10.0.0.0/8"), prefixes("0.0.0.0/0", 0, 7))
    },
    "net ~ cs_SET_someDnets_ipv4": {"prefix_set": "some-nets"},
    "net.len ~ [8..24]": {"length": (8, 24)},
    "net.len = 32": {"length": (32, 32)},
    'ifname ~ "tap*"': {"interfaces": ("tap*",)},
    '(ifname = "eth0" || ifname ~ "tap?")': {"interfaces": ("eth0", "tap?")},
    'proto = "rr-1"': {"protocols": ("rr-1",)},
    "source = RTS_BGP": {"sources": ("bgp",)},
    "source ~ [RTS_STATIC, RTS_DEVICE, RTS_INHERIT]": {
        "sources": ("static", "direct", "device", "kernel", "inherit")
    },
    "source ~ [RTS_OSPF, RTS_OSPF_IA, RTS_OSPF_EXT1, RTS_OSPF_EXT2]": {"sources": ("ospf",)},
    "source ~ [RTS_RIP, RTS_BABEL, RTS_PIPE, RTS_REDIRECT]": {
        "sources": ("rip", "babel", "pipe", "redirect")
    },
    "dest = RTD_UNREACHABLE": {"dest": "unreachable"},
    "dest = RTD_BLACKHOLE": {"dest": "blackhole"},
    "dest = RTD_PROHIBIT": {"dest": "prohibit"},
    "dest = RTD_UNICAST": {"dest": "unicast"},
    "dest = RTD_UNICAST && gw = ::": {"dest": "device"},
    "dest = RTD_UNICAST && gw != ::": {"dest": "router"},
    "from = 10.0.0.2": {"received_from": address("10.0.0.2")},
    "gw = 10.0.0.2": {"gateway": address("10.0.0.2")},
    "bgp_path.first = 5": {"path_first": 5},
    "bgp_path.last = 5": {"path_last": 5},
    "bgp_path ~ [5, 4294967295]": {"path_contains": (5, 4294967295)},
    "bgp_path ~ cs_SET_someDnets_asns": {"asn_set": "some-nets"},
    "bgp_path ~ [= * 65001 ? 5..9 + =]": {"path": "* 65001 ? 5..9 +"},
    "bgp_path.len > 5": {"path_longer_than": 5},
    "bgp_community ~ [(65501, 100), (65535, *), (1, 5..9)]": {
        "communities": ("65501:100", "65535:*", "1:5-9")
    },
    "bgp_community ~ cs_SET_someDnets_pairs": {"community_set": "some-nets"},
    "bgp_large_community ~ [(1, 2, 3), (1, *, *)]": {"large_communities": ("1:2:3", "1:*:*")},
    "bgp_large_community ~ cs_SET_someDnets_larges": {"large_community_set": "some-nets"},
    "krt_source = 186": {"kernel_source": 186},
    "krt_metric = 32": {"kernel_metric": 32},
    "roa_check('theirs4', net, bgp_path.last) = ROA_INVALID": {"roa": ("theirs4", "invalid")},
    "'f'(24)": {"call": "f(24)"},
    "'g'(10.0.0.0/8, (1,2), true, 10.0.0.1)": {"call": "g(10.0.0.0/8, (1, 2), true, 10.0.0.1)"},
    "net ~ [10.0.0.0/8] && source = RTS_BGP && bgp_path.len > 5": {
        "prefixes": (prefixes("10.0.0.0/8"),),
        "sources": ("bgp",),
        "path_longer_than": 5,
    },
}

CHANGES = {
    "bgp_local_pref = 0;": Changes(local_pref=0),
    "bgp_med = 5;": Changes(med=5),
    "preference = 5;": Changes(preference=5),
    "bgp_origin = ORIGIN_IGP;": Changes(origin="igp"),
    "krt_prefsrc = 10.0.0.1;": Changes(source_address=address("10.0.0.1")),
    "krt_metric = 5;": Changes(kernel_metric=5),
    "bgp_next_hop = 10.0.0.9;": Changes(next_hop=address("10.0.0.9")),
    "bgp_path.prepend(65501); bgp_path.prepend(65501);": Changes(
        prepend_asn=65501, prepend_count=2
    ),
    "bgp_community.delete([(1, *), (2, 3)]); bgp_community.add((1, 2));": Changes(
        add_communities=("1:2",), remove_communities=("1:*", "2:3")
    ),
    "bgp_large_community.delete([(1, *, *)]); bgp_large_community.add((1, 2, 3));": Changes(
        add_large_communities=("1:2:3",), remove_large_communities=("1:*:*",)
    ),
    "bgp_path.delete([64512..65534, 4200000000..4294967294]);": Changes(strip_private_as=True),
    "'p'(); bgp_med = 5;": Changes(call="p()", med=5),
}

PEERS = {
    "neighbor 10.0.0.2 as 65501;": {},
    "neighbor 10.0.0.2 internal;": {"asn": "internal"},
    "neighbor 10.0.0.2 external;": {"asn": "external"},
    "neighbor 10.0.0.2 port 1179 as 65501;": {"port": 1179},
    "local 10.0.0.1 as 65510;": {"local_as": 65510},
    "local 10.0.0.1 port 1179 as 65501;": {"local_port": 1179},
    "direct;": {},
    "multihop;": MULTIHOP,
    "multihop 255;": {"multihop": 255},
    "bfd on;": {"bfd": "on"},
    "bfd graceful;": {"bfd": "graceful"},
    "passive on;": {"passive": True},
    'description "rack 4; }";': {"description": "rack 4; }"},
    "setkey off;": {"setkey": False},
    "strict bind on;": {"strict_bind": True},
    "ttl security on;": {"ttl_security": True},
    "rr client on;": {"rr_client": True},
    "rr cluster id 10.0.0.1;": {"rr_client": True, "rr_cluster_id": ip_address("10.0.0.1")},
    "rs client on;": {"rs_client": True, "asn": 65510},
    "allow local as 2;": {"allow_local_as": 2},
    "enforce first as on;": {"enforce_first_as": True, "asn": 65510},
    "local role customer;": {"role": "customer", "asn": 65510},
    "graceful restart on;": {"graceful_restart": "on"},
    "graceful restart off;": {"graceful_restart": "off"},
    "graceful restart time 4095;": {"graceful_restart_s": 4095},
    "long lived graceful restart aware;": {"llgr": "aware"},
    "long lived stale time 60;": {"llgr_stale_s": 60},
    "interpret communities off;": {"interpret_communities": False},
    "path metric off;": {"path_metric": False},
    "med metric on;": {"med_metric": True},
    "default bgp_med 5;": {"default_med": 5},
    "default bgp_local_pref 0;": {"default_local_pref": 0},
    "cost 5;": {"cost": 5},
    "enable extended messages on;": {"extended_messages": True},
    "disable after error on;": {"disable_after_error": True},
    "check link off;": {"check_link": False},
    "hold time 0;": {"timers": replace(TIMERS, hold_s=0)},
    "keepalive time 30;": {},
    "error forget time 9;": {"timers": replace(TIMERS, error_forget_s=9)},
    "startup hold time 9;": {"timers": replace(TIMERS, startup_hold_s=9)},
    "disabled;": {"disabled": WITHHELD},
}

CHANNELS = {
    "import all;": {"imports": ALL},
    "import none;": {"imports": NONE},
    "export filter cs_FILTER_toDall_ipv4;": {"exports": Named("to-all")},
    "export filter 'their_filter';": {"exports": Foreign("their_filter")},
    "table 'private4';": {"table": "private4"},
    "igp table 'private4';": {"igp_table": "private4"},
    "preference 0;": {"preference": 0},
    "next hop self;": {"next_hop": "self"},
    "next hop keep;": {"next_hop": "keep"},
    "next hop address 10.0.0.9;": {"next_hop": "10.0.0.9"},
    "extended next hop on;": {"extended_next_hop": True},
    "add paths rx;": {"add_paths": "rx"},
    "add paths tx;": {"add_paths": "tx"},
    "add paths on;": {"add_paths": "both"},
    "gateway direct;": {"gateway": "direct"},
    "gateway recursive;": {"gateway": "recursive"},
    "import table on;": {"import_table": True},
    "import keep filtered on;": {"keep_filtered": True},
    "import limit 5 action warn;": {"import_limit": Limit(5, "warn")},
    "receive limit 5 action block;": {"receive_limit": Limit(5, "block")},
    "export limit 5 action restart;": {"export_limit": Limit(5, "restart")},
    "import limit 5 action disable;": {"import_limit": Limit(5)},
}

ROUTES = {
    "via 10.0.0.3;": {"via": (NextHop(address("10.0.0.3")),)},
    'via "eth0.1";': {"via": (NextHop(interface="eth0.1"),)},
    "via 10.0.0.3%'eth0.1' onlink;": {
        "via": (NextHop(address("10.0.0.3"), "eth0.1", onlink=True),)
    },
    "via 10.0.0.3 weight 2 bfd via 10.0.0.4 weight 1;": {
        "via": (
            NextHop(address("10.0.0.3"), weight=2, bfd=True),
            NextHop(address("10.0.0.4"), weight=1),
        )
    },
    "recursive 10.0.0.3;": {"recursive": address("10.0.0.3")},
    "blackhole;": {"dest": "blackhole"},
    "unreachable;": {"dest": "unreachable"},
    "prohibit;": {"dest": "prohibit"},
    "blackhole { preference = 5; bgp_local_pref = 6; krt_metric = 7; krt_prefsrc = 10.0.0.1; "
    "bgp_community.add((1, 2)); };": {
        "dest": "blackhole",
        "preference": 5,
        "local_pref": 6,
        "kernel_metric": 7,
        "source_address": address("10.0.0.1"),
        "communities": ("1:2",),
    },
}

SYNCERS = {
    "persist;": {},
    "scan time 20;": {},
    "merge paths on;": {},
    "merge paths on limit 4;": {"merge_limit": 4},
    "learn;": {"learn": True},
    "kernel table 240;": {"kernel_table": 240},
    "metric 0;": {"metric": 0},
    "preference 7;": {"preference": 7},
    "graceful restart on;": {"graceful_restart": True},
    "table 'private4';": {"table": "private4"},
    "krt_prefsrc = 10.0.0.1;": {"source_address": address("10.0.0.1")},
    "import none;": {},
    "export none;": {"exports": NONE, "source_address": address("10.0.0.1")},
}

HOSTS = {
    'log syslog name "b" { info, fatal };': {
        "daemon": Daemon((Log("syslog", ("info", "fatal"), "b"),))
    },
    "log stderr all;": {"daemon": Daemon((Log("stderr"),))},
    "graceful restart wait 60;": {"daemon": Daemon(graceful_restart_wait_s=60)},
    "watchdog warning 5 s;": {"daemon": Daemon(watchdog_warning_s=5)},
    "watchdog timeout 9 s;": {"daemon": Daemon(watchdog_timeout_s=9)},
    "protocol device 'device1' {": {"daemon": Daemon(device_protocol="device1")},
    'interface "-dummy*", "eth*";': {"direct": Direct(("-dummy*", "eth*"))},
    "check link on;": {"direct": Direct(check_link=True)},
    "protocol direct 'direct1' {": {"direct": Direct(protocol="direct1")},
    'interface "eth*" {': {"bfd": Bfd(300, 3, (BfdTiming("eth*", 100, 5, passive=True),))},
    'neighbor 10.0.0.4 dev "eth0";': {
        "bfd": Bfd(300, 3, neighbors=(BfdNeighbor(address("10.0.0.4"), "eth0"),))
    },
    "neighbor 10.0.0.4 local 10.0.0.1 multihop on;": {
        "bfd": Bfd(
            300,
            3,
            neighbors=(BfdNeighbor(address("10.0.0.4"), "", address("10.0.0.1"), multihop=True),),
        )
    },
    "protocol bfd 'bfd1' {": {"bfd": Bfd(300, 3, protocol="bfd1")},
    "ipv6 table 'lhc6';": {"tables": (PRIVATE4, Table("lhc6", F6))},
    "protocol pipe cs_pipe_p {": {"pipes": (Pipe("p", "master4", "private4", F4, ALL, None),)},
}


def flat(text: str) -> str:
    """Return a text with all of its white space alike."""
    return " ".join(text.split())


@pytest.fixture
def taken(tmp_path):
    """Give a check: BIRD takes a value with the foreign things that cases speak of."""
    theirs = tmp_path / "theirs.conf"
    theirs.write_text(FOREIGN)

    def check(value) -> str:
        text = render(replace(value, foreign=(ForeignFile(str(theirs), "filters", "puppet"),)))
        assert (0, "") == verdict(text, tmp_path), text
        return flat(text)

    return check


@pytest.mark.parametrize("asked", MATCHES)
def test_a_match_becomes_a_condition(asked, taken):
    text = taken(filtering(rule(**MATCHES[asked]), sets=SETS))
    assert f"ipv4 {{ if {asked} then accept; reject; }}" in text


@pytest.mark.parametrize("done", CHANGES)
def test_changes_become_statements_before_the_verdict(done, taken):
    text = taken(
        filtering(rule(changes=CHANGES[done], sources=("bgp",)), rule(NEXT, CHANGES[done]))
    )
    assert f"{{ if source = RTS_BGP then {{ {done} accept; }} {done} reject; }}" in text


@pytest.mark.parametrize("line", PEERS)
def test_a_peers_field_becomes_a_line(line, taken):
    own = session(source=address("10.0.0.1"))
    text = taken(speaker(peer("p", own, **PEERS[line])))
    assert f" {line} " in text.split("protocol bgp cs_p_ipv4 {")[1]
    assert (
        not PEERS[line] or f" {line} " not in flat(render(speaker(peer()))).split("protocol bgp")[1]
    )


@pytest.mark.parametrize("line", CHANNELS)
def test_a_channels_field_becomes_a_line(line, taken):
    named = (NamedFilter("to-all", Filter((rule(),), permit=False)),)
    fields = {"imports": NONE, "exports": NONE, **CHANNELS[line]}
    own = peer("p", session("10.0.0.2", channel(**fields)), graceful_restart="on", llgr="aware")
    text = taken(speaker(own, tables=(PRIVATE4,), filters=named))
    assert f" {line} " in text[text.rindex(" ipv4 {") :]


@pytest.mark.parametrize("line", ROUTES)
def test_a_static_route_becomes_a_line(line, taken):
    text = taken(speaker(routes=(StaticRoute("r", net("10.1.0.0/16"), **ROUTES[line]),)))
    assert "protocol static cs_static4 { ipv4 { import all; export none; };" in text
    assert f" route 10.1.0.0/16 {line} }}" in text


@pytest.mark.parametrize("line", SYNCERS)
def test_a_syncers_field_becomes_a_line(line, taken):
    fields = {"table": "master4", "family": F4, **SYNCERS[line]}
    text = taken(speaker(syncers=(Syncer("kernel4", **fields),), tables=(PRIVATE4,)))
    assert f" {line} " in text.split("protocol kernel cs_kernel4 {")[1].split(" protocol ")[0]


@pytest.mark.parametrize("line", HOSTS)
def test_a_hosts_field_becomes_a_line(line, taken):
    assert f" {line} " in taken(speaker(**{"tables": (PRIVATE4,), **HOSTS[line]}))


def test_what_is_not_said_is_not_written(taken):
    text = taken(speaker(peer(), router_id=None, daemon=Daemon(log=()), syncers=()))
    words = (
        "router id",
        "log syslog",
        "source address",
        "next hop",
        "graceful",
        "bfd on",
        "kernel",
    )
    assert [] == [word for word in words if word in text]
    assert "local as 65501; neighbor 10.0.0.2 as 65501; direct; hold time 90;" in text


def test_one_session_may_carry_two_families_without_an_address_of_its_own(taken):
    far = session("fe80::1", channel(F4, extended_next_hop=True), channel(F6), interface="eth0.1")
    text = taken(speaker(peer("tor", far, asn="external")))
    assert 'local as 65501; neighbor fe80::1 external; interface "eth0.1"; direct;' in text
    assert "ipv4 { import all; export all; extended next hop on; }; ipv6 { import all;" in text


def test_a_range_of_neighbours_gets_names_from_its_prefix(taken):
    far = replace(session(), neighbor=None, neighbor_range=net("10.0.0.0/24"), name="guests")
    text = taken(
        speaker(peer("g", far, asn="external", dynamic_name="guest", dynamic_name_digits=3))
    )
    assert "protocol bgp 'guests' { local as 65501; neighbor range 10.0.0.0/24 external;" in text
    assert 'dynamic name "guest"; dynamic name digits 3;' in text


def test_static_routes_of_another_table_have_their_own_protocol(taken):
    routes = (
        StaticRoute("a", net("10.1.0.0/16"), dest="blackhole", table="private4"),
        StaticRoute("b", net("2001:db8::/32"), dest="blackhole"),
    )
    text = taken(speaker(routes=routes, tables=(PRIVATE4,)))
    assert "protocol static cs_static6 { ipv6 { import all;" in text
    assert "protocol static cs_static_private4 { ipv4 { table 'private4'; import all;" in text
