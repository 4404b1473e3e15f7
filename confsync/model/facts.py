"""Facts of the node, put into the texts of the merged tree.

Separate because it is all the language there is: a name in braces becomes the node's value of it,
once. What was put in is data and is never read again, so a fact cannot name another one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from confsync.model.errors import Violation, Violations, nearest
from confsync.model.ids import Json, Path, Tree

NAMES: Final = ("site", "role", "node", "variant", "platform")
LACKING: Final = "CS-L04"
_FACT: Final = re.compile(r"fact(\.[A-Za-z0-9_-]+)+")
_BRACES: Final = re.compile(r"\{([^{}]*)\}|[{}]")


def substitute(tree: Tree, known: Mapping[str, str]) -> tuple[Tree, Violations]:
    """Return the tree with all facts put in, and what could not be put in."""
    faults = tuple(_faults(tree, known, ()))
    return (tree if faults else _put(tree, known)), faults


def lacking(value: Json, known: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names in braces that the node has no value for, each once."""
    if isinstance(value, dict | list):
        parts = value.values() if isinstance(value, dict) else value
        return tuple(dict.fromkeys(name for part in parts for name in lacking(part, known)))
    names = (found[1] or "" for found in _BRACES.finditer(value)) if isinstance(value, str) else ()
    return tuple(dict.fromkeys(name for name in names if not known.get(name)))


def _put(value: Json, known: Mapping[str, str]) -> Json:
    if isinstance(value, dict):
        return {name: _put(inner, known) for name, inner in value.items()}
    if isinstance(value, list):
        return [_put(inner, known) for inner in value]
    if isinstance(value, str) and "{" in value:
        return _BRACES.sub(lambda match: known[match[1]], value)
    return value


def _faults(value: Json, known: Mapping[str, str], at: Path) -> Iterator[Violation]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _faults(inner, known, (*at, name))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _faults(inner, known, (*at, index))
    elif isinstance(value, str):
        for found in _BRACES.finditer(value):
            if not known.get(found[1] or ""):
                yield _fault(found[1], known, at)


def _fault(name: str | None, known: Mapping[str, str], at: Path) -> Violation:
    if name is None:
        return Violation("CS-L03", at, "a brace stands alone", "a fact is written {fact.NAME}")
    if name in NAMES or _FACT.fullmatch(name):
        hint = nearest(name, known)
        return Violation(LACKING, at, f"this node has no {{{name}}}", hint)
    hint = nearest(name, (*NAMES, *known))
    return Violation("CS-L03", at, f"{{{name}}} is not the name of a fact", hint)
