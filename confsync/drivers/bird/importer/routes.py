"""Static protocols as static routes.

Separate because a protocol of BIRD's has a table and a policy of its own, of which documents know
only the table: a route says the rest itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from confsync.drivers.bird.bgp import NextHop, StaticRoute
from confsync.drivers.bird.importer import options as o
from confsync.drivers.bird.importer.changes import change, made
from confsync.drivers.bird.importer.conditions import legal
from confsync.drivers.bird.importer.expressions import Cursor, Unsaid
from confsync.drivers.bird.importer.options import Losses, Said
from confsync.drivers.bird.importer.outline import Outline, Protocol
from confsync.drivers.bird.importer.statements import Assign, Do, statements
from confsync.drivers.bird.policy import Family

# The two words of older configurations are BIRD's still.
_DEAD: Final = {word: word for word in ("blackhole", "unreachable", "prohibit")} | {
    "drop": "blackhole",
    "reject": "unreachable",
}
_ATTRIBUTES: Final = {
    "preference": "preference",
    "local_pref": "local_pref",
    "kernel_metric": "kernel_metric",
    "source_address": "source_address",
    "add_communities": "communities",
}
_CHANNEL: Final = o.Table({"table": ("table", o.name), "preference": ("preference", o.number)})


def routes(protocol: Protocol, outline: Outline, losses: Losses) -> tuple[StaticRoute, ...]:
    """Return a protocol's routes, named after it; what else it says is lost."""
    common: Said = {}
    found: list[Said] = []

    def one(cursor: Cursor) -> None:
        if cursor.sees(*Family):
            common.update(_channel(cursor))
        elif cursor.got("route"):
            found.append(_route(cursor))
        elif not cursor.got("disabled"):
            raise Unsaid("not known to documents")

    o.each(protocol.options, outline.constants, protocol.name, losses, one)
    return tuple(_named(protocol.name, common, found))


def _named(protocol: str, common: Said, found: Iterable[Said]) -> Iterable[StaticRoute]:
    own, family = legal(protocol), common.pop("family", None)
    if family is not None and common.get("table") == family.master:
        del common["table"]
    parts = list(found)
    for number, said in enumerate(parts, start=1):
        name = own if len(parts) == 1 else f"{own}-{number}"
        yield StaticRoute(name=name, **{**common, **said})


def _channel(cursor: Cursor) -> Said:
    """Return what the routes of a channel share; a policy other than the usual one is lost."""
    said: Said = {"family": Family(cursor.take().text)}
    for option in o.block(cursor):
        inner = Cursor(option.tokens, cursor.constants)
        if option.words in o.PLAIN and len(option.tokens) == len(option.words.split()):
            continue
        if not _CHANNEL.read(inner, said):
            raise Unsaid(f"{option.words} of its channel")
    return said


def _route(cursor: Cursor) -> Said:
    said: Said = {"prefix": o.net(cursor)}
    if cursor.sees(*_DEAD):
        said["dest"] = _DEAD[cursor.take().text]
    elif cursor.got("recursive"):
        said["recursive"] = o.address(cursor)
    else:
        hops = []
        while cursor.got("via"):
            hops.append(_hop(cursor))
        said["via"] = tuple(hops)
        if not hops:
            raise Unsaid("a route to a place that is not known")
    if cursor.sees("{"):
        said |= _attributes(Cursor(cursor.group(), cursor.constants))
    if not cursor.done:
        raise Unsaid("more than is known of a route")
    return said


def _hop(cursor: Cursor) -> NextHop:
    if cursor.next.kind == "text":
        said: Said = {"interface": cursor.take().text}
    else:
        said = {"address": o.address(cursor)}
        if cursor.got("%") or cursor.got("dev"):
            said["interface"] = o.interface(cursor)
    while True:
        if cursor.got("weight"):
            said["weight"] = o.number(cursor)
        elif cursor.got("bfd"):
            said["bfd"] = True
        elif cursor.got("onlink"):
            said["onlink"] = True
        else:
            return NextHop(**said)


def _attributes(body: Cursor) -> Said:
    said: dict[str, Any] = {}
    for one in statements(body):
        if not isinstance(one, Assign | Do):
            raise Unsaid("a route that decides something")
        for key, value in made(change(one)).items():
            if key not in _ATTRIBUTES:
                raise Unsaid(f"a route with {key}")
            own = _ATTRIBUTES[key]
            said[own] = (*said.get(own, ()), *value) if own == "communities" else value
    return said
