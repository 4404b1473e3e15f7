"""The value as a document that says everything explicitly; reading it gives the value back.

Separate because it is how a value is kept in the journal and compared for a plan: nothing in it
depends on a default, so that a later version with other defaults knows what really ran.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import lru_cache
from typing import Final

from confsync.drivers.bird import build, policy_build
from confsync.drivers.bird.bgp import (
    Bfd,
    Bgp,
    Channel,
    Daemon,
    Direct,
    Peer,
    Pipe,
    Session,
    StaticRoute,
    Syncer,
    Timers,
    Withheld,
)
from confsync.drivers.bird.policy import Policy
from confsync.model.ids import Json

_KERNEL: Final = ("learn", "persist", "scan_s", "metric", "preference", "graceful_restart")
_KEPT: Final = 1024


def tree_of(value: Bgp) -> dict[str, Json]:
    """Return the whole document."""
    return {
        "router_id": "auto" if value.router_id is None else str(value.router_id),
        "local_as": value.local_as,
        "peers": {peer.name: peer_tree(peer) for peer in value.peers},
        "announce": {one.name: str(one.prefix) for one in value.announce},
        "routes": {one.name: _route(one) for one in value.routes},
        "sets": {one.name: policy_build.set_tree(one) for one in value.sets},
        "filters": {
            one.name: {
                name: policy_build.tree(half)
                for name, half in (("ipv4", one.ipv4), ("ipv6", one.ipv6))
                if half is not None
            }
            for one in value.filters
        },
        "foreign": [asdict(one) for one in value.foreign],
        "tables": {one.name: str(one.family) for one in value.tables},
        "kernels": {one.name: _syncer(one) for one in value.syncers},
        "pipes": {one.name: _pipe(one) for one in value.pipes},
        "bfd": _bfd(value.bfd),
        "daemon": _daemon(value.daemon),
        **({} if value.direct is None else {"direct": _direct(value.direct)}),
        **({} if value.drain is None else {"drain": _withheld(value.drain)}),
    }


@lru_cache(maxsize=_KEPT)
def peer_tree(peer: Peer) -> Mapping[str, Json]:
    """Return a peer as its part of a document.

    Why kept: a change touches few of hundreds of peers.
    """
    tree: dict[str, Json] = {key: _plain(getattr(peer, key)) for key in build.PLAIN}
    tree |= {key: getattr(peer.timers, key) for key in Timers.__slots__}
    tree |= {"asn": peer.asn, "multihop": peer.multihop or False}
    tree["guard"] = list(peer.guard) or None
    for key, held in (("drain", peer.drain), ("disabled", peer.disabled)):
        tree[key] = None if held is None else _withheld(held)
    by_family: dict[str, dict[str, Json]] = {}
    for session in peer.sessions:
        tree |= _ends(session)
        for key, told in _of_session(session):
            by_family.setdefault(key, {})[session.family] = told
        for channel in session.channels:
            for key, told in _of_channel(channel):
                by_family.setdefault(key, {})[channel.family] = told
    said = {key: value for key, value in (tree | by_family).items() if value not in (None, "")}
    return {key: said[key] for key in sorted(said)}


def _ends(session: Session) -> dict[str, Json]:
    if session.neighbor is None:
        return {f"{session.family}_range": str(session.neighbor_range)}
    return {str(session.family): str(session.neighbor)}


def _of_session(session: Session) -> Iterator[tuple[str, Json]]:
    if session.source is not None:
        yield "source", str(session.source)
    if session.interface:
        yield "interface", session.interface
    if session.name:
        yield "name", session.name
    if session.carries != (session.family,):
        yield "families", [str(one) for one in session.carries]


def _of_channel(channel: Channel) -> Iterator[tuple[str, Json]]:
    for key, policy in (("import", channel.imports), ("export", channel.exports)):
        if policy is not None:
            yield key, policy_build.tree(policy)
    yield "next_hop", channel.next_hop or "auto"
    said = {key: getattr(channel, key) for key in build.CHANNEL}
    said["add_paths"] = channel.add_paths or "off"
    for key in build.LIMITS:
        limit = getattr(channel, key)
        said[key] = None if limit is None else {"routes": limit.routes, "action": limit.action}
    yield from ((key, value) for key, value in said.items() if value not in (None, ""))


def _withheld(one: Withheld) -> Json:
    return _said({"reason": one.reason, "until": one.until})


def _syncer(one: Syncer) -> Json:
    return _said(
        {
            "table": one.table,
            "kernel_table": one.kernel_table,
            "import": _policy(one.imports),
            "export": _policy(one.exports),
            "merge_paths": one.merge_limit or one.merge_paths,
            "source_address": _plain(one.source_address),
            "name": one.protocol,
            **{key: getattr(one, key) for key in _KERNEL},
        }
    )


def _pipe(one: Pipe) -> Json:
    return _said(
        {
            "table": one.table,
            "peer_table": one.peer_table,
            "import": _policy(one.imports),
            "export": _policy(one.exports),
            "name": one.protocol,
        }
    )


def _route(one: StaticRoute) -> Json:
    via = [_said({key: _plain(part) for key, part in asdict(hop).items()}) for hop in one.via]
    rest = {
        key: _plain(getattr(one, key))
        for key in StaticRoute.__slots__
        if key not in ("name", "via", "communities")
    }
    return _said({**rest, "via": via or None, "communities": list(one.communities) or None})


def _direct(one: Direct) -> Json:
    rest = {"ipv4": one.ipv4, "ipv6": one.ipv6, "check_link": one.check_link}
    return _said({**rest, "interfaces": list(one.interfaces) or None, "name": one.protocol})


def _bfd(one: Bfd) -> Json:
    return _said(
        {
            "interval_ms": one.interval_ms,
            "multiplier": one.multiplier,
            "interfaces": {
                each.pattern: _said(
                    {
                        "interval_ms": each.interval_ms,
                        "multiplier": each.multiplier,
                        "passive": each.passive,
                        "rx_ms": each.rx_ms,
                    }
                )
                for each in one.interfaces
            },
            "neighbors": [
                _said({key: _plain(part) for key, part in asdict(each).items()})
                for each in one.neighbors
            ],
            "name": one.protocol,
            "rx_ms": one.rx_ms,
        }
    )


def _daemon(one: Daemon) -> Json:
    rest = {key: getattr(one, key) for key in Daemon.__slots__ if key != "log"}
    rest["device_name"] = rest.pop("device_protocol")
    log = [_said({**asdict(each), "classes": list(each.classes) or None}) for each in one.log]
    return _said({**rest, "log": log})


def _policy(policy: Policy | None) -> Json:
    return None if policy is None else policy_build.tree(policy)


def _plain(value: object) -> Json:
    """Return a leaf as JSON holds it."""
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def _said(tree: Mapping[str, Json]) -> dict[str, Json]:
    """Leave out what is not said."""
    return {key: value for key, value in tree.items() if value is not None and value != ""}
