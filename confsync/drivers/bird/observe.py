"""What BIRD says of itself, as values: parsers over reply lines.

Separate because BIRD's output is not an interface: every assumption on it stands here, tolerant of
columns pushed aside by long names, lines added by later versions and times in one word or two.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from confsync.drivers.bird.socket import Reply
from confsync.model.ids import Json

_GREETING: Final = re.compile(r"BIRD (?:v?)(?P<version>\d+\.[^ ]+) ready")
_PROGRAM: Final = re.compile(r"BIRD version (?P<version>\S+)")
_PROTOCOL: Final = re.compile(
    r"(?P<name>\S+)\s+(?P<proto>\S+)\s+(?P<table>\S+)\s+(?P<state>\S+)\s+"
    r"(?P<since>\S+(?: \d\d:\d\d(?::[\d.]+)?)?)(?:\s+(?P<info>.*?))?\s*"
)
_BFD: Final = re.compile(r"(?P<address>[0-9a-fA-F:.]+)(?:%\S+)?\s+\S+\s+(?P<state>[A-Z]\w+)\s+\d.*")
_COUNT: Final = re.compile(r"(\d+) (imported|exported)\b")
_WINDOW: Final = re.compile(r"undo in (\d+(?:\.\d+)?)")
_KEYS: Final = frozenset({"Neighbor address", "Last error", "State", "Routes"})
_READY, _UNCONFIRMED, _EVALUATED, _RECOVERING = 3, 22, 23, 24
_PROTOCOL_LINE, _DETAIL_LINE, _BFD_LINE = 1002, 1006, 1020

_PLACES: Final = (
    ("/etc/bird/bird.conf", "/run/bird/bird.ctl"),
    ("/etc/bird.conf", "/run/bird.ctl"),
)


class Place(NamedTuple):
    """Where BIRD reads its configuration and listens."""

    config_file: str
    socket: str


@dataclass(frozen=True, slots=True)
class Channel:
    """One family of a protocol."""

    state: str = ""
    imported: int = 0
    exported: int = 0
    limit_hit: bool = False


@dataclass(frozen=True, slots=True)
class Protocol:
    """One protocol as `show protocols all` tells it; `since` is only ever compared for change."""

    name: str
    proto: str
    state: str
    since: str
    info: str
    neighbor: str = ""
    last_error: str = ""
    channels: dict[str, Channel] = field(default_factory=dict)
    table: str = ""

    @property
    def held(self) -> bool:
        """Tell whether somebody disabled it: down, and BIRD knows no other reason."""
        return self.state == "down" and not self.info

    def as_json(self) -> Json:
        return {
            "proto": self.proto,
            "state": self.state,
            "since": self.since,
            "info": self.info,
            "neighbor": self.neighbor,
            "last_error": self.last_error,
            "channels": {
                name: {
                    "state": channel.state,
                    "imported": channel.imported,
                    "exported": channel.exported,
                    "limit_hit": channel.limit_hit,
                }
                for name, channel in self.channels.items()
            },
        }


@dataclass(frozen=True, slots=True)
class Condition:
    """What `configure status` says: ready for a configuration, or why not.

    Shape: `recovering` = graceful restart is under way.
    Units: `window_s` is the time until an unconfirmed configuration is undone, None = confirmed.
    """

    busy: str
    window_s: float | None
    recovering: bool = False


@dataclass(frozen=True, slots=True)
class Outline:
    """What a short look at the daemon shows; protocols are without neighbour and channels."""

    marker: str | None
    condition: Condition
    reconfigured: str
    protocols: dict[str, Protocol]

    @property
    def held(self) -> tuple[str, ...]:
        return tuple(sorted(name for name, one in self.protocols.items() if one.held))

    @property
    def sessions(self) -> dict[str, dict[str, int]]:
        """Return how many BGP sessions of a family are up and down; a held one is not expected."""
        counts: dict[str, dict[str, int]] = {}
        for one in self.protocols.values():
            for family in one.channels if one.proto == "BGP" else ():
                count = counts.setdefault(family, {"up": 0, "down": 0, "expected": 0})
                count["up" if one.info == "Established" else "down"] += 1
                count["expected"] += not one.held
        return counts

    @property
    def since(self) -> dict[str, str]:
        """Return since when each protocol is as it is; BIRD dates what is down anew each time."""
        return {name: one.since for name, one in self.protocols.items() if one.state != "down"}


@dataclass(frozen=True, slots=True)
class View(Outline):
    """All that one look at the daemon shows."""

    bfd: dict[str, str]


STAND: Final = ("eval cs_render", "configure status", "show status")
"""The commands that tell which of our files BIRD runs, and whether it is ready."""
OUTLINE: Final = (*STAND, "show protocols")
"""The commands whose replies make an Outline."""
LOOK: Final = (*STAND, "show protocols all", "show bfd sessions")
"""The commands whose replies make a View; one write, five replies."""


def outline(replies: Sequence[Reply]) -> Outline:
    """Return what the replies to OUTLINE say."""
    marker, condition, status, protocols = replies
    told = [line.text for line in status.lines]
    return Outline(
        marker=parse_marker(marker),
        condition=parse_condition(condition, status),
        reconfigured=next((t for t in told if t.startswith("Last reconfiguration")), ""),
        protocols={one.name: one for one in parse_protocols(protocols)},
    )


def view(replies: Sequence[Reply]) -> View:
    """Return what the replies to LOOK say."""
    *short, bfd = replies
    seen = outline(short)
    return View(seen.marker, seen.condition, seen.reconfigured, seen.protocols, parse_bfd(bfd))


def parse_marker(reply: Reply) -> str | None:
    """Return the id of the rendered file that BIRD runs; None when it runs none of ours."""
    return reply.text.strip() if reply.code == _EVALUATED else None


def parse_condition(reply: Reply, status: Reply) -> Condition:
    """Return whether BIRD is ready for another configuration.

    Shape: the replies to `configure status` and `show status`.
    """
    window = _WINDOW.search(reply.find(_UNCONFIRMED) or "")
    ready = reply.find(_READY) is not None
    return Condition(
        busy="" if ready else reply.lines[0].text,
        window_s=float(window[1]) if window else None,
        recovering=status.find(_RECOVERING) is not None,
    )


def parse_protocols(reply: Reply) -> tuple[Protocol, ...]:
    """Return every protocol with its channels."""
    return tuple(_protocol(head, details) for head, details in _blocks(reply))


def parse_bfd(reply: Reply) -> dict[str, str]:
    """Return the state of each BFD session by its neighbour's address."""
    rows = (_BFD.fullmatch(line.text.strip()) for line in reply.lines if line.code == _BFD_LINE)
    return {row["address"]: row["state"] for row in rows if row}


def greeted_version(greeting: str) -> str | None:
    """Return the version that a greeting names."""
    found = _GREETING.search(greeting)
    return found["version"] if found else None


def program_version(text: str) -> str | None:
    """Return the version that `bird --version` prints."""
    found = _PROGRAM.search(text)
    return found["version"] if found else None


def refusal(greeted: str | None, program: str | None) -> str:
    """Return why this BIRD cannot be worked with; empty = it can."""
    if greeted is None:
        return "what answers on the control socket is not BIRD"
    if greeted.startswith(("0.", "1.")):
        return f"BIRD {greeted} is too old: confsync needs 2.0 or later (two daemons, no window)"
    if program != greeted:
        found = program or "nothing that can be read"
        return f"BIRD {greeted} runs, but the program on disk is {found}: restart BIRD first"
    return ""


def locate(config_file: str, socket: str, exists: Callable[[str], bool]) -> Place:
    """Return what the settings say, else the first place that exists, else Debian's."""
    for place in _PLACES:
        if any(map(exists, place)):
            break
    else:
        place = Place(*_PLACES[0])
    return Place(config_file or place[0], socket or place[1])


def _blocks(reply: Reply) -> Iterator[tuple[re.Match[str], list[str]]]:
    head: re.Match[str] | None = None
    details: list[str] = []
    for code, text in reply.lines:
        if code == _DETAIL_LINE:
            details.append(text)
        elif code == _PROTOCOL_LINE and (found := _PROTOCOL.fullmatch(text)):
            if head:
                yield head, details
            head, details = found, []
    if head:
        yield head, details


def _protocol(head: re.Match[str], details: list[str]) -> Protocol:
    words: dict[str, dict[str, str]] = {"": {}}
    limited = set()
    channel = ""
    for line in details:
        key, colon, value = line.strip().partition(":")
        if not colon:
            if key.startswith("Channel "):
                channel = key.removeprefix("Channel ")
                words[channel] = {}
        elif key in _KEYS:
            words[channel].setdefault(key, value.strip())
        elif key.endswith(" limit") and value.endswith("[HIT]"):
            limited.add(channel)
    own = words.pop("")
    return Protocol(
        name=head["name"],
        proto=head["proto"],
        state=head["state"],
        since=head["since"],
        info=re.sub(r"\s{2,}", ", ", head["info"] or ""),
        neighbor=own.get("Neighbor address", ""),
        last_error=own.get("Last error", ""),
        channels={name: _channel(told, name in limited) for name, told in words.items()},
        table=head["table"],
    )


def _channel(told: dict[str, str], limited: bool) -> Channel:
    counts = {kind: int(count) for count, kind in _COUNT.findall(told.get("Routes", ""))}
    return Channel(
        state=told.get("State", ""),
        imported=counts.get("imported", 0),
        exported=counts.get("exported", 0),
        limit_hit=limited,
    )
