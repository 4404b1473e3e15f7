"""What must not move while a host is adopted: protocols, routes, what is passed on, the kernel.

Separate because it judges: it asks BIRD, the kernel and the neighbours, and never our own words.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, NamedTuple

from tests.lab.bird import PROTOCOL, Since
from tests.lab.net import HERE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.lab.bird import Bird

TIME = re.compile(r"\b(?:\d{4}-\d\d-\d\d )?\d\d:\d\d:\d\d(?:\.\d+)?\b|\b\d{4}-\d\d-\d\d\b")
CODE = re.compile(r"^\d{4}[- ]")
PASSING = ("BGP", "OSPF", "Babel", "RIP", "Kernel", "Pipe")
SHOWN = 3


class Standing(NamedTuple):
    """One look; routes are whole entries with the protocol, the attributes and no times.

    Shape: `since` is of what is not down (BIRD dates what is disabled anew at each configure);
    `withdrawn` counts withdrawals, so that a route is missed that was gone for a moment.
    """

    since: dict[str, Since]
    routes: dict[str, frozenset[str]]
    withdrawn: dict[str, str]


def look(bird: Bird, far: Sequence[Bird], but: str) -> Standing:
    """Look at everything but one prefix."""
    kinds, since = {}, {}
    for line in bird.ctl("show protocols"):
        if found := PROTOCOL.match(CODE.sub("", line).lstrip()):
            kinds[found["name"]] = found["kind"]
            if found["state"] == "down":
                continue
            # The day is left out: a `timeformat` may be changed under us.
            since[found["name"]] = Since(found["since"].rpartition(" ")[2])
    routes = {"BIRD": _routes(bird, "show route table all all", but)}
    for name, kind in kinds.items():
        if kind in PASSING:
            routes[f"passed to {name}"] = _routes(bird, f"show route export '{name}' all", but)
    counted = [name for name, kind in kinds.items() if kind in ("BGP", "Kernel")]
    withdrawn = {name: _withdrawn(bird, name, "Export", -1) for name in counted}
    for one in far:
        neighbour = one.config.parent.name
        routes[f"neighbour {neighbour}"] = _routes(one, "show route protocol near all", but)
        withdrawn[f"neighbour {neighbour}"] = _withdrawn(one, "near", "Import", -1)
    for family in (4, 6):
        listed = HERE.ip(f"-{family}", "route", "show", "table", "all")
        kept = (json.dumps(one, sort_keys=True) for one in listed if one["dst"] != but)
        routes[f"kernel IPv{family}"] = frozenset(kept)
    return Standing(since, routes, withdrawn)


def differences(before: Standing, after: Standing) -> Iterator[str]:
    """Yield what moved; protocols that came are no move, their routes are."""
    for name, since in before.since.items():
        if name not in after.since:
            yield f"protocol {name} is gone"
        elif since != after.since[name]:
            yield f"protocol {name} was reset"
    for place, had in before.routes.items():
        has = after.routes.get(place, frozenset())
        for word, entries in (("lost", had - has), ("has more", has - had)):
            if entries:
                shown = " | ".join(sorted(entries)[:SHOWN])
                yield f"{place} {word}: {len(entries)} ({shown})"
    for name, had in before.withdrawn.items():
        if had != after.withdrawn.get(name):
            yield f"withdrawals of {name}: {had} before, {after.withdrawn.get(name)} now"


def _routes(bird: Bird, command: str, but: str) -> frozenset[str]:
    """Return the entries of a listing, one for each prefix of each table."""
    entries: dict[str, list[str]] = {}
    place = ""
    table = ""
    for line in bird.ctl(command):
        text = TIME.sub("T", CODE.sub("", line.removeprefix(" ")))
        if text.startswith("Table "):
            table = text.rstrip(":")
        elif text.strip():
            if "/" in text.split()[0] and not text[0].isspace():
                place = f"{table} {text.split()[0]}"
            entries.setdefault(place, []).append(text.strip())
    return frozenset(
        f"{name}: {' '.join(lines)}"
        for name, lines in entries.items()
        if name.split()[-1:] != [but]
    )


def _withdrawn(bird: Bird, name: str, way: str, column: int) -> str:
    """Return how many withdrawals were passed on, for each channel."""
    lines = (line.strip() for line in bird.ctl(f"show protocols all '{name}'"))
    return " ".join(
        line.split()[2:][column] for line in lines if line.startswith(f"{way} withdraws:")
    )
