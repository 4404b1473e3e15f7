"""What was found, by the names that the wanted document has for the same things.

Separate because a document's names are its author's: a neighbour is the same one by its address, a
kernel table by its number. Without this a first plan would remove each thing and add it again.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TypeVar

from confsync.drivers.bird import names as naming
from confsync.drivers.bird.bgp import Bgp, Peer, Pipe, Session, StaticRoute, Syncer

T = TypeVar("T", Syncer, Pipe)


def aligned(found: Bgp, want: Bgp, names: Mapping[str, str]) -> tuple[Bgp, dict[str, str]]:
    """Return the value that was found, and the file's names of protocols, by the wanted names."""
    kept = {own: name for own, name in names.items() if own not in _varying(found)}
    peers = tuple(_peers(found.peers, want.peers))
    made = replace(
        found,
        peers=tuple(sorted(peers, key=lambda one: one.name)),
        syncers=_renamed(found.syncers, want.syncers),
        pipes=_renamed(found.pipes, want.pipes),
        routes=_routes(found.routes, want.routes),
    )
    old = {_key(s): names.get(p.protocol(s), p.protocol(s)) for p, s in found.pairs}
    kept |= {p.protocol(s): old[_key(s)] for p, s in made.pairs}
    for one in found.syncers:
        same = next(new for new in made.syncers if _place(new) == _place(one))
        own = naming.syncer_protocol(one)
        kept[naming.syncer_protocol(same)] = names.get(own, own)
    for pipe in found.pipes:
        other = next(new for new in made.pipes if _place(new) == _place(pipe))
        own = naming.pipe_protocol(pipe)
        kept[naming.pipe_protocol(other)] = names.get(own, own)
    return _named(made, want, kept), kept


def _varying(found: Bgp) -> set[str]:
    """Return the protocols whose names depend on what a document calls things."""
    return {
        *(peer.protocol(session) for peer, session in found.pairs),
        *map(naming.syncer_protocol, found.syncers),
        *map(naming.pipe_protocol, found.pipes),
    }


def _key(session: Session) -> Hashable:
    """Return what a session is known by."""
    return (session.neighbor, session.neighbor_range, session.interface)


def _bare(peer: Peer) -> str:
    return repr(replace(peer, name="", sessions=()))


def _peers(found: tuple[Peer, ...], want: tuple[Peer, ...]) -> Iterator[Peer]:
    """Yield what was found, each neighbour by its wanted name; the others by a name of their own.

    Why both sessions of a neighbour may still be two peers: a peer has one set of options.
    """
    left = list(found)
    taken = {peer.name for peer in want}
    for peer in want:
        keys = {_key(session) for session in peer.sessions}
        owners = [one for one in left if keys & {_key(session) for session in one.sessions}]
        owners = [one for one in owners if _bare(one) == _bare(owners[0])]
        if not owners:
            continue
        sessions = [session for one in owners for session in one.sessions]
        if len({session.family for session in sessions}) < len(sessions):
            owners, sessions = owners[:1], list(owners[0].sessions)
        left = [one for one in left if one not in owners]
        ordered = tuple(sorted(sessions, key=lambda one: one.family))
        yield replace(owners[0], name=peer.name, sessions=ordered)
    for one in left:
        yield replace(one, name=f"{one.name}-found") if one.name in taken else one


def _place(one: Syncer | Pipe) -> Hashable:
    """Return what a kernel protocol or a pipe is known by; BIRD has no two of the same."""
    return (one.table, one.peer_table if isinstance(one, Pipe) else "")


def _renamed(found: tuple[T, ...], want: Iterable[T]) -> tuple[T, ...]:
    wanted = {_place(one): one.name for one in want}
    taken = set(wanted.values())
    made = [replace(one, name=wanted.get(_place(one)) or _other(one.name, taken)) for one in found]
    return tuple(sorted(made, key=lambda one: one.name))


def _other(name: str, taken: set[str]) -> str:
    return f"{name}-found" if name in taken else name


def _routes(
    found: tuple[StaticRoute, ...], want: tuple[StaticRoute, ...]
) -> tuple[StaticRoute, ...]:
    wanted = {(one.prefix, naming.table_of(one)): one.name for one in want}
    taken = set(wanted.values())
    made = [
        replace(
            one,
            name=wanted.get((one.prefix, naming.table_of(one))) or _other(one.name, taken),
        )
        for one in found
    ]
    return tuple(sorted(made, key=lambda one: one.name))


def _named(made: Bgp, want: Bgp, kept: Mapping[str, str]) -> Bgp:
    """Return the value with the protocols' names where the wanted document says the same."""
    said = {
        *(session.name for _, session in want.pairs),
        *(one.protocol for one in want.syncers),
        *(one.protocol for one in want.pipes),
    }

    def called(own: str) -> str:
        name = kept.get(own, own)
        return name if name in said else ""

    return replace(
        made,
        peers=tuple(
            replace(
                peer,
                sessions=tuple(
                    replace(one, name=called(peer.protocol(one))) for one in peer.sessions
                ),
            )
            for peer in made.peers
        ),
        syncers=tuple(
            replace(one, protocol=called(naming.syncer_protocol(one))) for one in made.syncers
        ),
        pipes=tuple(replace(one, protocol=called(naming.pipe_protocol(one))) for one in made.pipes),
        direct=_fixed(made.direct, want.direct, kept.get(naming.DIRECT)),
        bfd=_fixed(made.bfd, want.bfd, kept.get(naming.BFD)),
        daemon=replace(made.daemon, device_protocol=want.daemon.device_protocol)
        if want.daemon.device_protocol == kept.get(naming.DEVICE, naming.DEVICE)
        else made.daemon,
    )


F = TypeVar("F")


def _fixed(found: F, wanted: F, name: str | None) -> F:
    """Return a part that there is once, by its name where the wanted one has the same."""
    said = getattr(wanted, "protocol", "")
    if found is None or not said or said != name:
        return found
    named: F = replace(found, protocol=said)  # type: ignore[type-var]
    return named
