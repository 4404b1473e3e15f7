"""A value as the document that a person would have written: what goes without saying is not said.

Separate because a draft is read and finished by people, while the explicit document (`tree`) is
for the journal. Both give the same value.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import yaml

from confsync.drivers.bird.bgp import Bgp, Peer
from confsync.drivers.bird.build import CHANNEL, LIMITS, build
from confsync.drivers.bird.policy import Family
from confsync.drivers.bird.schema import READER
from confsync.drivers.bird.tree import peer_tree, tree_of
from confsync.model.errors import Violations
from confsync.model.ids import Json

_OWN: Final = frozenset({*Family, "ipv4_range", "ipv6_range", "name", "description", "interface"})
_EACH: Final = frozenset(
    {*CHANNEL, *LIMITS, "next_hop", "add_paths", "source", "interface", "name"}
)
_POLICIES: Final = ("import", "export")
_KERNEL: Final = {
    "learn": False,
    "persist": True,
    "scan_s": 20,
    "merge_paths": True,
    "graceful_restart": False,
}
_SHORT: Final = {"kernel4", "kernel6"}
_WIDTH: Final = 100


def parsed(document: Json) -> tuple[Bgp | None, Violations]:
    """Return what a document says, and what is wrong with its shape."""
    reading = READER.read(document)
    if reading.document is None or reading.faults:
        return None, reading.faults
    return build(reading.document)


def document(value: Bgp) -> dict[str, Json]:
    """Return a value's document, without what every document means anyway."""
    tree = tree_of(value)
    usual = tree_of(_usual(value))
    said: dict[str, Json] = {"router_id": tree["router_id"], "local_as": tree["local_as"]}
    said["daemon"] = _changed(tree["daemon"], usual["daemon"])
    said |= {key: tree[key] for key in ("tables", "foreign", "direct", "announce") if key in tree}
    if said.get("direct") == {"ipv4": False, "ipv6": False}:
        said["direct"] = False
    elif "direct" in said:
        said["direct"] = _changed(said["direct"], {"ipv4": True, "ipv6": True}) or True
    said["sets"] = {name: _set(one) for name, one in tree["sets"].items()}
    said["filters"] = {
        name: {family: _filter(half) for family, half in both.items()}
        for name, both in tree["filters"].items()
    }
    said |= _kernels(tree["kernels"], usual["kernels"])
    said["pipes"] = {name: _channelled(one) for name, one in tree["pipes"].items()}
    said["routes"] = {name: _route(one) for name, one in tree["routes"].items()}
    said["bfd"] = _changed(tree["bfd"], usual["bfd"])
    said["peers"] = {peer.name: _peer(value, peer) for peer in value.peers}
    kept = {key: part for key, part in said.items() if part not in ({}, []) or key in _LET}
    plain: dict[str, Json] = json.loads(json.dumps(_shared(kept)))
    return plain


_LET: Final = frozenset({"kernels"})  # an empty one says that there is none


def text(value: Bgp, comments: Iterable[str]) -> str:
    """Return the document as YAML, under some comments."""
    head = "".join(f"# {_printable(line)}\n" for line in comments)
    body = yaml.safe_dump(
        document(value), sort_keys=False, default_flow_style=None, width=_WIDTH, allow_unicode=True
    )
    return head + body


def _printable(line: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in line)


def _usual(value: Bgp) -> Bgp:
    """Return what a document says that says nothing."""
    made, _ = parsed({"router_id": "auto", "local_as": value.local_as})
    assert made is not None
    return made


def _changed(tree: Mapping[str, Json], usual: Mapping[str, Json]) -> dict[str, Json]:
    return {
        key: value for key, value in tree.items() if usual.get(key, "") != value and value != {}
    }


# --- peers


def _peer(value: Bgp, peer: Peer) -> dict[str, Json]:
    tree = peer_tree(peer)
    ends = {key: tree[key] for key in tree if key in (*Family, "ipv4_range", "ipv6_range")}
    ends |= {key: tree[key] for key in ("asn", "families") if key in tree}
    least, _ = parsed({"router_id": "auto", "local_as": value.local_as, "peers": {"x": ends}})
    usual = peer_tree(least.peers[0]) if least else {}  # the draft itself will be refused, too
    carried = {str(one) for session in peer.sessions for one in session.carries}
    said = dict(ends)
    for key, part in tree.items():
        if key in ends:
            continue
        if key in _POLICIES:
            said[key] = _once({f: _policy(half) for f, half in part.items()}, carried, rules=False)
        elif usual.get(key) != part:
            said[key] = _once(part, carried) if key in _EACH else part
    if "families" in said and len(said["families"]) == 1:
        (said["families"],) = said["families"].values()
    return {key: _limit(part) if key in LIMITS else part for key, part in said.items()}


def _once(by_family: Mapping[str, Json], carried: set[str], *, rules: bool = True) -> Json:
    """Say once what is the same for all families that a peer brings."""
    parts = list(by_family.values())
    same = all(part == parts[0] for part in parts) and by_family.keys() == carried
    if not same or (not rules and not _is_named(parts[0])):
        return dict(by_family)
    return parts[0]


def _is_named(policy: Json) -> bool:
    return isinstance(policy, str) or policy.keys() == {"foreign"}


def _limit(limit: Json) -> Json:
    plain = isinstance(limit, dict) and limit.get("action") == "disable"
    return limit["routes"] if plain else limit


def _shared(said: dict[str, Json]) -> dict[str, Json]:
    """Say once, as defaults, what all peers have in common."""
    peers = said.get("peers", {})
    if len(peers) > 1:
        first, *others = peers.values()
        common = {
            key: part
            for key, part in first.items()
            if key not in _OWN and all(other.get(key) == part for other in others)
        }
        for peer in peers.values():
            for key in common:
                del peer[key]
        said.pop("peers")
        said |= {"peer_defaults": common} if common else {}
        said["peers"] = peers
    return said


# --- policies


def _policy(policy: Json) -> Json:
    if "use" in policy:
        return policy["use"]
    if "foreign" in policy:
        return policy
    if not policy["rules"]:
        return "all" if policy["default"] == "permit" else "none"
    return _filter(policy)


def _filter(policy: Json) -> Json:
    rules = [_rule(rule) for rule in policy["rules"]]
    return {"rules": rules, **({"default": "permit"} if policy["default"] == "permit" else {})}


def _rule(rule: Mapping[str, Json]) -> Json:
    said = {key: _single(part) for key, part in rule.items()}
    if "prefix" in said:
        said |= {"ge": None, "le": None} | dict(_bounds(rule))
    if isinstance(said.get("prefixes"), list):
        said["prefixes"] = [_range(one) for one in said["prefixes"]]
    if "set" in said:
        said["set"] = {key: _single(part) for key, part in rule["set"].items()}
    return {key: part for key, part in said.items() if part is not None}


def _single(part: Json) -> Json:
    return part[0] if isinstance(part, list) and len(part) == 1 else part


def _range(one: Mapping[str, Json]) -> Json:
    """Return prefixes as a document has them: one that is alone by itself."""
    bounds = dict(_bounds(one))
    return {"prefix": one["prefix"], **bounds} if bounds else one["prefix"]


def _bounds(one: Mapping[str, Json]) -> Iterator[tuple[str, int]]:
    length = int(one["prefix"].partition("/")[2])
    longest = 128 if ":" in one["prefix"] else 32
    if one["ge"] == one["le"] == length:
        return
    if one["ge"] != length or one["le"] == longest:
        yield "ge", one["ge"]
    if one["le"] != longest:
        yield "le", one["le"]


def _set(one: Mapping[str, Json]) -> Json:
    said = {key: part for key, part in one.items() if part}
    for family in Family:
        if family in said:
            said[str(family)] = [_range(each) for each in said[family]]
    if "asns" in said:
        said["asns"] = [_asns(each) for each in said["asns"]]
    return said


def _asns(span: str) -> Json:
    low, _, high = span.partition("-")
    return int(low) if low == high else span


# --- what feeds BGP, and what it feeds


def _channelled(one: Mapping[str, Json]) -> dict[str, Json]:
    said = {key: part for key, part in one.items() if _KERNEL.get(key, "") != part}
    for key in _POLICIES:
        if key in said:
            said[key] = _policy(said[key])
    return said


def _kernels(kernels: Mapping[str, Json], usual: Mapping[str, Json]) -> dict[str, Json]:
    if kernels == usual:
        return {}
    if kernels.keys() != _SHORT:
        return {"kernels": {name: _channelled(one) for name, one in kernels.items()}}
    both = {family: _channelled(kernels[f"kernel{family.digit}"]) for family in Family}
    said = {
        key: part
        for key, part in both[Family.IPV4].items()
        if key not in ("table", "source_address", *_POLICIES)
    }
    for key in ("export", "import", "source_address"):
        parts = {str(family): one[key] for family, one in both.items() if key in one}
        if parts:
            said[key] = _once(parts, set(Family), rules=False) if key in _POLICIES else parts
    if said.get("learn"):
        # Who learns takes everything, unless a document says otherwise.
        said["import"] = said.get("import", {})
        if said["import"] == "all":
            del said["import"]
    return {"kernel": said}


def _route(one: Mapping[str, Json]) -> Json:
    said = {key: _single(part) for key, part in one.items()}
    if "via" in said:
        hops = [_hop(hop) for hop in one["via"]]
        said["via"] = _single(hops)
    return said


def _hop(hop: Mapping[str, Json]) -> Json:
    said = {key: part for key, part in hop.items() if part is not False}
    if said.keys() <= {"address"} or said.keys() <= {"interface"}:
        return next(iter(said.values()))
    return said
