"""The impact table, row by row, against two real speakers; and differences as people read them."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Mapping
from copy import deepcopy
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest

from confsync.drivers.bird.bgp import Bgp
from confsync.drivers.bird.impact import PEER_IMPACT, SECTION_IMPACT, differences, objects
from confsync.drivers.bird.peer_shapes import PeerShape
from confsync.drivers.bird.policy import Family
from confsync.drivers.bird.render import protocols, render
from confsync.drivers.bird.schema import Document
from confsync.model.ids import ObjectId
from confsync.model.plan import Impact, Plan, Step
from confsync.model.policy import Budgets, refusals
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
    "tables": {"other4": "ipv4"},
}
BOTH = frozenset({"cs_p_ipv4", "cs_p_ipv6"})
V4, V6, NOBODY = frozenset({"cs_p_ipv4"}), frozenset({"cs_p_ipv6"}), frozenset()

INSIDE = {"asn": "internal"}
STAYS = {"graceful_restart": True}
STALE = {**STAYS, "llgr": True}
RANGE = {"ipv4": None, "ipv4_range": "10.7.0.0/24", "dynamic_name": "near"}
PERMIT4 = {"ipv4": {"default": "permit"}}
HELD = {"reason": "CHG-1", "until": "2030-01-01T00:00:00Z"}


class Row(NamedTuple):
    """What is changed, to what, whose session BIRD then restarts, and what else the peer says."""

    field: str
    after: Any
    hit: frozenset[str]
    also: Mapping[str, Any] = MappingProxyType({})


ROWS = [
    Row("description", "x", NOBODY),
    Row("import.ipv4.default", "deny", NOBODY),
    Row("export.ipv6.default", "deny", NOBODY),
    Row("next_hop", "self", NOBODY),
    Row("required", False, NOBODY),
    Row("bfd", True, NOBODY),
    Row("bfd", "graceful", NOBODY, {"bfd": True}),
    Row("bfd", True, NOBODY, {"bfd": "graceful"}),
    Row("drain", HELD, NOBODY),
    Row("guard", ["bogons", "own_as", "graceful_shutdown"], NOBODY),
    Row("disabled", HELD, BOTH),
    Row("preference", 90, NOBODY),
    Row("keep_filtered", True, NOBODY),
    Row("import_limit", 100, NOBODY),
    Row("receive_limit", 100, NOBODY),
    Row("export_limit", 100, NOBODY),
    Row("cost", 5, NOBODY),
    Row("check_link", False, NOBODY),
    Row("ipv4", "10.7.0.3", V4),
    Row("ipv6", "fd07::3", V6),
    Row("ipv4_range", "10.7.0.0/25", V4, RANGE),
    Row("ipv6_range", "fd07::/65", V6, {"ipv6": None, "ipv6_range": "fd07::/64", **RANGE}),
    Row("dynamic_name", "far", BOTH, RANGE),
    Row("dynamic_name_digits", 3, BOTH, RANGE),
    Row("interface.ipv4", "near0", V4),
    Row("name.ipv4", "as_it_was", V4),
    Row("families.ipv4", ["ipv4", "ipv6"], V4),
    Row("asn", 65503, BOTH),
    Row("local_as", 65500, BOTH),
    Row("source.ipv4", "10.7.0.1", V4),
    Row("source.ipv6", "fd07::1", V6),
    Row("multihop", True, BOTH),
    Row("passive", True, BOTH),
    Row("password_file", "SECRET", BOTH),
    Row("setkey", False, BOTH, {"password_file": "SECRET"}),
    Row("hold_s", 12, BOTH),
    Row("keepalive_s", 2, BOTH),
    Row("connect_delay_s", 2, BOTH),
    Row("connect_retry_s", 2, BOTH),
    Row("error_wait_min_s", 2, BOTH),
    Row("error_wait_max_s", 3, BOTH),
    Row("error_forget_s", 200, BOTH),
    Row("startup_hold_s", 200, BOTH),
    Row("local_port", 1179, BOTH),
    Row("port", 1179, BOTH),
    Row("strict_bind", True, BOTH, {"source": {"ipv4": "10.7.0.1", "ipv6": "fd07::1"}}),
    Row("ttl_security", True, BOTH),
    Row("rr_client", True, BOTH, INSIDE),
    Row("rr_cluster_id", "10.9.9.9", BOTH, {**INSIDE, "rr_client": True}),
    Row("rs_client", True, BOTH),
    Row("allow_local_as", 2, BOTH),
    Row("enforce_first_as", True, BOTH),
    Row("role", "peer", BOTH),
    Row("graceful_restart", False, BOTH),
    Row("graceful_restart_s", 60, BOTH, STAYS),
    Row("llgr", True, BOTH, STAYS),
    Row("llgr_stale_s", 60, BOTH, STALE),
    Row("interpret_communities", False, BOTH),
    Row("path_metric", False, BOTH),
    Row("med_metric", True, BOTH),
    Row("default_med", 5, BOTH),
    Row("default_local_pref", 50, BOTH),
    Row("extended_messages", True, BOTH),
    Row("disable_after_error", True, BOTH),
    Row("extended_next_hop.ipv4", True, V4),
    Row("add_paths", "rx", BOTH),
    Row("gateway.ipv4", "recursive", V4),
    Row("table.ipv4", "other4", V4),
    Row("igp_table.ipv4", "other4", V4, {"gateway": "recursive"}),
    Row("import_table", True, BOTH),
]
SECTION_ROWS = [
    ("router_id", "10.0.0.9", BOTH),
    ("local_as", 65504, BOTH),
    ("announce.two", "192.0.2.2/32", NOBODY),
    ("routes.dark", {"prefix": "192.0.2.9/32", "dest": "blackhole"}, NOBODY),
    ("sets.nets", ["192.0.2.0/24"], NOBODY),
    ("filters.in.ipv4", {"default": "permit"}, NOBODY),
    ("foreign", [{"path": "EMPTY", "kind": "filters", "writer": "puppet"}], NOBODY),
    ("tables.more", "ipv6", NOBODY),
    ("pipes.more", {"table": "master4", "peer_table": "other4", "export": "all"}, NOBODY),
    ("direct", True, NOBODY),
    ("drain", HELD, NOBODY),
    ("daemon.device_scan_s", 3, NOBODY),
    ("daemon.graceful_restart_wait_s", 100, NOBODY),
    ("daemon.log", [{"target": "stderr"}], NOBODY),
    ("daemon.device_name", "device1", BOTH),
    ("bfd.interval_ms", 400, NOBODY),
    ("bfd.multiplier", 5, NOBODY),
    ("kernel.learn", True, NOBODY),
    ("kernel.metric", 77, NOBODY),
    ("kernel.persist", False, NOBODY),
    ("kernel.scan_s", 9, NOBODY),
    ("kernel.merge_paths", False, NOBODY),
    ("kernel.preference", 9, NOBODY),
    ("kernel.graceful_restart", True, NOBODY),
    ("kernel.export", False, NOBODY),
    ("kernel.import", {"ipv4": {"default": "permit"}}, NOBODY),
    ("kernel.source_address", {"ipv4": "10.7.0.1"}, NOBODY),
]
RESTARTS_KERNEL = {"kernel.learn", "kernel.scan_s", "kernel.merge_paths", "kernel.metric"}


Change = tuple[dict[str, Any], dict[str, Any], frozenset[str]]


def parsed(tree) -> Bgp:
    value = BGP.parse(tree)
    assert isinstance(value, Bgp), value
    return value


def base(also: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Any]:
    tree = deepcopy(BASE)
    peer = {**tree["peers"]["p"], **also}
    tree["peers"]["p"] = {key: value for key, value in peer.items() if value is not None}
    return tree


def with_change(
    dotted: str, after: Any, also: Mapping[str, Any] = MappingProxyType({})
) -> dict[str, Any]:
    tree = base(also)
    inner = tree
    *parents, last = dotted.split(".")
    for part in parents:
        inner = inner.setdefault(part, {})
    inner[last] = after
    return tree


def peer_changes(folder: str) -> dict[str, Change]:
    """Return every row of a peer by its path: from what, to what, and who is hit."""
    changes = {}
    for field, after, hit, also in ROWS:
        dotted, more = f"peers.p.{field}", {key: known(part, folder) for key, part in also.items()}
        want = with_change(dotted, known(after, folder), more)
        seen_before = f", from {dict(more)}" if dotted in changes else ""
        changes[dotted + seen_before] = (base(more), want, hit)
    return changes


def section_changes(folder: str) -> dict[str, Change]:
    """Return every row of the section likewise."""
    return {
        dotted: (BASE, with_change(dotted, known(after, folder)), hit)
        for dotted, after, hit in SECTION_ROWS
    }


def all_changes(folder: str) -> dict[str, Change]:
    return peer_changes(folder) | section_changes(folder)


def known(value: Any, folder: str) -> Any:
    """Put files that exist into a row."""
    if isinstance(value, list) and value and "path" in value[0]:
        return [{**one, "path": f"{folder}/empty.conf"} for one in value]
    return f"{folder}/secret.conf" if value == "SECRET" else value


def predicted(items) -> frozenset[str]:
    """Return the protocols of the sessions that the differences say are hit."""
    hits = {one for item in items for one in item.hits if one.kind == "session"}
    families = (one.group.split(".")[1] for one in hits)
    return frozenset(f"cs_p_{family}" for family in families)


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


def far_text(*numbers: int, bfd: bool = False) -> str:
    sessions = "".join(
        far_session(f"v4_{number}", f"10.7.{number}.1", 65501, bfd=bfd)
        + far_session(f"v6_{number}", f"fd07:{number}::1", 65501, bfd=bfd)
        for number in numbers
    )
    if not numbers:
        sessions = far_session("v4", "10.7.0.1", 65501, bfd=bfd)
        sessions += far_session("v6", "fd07::1", 65501, bfd=bfd)
    # It never connects by itself: a collision of two connections would look like a reset.
    sessions = sessions.replace("hold time 9;", "passive; hold time 9;")
    return far_config("10.0.0.2", 65502, sessions, originate=("198.51.100.0/24",))


def test_every_field_has_a_row():
    fields = {row.field.split(".")[0] for row in ROWS}
    assert PEER_IMPACT.keys() == fields
    said = {field.alias or name for name, field in PeerShape.model_fields.items()}
    assert said - {"group", "next_hop_self"} == fields
    groups = {dotted.split(".")[0] for dotted, _, _ in SECTION_ROWS}
    assert SECTION_IMPACT.keys() == groups - {"kernel"} | {"kernels"}
    told = {field.alias or name for name, field in Document.model_fields.items()}
    shared = {"peers", "peer_defaults", "groups", "import", "export", "kernel"}
    assert told - shared == SECTION_IMPACT.keys() - {"kernel"}


@pytest.mark.parametrize("dotted", all_changes("/secret"))
def test_the_table_says_whom_a_change_hits(dotted):
    had, want, hit = all_changes("/secret")[dotted]
    items = differences(parsed(had), parsed(want))
    assert items
    assert hit == predicted(items)
    if dotted.startswith("kernel."):
        restarts = Impact.KERNEL_RESTART in {item.impact for item in items}
        assert restarts is (dotted in RESTARTS_KERNEL)
    elif not dotted.startswith(("pipes.", "direct")):
        expected = Impact.SESSION_RESET if hit else Impact.HITLESS
        assert {expected} == {item.impact for item in items}


@pytest.fixture
def folder(tmp_path):
    """Give the files that rows draw in."""
    (tmp_path / "secret.conf").write_text('password "x";\n')
    (tmp_path / "empty.conf").write_text("# nothing yet\n")
    return str(tmp_path)


def measured(near: Bird, had: Bgp, want: Bgp) -> set[str]:
    """Return the protocols that a change restarts or removes."""
    time.sleep(0.1)  # a reset must be told from the wavering of BIRD's clock
    before = since(near)
    assert before.keys() >= set(protocols(had))
    configure(near, want)
    after = since(near)
    return {name for name, moment in before.items() if moment != after.get(name)}


@pytest.mark.root
def test_bird_resets_the_sessions_that_the_table_names_for_the_section(pair, folder):
    near, far = pair
    resets, kernels = {}, set()
    changes = section_changes(folder)
    for dotted, (had, want, _) in changes.items():
        configure(near, parsed(had))
        near.wait_established()
        far.wait_established()
        moved = measured(near, parsed(had), parsed(want))
        resets[dotted] = moved & BOTH
        if "cs_kernel4" in moved:
            kernels.add(dotted)
        assert "cs_announce4" not in moved
    assert {dotted: hit for dotted, (_, _, hit) in changes.items()} == resets
    assert RESTARTS_KERNEL == kernels


def numbered(tree: dict[str, Any], number: int) -> Any:
    """Return the one peer of a row with a name and networks of its own."""
    text = json.dumps(tree["peers"]["p"]).replace("10.7.0.", f"10.7.{number}.")
    return json.loads(text.replace("fd07::", f"fd07:{number}::"))


def addresses(numbers: Iterable[int], end: int) -> list[str]:
    return [one for n in numbers for one in (f"10.7.{n}.{end}/24", f"fd07:{n}::{end}/64")]


@pytest.mark.root
def test_bird_resets_the_sessions_that_the_table_names_for_a_peer(lab, folder):
    """Every row is a peer with two sessions of its own, and all of them change at the same time."""
    changes = peer_changes(folder)
    rows = dict(enumerate(changes, start=1))
    host = lab.namespace("far")
    options = {"near_addresses": addresses(rows, 1), "far_addresses": addresses(rows, 2)}
    lab.cable(HERE, "near0", host, "far0", **options)
    had, want = (
        parsed({**BASE, "peers": {f"p{n}": numbered(changes[rows[n]][side], n) for n in rows}})
        for side in (0, 1)
    )
    near = lab.bird("near", render(had))
    lab.bird("far", far_text(*rows), host)
    # What the far end cannot agree to at first is not waited for: it is restarted all the same.
    usual = [n for n, row in rows.items() if changes[row][0] == base() or not changes[row][2]]
    near.wait_established(*(f"cs_p{n}_{family}" for n in usual for family in Family))
    moved = measured(near, had, want)
    resets = {row: hits_of(number, moved) for number, row in rows.items()}
    assert {row: hit for row, (_, _, hit) in changes.items()} == resets
    assert {"cs_device", "cs_kernel4", "cs_kernel6", "cs_announce4"}.isdisjoint(moved)


def hits_of(number: int, moved: set[str]) -> frozenset[str]:
    """Return which of a numbered peer's sessions moved, as rows call them."""
    names = {f"cs_p_{family}": f"cs_p{number}_{family}" for family in Family}
    return frozenset(said for said, name in names.items() if name in moved)


@pytest.mark.root
def test_a_peer_that_loses_bfd_resets_the_session(pair):
    near, far = pair
    with_bfd = parsed(with_change("peers.p.bfd", after=True))
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


# --- both reflectors at once


def reflected(**changes: dict[str, Any]) -> Bgp:
    """Return a host with two reflectors of its own AS and one neighbour of another one."""
    peers = {
        "rr1": {"ipv4": "10.7.0.11", "asn": 65501},
        "rr2": {"ipv4": "10.7.0.12", "asn": 65501},
        "edge": {"ipv4": "10.7.0.2", "asn": 65502, "import": PERMIT4, "export": PERMIT4},
    }
    for name, fields in changes.items():
        peers[name] = {**peers[name], **fields}
    return parsed({**BASE, "peers": peers})


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({"rr1": {"hold_s": 30}}, []),
        ({"rr1": {"hold_s": 30}, "edge": {"hold_s": 30}}, []),
        ({"rr1": {"hold_s": 30}, "rr2": {"hold_s": 30}}, ["all_sessions:bgp.ipv4.internal"]),
        ({"rr1": {"description": "x"}, "rr2": {"description": "x"}}, []),
    ],
)
def test_both_reflectors_are_not_reset_at_once_though_another_session_stays(changes, refused):
    had, want = reflected(), reflected(**changes)
    items = differences(had, want)
    step = Step("bird", "configure", 1, "bird", Impact.SESSION_RESET, "change", {}, items)
    inventories = objects(had), objects(want)

    def found(*allowed: str) -> list[str]:
        plan = Plan("0" * 64, (step,))
        against = refusals(plan, *inventories, {}, {}, Budgets(), allowed)
        return [f"{one.rule}:{one.place}" for one in against]

    assert refused == found()
    assert [] == found(*refused)
