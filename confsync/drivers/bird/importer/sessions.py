"""BGP protocols as peers, each with its one session.

Separate because a session's options are most of BIRD's; what one does not say is as BIRD has it by
itself, not as documents have it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from confsync.drivers.bird.bgp import Channel, Limit, Peer, Session, Timers
from confsync.drivers.bird.importer import options as o
from confsync.drivers.bird.importer.expressions import Cursor, Unsaid
from confsync.drivers.bird.importer.lexer import Token
from confsync.drivers.bird.importer.options import Losses, Said, Table
from confsync.drivers.bird.importer.outline import Option, Outline, Protocol
from confsync.drivers.bird.importer.policies import Policies
from confsync.drivers.bird.policy import Family, family_of
from confsync.drivers.bird.policy_build import WORDS
from confsync.model.limits import BGP_MULTIHOP

# What BIRD has by itself. Source: BIRD 2.0.12, proto/bgp/config.Y.
_DYNAMIC: Final = "dynbgp"
_TIMERS: Final = Timers(
    hold_s=240,
    keepalive_s=0,
    connect_delay_s=5,
    connect_retry_s=120,
    error_wait_min_s=60,
    error_wait_max_s=300,
)


def _hops(cursor: Cursor) -> int:
    return BGP_MULTIHOP if cursor.done else o.number(cursor)


def _none(_: Cursor) -> int:
    return 0


_OPTIONS: Final = Table(
    {
        "disabled": ("", o.flag),
        "description": ("description", o.text),
        "interface": ("interface", o.interface),
        "source address": ("source", o.address),
        "direct": ("multihop", _none),
        "multihop": ("multihop", _hops),
        "passive": ("passive", o.flag),
        "strict bind": ("strict_bind", o.flag),
        "bfd": ("bfd", o.switch("graceful")),
        "ttl security": ("ttl_security", o.flag),
        "check link": ("check_link", o.flag),
        "setkey": ("setkey", o.flag),
        "rr client": ("rr_client", o.flag),
        "rr cluster id": ("rr_cluster_id", o.address),
        "rs client": ("rs_client", o.flag),
        "local role": ("role", o.name),
        "allow local as": ("allow_local_as", o.number),
        "enforce first as": ("enforce_first_as", o.flag),
        "interpret communities": ("interpret_communities", o.flag),
        "path metric": ("path_metric", o.flag),
        "med metric": ("med_metric", o.flag),
        "default bgp_med": ("default_med", o.number),
        "default bgp_local_pref": ("default_local_pref", o.number),
        "enable extended messages": ("extended_messages", o.flag),
        "disable after error": ("disable_after_error", o.flag),
        "graceful restart": ("graceful_restart", o.switch("aware")),
        "graceful restart time": ("graceful_restart_s", o.seconds),
        "long lived graceful restart": ("llgr", o.switch("aware")),
        "long lived stale time": ("llgr_stale_s", o.seconds),
        "dynamic name": ("dynamic_name", o.text),
        "dynamic name digits": ("dynamic_name_digits", o.number),
        "hold time": ("hold_s", o.seconds),
        "startup hold time": ("startup_hold_s", o.seconds),
        "keepalive time": ("keepalive_s", o.seconds),
        "connect delay time": ("connect_delay_s", o.seconds),
        "start delay time": ("connect_delay_s", o.seconds),
        "connect retry time": ("connect_retry_s", o.seconds),
        "error forget time": ("error_forget_s", o.seconds),
        "capabilities": ("", o.by_default(usual=True)),
        "enable route refresh": ("", o.by_default(usual=True)),
        "enable as4": ("", o.by_default(usual=True)),
        "igp metric": ("", o.by_default(usual=True)),
        "free bind": ("", o.by_default(usual=False)),
        "advertise hostname": ("", o.by_default(usual=False)),
        "deterministic med": ("", o.by_default(usual=False)),
        "prefer older": ("", o.by_default(usual=False)),
        "allow bgp_local_pref": ("", o.by_default(usual=False)),
        "disable after cease": ("", o.by_default(usual=False)),
    }
)


def _limit(cursor: Cursor) -> Limit | None:
    if cursor.got("off"):
        return None
    routes = o.number(cursor)
    if not cursor.got("action"):
        return Limit(routes)
    return Limit(routes, o.one_of("warn", "block", "restart", "disable")(cursor))


def _next_hop(cursor: Cursor) -> str:
    if cursor.got("address"):
        return str(o.address(cursor))
    word = o.one_of("self", "keep")(cursor)
    return word if o.flag(cursor) else ""


def _add_paths(cursor: Cursor) -> str:
    return _ADD_PATHS[o.switch("rx", "tx")(cursor)]


_ADD_PATHS: Final = {"on": "both", "off": "", "rx": "rx", "tx": "tx"}
_CHANNEL: Final = Table(
    {
        "table": ("table", o.name),
        "import limit": ("import_limit", _limit),
        "receive limit": ("receive_limit", _limit),
        "export limit": ("export_limit", _limit),
        "import keep filtered": ("keep_filtered", o.flag),
        "import table": ("import_table", o.flag),
        "export table": ("", o.by_default(usual=False)),
        "preference": ("preference", o.number),
        "next hop": ("next_hop", _next_hop),
        "extended next hop": ("extended_next_hop", o.flag),
        "add paths": ("add_paths", _add_paths),
        "gateway": ("gateway", o.one_of("direct", "recursive")),
        "igp table": ("igp_table", o.name),
        "cost": ("cost", o.number),
        "secondary": ("", o.by_default(usual=False)),
        "aigp": ("", o.by_default(usual=False)),
    }
)


@dataclass(frozen=True, slots=True)
class Met:
    """One BGP protocol: a peer that has nothing but this session, and our AS for it."""

    protocol: str
    peer: Peer
    local_as: int


@dataclass(frozen=True, slots=True)
class Sessions:
    """Reads BGP protocols; `folder` is where the configuration lies."""

    outline: Outline
    policies: Policies
    losses: Losses
    folder: str
    secrets: frozenset[str]

    def read(self, protocol: Protocol) -> Met | None:
        """Return a protocol's peer; None for one that no document can have at all."""
        said: Said = {}
        channels: dict[Family, Said] = {}
        self._each(
            protocol.options,
            protocol.name,
            lambda cursor: self._option(cursor, said, channels, protocol),
        )
        try:
            return _met(protocol, said, channels)
        except Unsaid as why:
            self.losses.add(protocol.name, "the whole protocol", protocol.token, str(why))
            return None

    def _each(self, options: Iterable[Option], owner: str, read: Callable[[Cursor], None]) -> None:
        o.each(options, self.outline.constants, owner, self.losses, read)

    def _option(
        self, cursor: Cursor, said: Said, channels: dict[Family, Said], protocol: Protocol
    ) -> None:
        if cursor.sees(*Family):
            family = Family(cursor.take().text)
            cursor.got("unicast")
            self._channel(o.block(cursor), family, channels.setdefault(family, {}), protocol)
        elif cursor.sees("local") and not cursor.sees("role", ahead=1):
            _local(cursor, said)
        elif cursor.sees("password"):
            said["password_file"] = self._secret(cursor.next, protocol)
        elif cursor.got("neighbor"):
            _neighbor(cursor, said)
        elif cursor.phrase("error wait time"):
            said["error_wait_min_s"] = o.seconds(cursor)
            cursor.need(",")
            said["error_wait_max_s"] = o.seconds(cursor)
        elif not _OPTIONS.read(cursor, said):
            raise Unsaid("not known to documents")

    def _channel(
        self, options: Iterable[Option], family: Family, said: Said, protocol: Protocol
    ) -> None:
        owner = protocol.name

        def one(cursor: Cursor) -> None:
            if _CHANNEL.read(cursor, said):
                return
            way = o.one_of("import", "export")(cursor)
            said[f"{way}s"] = self.policies.read(cursor, family, owner, way)
            if not cursor.done:
                raise Unsaid("more than is known of it")

        self._each(options, f"{owner} {family}", one)

    def _secret(self, token: Token, protocol: Protocol) -> str:
        """Return the file that holds a password; one that no file has alone must be written."""
        if token.file in self.secrets:
            return token.file
        file = os.path.join(self.folder, f"{protocol.name}.password")
        self.losses.add(protocol.name, "its password", token, f"write its line into {file}")
        return file


def _local(cursor: Cursor, said: Said) -> None:
    cursor.take()
    if not cursor.sees("as", "port") and not cursor.done:
        said["source"] = o.address(cursor)
    if cursor.got("port"):
        said["local_port"] = o.number(cursor)
    if cursor.got("as"):
        said["local_as"] = o.number(cursor)
    if not cursor.done:
        raise Unsaid("more than is known of it")


def _neighbor(cursor: Cursor, said: Said) -> None:
    if cursor.got("range"):
        said["neighbor_range"] = o.net(cursor)
    elif not cursor.done and not cursor.sees("as", "port", "internal", "external"):
        said["neighbor"] = o.address(cursor)
        if cursor.got("%"):
            said["interface"] = o.interface(cursor)
    if cursor.got("port"):
        said["port"] = o.number(cursor)
    if cursor.sees("internal", "external"):
        said["asn"] = cursor.take().text
    elif cursor.got("as"):
        said["asn"] = o.number(cursor)
    if not cursor.done:
        raise Unsaid("more than is known of it")


def _met(protocol: Protocol, said: Said, channels: Mapping[Family, Said]) -> Met:
    """Return what was said as a peer."""
    said = dict(said)
    own, asn = said.pop("local_as", None), said.get("asn")
    far = said.pop("neighbor", None)
    others = said.pop("neighbor_range", None)
    if own is None or asn is None or (far is None and others is None):
        raise Unsaid("without a neighbour, or without an AS number")
    if not channels:
        raise Unsaid("without IPv4 and IPv6 routes")
    timers = {key: said.pop(key) for key in Timers.__slots__ if key in said}
    usual = {key: getattr(_TIMERS, key) for key in Timers.__slots__}
    if others is not None:
        said.setdefault("dynamic_name", _DYNAMIC)
    said.setdefault("multihop", BGP_MULTIHOP if asn in ("internal", own) else 0)
    costs = {part.get("cost") for part in channels.values()}
    if len(costs) > 1:
        raise Unsaid("a cost for one of its families only")
    family = family_of(others if far is None else far)
    session = Session(
        family=family,
        neighbor=far,
        source=said.pop("source", None),
        channels=tuple(_channel_of(one, channels[one]) for one in Family if one in channels),
        neighbor_range=others,
        interface=said.pop("interface", ""),
    )
    peer = Peer(
        name="",
        sessions=(session,),
        timers=Timers(**{**usual, **timers}),
        cost=costs.pop(),
        **said,
    )
    return Met(protocol.name, peer, own)


def _channel_of(family: Family, said: Said) -> Channel:
    known: dict[str, Any] = {"imports": WORDS["all"], "exports": WORDS["none"], **said}
    known.pop("cost", None)
    if known.get("table") == family.master:
        known["table"] = ""
    return Channel(family=family, **known)
