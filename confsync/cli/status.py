"""``confsync status``: what the agent of this host says of itself."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Final

import click

from confsync.cli import client
from confsync.cli.output import Exit, Options, Result, verb
from confsync.model.ids import Json
from confsync.model.status import AgentState

EXITS: Final[Mapping[str, Exit]] = {
    AgentState.HALTED: Exit.HALTED,
    AgentState.STARTING: Exit.PENDING,
    AgentState.APPLYING: Exit.PENDING,
    AgentState.ROLLED_BACK: Exit.ROLLED_BACK,
    AgentState.REJECTED: Exit.ROLLED_BACK,
    AgentState.STALE: Exit.UNAVAILABLE,
    AgentState.DRIFTED: Exit.ROLLED_BACK,
    AgentState.FROZEN: Exit.PENDING,
    AgentState.OBSERVING: Exit.PENDING,
    AgentState.PENDING: Exit.PENDING,
    AgentState.IN_SYNC: Exit.OK,
}
WORST: Final = (
    Exit.HALTED,
    Exit.ROLLED_BACK,
    Exit.UNEXPECTED,
    Exit.UNAVAILABLE,
    Exit.PENDING,
    Exit.OK,
)
GREEN: Final = (AgentState.IN_SYNC, AgentState.APPLYING, AgentState.PENDING)
RED: Final = (AgentState.HALTED, AgentState.STARTING)


@click.command()
@click.argument("which", metavar="[SITE|NODE]", default="")
@click.option("--sites", is_flag=True, help="All sites, a line each, and the nodes with problems.")
@click.option("--problems", is_flag=True, help="Only nodes that are not in sync.")
@click.option("--site", default="", help="Only this site's nodes.")
@click.option("--role", default="", help="Only nodes of this role.")
@click.option("--node", default="", help="Only this node.")
@verb("status")
def status(
    options: Options,
    *,
    which: str,
    sites: bool,
    problems: bool,
    site: str,
    role: str,
    node: str,
) -> Result:
    """Show this node; with a selector or --sites what all nodes have reported, site by site.

    A site's own configuration counts where this agent acts for the site, and with --sites.
    Selectors may hold * and ?. Where confsync has no settings, as on your own machine, all sites
    are shown. Ends with 0 in sync, 2 pending or held (a site: its copy is not what home has, or
    keeps an edit), 4 rolled back, rejected or drifted, 5 halted, 69 when the source, the agent or
    a site does not answer, a node is silent, or none is found.
    """
    selected = (which, site, role, node, problems)
    if not (sites or any(selected)) and options.config.exists():
        return shown(client.ask(options.config, "/api/v1/node"), options)
    from confsync.cli import fleet
    from confsync.settings import load_for_tree

    return fleet.show(load_for_tree(options.config), fleet.Wanted(*selected), options)


def shown(node: Json, options: Options) -> Result:
    """Return a node's status as people read it, with the exit code of its state.

    Why the worse of two: whoever acts for a site is the one who is asked about it.
    """
    text = "\n".join(_lines(node, options))
    work = node.get("site_work")
    states = [node["state"], *([work["state"]] if work and work["holds"] else ())]
    return Result(node, text, worst({EXITS.get(state, Exit.UNEXPECTED) for state in states}))


def worst(exits: Collection[Exit]) -> Exit:
    """Return what several states together end with, 0 for none."""
    return next((code for code in WORST if code in exits), Exit.OK)


def _lines(node: Json, options: Options) -> Iterator[str]:
    state = node["state"]
    colour = "green" if state in GREEN else "red" if state in RED else "yellow"
    word = options.paint(state.upper(), colour)
    yield f"{node['node']}  {word}  since {node['since']}"
    if node["reason"]:
        yield f"  reason    {_indent(node['reason'])}"
    if node["next"]:
        yield f"  next:     {options.paint(node['next'], 'bold')}"
    yield f"  place     site {node['site']}, role {node['role'] or '-'}"
    yield f"  changes   {_changes(node)}"
    yield f"  source    {_source(node['source'])}"
    for name, driver in node["drivers"].items():
        yield f"  {name:9} {_driver(driver)}"
        for note in driver["notes"]:
            yield f"            {note}"
    for name in node["held"]:
        yield f"  held      {name}: disabled by hand, kept so"
    if work := node.get("site_work"):
        yield from _site_work(work, node["site"], options)
    if node["mirror"] and node["mirror"]["holds"]:
        yield f"  mirror    {_mirror(node['mirror'])}"
    if node["last_transaction"]:
        yield f"  last      {_transaction(node['last_transaction'])}"
    for warning in node["warnings"]:
        yield f"  warning   {warning}"


def _changes(node: Json) -> str:
    parts = [f"{name} {_mark(node[name])}" for name in ("desired", "attempted", "applied")]
    edited = ", edited past the last push" if node["unrecorded"] else ""
    return ", ".join(parts) + edited


def _mark(mark: Json) -> str:
    return f"#{mark['change']} {mark['revision'][:12]}" if mark else "-"


def _source(source: Json) -> str:
    age_s = source["age_s"]
    told = "never answered" if age_s is None else f"last answer {age(age_s)} ago"
    problem = f": {source['problem']}" if source["problem"] else ""
    return f"{source['name']}, {told}{problem}"


def _driver(driver: Json) -> str:
    parts = [driver["ownership"]]
    for family, count in driver["sessions"].items():
        parts.append(f"{family} {count.get('up', 0)}/{count.get('expected', 0)} up")
    if driver["drift"]:
        parts.append(f"{driver['drift']} items drifted")
    if driver["problem"]:
        parts.append(driver["problem"])
    return ", ".join(parts)


def _site_work(work: Json, site: str, options: Options) -> Iterator[str]:
    """Yield how the site stands; who does not act for it knows only that, or why not."""
    if not work["holds"]:
        yield f"  site      {_indent(work['reason']) or f'another agent acts for {site}'}"
        return
    drift = f", {work['drift']} items drifted" if work["drift"] else ""
    stands = f"{work['state']} at {_at(work)}{drift}"
    yield f"  site      {stands} (this agent acts for {site})"
    if work["reason"]:
        yield f"            {_indent(work['reason'])}"
    if work["next"]:
        yield f"            next: {options.paint(work['next'], 'bold')}"
    if work["last_transaction"]:
        yield f"            last {_transaction(work['last_transaction'])}"
    for warning in work["warnings"]:
        yield f"            warning: {warning}"


def _at(work: Json) -> str:
    applied, desired = work["applied"], work["desired"]
    here = "no change" if applied is None else f"#{applied}"
    return here if desired in {None, applied} else f"{here}, #{desired} desired"


def _mirror(mirror: Json) -> str:
    text = f"copies {mirror['home']} for this site, #{mirror['change']} is here"
    if mirror["behind"]:
        text += f", {mirror['behind']} behind"
    if mirror["conflicts"]:
        text += (
            f", edited here and kept: {', '.join(mirror['conflicts'])} (confsync status --sites)"
        )
    return f"{text}: {mirror['problem']}" if mirror["problem"] else text


def _transaction(last: Json) -> str:
    text = f"{last['outcome']} {last['revision'][:12]} at {last['at']} in {last['took_ms']} ms"
    return f"{text}: {_indent(last['reason'])}" if last["reason"] else text


def _indent(text: str) -> str:
    return text.replace("\n", "\n            ")


def age(age_s: float) -> str:
    """Return an age as people say it: ``45s``, ``12m03s``, ``3h05m``, ``2d04h``."""
    seconds = int(age_s)
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if days:
        return f"{days}d{hours % 24:02}h"
    if hours:
        return f"{hours}h{minutes % 60:02}m"
    return f"{minutes}m{seconds % 60:02}s" if minutes else f"{seconds}s"
