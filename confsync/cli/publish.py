"""``confsync validate`` and ``confsync push``: a tree of files, checked and published."""

from __future__ import annotations

import asyncio
import getpass
import socket
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from confsync.cli.output import Exit, Options, Result, failed, verb
from confsync.cli.plan import ALLOW
from confsync.model.errors import BadSettings, InvalidConfig, Violation

if TYPE_CHECKING:
    from confsync.cli.tree import Checked
    from confsync.edge.publish import Published, Record
    from confsync.settings import Settings

LOST: Final = "lost"
"""The rule by which home is moved away from a datacenter that will not come back."""
MOVED: Final = (
    'home is {home} now; set home_datacenter = "{home}" under [source.consul] on every host of '
    "every site. Until then hosts go on as they are, and nothing is copied"
)
FORMATS: Final = ("text", "json", "github")


@click.command()
@click.argument("tree", type=click.Path(path_type=Path, exists=True))
@click.option("--format", "form", type=click.Choice(FORMATS), default="text", show_default=True)
@verb("validate")
def validate(options: Options, *, tree: Path, form: str) -> Result:
    """Check a folder TREE, for every node that it names, or the syntax of one document."""
    from confsync.cli.tree import check
    from confsync.settings import load_for_tree

    options.json = options.json or form == "json"
    checked = check(tree, load_for_tree(options.config))
    if checked.faults and form == "github":
        return Result(text="\n".join(map(_annotation, checked.faults)), exit=Exit.INVALID)
    if checked.faults:
        return failed(InvalidConfig(checked.faults))
    return Result(_data(checked), _summary(tree, checked), warnings=checked.warnings)


@click.command()
@click.argument("tree", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("-m", "--message", "why", required=True, help="Why, for everybody who will ask.")
@click.option("--take", multiple=True, metavar="SITE:KEY", help="Take over an edit of a site.")
@click.option("--drop", multiple=True, metavar="SITE:KEY", help="Give up an edit of a site.")
@click.option(
    "--home", metavar="SITE", default="", help="Move home to a site; change nothing else."
)
@ALLOW
@verb("push")
def push(
    options: Options,
    *,
    tree: Path,
    why: str,
    take: tuple[str, ...],
    drop: tuple[str, ...],
    home: str,
    allow: tuple[str, ...],
) -> Result:
    """Publish a folder TREE as one numbered change, at home; what it lacks is removed there.

    A document that was edited at another site is kept there until --take writes that edit into
    TREE and publishes it, or --drop gives it up.
    """
    from confsync.cli import dispute
    from confsync.cli.tree import check
    from confsync.edge.publish import Record
    from confsync.settings import load_for_tree

    settings = load_for_tree(options.config)
    if settings.source.kind != "consul":
        raise BadSettings('[source] kind = "directory": push writes to Consul only')
    if home and home == settings.source.consul.home_datacenter:
        raise click.UsageError(f"--home {home}: that is home already")
    taken = tuple(dispute.take(tree, asyncio.run(dispute.edits(settings, take))))
    allow += dispute.drop(asyncio.run(dispute.edits(settings, drop)))
    checked = check(tree, settings)
    if checked.faults:
        return failed(InvalidConfig(checked.faults))
    at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    by = f"{getpass.getuser()}@{socket.gethostname().partition('.')[0]}"
    record = Record(by, at, why, via="cli", allow=allow)
    done = asyncio.run(_publish(settings, checked, record, home))
    data = {
        "change": done.change,
        "written": list(done.written),
        "removed": list(done.removed),
        "adopted": list(done.adopted),
    }
    note = "\n".join([*taken, *([MOVED.format(home=home)] if home else [])])
    return Result(data, _told(done, allow), note=note, warnings=checked.warnings)


async def _publish(settings: Settings, checked: Checked, record: Record, home: str) -> Published:
    from confsync.cli.dispute import client_of
    from confsync.edge.publish import publish
    from confsync.edge.sites import move_home

    now, prefix = settings.source.consul.home_datacenter, settings.source.prefix
    tree = checked.canonical()
    async with AsyncExitStack() as stack:
        client = client_of(settings, now)
        stack.push_async_callback(client.close)
        if not home:
            return await publish(client, prefix, tree, record)
        there = client_of(settings, home)
        stack.push_async_callback(there.close)
        old = None if f"{LOST}:{now}" in record.allow else client
        return await move_home(old, there, prefix, home, tree, record)


def _told(done: Published, allow: tuple[str, ...]) -> str:
    if done.nothing and not allow:
        return f"No changes. Published is #{done.change}."
    counts = {"written": done.written, "removed": done.removed, "adopted": done.adopted}
    parts = [f"{len(keys)} {word}" for word, keys in counts.items() if keys]
    return f"#{done.change} published: {', '.join(parts) or 'allowances only'}"


def _data(checked: Checked) -> Mapping[str, object]:
    return {
        "documents": checked.documents,
        "nodes": list(checked.nodes),
        "needs_facts": {node: list(names) for node, names in checked.needs.items()},
        "errors": [],
    }


def _summary(tree: Path, checked: Checked) -> str:
    lines = list(_needs(checked))
    count = f"{checked.documents} document{'s' if checked.documents != 1 else ''}"
    nodes = f"{len(checked.nodes)} node{'s' if len(checked.nodes) != 1 else ''}"
    return "\n".join([*lines, f"{tree}: ok ({count}, {nodes})"])


def _needs(checked: Checked) -> Iterator[str]:
    for node, names in checked.needs.items():
        yield f"{node} needs fact {', '.join(names)} (checked with an address of its kind)"


def _annotation(fault: Violation) -> str:
    """Return a workflow command that marks the line in a merge request."""
    text = str(fault).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return f"::error file={fault.where},line={fault.line or 1},col={fault.column or 1}::{text}"
