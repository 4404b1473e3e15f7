"""What is allowed in a `bgp` section but deserves a second look; each says the consequence.

Separate from `rules` because nothing here stops a change: it stands beside the plan, for the
person who reads it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from confsync.drivers.bird import dead_ends
from confsync.drivers.bird.bgp import Bgp, Channel, Peer
from confsync.drivers.bird.judging import channels, may_permit, rules_of
from confsync.drivers.bird.policy import Foreign
from confsync.drivers.bird.rules import RESERVED_AS
from confsync.model.limits import BFD_INTERVAL_SAFE_MS
from confsync.model.section import Deadline

_HALF: Final = re.compile(r"[-_]?(ip)?v[46](?=$|[-_])", re.ASCII)


def doubtful(value: Bgp) -> tuple[str, ...]:
    """Return what is allowed but deserves a second look."""
    return tuple(_doubts(value))


def forgotten(value: Bgp) -> tuple[Deadline, ...]:
    """Return what is said once the end of a drain or a disabling has passed."""
    withheld = [("bgp.drain", value.drain, "traffic still avoids this host")]
    for peer in value.peers:
        place = f"bgp.peers.{peer.name}"
        withheld.append((f"{place}.drain", peer.drain, "traffic still avoids the peer"))
        withheld.append((f"{place}.disabled", peer.disabled, "its sessions are still down"))
    return tuple(
        Deadline(
            held.until.removesuffix("Z").removesuffix("+00:00"),
            f"{place}: should have ended at {held.until} ({held.reason}), and {what}; "
            "remove it, or set a later until",
        )
        for place, held, what in withheld
        if held is not None and held.until
    )


def _doubts(value: Bgp) -> Iterator[str]:
    if not value.peers:
        yield "bgp.peers: none, so every session of this host ends"
    users = defaultdict(list, {value.local_as: ["bgp.local_as"]})
    for peer in value.peers:
        if isinstance(peer.asn, int) and not value.internal(peer):
            users[peer.asn].append(f"bgp.peers.{peer.name}.asn")
    for asn, places in users.items():
        for what, reserved in RESERVED_AS.items():
            if asn in reserved:
                yield f"{places[0]}: {asn} is reserved: {what}"
    if any(peer.bfd != "off" for peer in value.peers):
        for name, interval_ms in (
            ("interval_ms", value.bfd.interval_ms),
            *((f"interfaces.{one.pattern}", one.interval_ms) for one in value.bfd.interfaces),
        ):
            if interval_ms < BFD_INTERVAL_SAFE_MS:
                yield f"bgp.bfd.{name}: below {BFD_INTERVAL_SAFE_MS} a busy host loses its sessions"
    yield from _doubts_of_host(value)
    yield from _halves_differ(value)
    yield from dead_ends.doubts(value)
    for peer in value.peers:
        yield from _doubts_of_peer(value, peer)
    for peer, channel in channels(value):
        yield from _doubts_of(value, peer, channel)


def _doubts_of_host(value: Bgp) -> Iterator[str]:
    announced = {one.prefix: one.name for one in value.announce}
    for route in value.routes:
        if route.prefix in announced:
            name = announced[route.prefix]
            what = f"{route.prefix} is announce.{name} too"
            yield f"bgp.routes.{route.name}: {what}; one hides the other"
    if value.drain is not None and not value.drain.until:
        yield "bgp.drain: no until, so nobody is reminded to end it"


def _halves_differ(value: Bgp) -> Iterator[str]:
    """Doubt two peers that are one neighbour by name, each in one family, and of two AS.

    Why: one of the two is mistyped; with our own number BIRD takes an outsider for one of us.
    """
    halves: dict[str, Peer] = {}
    for peer in value.peers:
        stem = _HALF.sub("", peer.name)
        if stem == peer.name or len(peer.sessions) != 1:
            continue
        other = halves.setdefault(stem, peer)
        if other.asn != peer.asn and other.sessions[0].family is not peer.sessions[0].family:
            yield (
                f"bgp.peers.{peer.name}.asn: {_whose(value, peer)}, but {other.name}, its other "
                f"half by name, is {_whose(value, other)}: the session with the wrong one never "
                "comes up; write both addresses as one peer"
            )


def _whose(value: Bgp, peer: Peer) -> str:
    return f"{peer.asn} (our own AS)" if value.internal(peer) else str(peer.asn)


def _doubts_of_peer(value: Bgp, peer: Peer) -> Iterator[str]:
    place = f"bgp.peers.{peer.name}"
    for key, held in (("drain", peer.drain), ("disabled", peer.disabled)):
        if held is not None and not held.until:
            yield f"{place}.{key}: no until, so nobody is reminded to end it"
    if peer.timers.hold_s == 0 and peer.bfd == "off":
        yield f"{place}.hold_s: 0 and no BFD: a dead peer is never noticed"
    if peer.rr_cluster_id is not None and not peer.rr_client:
        yield f"{place}.rr_cluster_id: the peer is no client, so the id is used by nobody"
    if peer.graceful_restart == "on" and peer.bfd == "on":
        yield f"{place}.bfd: plain BFD ends what graceful restart would keep; use graceful"
    if value.internal(peer) and not peer.rr_client:
        for session in peer.sessions:
            for channel in session.channels:
                if channel.next_hop == "" and _learns_outside(value):
                    yield (
                        f"{place}.next_hop: not self, so that {channel.family} routes from outside "
                        "lead to next hops that the peer may not reach"
                    )


def _learns_outside(value: Bgp) -> bool:
    return any(not value.internal(peer) for peer in value.peers)


def _doubts_of(value: Bgp, peer: Peer, channel: Channel) -> Iterator[str]:
    place = f"bgp.peers.{peer.name}.export.{channel.family}"
    if channel.exports is None or isinstance(channel.exports, Foreign):
        return
    rules = rules_of(value, channel.exports, channel.family)
    if rules and rules.permit and not value.internal(peer):
        whom = peer.asn if isinstance(peer.asn, str) else f"AS {peer.asn}"
        yield f"{place}: all that no rule denies goes to {whom}"
    for net in value.announced(channel.family):
        if not may_permit(value, channel.exports, net):
            yield f"{place}: {net} is announced, but not to this peer"
