"""Many nodes at once: what every site tells of itself, and which one could not be asked.

Separate from one node's status because nothing here is known at first hand: a report has an age,
and a node that is silent is never shown as what it last said it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Final

from confsync.cli.output import Exit, Options, Result
from confsync.cli.status import EXITS, age, worst
from confsync.edge.fleet import SITE_REPORT, SiteReading, read_site, sites
from confsync.edge.transport import Client
from confsync.model import limits
from confsync.model.errors import BadSettings
from confsync.model.ids import Json
from confsync.model.snapshot import Phase
from confsync.model.status import AgentState
from confsync.settings import Settings

SILENT: Final = "silent"
WAITING: Final = (AgentState.PENDING, AgentState.APPLYING, AgentState.STARTING)
HELD: Final = (AgentState.FROZEN, AgentState.OBSERVING)
TITLES: Final = ("SITE", "NODES", "IN-SYNC", "PENDING", "HELD", "PROBLEM", "CHANGE", "APPLIED")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which nodes to show; texts are patterns as a shell has them, empty = all."""

    which: str = ""
    site: str = ""
    role: str = ""
    node: str = ""
    problems: bool = False

    @property
    def some(self) -> bool:
        """Tell whether only some nodes are meant."""
        return bool(self.which or self.site or self.role or self.node)

    def means(self, node: Told) -> bool:
        """Tell whether a node is meant, with problems or without."""
        said = node.report
        patterns = ((self.site, node.site), (self.role, said["role"]), (self.node, said["node"]))
        named = any(_fits(word, self.which) for word in (node.site, said["node"]))
        return named and all(_fits(word, pattern) for pattern, word in patterns)

    def means_all_of(self, site: str) -> bool:
        """Tell whether how a whole site stands is meant: it is no node's, whoever acts for it."""
        return not (self.role or self.node) and _fits(site, self.which) and _fits(site, self.site)

    def sites(
        self, readings: Sequence[SiteReading], nodes: Sequence[Told]
    ) -> Iterator[SiteReading]:
        """Yield the sites that are meant: one that could not be asked may have any node.

        Shape: `nodes` are all that are meant.
        """
        having = {node.site for node in nodes}
        named = {one.site for one in readings if self.which and _fits(one.site, self.which)}
        any_node = not (self.which or self.role or self.node)
        for one in readings:
            hidden = one.problem and not named
            if _fits(one.site, self.site) and (any_node or hidden or one.site in having | named):
                yield one


def _fits(word: str, pattern: str) -> bool:
    return not pattern or fnmatchcase(word, pattern)


@dataclass(frozen=True, slots=True)
class Told:
    """What one node told, of itself or of its site, and how many seconds ago.

    Shape: `age_s` None = it does not say when it was written.
    """

    site: str
    report: Json
    age_s: float | None

    @property
    def state(self) -> str:
        """Return what is known of it now: a report that is old says nothing of today."""
        old = self.age_s is None or self.age_s > limits.REPORT_SILENT_S
        return SILENT if old else str(self.report["state"])

    @property
    def exit(self) -> Exit:
        """Return what it adds to the exit code."""
        return EXITS.get(self.state, Exit.UNAVAILABLE)

    def as_json(self) -> Json:
        """Return the report as the envelope has it."""
        return {**self.report, "state": self.state, "age_s": self.age_s}


@dataclass(frozen=True, slots=True)
class Fleet:
    """What was read of the sites and nodes that are meant.

    Shape: `published` is the newest change at home, None = no home was read; `works` are what
    is told of whole sites, by site.
    """

    readings: Sequence[SiteReading]
    nodes: Sequence[Told]
    published: int | None
    works: Mapping[str, Told]

    def behind(self, reading: SiteReading) -> int | None:
        """Return how many changes a site lacks, negative = it is ahead; None = nobody can tell."""
        if reading.head is None or self.published is None:
            return None
        return self.published - reading.head.change

    @property
    def exits(self) -> Iterator[Exit]:
        """Yield what adds to the exit code: to know of no node is not to know that all is well."""
        if not self.nodes:
            yield Exit.UNAVAILABLE
        yield from (told.exit for told in (*self.nodes, *self.works.values()))
        for one in self.readings:
            copy = one.head is not None and not one.home
            behind = self.behind(one)
            if one.problem or (copy and (behind is None or not one.reports)):
                yield Exit.UNAVAILABLE
            if behind or one.conflicts or _publishing(one):
                yield Exit.PENDING


def _publishing(reading: SiteReading) -> bool:
    return reading.head is not None and reading.head.phase is Phase.PUBLISHING


def show(settings: Settings, wanted: Wanted, options: Options) -> Result:
    """Return what all sites tell, for people and for programs. Raises SourceError."""
    fleet = asyncio.run(_read(settings, wanted))
    text = "\n".join(_lines(fleet, wanted, options))
    data = {
        "sites": [_site(fleet, one) for one in fleet.readings],
        "nodes": [node.as_json() for node in _listed(fleet, wanted)],
    }
    return Result(data, text, worst(set(fleet.exits)))


def _listed(fleet: Fleet, wanted: Wanted) -> list[Told]:
    fine = AgentState.IN_SYNC
    return [node for node in fleet.nodes if not wanted.problems or node.state != fine]


async def _read(settings: Settings, wanted: Wanted) -> Fleet:
    if settings.source.kind != "consul":
        raise BadSettings('[source] kind = "directory": only this node can be asked here')
    consul, prefix = settings.source.consul, settings.source.prefix
    here = Client(consul.endpoint(), consul.token())
    clients = [here]
    try:
        names = await sites(here)
        clients += [Client(consul.endpoint(), consul.token(), name) for name in names]
        asked = zip(clients[1:], names, strict=True)
        readings = await asyncio.gather(*(read_site(one, prefix, name) for one, name in asked))
    finally:
        for client in clients:
            await client.close()
    now = datetime.now(UTC)
    told = (
        Told(one.site, report, _age_s(report, now)) for one in readings for report in one.reports
    )
    nodes = [node for node in told if wanted.means(node)]
    heads = (one.head.change for one in readings if one.home and one.head)
    works = {
        one.site: Told(one.site, one.work, _age_s(one.work, now))
        for one in readings
        if one.work and wanted.means_all_of(one.site)
    }
    return Fleet(list(wanted.sites(readings, nodes)), nodes, max(heads, default=None), works)


def _age_s(report: Json, now: datetime) -> float | None:
    """Return how old a report is, None = nobody can tell: a clock that runs ahead hides a death."""
    try:
        age_s = (now - datetime.fromisoformat(report["at"])).total_seconds()
    except (ValueError, TypeError):
        return None
    return age_s if age_s > -limits.REPORT_EVERY_S else None


def _site(fleet: Fleet, reading: SiteReading) -> Json:
    head = reading.head
    nodes = [node for node in fleet.nodes if node.site == reading.site]
    work = fleet.works.get(reading.site)
    return {
        "site": reading.site,
        "problem": reading.problem,
        "home": reading.home,
        "change": head.change if head else None,
        "phase": str(head.phase) if head else None,
        "behind": fleet.behind(reading),
        "conflicts": dict(reading.conflicts),
        "site_work": work.as_json() if work else None,
        "nodes": len(nodes),
        "states": {state: _count(nodes, (state,)) for state in sorted({n.state for n in nodes})},
    }


def _count(nodes: Sequence[Told], states: Sequence[str]) -> int:
    return sum(node.state in states for node in nodes)


def _lines(fleet: Fleet, wanted: Wanted, options: Options) -> Iterator[str]:
    yield from _table([TITLES, *(_row(fleet, one) for one in fleet.readings if not one.problem)])
    for reading in fleet.readings:
        if reading.problem:
            yield f"{reading.site}: could not be asked: {reading.problem}"
        elif not reading.reports:
            yield f"{reading.site}: no node has ever reported there"
        yield from _conflicts(reading, options)
        work = fleet.works.get(reading.site)
        if work and not (wanted.problems and work.state == AgentState.IN_SYNC):
            yield _work(work, options)
    if wanted.some and not fleet.nodes:
        yield "no report of such a node was found"
    for node in _listed(fleet, wanted):
        if wanted != Wanted() or node.exit not in {Exit.OK, Exit.PENDING}:
            yield _node(node, options)


def _row(fleet: Fleet, reading: SiteReading) -> tuple[str, ...]:
    nodes = [node for node in fleet.nodes if node.site == reading.site]
    fine = _count(nodes, (AgentState.IN_SYNC,))
    waiting, held = _count(nodes, WAITING), _count(nodes, HELD)
    counts = (len(nodes), fine, waiting, held, len(nodes) - fine - waiting - held)
    applied = [node.report["applied"] for node in nodes if node.report["applied"] is not None]
    oldest = f"#{min(applied)}" if applied else "-"
    return (reading.site, *map(str, counts), _change(fleet, reading), oldest)


def _change(fleet: Fleet, reading: SiteReading) -> str:
    if reading.head is None:
        return "-"
    change = f"#{reading.head.change}" + " publishing" * _publishing(reading)
    behind = fleet.behind(reading)
    if reading.home:
        return f"{change} home"
    if behind is None:
        return f"{change} (lag unknown)"
    told = f"{behind} behind" if behind > 0 else f"{-behind} ahead of home"
    return f"{change} ({told})" if behind else change


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = (text.ljust(width) for text, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()


def _conflicts(reading: SiteReading, options: Options) -> Iterator[str]:
    for key in sorted(reading.conflicts):
        place = f"{reading.site}:{key.removeprefix('desired/')}"
        yield f"{reading.site}: {key} was edited there and is kept; it ends by one of"
        for word in ("--take", "--drop"):
            yield f"  {options.paint(f'confsync push TREE -m WHY {word} {place}', 'bold')}"


def _work(work: Told, options: Options) -> str:
    """Return how a site stands: an old report is renewed by whoever acts next, or by nobody."""
    silent = work.state == SILENT
    by = f" ({work.report['node'] or 'nobody known'} {'acted' if silent else 'acts'})"
    ends = f"start an agent that may act, or delete {SITE_REPORT} there" if silent else ""
    return _line(f"{work.site}: the site", work, options, by, ends)


def _node(node: Told, options: Options) -> str:
    return f"  {_line(node.report['node'], node, options)}"


def _line(name: str, told: Told, options: Options, by: str = "", ends: str = "") -> str:
    """Return one report in one line; `ends` is what to do where it is too old to tell that."""
    said, state = told.report, told.state
    colour = "green" if told.exit is Exit.OK else "red" if state == AgentState.HALTED else "yellow"
    old = age(max(0.0, told.age_s or 0.0))
    if state == SILENT:
        when = "does not say when it was written, or in the future"
        reason = f"its last report, {said['state']}, "
        reason += when if told.age_s is None else f"is {old} old"
    else:
        reason, ends = said["reason"] or f"told {old} ago", said["next"]
    following = f"  next: {ends}" if ends else ""
    change = f"#{said['applied']}" if said["applied"] is not None else "-"
    return f"{name}  {options.paint(state.upper(), colour)}  {change}  {reason}{by}{following}"
