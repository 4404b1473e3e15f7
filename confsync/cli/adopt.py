"""``confsync adopt``: take over what a driver finds on this host, without changing it."""

from __future__ import annotations

import asyncio
import getpass
from collections.abc import Iterator

import click

from confsync.cli import client
from confsync.cli.output import Exit, Options, Result, verb
from confsync.cli.plan import ALLOW
from confsync.model.ids import Json


@click.command()
@click.argument("driver", type=click.Choice(["bird", "lvm", "felix"]))
@click.option("--plan", "only", is_flag=True, help="Show what it would come to; record nothing.")
@click.option("--draft", is_flag=True, help="Print the document that says what runs here now.")
@ALLOW
@verb("adopt")
def adopt(
    options: Options, *, driver: str, only: bool, draft: bool, allow: tuple[str, ...]
) -> Result:
    """Take over what another hand set up; the host is not touched, only its record is made.

    Ends with 0 when it was adopted; with --plan 0 for no changes, 2 for changes.
    """
    body: dict[str, Json] = {
        "driver": driver,
        "plan": only,
        "draft": draft,
        "allow": list(allow),
    }
    try:
        data = client.order(options.config, "/v1/adopt", body)
    except client.NoAgent:
        data = _without_agent(options, body)
    if draft:
        return Result(data, data["draft"].rstrip("\n"), warnings=tuple(data["lost"]))
    return told(data, only=only)


def told(data: Json, *, only: bool) -> Result:
    """Return what adopting came to, for people."""
    text = "\n".join(_lines(data))
    errors = tuple(
        {"code": "Refused", "msg": one, "hint": "", "doc": ""} for one in data["refusals"]
    )
    note = "\n".join(data["refusals"])
    if errors:
        return Result(data, text, Exit.REFUSED, note, errors=errors)
    if only:
        return Result(data, text, Exit.PENDING if data["differences"] else Exit.OK)
    return Result(data, f"{text}\nAdopted; the host was not touched.")


def _lines(data: Json) -> Iterator[str]:
    for own, kept in sorted(data["names"].items()):
        yield f"keeps the name {kept}   ({own})"
    for one in data["lost"]:
        yield f"cannot be said in a document: {one}"
    for item in data["differences"]:
        yield f"{item['text']}   {item['impact']}"
    if not data["differences"]:
        yield "The first plan: no changes."


def _without_agent(options: Options, body: dict[str, Json]) -> Json:
    from confsync.cli import alone
    from confsync.host import logs
    from confsync.settings import load

    logs.configure("debug" if options.verbose else "warning")
    return asyncio.run(alone.adopt_once(load(options.config), body, getpass.getuser()))
