"""Sessions as the peers of a document: their names, and which two are one neighbour's.

Separate because BIRD knows protocols only; that `rr1_ipv4` and `rr1_ipv6` are the two sessions of
one reflector is what a person sees in the names, and the options must bear out.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from confsync.drivers.bird.bgp import Peer
from confsync.drivers.bird.importer.conditions import legal
from confsync.drivers.bird.importer.sessions import Met
from confsync.drivers.bird.policy import Family

_OURS: Final = re.compile(r"cs_(.+)_(?:ipv4|ipv6)")
_HALF: Final = re.compile(r"(.*?[a-z0-9])[_-]?(?:ip)?v?[46]")
_NOBODY: Final = 64512  # where no session tells: a private AS, for a person to put right


def common_as(met: Iterable[Met]) -> int:
    """Return the AS number that most sessions say is ours."""
    counted = Counter(one.local_as for one in met)
    return counted.most_common(1)[0][0] if counted else _NOBODY


def peers(met: Sequence[Met], local_as: int) -> tuple[tuple[Peer, ...], dict[str, str]]:
    """Return the peers by name, and what their protocols are called in the file."""
    halves: dict[str, list[Met]] = {}
    for one in met:
        halves.setdefault(_base(one.protocol), []).append(one)
    found: dict[str, Peer] = {}
    names: dict[str, str] = {}
    for base, group in halves.items():
        both = _paired(group)
        for part in [both] if both else [[one] for one in group]:
            name = _free(base if both else _name(part[0].protocol), found)
            sessions = tuple(session for one in part for session in one.peer.sessions)
            own = part[0].local_as
            found[name] = replace(
                part[0].peer,
                name=name,
                sessions=sessions,
                local_as=None if own == local_as else own,
            )
            for one in part:
                ours = found[name].protocol(one.peer.sessions[0])
                if ours != one.protocol:
                    names[ours] = one.protocol
    return tuple(found[name] for name in sorted(found)), names


def _paired(group: list[Met]) -> list[Met] | None:
    """Return two sessions as one neighbour's, IPv4 first; None if they do not plainly fit."""
    families = sorted(one.peer.sessions[0].family for one in group)
    alone = all(one.peer.sessions[0].carries == (one.peer.sessions[0].family,) for one in group)
    if families != list(Family) or not alone:
        return None
    bare = {(one.local_as, repr(replace(one.peer, sessions=()))) for one in group}
    return sorted(group, key=lambda one: one.peer.sessions[0].family) if len(bare) == 1 else None


def _base(protocol: str) -> str:
    name = _name(protocol)
    half = None if _OURS.fullmatch(protocol) else _HALF.fullmatch(name)
    return half[1] if half else name


def _name(protocol: str) -> str:
    """Return what a document calls the peer of a protocol."""
    ours = _OURS.fullmatch(protocol)
    return ours[1].replace("D", "-") if ours else legal(protocol)


def _free(name: str, taken: Iterable[str]) -> str:
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name}-{number}"
    return free
