"""What a changed `bgp` field does to users, and the differences between two values.

Separate because it is knowledge measured on the daemon (2.0.12), kept as data: the tests change
each field on two real speakers and compare. A field that is not in the table is a fault here, not
a guess.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from confsync.drivers.bird.bgp import SECTION, Bgp
from confsync.drivers.bird.policy import Family
from confsync.drivers.bird.tree import tree_of
from confsync.model.ids import Json, ObjectId, dotted
from confsync.model.plan import Difference, Impact

_Flat = dict[tuple[str, ...], Json]
_RESET: Final = Impact.SESSION_RESET

_FLAP: Final = Impact.ROUTE_FLAP
_NONE: Final = Impact.HITLESS

# Fields of the section; what stands below one of them shares its impact, unless told apart below.
SECTION_IMPACT: Final[Mapping[str, Impact]] = {
    "router_id": _RESET,
    "local_as": _RESET,
    "announce": _NONE,
    "routes": _NONE,
    "sets": _NONE,
    "filters": _NONE,
    "foreign": _NONE,
    "tables": _NONE,
    "kernels": Impact.KERNEL_RESTART,
    "pipes": _FLAP,
    "direct": _FLAP,
    "bfd": _NONE,
    "daemon": _NONE,
    "drain": _NONE,
}
# Parts of these that differ from the whole.
PART_IMPACT: Final[Mapping[tuple[str, str], Impact]] = {
    ("kernels", "import"): _NONE,
    ("kernels", "export"): _NONE,
    ("kernels", "source_address"): _NONE,
    ("kernels", "preference"): _NONE,
    ("kernels", "persist"): _NONE,
    ("kernels", "graceful_restart"): _NONE,
    ("pipes", "import"): _NONE,
    ("pipes", "export"): _NONE,
    ("bfd", "name"): _RESET,
    ("daemon", "device_name"): _RESET,
}
# Fields of a peer. BIRD compares the configuration of a session byte by byte: even a timer that
# is not running restarts it.
PEER_IMPACT: Final[Mapping[str, Impact]] = {
    **dict.fromkeys(
        (
            *("ipv4", "ipv6", "ipv4_range", "ipv6_range", "interface", "name", "families"),
            *("asn", "local_as", "source", "multihop", "bfd", "passive", "password_file"),
            *("hold_s", "keepalive_s", "connect_delay_s", "connect_retry_s", "startup_hold_s"),
            *("error_wait_min_s", "error_wait_max_s", "error_forget_s"),
            *("setkey", "local_port", "port", "strict_bind", "ttl_security"),
            *("rr_client", "rr_cluster_id", "rs_client", "allow_local_as", "enforce_first_as"),
            *("role", "graceful_restart", "graceful_restart_s", "llgr", "llgr_stale_s"),
            *("interpret_communities", "path_metric", "med_metric", "default_med"),
            *("default_local_pref", "extended_messages", "disable_after_error"),
            *("dynamic_name", "dynamic_name_digits", "disabled"),
            *("table", "igp_table", "gateway", "extended_next_hop", "add_paths"),
            "import_table",
        ),
        _RESET,
    ),
    **dict.fromkeys(
        (
            *("description", "required", "check_link", "cost", "drain", "guard"),
            *("import", "export"),
            *("next_hop", "preference", "keep_filtered"),
            *("import_limit", "receive_limit", "export_limit"),
        ),
        _NONE,
    ),
}


def differences(had: Bgp | None, want: Bgp) -> tuple[Difference, ...]:
    """Return what changes, in a stable order; `had` None = everything is new."""
    old, new = {} if had is None else tree_of(had), tree_of(want)
    whole = frozenset(
        (group, name)
        for group in ("peers", "kernels", "pipes")
        for name in old.get(group, {}).keys() ^ new[group].keys()
    )
    before, after = _flat(_without(new, old), whole), _flat(_without(old, new), whole)
    existing = objects(had)
    return tuple(
        _difference(path, before.get(path), after.get(path), existing)
        for path in sorted({*before, *after})
        if before.get(path) != after.get(path)
    )


def impact_word(path: Sequence[str | int]) -> str:
    """Return what a change of an existing field does, in the plan's words; empty = it depends."""
    match path:
        case (
            ("peers", _, str(key), *_)
            | ("groups", _, str(key), *_)
            | ("peer_defaults", str(key), *_)
        ):
            known = None if key == "bfd" else PEER_IMPACT.get(key)
        case ("kernels" | "pipes" as group, _, str(key), *_):
            known = PART_IMPACT.get((group, key), SECTION_IMPACT[group])
        case (str(group), str(key), *_) if (group, key) in PART_IMPACT:
            known = PART_IMPACT[group, key]
        case (str(key), *_):
            known = SECTION_IMPACT.get(key)
        case _:
            known = None
    return str(known) if known else ""


def objects(value: Bgp | None) -> frozenset[ObjectId]:
    """Return the peers, sessions and prefixes that a value keeps on the host.

    Why sessions inside our own AS are counted once more where there are others as well: both
    reflectors at once are an outage, though a session with somebody else stays.
    """
    if value is None:
        return frozenset()
    inner = {
        peer.session_id(session)._replace(group=f"{SECTION}.{session.family}.internal")
        for peer, session in value.pairs
        if value.internal(peer)
    }
    mixed = {
        f"{SECTION}.{session.family}.internal"
        for peer, session in value.pairs
        if not value.internal(peer)
    }
    return frozenset(
        {
            *(_peer_id(peer.name) for peer in value.peers),
            *(peer.session_id(session) for peer, session in value.pairs),
            *(one for one in inner if one.group in mixed and _several(inner, one.group)),
            *(_prefix_id(one.name) for one in value.announce),
        }
    )


def _without(other: Json, tree: Json) -> Json:
    """Return a document without what another one has alike; peers are looked at one by one.

    Why: of hundreds of peers few change.
    """
    left = {key: part for key, part in tree.items() if key not in other or other[key] != part}
    if "peers" in left and "peers" in other:
        was = other["peers"]
        left["peers"] = {name: one for name, one in left["peers"].items() if was.get(name) != one}
    return left


def _several(ids: Collection[ObjectId], group: str) -> bool:
    return sum(one.group == group for one in ids) > 1


def _peer_id(name: str) -> ObjectId:
    return ObjectId("peer", f"{SECTION}.peers", name)


def _prefix_id(name: str) -> ObjectId:
    return ObjectId("prefix", f"{SECTION}.announce", name)


def _flat(tree: Json, whole: frozenset[tuple[str, ...]], path: tuple[str, ...] = ()) -> _Flat:
    """Return the smallest places that people compare; a filter and a `whole` thing is one place."""
    match path:
        case _ if path in whole:
            return {path: tree}
        case ("peers", _, _, _) | ("filters", _, _) | ("routes" | "sets", _):
            return {path: tree}
        case ("kernels" | "pipes", _, "import" | "export") | ("peers", _, "drain" | "disabled"):
            return {path: tree}
        case ("drain" | "direct",):
            return {path: tree}
    if not isinstance(tree, Mapping):
        return {path: tree}
    flat: _Flat = {}
    for key, part in tree.items():
        flat |= _flat(part, whole, (*path, key))
    return flat


def _difference(
    path: tuple[str, ...], before: Json, after: Json, existing: frozenset[ObjectId]
) -> Difference:
    impact = _impact(path, before, after)
    hits = frozenset(one for one in existing if _is_hit(one, path, impact))
    if impact is _RESET and not hits:
        impact = Impact.HITLESS
    op = "+" if before is None else "-" if after is None else "~"
    return Difference(op, dotted((SECTION, *path)), before, after, impact, hits)


def _impact(path: tuple[str, ...], before: Json, after: Json) -> Impact:
    """Look a change up; what did not exist before cannot be disturbed."""
    match path:
        case ("peers", _):
            return _NONE if before is None else _RESET
        case ("peers", _, "bfd"):
            # Our own end does not mind; the peer that loses its BFD neighbour ends the session.
            return _RESET if after == "off" else _NONE
        case ("peers", _, key, *_):
            return PEER_IMPACT[key]
        case ("kernels" | "pipes" as group, _, *rest):
            if not rest and before is None:
                return _NONE
            return PART_IMPACT.get((group, rest[0] if rest else ""), SECTION_IMPACT[group])
        case _:
            part = (path[0], path[1] if len(path) > 1 else "")
            if part in PART_IMPACT:
                return PART_IMPACT[part]
            known = SECTION_IMPACT[path[0]]
            return _NONE if before is None and known is not _FLAP else known


def _is_hit(one: ObjectId, path: tuple[str, ...], impact: Impact) -> bool:
    """Tell whether a change at a path removes or interrupts an object that exists.

    Why a channel's change hits every session of the peer that may carry it: the peer's own word
    for a family is of the routes there, and one session may carry both.
    """
    kind, group, name = one
    match path:
        case ("announce", changed):
            return kind == "prefix" and name == changed
        case ("peers", changed):
            return kind in {"peer", "session"} and name == changed
        case _ if impact is not _RESET or kind != "session":
            return False
        case ("peers", changed, *rest):
            told = [part.removesuffix("_range") for part in rest]
            families = [part for part in told if part in list(Family)]
            return name == changed and (not families or _of_family(group, families[0]))
        case _:
            return True


def _of_family(group: str, family: str) -> bool:
    return group.removeprefix(f"{SECTION}.").partition(".")[0] == family
