"""What a changed `bgp` field does to users, and the differences between two values.

Separate because it is knowledge measured on the daemon (2.0.12), kept as data: the tests change
each field on two real speakers and compare. A field that is not in the table is a fault here, not
a guess.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from confsync.drivers.bird.bgp import SECTION, Bgp, Family, tree_of
from confsync.model.ids import Json, ObjectId, dotted
from confsync.model.plan import Difference, Impact

_Flat = dict[tuple[str, ...], Json]
_RESET: Final = Impact.SESSION_RESET

# Fields of the section; what stands below one of them shares its impact.
SECTION_IMPACT: Final[Mapping[str, Impact]] = {
    "router_id": _RESET,
    "local_as": _RESET,
    "announce": Impact.HITLESS,
    "kernel": Impact.KERNEL_RESTART,
    "bfd": Impact.HITLESS,
}
# Fields of a peer. BIRD compares the configuration of a session byte by byte: even a timer that
# is not running restarts it.
PEER_IMPACT: Final[Mapping[str, Impact]] = {
    "ipv4": _RESET,
    "ipv6": _RESET,
    "asn": _RESET,
    "source": _RESET,
    "multihop": _RESET,
    "passive": _RESET,
    "password_file": _RESET,
    "hold_s": _RESET,
    "keepalive_s": _RESET,
    "connect_delay_s": _RESET,
    "connect_retry_s": _RESET,
    "error_wait_min_s": _RESET,
    "error_wait_max_s": _RESET,
    "bfd": _RESET,
    "description": Impact.HITLESS,
    "import": Impact.HITLESS,
    "export": Impact.HITLESS,
    "next_hop_self": Impact.HITLESS,
    "required": Impact.HITLESS,
}


def differences(had: Bgp | None, want: Bgp) -> tuple[Difference, ...]:
    """Return what changes, in a stable order; `had` None = everything is new."""
    old, new = {} if had is None else tree_of(had), tree_of(want)
    whole = frozenset(old.get("peers", {}).keys() ^ new["peers"].keys())
    before, after = _flat(old, whole), _flat(new, whole)
    existing = objects(had)
    return tuple(
        _difference(path, before.get(path), after.get(path), existing)
        for path in sorted({*before, *after})
        if before.get(path) != after.get(path)
    )


def objects(value: Bgp | None) -> frozenset[ObjectId]:
    """Return the peers, sessions and prefixes that a value keeps on the host."""
    if value is None:
        return frozenset()
    return frozenset(
        {
            *(_peer_id(peer.name) for peer in value.peers),
            *(peer.session_id(session) for peer, session in value.pairs),
            *(_prefix_id(one.name) for one in value.announce),
        }
    )


def _peer_id(name: str) -> ObjectId:
    return ObjectId("peer", f"{SECTION}.peers", name)


def _prefix_id(name: str) -> ObjectId:
    return ObjectId("prefix", f"{SECTION}.announce", name)


def _flat(tree: Json, whole: frozenset[str], path: tuple[str, ...] = ()) -> _Flat:
    """Return the smallest places that people compare; a filter and a `whole` peer is one place."""
    match path:
        case ("peers", name) if name in whole:
            return {path: tree}
        case ("peers", _, "import" | "export", _):
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
            return Impact.HITLESS if before is None else _RESET
        case ("peers", _, "bfd"):
            # Our own end does not mind; the peer that loses its BFD neighbour ends the session.
            return Impact.HITLESS if after else PEER_IMPACT["bfd"]
        case ("peers", _, key, *_):
            return PEER_IMPACT[key]
        case _:
            return Impact.HITLESS if before is None else SECTION_IMPACT[path[0]]


def _is_hit(one: ObjectId, path: tuple[str, ...], impact: Impact) -> bool:
    """Tell whether a change at a path removes or interrupts an object that exists."""
    kind, group, name = one
    match path:
        case ("announce", changed):
            return kind == "prefix" and name == changed
        case ("peers", changed):
            return kind in {"peer", "session"} and name == changed
        case _ if impact is not _RESET or kind != "session":
            return False
        case ("peers", changed, *rest):
            families = [part for part in rest if part in list(Family)]
            return name == changed and (not families or group == f"{SECTION}.{families[0]}")
        case _:
            return True
