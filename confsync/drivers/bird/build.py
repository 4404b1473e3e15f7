"""From a document's shape to the explicit value: every default, fallback and inheritance.

Separate from `schema` because nothing can be of the wrong type any more; what is refused here is
a value that cannot be derived, one that is written where it can have no effect, or a name that
nothing bears.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address
from typing import Final, TypeVar

from pydantic import BaseModel

from confsync.drivers.bird import guards
from confsync.drivers.bird.bgp import (
    SECTION,
    Announcement,
    Bgp,
    Channel,
    Limit,
    Peer,
    Session,
    Timers,
    Withheld,
)
from confsync.drivers.bird.host_build import Host
from confsync.drivers.bird.peer_shapes import PeerDefaults, PeerShape
from confsync.drivers.bird.policy import Family, Policy
from confsync.drivers.bird.policy_build import Policies
from confsync.drivers.bird.policy_shapes import Each, FilterShape, FiltersShape, Withhold
from confsync.drivers.bird.schema import Document
from confsync.model.errors import Violation, Violations, nearest
from confsync.model.ids import Path

M = TypeVar("M", bound=BaseModel)
PLAIN: Final = (
    *("local_as", "multihop", "bfd", "passive", "required", "description", "password_file"),
    *("setkey", "local_port", "port", "strict_bind", "ttl_security", "rr_client"),
    *("rr_cluster_id", "rs_client", "allow_local_as", "enforce_first_as", "role"),
    *("graceful_restart", "graceful_restart_s", "llgr", "llgr_stale_s"),
    *("interpret_communities", "path_metric", "med_metric", "default_med"),
    *("default_local_pref", "cost", "extended_messages", "disable_after_error", "check_link"),
    *("dynamic_name", "dynamic_name_digits"),
)
"""The fields of a peer that mean what they say."""
CHANNEL: Final = (
    *("table", "preference", "extended_next_hop", "gateway", "igp_table", "import_table"),
    *("keep_filtered",),
)
LIMITS: Final = ("import_limit", "receive_limit", "export_limit")


def build(document: Document) -> tuple[Bgp, Violations]:
    """Return the explicit value, and what could not be derived."""
    policies = Policies(document.filters, document.sets)
    host = Host(document, policies)
    faults = [fault for name, own in document.peers.items() for fault in _astray(name, own)]
    shapes = {name: _inherited(name, own, document, faults) for name, own in document.peers.items()}
    peers = tuple(_peer(name, shape, document, policies) for name, shape in sorted(shapes.items()))
    router_id = document.router_id or _only_source(peers)
    if router_id is None:
        faults.append(_no_router_id(peers))
    value = Bgp(
        router_id=router_id if isinstance(router_id, IPv4Address) else None,
        local_as=document.local_as,
        peers=peers,
        announce=tuple(Announcement(*item) for item in sorted(document.announce.items())),
        syncers=host.syncers(),
        bfd=host.bfd(),
        routes=host.routes(),
        tables=host.tables(),
        pipes=host.pipes(),
        direct=host.direct(),
        sets=policies.sets(),
        filters=policies.named(),
        foreign=host.foreign(),
        daemon=host.daemon(),
        drain=_withheld(document.drain),
    )
    faults.extend(_tables_astray(value, host))
    return value, (*faults, *host.faults, *_once(policies.faults))


def _once(faults: list[Violation]) -> Iterator[Violation]:
    """Tell each fault once: a filter that several use is looked at for each of them."""
    yield from dict.fromkeys(faults)


def _inherited(name: str, own: PeerShape, document: Document, faults: list[Violation]) -> PeerShape:
    """Lay a peer over its group, and both over the defaults."""
    base: PeerDefaults = document.peer_defaults
    if own.group and own.group not in document.groups:
        known = tuple(document.groups)
        hint = nearest(own.group, known) if known else "add it under groups"
        message = f"there is no group {own.group}"
        faults.append(Violation("CS-V072", (SECTION, "peers", name, "group"), message, hint))
    elif own.group:
        base = _over(base, document.groups[own.group])
    return _over(base, own)


def _over(base: BaseModel, own: M) -> M:
    """Lay a map over its defaults: deeply for maps, lists and scalars are replaced whole.

    Why a policy may be no map: one that names a filter has nothing in common with rules.
    """
    inherited: dict[str, object] = {}
    for name in base.model_fields_set:
        theirs, mine = getattr(base, name), getattr(own, name)
        if name not in own.model_fields_set:
            inherited[name] = theirs
        elif isinstance(theirs, BaseModel) and isinstance(mine, BaseModel) and _alike(theirs, mine):
            inherited[name] = _over(theirs, mine)
    return own.model_copy(update=inherited)


def _alike(theirs: BaseModel, mine: BaseModel) -> bool:
    if isinstance(theirs, Withhold):
        return False
    both = theirs.model_fields_set | mine.model_fields_set
    return not (isinstance(mine, FilterShape) and both & {"use", "foreign"})


def _peer(name: str, shape: PeerShape, document: Document, policies: Policies) -> Peer:
    return Peer(
        name=name,
        asn=document.local_as if shape.asn is None else shape.asn,
        sessions=tuple(_sessions(name, shape, document, policies)),
        timers=Timers(**{key: getattr(shape, key) for key in Timers.__slots__}),
        guard=tuple(word for word in guards.WORDS if word in shape.guard),
        drain=_withheld(shape.drain),
        disabled=_withheld(shape.disabled),
        **{key: getattr(shape, key) for key in PLAIN},
    )


def _withheld(shape: Withhold | None) -> Withheld | None:
    return Withheld(shape.reason, shape.until) if shape else None


def _sessions(
    name: str, shape: PeerShape, document: Document, policies: Policies
) -> Iterator[Session]:
    for family in Family:
        neighbour, nets = getattr(shape, family), getattr(shape, f"{family}_range")
        if neighbour is None and nets is None:
            continue
        address, scope = neighbour or (None, "")
        carried = getattr(shape.families, family) or (str(family),)
        yield Session(
            family=family,
            neighbor=address,
            source=getattr(shape.source, family),
            channels=tuple(
                _channel(name, shape, one, document, policies)
                for one in Family
                if str(one) in carried
            ),
            neighbor_range=nets,
            interface=getattr(shape.interface, family) or scope,
            name=getattr(shape.name, family) or "",
        )


def _channel(
    name: str, shape: PeerShape, family: Family, document: Document, policies: Policies
) -> Channel:
    def policy(key: str, own: FiltersShape, common: FiltersShape) -> Policy | None:
        """Return a peer's policy: its own, else the section's, else none."""
        mine: FilterShape | None = getattr(own, family)
        place: Path = (SECTION, "peers", name, key, str(family))
        if mine is None:
            return policies.chosen(getattr(common, family), family, (SECTION, key, str(family)))
        return policies.chosen(mine, family, place)

    said = {key: getattr(getattr(shape, key), family) for key in CHANNEL}
    for key in LIMITS:
        limit = getattr(getattr(shape, key), family)
        said[key] = limit and Limit(limit.routes, limit.action)
    ways = shape.add_paths
    return Channel(
        family=family,
        imports=policy("import", shape.imports, document.imports),
        exports=policy("export", shape.exports, document.exports),
        next_hop=_next_hop(shape, family, document.local_as),
        add_paths=(getattr(ways, family) or "").replace("off", ""),
        **{key: value for key, value in said.items() if value is not None},
    )


def _next_hop(shape: PeerShape, family: Family, local_as: int) -> str:
    """Return what is told as next hop: ourselves by default inside our own AS."""
    said: Each[str] = shape.next_hop
    if chosen := getattr(said, family):
        return "" if chosen == "auto" else str(chosen)
    ours = local_as if shape.local_as is None else shape.local_as
    inside = shape.asn in (None, "internal", ours)
    return "self" if (inside if shape.next_hop_self is None else shape.next_hop_self) else ""


def _astray(name: str, own: PeerShape) -> Violations:
    """Refuse what a peer itself says about a family that it has no address in.

    Why: `peer_defaults` may speak of both families, and a name for both; a peer that speaks of one
    by mistake may not.
    """
    place = (SECTION, "peers", name)
    at = [f for f in Family if _is_met(own, f)]
    carried = {one for f in at for one in getattr(own.families, f) or (str(f),)}
    faults = [
        Violation(
            "CS-V055",
            (*place, key, str(family)),
            f"the peer has no {family} address",
            f"add peers.{name}.{family}, or remove this",
        )
        for family in Family
        for key, shape in (("source", own.source), ("import", own.imports), ("export", own.exports))
        if getattr(shape, family) is not None
        and (family not in at if key == "source" else str(family) not in carried)
        and not (key != "source" and shape.ipv4 == shape.ipv6)
        and not _said_twice(shape)
    ]
    for family in at:
        if getattr(own, family) is not None and getattr(own, f"{family}_range") is not None:
            message = "a neighbour has an address or a range, not both"
            faults.append(Violation("CS-V075", (*place, f"{family}_range"), message, "keep one"))
    if len(at) > 1 and own.name.ipv4 is not None and own.name.ipv4 == own.name.ipv6:
        message = f"two sessions cannot both be called {own.name.ipv4}"
        faults.append(Violation("CS-V076", (*place, "name"), message, "name ipv4 and ipv6 apart"))
    return tuple(faults)


def _said_twice(shape: BaseModel) -> bool:
    """Tell whether one name stands for both families."""
    both = [getattr(shape, str(family)) for family in Family]
    return all(isinstance(one, FilterShape) and (one.use or one.foreign) for one in both) and (
        (both[0].use, both[0].foreign) == (both[1].use, both[1].foreign)
    )


def _is_met(own: PeerShape, family: Family) -> bool:
    return getattr(own, family) is not None or getattr(own, f"{family}_range") is not None


def _tables_astray(value: Bgp, host: Host) -> Iterator[Violation]:
    """Refuse a table that is not there, or that holds routes of the other family."""
    for peer, session in value.pairs:
        for channel in session.channels:
            for key, table in (("table", channel.table), ("igp_table", channel.igp_table)):
                if table:
                    place = (SECTION, "peers", peer.name, key, str(channel.family))
                    yield from host.misplaced(table, channel.family, place)


def _only_source(peers: tuple[Peer, ...]) -> IPv4Address | None:
    sources = _ipv4_sources(peers)
    return sources.pop() if len(sources) == 1 else None


def _ipv4_sources(peers: tuple[Peer, ...]) -> set[IPv4Address]:
    found = (session.source for peer in peers for session in peer.sessions)
    return {source for source in found if isinstance(source, IPv4Address)}


def _no_router_id(peers: tuple[Peer, ...]) -> Violation:
    sources = sorted(_ipv4_sources(peers))
    why = f"they are {', '.join(map(str, sources[:4]))}" if sources else "there is none"
    message = f"missing, and the peers have not one IPv4 source address in common: {why}"
    hint = "set router_id; `auto` leaves it to BIRD"
    return Violation("CS-V053", (SECTION, "router_id"), message, hint)
