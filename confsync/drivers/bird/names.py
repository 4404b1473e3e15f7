"""What the things of a value are called in BIRD: its protocols, filters, sets and tables.

Separate because rendering, rules, health and adoption must speak of the same names. BIRD has one
space of names for all of them: what documents name is lower case, so the capitals that stand
between keep filters and sets apart from protocols.

Why a map of kept names: a host that was adopted goes on calling its protocols as it did, since a
protocol by another name is another protocol, and its sessions would fall.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from confsync.drivers.bird.bgp import Bgp, Pipe, StaticRoute, Syncer
from confsync.drivers.bird.policy import Family, NamedSet, family_of

DEVICE: Final = "cs_device"
DIRECT: Final = "cs_direct"
BFD: Final = "cs_bfd"
SHORT_FORM: Final = frozenset({"kernel4", "kernel6"})  # the syncers of a document's `kernel`
NO_NAMES: Final[Mapping[str, str]] = {}


def announcer(family: Family) -> str:
    """Return the protocol that originates what we announce."""
    return f"cs_announce{family.digit}"


def filter_symbol(name: str, family: Family) -> str:
    """Return one family's half of a named filter."""
    return f"cs_FILTER_{_plain(name)}_{family}"


def set_symbol(name: str, part: str) -> str:
    """Return one part of a named set: ipv4, ipv6, asns, pairs or larges."""
    return f"cs_SET_{_plain(name)}_{part}"


def set_parts(one: NamedSet) -> tuple[str, ...]:
    """Return the parts of a set that hold something; an empty one is not written."""
    members = {
        "ipv4": one.ipv4,
        "ipv6": one.ipv6,
        "asns": one.asns,
        "pairs": one.communities,
        "larges": one.large_communities,
    }
    return tuple(part for part, held in members.items() if held)


def syncer_protocol(one: Syncer) -> str:
    """Return the protocol of a kernel syncer."""
    if one.protocol:
        return one.protocol
    return f"cs_{one.name}" if one.name in SHORT_FORM else f"cs_kernel_{_plain(one.name)}"


def pipe_protocol(one: Pipe) -> str:
    """Return the protocol of a pipe."""
    return one.protocol or f"cs_pipe_{_plain(one.name)}"


def table_of(route: StaticRoute) -> str:
    """Return the table that a static route goes to."""
    return route.table or family_of(route.prefix).master


def static_protocol(table: str) -> str:
    """Return the protocol of a table's static routes."""
    masters = {family.master: f"cs_static{family.digit}" for family in Family}
    return masters.get(table) or f"cs_static_{_plain(table)}"


class Statics(NamedTuple):
    """One protocol of static routes: its table's own, or one that documents name."""

    protocol: str
    table: str
    family: Family
    routes: tuple[StaticRoute, ...]


def statics(value: Bgp) -> tuple[Statics, ...]:
    """Return the protocols of static routes, by table and name."""
    found: dict[tuple[str, str], list[StaticRoute]] = {}
    for route in value.routes:
        found.setdefault((table_of(route), route.protocol), []).append(route)
    return tuple(
        Statics(
            protocol or static_protocol(table), table, family_of(routes[0].prefix), tuple(routes)
        )
        for (table, protocol), routes in sorted(found.items())
    )


def needs_direct(value: Bgp) -> bool:
    """Tell whether the host's own networks are wanted as routes.

    Why: the next hop of a neighbour several hops away is resolved over them.
    """
    return value.direct is not None or any(peer.multihop for peer in value.peers)


def announcers(value: Bgp, *, whole: bool = True) -> tuple[Family, ...]:
    """Return the families that have a protocol to announce; our own file always has both."""
    return tuple(family for family in Family if whole or value.announced(family))


def syncers(value: Bgp, *, whole: bool = True) -> tuple[Syncer, ...]:
    """Return the kernel protocols that are written; the short form's are the main file's."""
    return tuple(one for one in value.syncers if whole or one.name not in SHORT_FORM)


def protocols(
    value: Bgp, names: Mapping[str, str] = NO_NAMES, *, whole: bool = True
) -> tuple[str, ...]:
    """Return the names of all protocols that the file defines, in its order."""
    return tuple(names.get(own, own) for own in _protocols(value, whole=whole))


def _protocols(value: Bgp, *, whole: bool) -> Iterator[str]:
    if whole:
        yield value.daemon.device_protocol or DEVICE
    if whole and needs_direct(value):
        yield (value.direct and value.direct.protocol) or DIRECT
    yield from (syncer_protocol(one) for one in syncers(value, whole=whole))
    yield from map(pipe_protocol, value.pipes)
    yield from (announcer(family) for family in announcers(value, whole=whole))
    yield from (one.protocol for one in statics(value))
    if whole:
        yield value.bfd.protocol or BFD
    yield from (peer.protocol(session) for peer, session in value.pairs)


def symbols(
    value: Bgp, names: Mapping[str, str] = NO_NAMES, *, whole: bool = True
) -> tuple[str, ...]:
    """Return every name that the file defines; BIRD refuses one that comes twice."""
    return (
        *(one.name for one in value.tables),
        *(set_symbol(one.name, part) for one in value.sets for part in set_parts(one)),
        *(
            filter_symbol(one.name, family)
            for one in value.filters
            for family in Family
            if getattr(one, family) is not None
        ),
        *protocols(value, names, whole=whole),
    )


def _plain(name: str) -> str:
    """Return a document's name without dashes, which BIRD takes in quotes only."""
    return name.replace("-", "D")
