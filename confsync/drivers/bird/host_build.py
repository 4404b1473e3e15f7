"""From the shape of a host's own part of a document to its values: tables, kernel, routes, BFD.

Separate from `build` because none of it concerns a peer. Every table that is spoken of is looked
up, since its family decides what the rest may say.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from confsync.drivers.bird.bgp import (
    SECTION,
    Bfd,
    BfdNeighbor,
    BfdTiming,
    Daemon,
    Direct,
    ForeignFile,
    Log,
    NextHop,
    Pipe,
    StaticRoute,
    Syncer,
    Table,
)
from confsync.drivers.bird.host_shapes import KernelShape, RouteShape, SyncerShape
from confsync.drivers.bird.policy import Family, Policy, family_of
from confsync.drivers.bird.policy_build import WORDS, Policies
from confsync.drivers.bird.policy_shapes import FilterShape
from confsync.drivers.bird.schema import Document
from confsync.model.errors import Violation, nearest
from confsync.model.ids import Path

_BOTH_FORMS: Final = "kernel is the short form, kernels the deep one"
_SAME: Final = ("learn", "persist", "scan_s", "metric", "preference", "graceful_restart")


class Host:
    """Builds what is no peer, and collects what cannot be derived."""

    def __init__(self, document: Document, policies: Policies) -> None:
        self._document = document
        self._policies = policies
        self._tables = {family.master: family for family in Family}
        self._tables |= {name: Family(said) for name, said in document.tables.items()}
        self.faults: list[Violation] = []

    def tables(self) -> tuple[Table, ...]:
        """Return the tables beside BIRD's own two."""
        for family in Family:
            if family.master in self._document.tables:
                message = f"{family.master} is there already"
                self._fault("CS-V077", ("tables", family.master), message, "remove it")
        return tuple(Table(name, Family(f)) for name, f in sorted(self._document.tables.items()))

    def syncers(self) -> tuple[Syncer, ...]:
        """Return the kernel protocols, of the short form or the deep one."""
        document = self._document
        if document.kernels is None:
            return tuple(self._short(document.kernel or KernelShape(), f) for f in Family)
        if document.kernel is not None:
            self._fault("CS-V074", ("kernels",), _BOTH_FORMS, "keep one of them")
        return tuple(self._deep(name, one) for name, one in sorted(document.kernels.items()))

    def _short(self, shape: KernelShape, family: Family) -> Syncer:
        at = (SECTION, "kernel")
        imports = getattr(shape.imports, family) if shape.imports else None
        policy = self._policies.chosen(imports, family, (*at, "import", str(family)))
        if shape.imports is None and shape.learn:
            policy = WORDS["all"]
        exports = getattr(shape.export, family)
        return self._syncer(
            Syncer(
                name=f"kernel{family.digit}",
                table=family.master,
                family=family,
                imports=policy,
                exports=self._policies.chosen(exports, family, (*at, "export", str(family))),
                source_address=getattr(shape.source_address, family),
                **{key: getattr(shape, key) for key in _SAME},
            ),
            shape.merge_paths,
        )

    def _deep(self, name: str, shape: SyncerShape) -> Syncer:
        at = (SECTION, "kernels", name)
        family = self._family(shape.table, (*at, "table"))
        address = shape.source_address
        if address is not None and family_of(address) is not family:
            message = f"{address} is no {family} address"
            self.faults.append(Violation("CS-V044", (*at, "source_address"), message))
        return self._syncer(
            Syncer(
                name=name,
                table=shape.table,
                family=family,
                kernel_table=shape.kernel_table,
                imports=self._policy(shape.imports, family, (*at, "import")),
                exports=self._policy(shape.exports, family, (*at, "export")),
                source_address=address,
                protocol=shape.name,
                **{key: getattr(shape, key) for key in _SAME},
            ),
            shape.merge_paths,
        )

    def _syncer(self, made: Syncer, merge: bool | int) -> Syncer:
        limit = None if isinstance(merge, bool) else merge
        return replace(made, merge_paths=merge is not False, merge_limit=limit)

    def pipes(self) -> tuple[Pipe, ...]:
        """Return the pipes; both of its tables are of one family."""
        found = []
        for name, shape in sorted(self._document.pipes.items()):
            at = (SECTION, "pipes", name)
            family = self._family(shape.table, (*at, "table"))
            self.faults.extend(self.misplaced(shape.peer_table, family, (*at, "peer_table")))
            found.append(
                Pipe(
                    name=name,
                    table=shape.table,
                    peer_table=shape.peer_table,
                    family=family,
                    imports=self._policy(shape.imports, family, (*at, "import")),
                    exports=self._policy(shape.exports, family, (*at, "export")),
                    protocol=shape.name,
                )
            )
        return tuple(found)

    def direct(self) -> Direct | None:
        """Return what is said of the host's own networks."""
        shape = self._document.direct
        if shape is None:
            return None
        return Direct(shape.interfaces, shape.ipv4, shape.ipv6, shape.check_link, shape.name)

    def routes(self) -> tuple[StaticRoute, ...]:
        """Return the static routes; each leads to exactly one kind of place."""
        return tuple(
            self._route(name, shape) for name, shape in sorted(self._document.routes.items())
        )

    def _route(self, name: str, shape: RouteShape) -> StaticRoute:
        family, at = family_of(shape.prefix), (SECTION, "routes", name)
        ends = [key for key in ("via", "recursive", "dest") if getattr(shape, key)]
        if len(ends) != 1:
            message = f"{', '.join(ends)} at once" if ends else "the route leads nowhere"
            hint = "set exactly one of via, recursive and dest"
            self.faults.append(Violation("CS-V075", at, message, hint))
        if shape.table:
            self.faults.extend(self.misplaced(shape.table, family, (*at, "table")))
        for number, hop in enumerate(shape.via):
            if hop.address is None and not hop.interface:
                message = "neither an address nor an interface"
                self.faults.append(Violation("CS-V075", (*at, "via", number), message))
        return StaticRoute(
            name=name,
            via=tuple(NextHop(**hop.model_dump()) for hop in shape.via),
            **{key: value for key, value in dict(shape).items() if key != "via"},
        )

    def bfd(self) -> Bfd:
        """Return the timing of BFD; what an interface does not say is as for all."""
        shape = self._document.bfd
        return Bfd(
            interval_ms=shape.interval_ms,
            multiplier=shape.multiplier,
            interfaces=tuple(
                BfdTiming(
                    pattern,
                    one.interval_ms or shape.interval_ms,
                    one.multiplier or shape.multiplier,
                    one.passive,
                    one.rx_ms if one.interval_ms or one.rx_ms else shape.rx_ms,
                )
                for pattern, one in sorted(shape.interfaces.items())
            ),
            neighbors=tuple(BfdNeighbor(**one.model_dump()) for one in shape.neighbors),
            protocol=shape.name,
            rx_ms=shape.rx_ms,
        )

    def daemon(self) -> Daemon:
        """Return what concerns all of BIRD."""
        shape = self._document.daemon
        same = shape.model_dump(exclude={"log", "device_name"})
        log = tuple(Log(**one.model_dump()) for one in shape.log)
        return Daemon(log=log, device_protocol=shape.device_name, **same)

    def foreign(self) -> tuple[ForeignFile, ...]:
        """Return the files of other hands, in their order: BIRD reads them so."""
        return tuple(ForeignFile(**one.model_dump()) for one in self._document.foreign)

    def misplaced(self, table: str, family: Family, at: Path) -> Iterator[Violation]:
        """Refuse a table that is not there, or not of this family."""
        found = self._tables.get(table)
        if found is None:
            hint = nearest(table, tuple(self._tables))
            yield Violation("CS-V072", at, f"there is no table {table}", hint)
        elif found is not family:
            yield Violation("CS-V073", at, f"the table {table} holds {found} routes", "")

    def _family(self, table: str, at: Path) -> Family:
        found = self._tables.get(table)
        if found is None:
            self.faults.extend(self.misplaced(table, Family.IPV4, at))
        return found or Family.IPV4

    def _policy(self, shape: FilterShape | None, family: Family, at: Path) -> Policy | None:
        return self._policies.chosen(shape, family, at)

    def _fault(self, code: str, path: Path, message: str, hint: str) -> None:
        self.faults.append(Violation(code, (SECTION, *path), message, hint))
