"""``confsync plan`` and ``confsync apply``: what would be done on this host, and doing it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from confsync.cli import client
from confsync.cli.output import Exit, Options, Result, failed, verb
from confsync.cli.status import shown
from confsync.model.errors import InvalidConfig
from confsync.model.ids import Json
from confsync.model.machine import State
from confsync.model.plan import Plan

if TYPE_CHECKING:
    from confsync.flow.passed import Pass

ALLOW = click.option(
    "--allow",
    multiple=True,
    metavar="RULE:PATH",
    help="Let one guard pass, by the name that its refusal shows; may be repeated.",
)


@click.command()
@click.argument(
    "tree", type=click.Path(path_type=Path, exists=True, file_okay=False), required=False
)
@ALLOW
@verb("plan")
def plan(options: Options, *, tree: Path | None, allow: tuple[str, ...]) -> Result:
    """Show what would change on this host, from Consul or from a folder TREE; change nothing.

    Where this host may act for its site, the site's own plan follows.
    Ends with 0 for no changes, 2 for changes of either.
    """
    from confsync.cli import alone
    from confsync.host import logs
    from confsync.settings import load

    logs.configure("debug" if options.verbose else "warning")
    settings = load(options.config)
    node = proposal(asyncio.run(alone.preview(settings, tree, allow)), options)
    site = asyncio.run(alone.preview_site(settings, tree, allow))
    return node if site is None else joined(node, proposal(site, options), settings.site)


@click.command()
@click.option("--once", is_flag=True, help="One pass by this command, where no agent runs.")
@ALLOW
@verb("apply")
def apply(options: Options, *, once: bool, allow: tuple[str, ...]) -> Result:
    """Bring this host to what is desired, now, as one verified transaction.

    Without --once the agent does it.
    """
    if not once:
        node = client.order(options.config, "/v1/apply", {"allow": list(allow)})
        return shown(node, options)
    from confsync.cli import alone
    from confsync.host import logs
    from confsync.settings import load

    logs.configure("debug" if options.verbose else "warning")
    found = asyncio.run(alone.apply_once(load(options.config), allow))
    return outcome(found, options)


def proposal(found: Pass, options: Options) -> Result:
    """Return what a preview came to."""
    if stopped := obstacle(found):
        return stopped
    assert found.plan is not None
    text = "\n".join(describe(found.plan, options))
    notes = [f"{r}" for r in found.refusals]
    notes += [
        f"{name} is not ours: nothing is written until it is adopted" for name in found.observing
    ]
    changes = Exit.PENDING if found.plan.steps else Exit.OK
    return Result(_data(found), text, changes, "\n".join(notes), _warnings(found))


def joined(node: Result, site: Result, name: str) -> Result:
    """Return a host's plan and, after it, that of its site, each whole by itself.

    The exit code is that of the first one which came to no plan, else the greater.
    """
    heading = f"site {name}:"
    plans = (Exit.OK, Exit.PENDING)
    unplanned = [one.exit for one in (node, site) if one.exit not in plans]
    notes = [node.note, *(f"{heading} {line}" for line in site.note.splitlines())]
    return Result(
        {**(node.data or {}), "site": site.data},
        "\n".join(filter(None, (node.text, heading if site.text else "", site.text))),
        unplanned[0] if unplanned else max(node.exit, site.exit),
        "\n".join(filter(None, notes)),
        (*node.warnings, *(f"{heading} {one}" for one in site.warnings)),
        (*node.errors, *site.errors),
    )


def outcome(found: Pass, options: Options) -> Result:
    """Return what a pass came to."""
    if stopped := obstacle(found):
        return stopped
    assert found.plan is not None
    if held := [str(r) for r in found.refusals] or ([found.held] if found.held else []):
        return Result(_data(found), exit=Exit.REFUSED, note="\n".join(held), errors=_errors(held))
    if found.quarantined:
        note = f"failed here before: {found.quarantined}; to try again: confsync agent retry"
        return Result(_data(found), exit=Exit.REFUSED, note=note, errors=_errors([note]))
    if found.observing:
        note = f"{', '.join(found.observing)}: not ours, nothing was written"
        return Result(_data(found), exit=Exit.REFUSED, note=note, errors=_errors([note]))
    if found.outcome is None and found.plan.steps:
        note = "what runs differs from what was applied; nothing was written, see: confsync plan"
        return Result(_data(found), exit=Exit.ROLLED_BACK, note=note, errors=_errors([note]))
    if found.outcome is None:
        return Result(_data(found), "No changes.", warnings=_warnings(found))
    if found.outcome.state is State.COMMITTED:
        lines = [*describe(found.plan, options, done=True)]
        return Result(_data(found), "\n".join(lines), warnings=_warnings(found))
    halted = found.outcome.state is State.HALTED
    word = "NOT restored" if halted else "rolled back, verified equal to what was before"
    note = f"{found.outcome.reason}; {word}"
    code = Exit.HALTED if halted else Exit.ROLLED_BACK
    return Result(_data(found), exit=code, note=note, errors=_errors([note]))


def obstacle(found: Pass) -> Result | None:
    """Return why there is not even a plan, if so."""
    if found.violations:
        return failed(InvalidConfig(found.violations))
    if found.failure:
        return failed(found.failure)
    if found.plan is None:
        note = str(found.fault or "") or "nothing is desired yet"
        return Result(exit=Exit.UNAVAILABLE, note=note, errors=_errors([note]))
    return None


def describe(plan: Plan, options: Options, *, done: bool = False) -> Iterator[str]:
    """Yield a plan as people read it."""
    if not plan.steps:
        yield "No changes."
        return
    for item in plan.differences:
        colour = {"+": "green", "-": "red"}.get(item.op, "yellow")
        note = f"; {item.note}" if item.note else ""
        yield f"{options.paint(str(item), colour)}   {item.impact}{note}"
    steps = f"{len(plan.steps)} step{'s' if len(plan.steps) > 1 else ''}"
    end = "Done and verified." if done else "Nothing was changed."
    yield f"{steps}, impact: {plan.impact}. {end}"


def _data(found: Pass) -> Json:
    plan = found.plan
    assert plan is not None
    return {
        "digest": plan.digest,
        "revision": plan.revision,
        "impact": str(plan.impact),
        "steps": [
            {
                "driver": step.driver,
                "kind": step.kind,
                "target": step.target,
                "impact": str(step.impact),
                "summary": step.summary,
                "differences": [item.as_json() for item in step.differences],
            }
            for step in plan.steps
        ],
        "refusals": [f"{r.rule}:{r.place}" for r in found.refusals],
        "observing": list(found.observing),
        "outcome": str(found.outcome.state) if found.outcome else None,
        "source_problem": str(found.fault or ""),
    }


def _warnings(found: Pass) -> tuple[str, ...]:
    stale = (f"{found.fault}; last-known-good is used",) if found.fault else ()
    return (*stale, *(found.plan.warnings if found.plan else ()))


def _errors(messages: list[str]) -> tuple[Json, ...]:
    return tuple({"code": "Refused", "msg": text, "hint": "", "doc": ""} for text in messages)
