"""From a document's shape to the explicit value: every default, fallback and inheritance.

Separate from `schema` because nothing can be of the wrong type any more; what is refused here is
a value that cannot be derived, or one that is written where it can have no effect.
"""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Final, TypeVar

from pydantic import BaseModel

from confsync.drivers.bird.bgp import (
    SECTION,
    Announcement,
    Bfd,
    Bgp,
    Family,
    Filter,
    Kernel,
    Peer,
    Rule,
    Session,
    Timers,
)
from confsync.drivers.bird.schema import AnyFilter, AnyRule, Document, FiltersShape, PeerShape
from confsync.model.errors import Violation, Violations

M = TypeVar("M", bound=BaseModel)
_NO_ROUTER_ID: Final = IPv4Address(0)


def build(document: Document) -> tuple[Bgp, Violations]:
    """Return the explicit value, and what could not be derived."""
    faults = [fault for name, own in document.peers.items() for fault in _astray(name, own)]
    peers = tuple(
        _peer(name, _over(document.peer_defaults, own), document)
        for name, own in sorted(document.peers.items())
    )
    router_id = document.router_id or _only_source(peers)
    if router_id is None:
        faults.append(_no_router_id(peers))
    value = Bgp(
        router_id=router_id or _NO_ROUTER_ID,
        local_as=document.local_as,
        peers=peers,
        announce=tuple(Announcement(*item) for item in sorted(document.announce.items())),
        kernel=Kernel(document.kernel.export, document.kernel.learn),
        bfd=Bfd(document.bfd.interval_ms, document.bfd.multiplier),
    )
    return value, tuple(faults)


def _over(base: BaseModel, own: M) -> M:
    """Lay a map over its defaults: deeply for maps, lists and scalars are replaced whole."""
    inherited: dict[str, object] = {}
    for name in base.model_fields_set:
        theirs, mine = getattr(base, name), getattr(own, name)
        if name not in own.model_fields_set:
            inherited[name] = theirs
        elif isinstance(theirs, BaseModel) and isinstance(mine, BaseModel):
            inherited[name] = _over(theirs, mine)
    return own.model_copy(update=inherited)


def _peer(name: str, shape: PeerShape, document: Document) -> Peer:
    asn = document.local_as if shape.asn is None else shape.asn
    nexthop = shape.next_hop_self
    return Peer(
        name=name,
        asn=asn,
        sessions=_sessions(shape, document),
        timers=Timers(**{key: getattr(shape, key) for key in Timers.__slots__}),
        multihop=shape.multihop,
        bfd=shape.bfd,
        passive=shape.passive,
        next_hop_self=asn == document.local_as if nexthop is None else nexthop,
        required=shape.required,
        description=shape.description,
        password_file=shape.password_file,
    )


def _sessions(shape: PeerShape, document: Document) -> tuple[Session, ...]:
    return tuple(
        Session(
            family=family,
            neighbor=getattr(shape, family),
            source=getattr(shape.source, family),
            imports=_filter(family, shape.imports, document.imports),
            exports=_filter(family, shape.exports, document.exports),
        )
        for family in Family
        if getattr(shape, family) is not None
    )


def _filter(family: Family, own: FiltersShape, common: FiltersShape) -> Filter | None:
    """Return a peer's filter: its own, else the section's, else none."""
    shape: AnyFilter | None = getattr(own, family) or getattr(common, family)
    if shape is None:
        return None
    return Filter(tuple(_rule(one) for one in shape.rules), shape.default)


def _rule(shape: AnyRule) -> Rule:
    """Return a rule with both bounds: without `ge` and `le` only the prefix itself matches."""
    length = shape.prefix.prefixlen
    longest = length if shape.ge is None else shape.prefix.max_prefixlen
    return Rule(
        prefix=shape.prefix,
        low=length if shape.ge is None else shape.ge,
        high=longest if shape.le is None else shape.le,
        permit=shape.action,
    )


def _astray(name: str, own: PeerShape) -> Violations:
    """Refuse what a peer itself says about a family that it has no address in.

    Why: `peer_defaults` may speak of both families, a peer that does so by mistake may not.
    """
    return tuple(
        Violation(
            "CS-V055",
            (SECTION, "peers", name, key, family),
            f"the peer has no {family} address",
            f"add peers.{name}.{family}, or remove this",
        )
        for family in Family
        for key, shape in (("source", own.source), ("import", own.imports), ("export", own.exports))
        if getattr(own, family) is None and getattr(shape, family) is not None
    )


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
    return Violation("CS-V053", (SECTION, "router_id"), message, "set router_id")
