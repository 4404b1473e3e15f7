"""Values made by hand, for tests of what comes after the document; and BIRD's word on a text."""

from __future__ import annotations

import subprocess
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any

from confsync.drivers.bird.bgp import Announcement, Bfd, Bgp, Channel, Peer, Session, Syncer, Timers
from confsync.drivers.bird.detail import blank
from confsync.drivers.bird.driver import BirdSettings
from confsync.drivers.bird.observe import Place
from confsync.drivers.bird.policy import (
    Action,
    Changes,
    Family,
    Filter,
    Match,
    NamedFilter,
    Range,
    Rule,
)
from confsync.drivers.bird.render import render, render_id
from confsync.model.ids import digest
from confsync.model.section import Observed, Ownership

if TYPE_CHECKING:
    from pathlib import Path

    from confsync.drivers.bird.policy import Address, Network

F4, F6 = Family.IPV4, Family.IPV6
AS = 65501
TIMERS = Timers(90, 30, 1, 5, 1, 30)
PERMIT, DENY, NEXT = Action.PERMIT, Action.DENY, Action.NEXT
ALL, NONE = Filter((), permit=True), Filter((), permit=False)
KERNEL = (Syncer("kernel4", "master4", F4), Syncer("kernel6", "master6", F6))


def address(text: str) -> Address:
    """Return an address."""
    return ip_address(text)


def net(text: str) -> Network:
    """Return a prefix."""
    return ip_network(text)


def prefixes(text: str, low: int | None = None, high: int | None = None) -> Range:
    """Return a prefix, or those inside it of some lengths."""
    own = net(text)
    least = own.prefixlen if low is None else low
    return Range(own, least, least if high is None else high)


def rule(action: Action = PERMIT, changes: Changes | None = None, **match: Any) -> Rule:
    """Return one rule of a filter."""
    return Rule(Match(**match), action, changes)


def channel(family: Family = F4, **fields: Any) -> Channel:
    """Return a channel that takes and sends everything, unless told otherwise."""
    return Channel(family, **{"imports": ALL, "exports": ALL, **fields})


def session(far: str = "10.0.0.2", *channels: Channel, **fields: Any) -> Session:
    """Return a session with an address."""
    family = F6 if ":" in far else F4
    said = {"source": None, **fields}
    return Session(family, address(far), channels=channels or (channel(family),), **said)


def peer(name: str = "p", *sessions: Session, asn: int | str = AS, **fields: Any) -> Peer:
    """Return a peer with one session, unless told otherwise."""
    return Peer(name, asn, sessions or (session(),), **{"timers": TIMERS, **fields})


def speaker(*peers: Peer, announce: tuple[str, ...] = (), **fields: Any) -> Bgp:
    """Return a whole speaker."""
    own = {"router_id": ip_address("10.0.0.1"), "local_as": AS, "bfd": Bfd(300, 3), **fields}
    made = tuple(Announcement(f"a{n}", net(text)) for n, text in enumerate(announce))
    return Bgp(**{"peers": peers, "announce": made, "syncers": KERNEL, **own})


def filtering(*rules: Rule, permit: bool = False, **fields: Any) -> Bgp:
    """Return a speaker without peers that has these rules as its filter `f`."""
    chosen = Filter(rules, permit=permit)
    return speaker(filters=(NamedFilter("f", chosen, chosen),), **fields)


def verdict(text: str, folder: Path) -> tuple[int, str]:
    """Return what BIRD's own parser says, in a child that it may crash."""
    path = folder / "bird.conf"
    path.write_text(text)
    argv = ["/usr/sbin/bird", "-p", "-c", str(path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


def seen(value: Bgp | None, **fields) -> Observed:
    """Return what the driver would report of a host that runs a value."""
    file_held = fields.get("file_held", [])
    text = None if value is None else render(value, frozenset(file_held))
    written = render_id(text) if text else None
    place = Place("/etc/bird/bird.conf", "/run/bird/bird.ctl")
    detail = {
        **blank(BirdSettings().model_dump(), place, None),
        "version": "2.0.12",
        "disk": digest(text.encode()) if text else "0" * 64,
        "disk_render": written,
        "running_render": written,
        "file_held": file_held,
        **fields,
    }
    return Observed(Ownership.OWNED, detail)
