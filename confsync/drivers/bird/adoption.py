"""What adopting a live BIRD would record: names that must stay, and what stood there.

Separate because it is a judgement over three things that nobody else compares: the file, what
BIRD runs, and what is wanted. Pure: it is told all of them. A protocol by another name is another
protocol, so what exists keeps its name, whatever the document calls it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from confsync.drivers.bird.bgp import Bgp, Peer
from confsync.drivers.bird.importer.aligned import aligned
from confsync.drivers.bird.names import announcer
from confsync.drivers.bird.observe import View
from confsync.drivers.bird.ownership import Found, read_late
from confsync.drivers.bird.policy import Family
from confsync.drivers.bird.reading import Reading, read
from confsync.drivers.bird.render import protocols
from confsync.drivers.bird.tree import tree_of
from confsync.model.ids import canonical
from confsync.ports import Survey

_DYNAMIC: Final = "dynbgp"
_KINDS: Final = {
    "cs_device": ("Device", ""),
    "cs_direct": ("Direct", ""),
    "cs_bfd": ("BFD", ""),
    "cs_kernel4": ("Kernel", "master4"),
    "cs_kernel6": ("Kernel", "master6"),
    "cs_announce4": ("Static", "master4"),
    "cs_announce6": ("Static", "master6"),
}
_ANNOUNCERS: Final = frozenset(map(announcer, Family))
_SHOWN: Final = 5


def survey(found: Found, seen: View, want: Bgp | None, problem: str) -> Survey:
    """Return what adopting would record; `problem` is what the driver knows against it already."""
    if found.ours:
        return Survey(None, f"{found.file} is confsync's already")
    reading = read(found)
    problem = (
        problem
        or found.misdrawn
        or (found.tree.problem if found.tree and not found.main else "")
        or _stale(found, seen)
        or reading.problem
        or ("" if reading.fragment else _mismatch(reading, seen))
    )
    if problem:
        return Survey(None, problem, reading.lost, reading.draft)
    had, names = reading.value, dict(reading.names)
    if want and had:
        had, names = aligned(had, want, names)
    if want:
        names = keep_names(want, replace(reading, names=names), seen)
    record = {
        "disk": found.disk,
        "files": dict(found.drawn_in),
        "names": names,
        "had": json.loads(canonical(tree_of(had))) if had else None,
        "lost": list(reading.lost),
    }
    return Survey(record, "", reading.lost, reading.draft)


def keep_names(want: Bgp, reading: Reading, seen: View) -> dict[str, str]:
    """Return the existing name of each wanted protocol that is there by another one.

    Shape: what the file's own reading names comes first; sessions are else known by neighbour and
    families, the others by kind and table.
    """
    taken: set[str] = set()
    kept: dict[str, str] = {}
    for own, candidates in _candidates(want, reading, seen):
        free = [name for name in candidates if name not in taken]
        if not free:
            continue
        taken.add(free[0])
        if free[0] != own:
            kept[own] = free[0]
    return kept


def _candidates(want: Bgp, reading: Reading, seen: View) -> Iterator[tuple[str, list[str]]]:
    ours = reading.protocols if reading.fragment else seen.protocols.keys()
    there = {name: one for name, one in seen.protocols.items() if name in ours}
    for peer, session in want.pairs:
        matching = [
            name
            for name, one in there.items()
            if one.proto == "BGP"
            and one.neighbor.partition("%")[0] == str(session.neighbor).partition("%")[0]
            and set(one.channels) == {str(session.family)}
        ]
        yield peer.protocol(session), [*_read(peer.protocol(session), reading, there), *matching]
    # What we announce comes last: it may take the name of a static protocol that nobody else has.
    for own in sorted(protocols(want), key=_ANNOUNCERS.__contains__):
        proto, table = _KINDS.get(own, ("", ""))
        kind = [
            name for name, one in there.items() if one.proto == proto and table in ("", one.table)
        ]
        yield own, [*_read(own, reading, there), *kind]


def _read(own: str, reading: Reading, there: Mapping[str, object]) -> list[str]:
    """Return what the file calls a protocol, if it runs."""
    name = reading.names.get(own, own)
    return [name] if name in there else []


def _stale(found: Found, seen: View) -> str:
    if not read_late(found, seen):
        return ""
    root = found.main or found.file
    return f"{root} was written after BIRD last read it: have BIRD read it first (configure)"


def _mismatch(reading: Reading, seen: View) -> str:
    """Return where BIRD runs other sessions than the file says; empty = nowhere.

    Why so roundabout: BIRD does not tell its configuration, only what it made of it.
    """
    ranges = [peer.dynamic_name or _DYNAMIC for peer in _ranges(reading.value)]
    runs = {
        name: one.neighbor.partition("%")[0]
        for name, one in seen.protocols.items()
        if one.proto == "BGP"
        and (name in (reading.sessions or ()) or not name.startswith(tuple(ranges)))
    }
    return "" if reading.sessions is None else differs(reading.sessions, runs)


def _ranges(value: Bgp | None) -> list[Peer]:
    """Return the peers that bring sessions by names of BIRD's own making."""
    pairs = value.pairs if value else ()
    return [peer for peer, session in pairs if session.neighbor_range is not None]


def differs(written: Mapping[str, str], runs: Mapping[str, str]) -> str:
    """Return how the sessions of a file differ from those that run, by name and neighbour."""
    odd = [
        *(f"{name} runs and is not in the file" for name in sorted(runs.keys() - written.keys())),
        *(f"{name} does not run" for name in sorted(written.keys() - runs.keys())),
        *(
            f"{name} runs with {runs[name]}, the file says {written[name]}"
            for name in sorted(written.keys() & runs.keys())
            if written[name] and runs[name] and written[name] != runs[name]
        ),
    ]
    return f"BIRD does not run its file: {'; '.join(odd[:_SHOWN])}" if odd else ""
