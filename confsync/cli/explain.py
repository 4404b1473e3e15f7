"""``confsync explain``: why a value is so, who wrote it, and what runs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlencode

import click

from confsync.cli import client
from confsync.cli.output import Options, Result, verb
from confsync.cli.status import age
from confsync.model import limits
from confsync.model.ids import Json

FROM: Final = {
    "default": "default, no layer says it",
    "removed": "not set: removed",
    "unset": "not set, no layer says it",
}


@click.command()
@click.argument("key")
@click.option("--node", default="", help="Another host's value, as far as it can be told here.")
@click.option("--schema", is_flag=True, help="Say also what may stand there.")
@verb("explain")
def explain(options: Options, *, key: str, node: str, schema: bool) -> Result:
    """Show which layers say something about a value, who wrote each, which wins, and what runs.

    KEY is written like bgp.peers.rr1.asn or bgp.filters.in.ipv4.rules[0]; of a map, all below it
    is listed. * marks the word that holds.
    """
    query = urlencode({"key": key, "node": node})
    try:
        data = client.ask(options.config, f"/api/v1/explain?{query}", limits.LOCAL_CALL_S)
    except client.NoAgent:
        data = _without_agent(options, key, node)
    text = "\n".join(_lines(data, options, schema=schema))
    return Result(data, text, warnings=tuple(data["notes"]))


def _lines(data: Json, options: Options, *, schema: bool) -> Iterator[str]:
    place = ", ".join(f"{name} {word}" for name, word in data["place"].items() if word)
    yield from _value(data, options, f"  on {data['node']}" + (f" ({place})" if place else ""))
    if schema and data["field"]:
        yield f"    may be    {_shape(data['field'])}"
    for part in data["parts"]:
        yield from _value(part, options)


def _value(one: Json, options: Options, where: str = "") -> Iterator[str]:
    """Yield one value: what it is, each layer's word from weak to strong, what runs."""
    yield f"{options.paint(one['key'], 'bold')}  {_is(one)}{where}"
    width = max((len(word["layer"]) for word in one["layers"]), default=0)
    for word in one["layers"]:
        mark = "*" if word["wins"] else " "
        line = f"  {mark} {word['layer']:{width}}  {_said(word, one)}  {_author(word)}"
        yield f"{line}  {word['document']}{_position(word)}"
    if one["live"]:
        yield f"    {_live(one)}"


def _is(one: Json) -> str:
    match one["source"]:
        case "map":
            return f"a map of {len(one['value'])}"
        case "fact":
            names = ", ".join(name.removeprefix("fact.") for name in one["needs"])
            return f"needs fact {names}, which only the host knows"
        case "inherited":
            return f"{_text(one['value'])}  (from {one['inherits']})"
        case "layer":
            return _text(one["value"])
        case "default":
            return f"{_text(one['value'])}  ({FROM['default']})"
        case other:
            return FROM[other]


def _said(word: Json, one: Json) -> str:
    """Return a layer's word, and what became of it."""
    text = "null, removes it" if word["value"] is None else _text(word["value"])
    if word["key"] not in (one["key"], one["inherits"]):
        text += f" at {word['key']}"
    return text if word["wins"] else f"{text} (overridden)"


def _author(word: Json) -> str:
    if not word["recorded"]:
        return "unrecorded"
    if word["change"] is None:
        return "author unknown"
    if not word["exact"]:
        return f"#{word['change']} or before"
    why = f' "{word["why"]}"' if word["why"] else ""
    return f"#{word['change']} by {word['by'] or 'unknown'}{_since(word['at'])}{why}"


def _since(at: str) -> str:
    try:
        written = datetime.fromisoformat(at)
        return f", {age((datetime.now(UTC) - written).total_seconds())} ago"
    except (ValueError, TypeError):
        return ""


def _position(word: Json) -> str:
    return f":{word['line']}:{word['column']}" if word["line"] else ""


def _live(one: Json) -> str:
    live = one["live"]
    old = "" if live["age_s"] is None else f", looked at {age(live['age_s'])} ago"
    if live["problem"]:
        applied = "" if live["value"] is None else f"{_text(live['value'])} was applied; "
        return f"live ({live['driver']}) not known: {applied}{live['problem']}{old}"
    value = "as below" if one["source"] == "map" else _text(live["value"], "not set")
    return f"live ({live['driver']}) {value}{old}"


def _shape(field: Json) -> str:
    parts = [field["kind"]]
    if field["keys"]:
        parts[0] += f" of {', '.join(field['keys'])}"
    if field["default"] is not None:
        parts.append(f"default {_text(field['default'])}")
    if field["impact"]:
        parts.append(f"a change is: {field['impact']}")
    return "; ".join(parts)


def _text(value: Json, nothing: str = "null") -> str:
    """Return a value as one word: texts bare, the rest as JSON."""
    if value is None:
        return nothing
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _without_agent(options: Options, key: str, node: str) -> Json:
    from confsync.cli import alone
    from confsync.host import logs
    from confsync.settings import load

    logs.configure("debug" if options.verbose else "warning")
    return asyncio.run(alone.explain(load(options.config), key, node))
