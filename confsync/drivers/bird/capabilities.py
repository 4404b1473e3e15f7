"""What which version of BIRD can be told: a table, and the question put to it.

Separate because it grows with BIRD's releases and with nothing else. Asked before rendering, so
that the field of the document is named; BIRD's own message about a line comes second.
Source: BIRD's release notes; what is refused by later ones was tried on them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import MISSING, fields
from typing import Final

from confsync.drivers.bird.bgp import SECTION, Bgp, Channel, Peer
from confsync.model.errors import Violation, Violations
from confsync.model.ids import Path

Version = tuple[int, ...]

_CODE: Final = "CS-V090"
_VERSION: Final = re.compile(r"\d{1,4}(?:\.\d{1,4}){1,3}", re.ASCII)

OLDEST: Final[Version] = (2, 0, 1)
# The first version that knows a field.
PEER_SINCE: Final[dict[str, Version]] = {
    "dynamic_name": (2, 0, 5),
    "dynamic_name_digits": (2, 0, 5),
    "enforce_first_as": (2, 0, 8),
    "llgr": (2, 0, 3),
    "llgr_stale_s": (2, 0, 3),
    "role": (2, 0, 11),
}
CHANNEL_SINCE: Final[dict[str, Version]] = {
    "import_table": (2, 0, 3),
}
RANGE_SINCE: Final[Version] = (2, 0, 5)
RANGE_PASSWORD_SINCE: Final[Version] = (2, 0, 8)
# From a version on, a field's values end here.
PEER_MOST: Final[dict[str, tuple[Version, int]]] = {
    "graceful_restart_s": ((2, 17), 4095),  # the protocol has twelve bits for it
}


def parse_version(text: str) -> Version | None:
    """Return the version that a text like ``BIRD 2.0.12`` names."""
    found = _VERSION.search(text)
    return tuple(int(part) for part in found[0].split(".")) if found else None


def unsupported(value: Bgp, version: str) -> Violations:
    """Return what this BIRD cannot be told; nothing of one whose version cannot be read."""
    has = parse_version(version)
    if has is None:
        return ()
    if has < OLDEST:
        return (_violation((SECTION,), "this configuration", OLDEST, has),)
    return tuple(fault for peer in value.peers for fault in _of_peer(peer, has))


def _of_peer(peer: Peer, has: Version) -> Iterator[Violation]:
    place = (SECTION, "peers", peer.name)
    for name in _said(peer):
        if has < (since := PEER_SINCE.get(name, OLDEST)):
            yield _violation((*place, name), name, since, has)
        first, most = PEER_MOST.get(name, (has, 0))
        if most and has >= first and (found := getattr(peer, name)) > most:
            message = f"{found} is more than BIRD {_shown(has)} takes"
            yield Violation(_CODE, (*place, name), message, f"use at most {most}")
    for session in peer.sessions:
        for channel in session.channels:
            for name in _said(channel):
                if has < (since := CHANNEL_SINCE.get(name, OLDEST)):
                    yield _violation((*place, name, channel.family), name, since, has)
        if session.neighbor_range is not None:
            wanted = RANGE_PASSWORD_SINCE if peer.password_file else RANGE_SINCE
            if has < wanted:
                yield _violation((*place, f"{session.family}_range"), "a range", wanted, has)


def _said(thing: Peer | Channel) -> Iterator[str]:
    """Return the fields whose value is not what it is when nothing is said."""
    for field in fields(thing):
        if field.default is not MISSING and getattr(thing, field.name) != field.default:
            yield field.name


def _violation(place: Path, what: str, since: Version, has: Version) -> Violation:
    message = f"BIRD {_shown(has)} does not know {what}; {_shown(since)} is the first that does"
    return Violation(_CODE, place, message, "remove it, or upgrade BIRD first")


def _shown(version: Version) -> str:
    return ".".join(map(str, version))
