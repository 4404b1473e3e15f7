"""What is no session: kernel tables, pipes, static routes, the host's networks, BFD, the daemon.

Separate because our model has one of some of these where BIRD may have several; the second one is
lost, by its name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address
from typing import Any, Final

from confsync.drivers.bird import effective, names
from confsync.drivers.bird.bgp import Announcement, Daemon, Direct, Log, Pipe, StaticRoute, Syncer
from confsync.drivers.bird.importer import options as o
from confsync.drivers.bird.importer.conditions import legal
from confsync.drivers.bird.importer.expressions import Cursor, Unsaid
from confsync.drivers.bird.importer.options import Losses, Said, Table
from confsync.drivers.bird.importer.outline import NAMED, Option, Outline, Protocol
from confsync.drivers.bird.importer.policies import Policies
from confsync.drivers.bird.importer.routes import routes
from confsync.drivers.bird.policy import (
    Action,
    Changes,
    Family,
    Filter,
    Match,
    Policy,
    Rule,
    family_of,
)
from confsync.drivers.bird.policy_build import WORDS

_SCAN_S: Final = 60  # BIRD's own, of devices and of kernel tables
_COMMON: Final = {"disabled": ("", o.flag), "table": ("table", o.name)}
_KERNEL: Final = Table(
    {
        "disabled": ("", o.flag),
        "learn": ("learn", o.flag),
        "persist": ("persist", o.flag),
        "scan time": ("scan_s", o.seconds),
        "graceful restart": ("graceful_restart", o.flag),
        "metric": ("metric", o.number),
    }
)
_PIPE: Final = Table({**_COMMON, "peer table": ("peer_table", o.name)})
_DIRECT: Final = Table({"disabled": ("", o.flag), "check link": ("check_link", o.flag)})
_DEVICE: Final = Table({"disabled": ("", o.flag), "scan time": ("device_scan_s", o.seconds)})
_CHANNEL: Final = Table({"table": ("table", o.name), "preference": ("preference", o.number)})
_DAEMON: Final = Table(
    {
        "graceful restart wait": ("graceful_restart_wait_s", o.seconds),
        "watchdog warning": ("watchdog_warning_s", o.seconds),
        "watchdog timeout": ("watchdog_timeout_s", o.seconds),
    }
)
_ALL: Final = WORDS["all"]


@dataclass(slots=True)
class Host:
    """Reads what is no session, protocol by protocol; `names` are the file's, by ours."""

    outline: Outline
    policies: Policies
    losses: Losses
    names: dict[str, str] = field(default_factory=dict)
    syncers: dict[str, Syncer] = field(default_factory=dict)
    pipes: dict[str, Pipe] = field(default_factory=dict)
    direct: Direct | None = None
    daemon: Said = field(default_factory=lambda: {"device_scan_s": _SCAN_S})
    logs: list[Log] = field(default_factory=list)
    router_id: IPv4Address | None = None
    routes: list[StaticRoute] = field(default_factory=list)
    announce: list[Announcement] = field(default_factory=list)

    def read(self, protocol: Protocol) -> bool:
        """Read a protocol if it is of these kinds."""
        reader: Mapping[str, Callable[[Protocol], None]] = {
            "device": self._device,
            "direct": self._direct,
            "kernel": self._kernel,
            "pipe": self._pipe,
            "static": self._static,
        }
        if protocol.kind not in reader:
            return False
        try:
            reader[protocol.kind](protocol)
        except Unsaid as why:
            self.losses.add(protocol.name, "the whole protocol", protocol.token, str(why))
        return True

    def options(self) -> None:
        """Read what concerns the whole daemon."""
        self._each(self.outline.options, "BIRD", self._option)

    def _option(self, cursor: Cursor) -> None:
        if cursor.phrase("router id"):
            found = o.address(cursor)
            if not isinstance(found, IPv4Address) or not cursor.done:
                raise Unsaid("it is found by BIRD itself")
            self.router_id = found
        elif cursor.got("log"):
            self.logs.append(_log(cursor))
        elif cursor.got("timeformat"):
            cursor.take()
            if [token.text for token in cursor.rest()] != ["iso", "long", "ms"]:
                raise Unsaid("confsync has BIRD tell times in its own way")
        elif not _DAEMON.read(cursor, self.daemon):
            raise Unsaid("not known to documents")

    def _each(self, options: Iterable[Option], owner: str, read: Callable[[Cursor], None]) -> None:
        o.each(options, self.outline.constants, owner, self.losses, read)

    def _plain(
        self, protocol: Protocol, table: Table, other: Callable[[Cursor], None] = o.unknown
    ) -> Said:
        """Return what a table of options holds; another one is for another reader."""
        said: Said = {}

        def one(cursor: Cursor) -> None:
            if not table.read(cursor, said):
                other(cursor)

        self._each(protocol.options, protocol.name, one)
        return said

    def _called(self, own: str, protocol: Protocol) -> None:
        if own != protocol.name:
            self.names[own] = protocol.name

    # --- one reader for each kind

    def _device(self, protocol: Protocol) -> None:
        if names.DEVICE in self.names.values() or "device" in self.daemon:
            raise Unsaid("there is another one")
        self.daemon |= self._plain(protocol, _DEVICE)
        self._called(names.DEVICE, protocol)

    def _direct(self, protocol: Protocol) -> None:
        if self.direct is not None:
            raise Unsaid("there is another one")
        found: Said = {"ipv4": False, "ipv6": False, "interfaces": ()}

        def other(cursor: Cursor) -> None:
            if cursor.sees(*Family):
                found[cursor.take().text] = True
                if {one.words for one in o.block(cursor)} - o.PLAIN:
                    raise Unsaid("options of its channel")
            elif cursor.got("interface"):
                found["interfaces"] += _texts(cursor)
            else:
                o.unknown(cursor)

        self.direct = Direct(**{**self._plain(protocol, _DIRECT, other), **found})
        self._called(names.DIRECT, protocol)

    def _kernel(self, protocol: Protocol) -> None:
        found: Said = {"persist": False, "scan_s": _SCAN_S, "merge_paths": False}

        def other(cursor: Cursor) -> None:
            if cursor.phrase("kernel table"):
                found["kernel_table"] = cursor
            elif cursor.phrase("merge paths"):
                found.update(_merged(cursor))
            elif cursor.sees(*Family):
                found.update(self._channel(cursor, protocol))
            else:
                o.unknown(cursor)

        found |= self._plain(protocol, _KERNEL, other)
        if "kernel_table" in found:
            found["kernel_table"] = _kernel_table(found["kernel_table"])
        if "family" not in found:
            raise Unsaid("without a table of IPv4 or IPv6 routes")
        family = found["family"]
        found.setdefault("table", family.master)
        exports, address = _addressed(found.pop("exports", WORDS["none"]), family)
        imports = found.pop("imports", _ALL)
        name = self._syncer_name(protocol.name, found["table"], family)
        self.syncers[protocol.name] = Syncer(
            name=name,
            imports=None if imports == effective.NONE else imports,
            exports=None if exports == effective.FROM_BGP else exports,
            source_address=address,
            **found,
        )

    def _syncer_name(self, protocol: str, table: str, family: Family) -> str:
        """Return what a document calls a kernel protocol."""
        if protocol in ("cs_kernel4", "cs_kernel6"):
            return protocol.removeprefix("cs_")
        if protocol.startswith("cs_kernel_"):
            return protocol.removeprefix("cs_kernel_").replace("D", "-")
        own = f"main{family.digit}" if table == family.master else legal(table)
        taken = {one.name for one in self.syncers.values()}
        return own if own not in taken else f"{own}-{legal(protocol)}"

    def _channel(self, cursor: Cursor, protocol: Protocol) -> Said:
        family = Family(cursor.take().text)
        said: Said = {"family": family}

        def one(inner: Cursor) -> None:
            if not _CHANNEL.read(inner, said):
                self._policy(inner, said, family, protocol.name)

        self._each(o.block(cursor), protocol.name, one)
        return said

    def _policy(self, cursor: Cursor, said: Said, family: Family, owner: str) -> None:
        way = o.one_of("import", "export")(cursor)
        said[f"{way}s"] = self.policies.read(cursor, family, owner, way)
        if not cursor.done:
            raise Unsaid("more than is known of it")

    def _pipe(self, protocol: Protocol) -> None:
        policies: list[Option] = []
        found = self._plain(protocol, _PIPE, lambda other: policies.append(Option(other.rest())))
        family = self._family(found.get("table", ""))
        self._family(found.get("peer_table", ""))
        said = {"imports": _ALL, "exports": WORDS["none"], **found}
        self._each(
            policies,
            protocol.name,
            lambda cursor: self._policy(cursor, said, family, protocol.name),
        )
        own = legal(said.get("peer_table", ""))
        if own in self.pipes:
            own = f"{own}-{legal(protocol.name)}"
        if protocol.name.startswith("cs_pipe_"):
            own = protocol.name.removeprefix("cs_pipe_").replace("D", "-")
        imports, exports = (
            None if policy == effective.NONE else policy
            for policy in (said.pop("imports"), said.pop("exports"))
        )
        made = Pipe(name=own, family=family, imports=imports, exports=exports, **said)
        self.pipes[own] = made
        self._called(names.pipe_protocol(made), protocol)

    def _family(self, table: str) -> Family:
        known = {family.master: family for family in Family} | self.outline.tables
        if table not in known:
            raise Unsaid("it has a table that is not known")
        return known[table]

    def _static(self, protocol: Protocol) -> None:
        found = routes(protocol, self.outline, self.losses)
        if not found:
            self._empty(protocol)
            return
        table = names.table_of(found[0])
        own = names.static_protocol(table)
        family = family_of(found[0].prefix)
        if protocol.name == names.announcer(family) and all(_is_announced(one) for one in found):
            self.announce += [Announcement(one.name, one.prefix) for one in found]
            return
        if any(not one.protocol and names.table_of(one) == table for one in self.routes):
            found = tuple(replace(one, protocol=protocol.name) for one in found)
        else:
            self._called(own, protocol)
        self.routes += found

    def _empty(self, protocol: Protocol) -> None:
        """Have a protocol without routes be the one that brings what will be announced."""
        said = [option.words for option in protocol.options]
        if len(said) == 1 and said[0] in (*Family,):
            self.names.setdefault(names.announcer(Family(said[0])), protocol.name)

    # --- what it comes to

    def finished(self) -> tuple[Syncer, ...]:
        """Return the kernel protocols; two that only differ in their family are the short form."""
        made = self.syncers
        same = {repr(_bare(one)) for one in made.values()}
        tables = sorted(one.table for one in made.values())
        if len(same) == 1 and tables == [family.master for family in Family]:
            made = {
                protocol: replace(one, name=f"kernel{one.family.digit}")
                for protocol, one in made.items()
            }
        for protocol, one in made.items():
            if (own := names.syncer_protocol(one)) != protocol:
                self.names[own] = protocol
        return tuple(sorted(made.values(), key=lambda one: one.name))

    def told(self) -> Daemon:
        """Return what concerns the daemon."""
        return Daemon(log=tuple(self.logs), **self.daemon)


def _bare(one: Syncer) -> Syncer:
    """Return what both families of the short form share."""
    return replace(
        one,
        name="",
        table="",
        family=Family.IPV4,
        imports=None,
        exports=None,
        source_address=None,
        # The short form has no number of a table: with one, no two are alike.
        protocol="" if one.kernel_table is None else one.name,
    )


def _is_announced(one: StaticRoute) -> bool:
    plain = StaticRoute(one.name, one.prefix, dest="unreachable", table=one.table)
    return one == plain


def _addressed(policy: Policy, family: Family) -> tuple[Policy, Any]:
    """Return a policy without the source address that it gives to all routes first."""
    match policy:
        case Filter((Rule(Match() as asked, Action.NEXT, Changes() as made), *rest), permit):
            address = made.source_address
            only = made == Changes(source_address=address)
            if asked == Match() and only and address and family_of(address) is family:
                return Filter(tuple(rest), permit), address
    return policy, None


def _kernel_table(cursor: Cursor) -> int:
    name = cursor.next.text
    if cursor.next.kind in NAMED and name not in cursor.constants:
        raise Unsaid(f"{name} is a name of the kernel's: a document has its number")
    return o.number(cursor)


def _merged(cursor: Cursor) -> Said:
    on = True if cursor.done or cursor.sees("limit") else o.flag(cursor)
    limit = o.number(cursor) if cursor.got("limit") else None
    if not cursor.done:
        raise Unsaid("more than is known of it")
    return {"merge_paths": on, "merge_limit": limit if on else None}


def _texts(cursor: Cursor) -> tuple[str, ...]:
    found = [o.text(cursor)]
    while cursor.got(","):
        found.append(o.text(cursor))
    if not cursor.done:
        raise Unsaid("more than patterns of interfaces")
    return tuple(found)


def _log(cursor: Cursor) -> Log:
    target = cursor.take().text
    name = o.text(cursor) if cursor.got("name") else ""
    classes: tuple[str, ...] = ()
    if not cursor.got("all"):
        classes = tuple(token.text for token in cursor.group() if token.kind == "word")
    if not cursor.done:
        raise Unsaid("more than is known of it")
    return Log(target, classes, name)
