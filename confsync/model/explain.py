"""Why a value is so: what each layer says about one place of the tree, and whose word holds.

Separate from `layers` because the merged tree keeps the winner alone, and this is asked about the
others: what was hidden, what a null removed, what a list or a single value took the place of.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from confsync.model import nodes
from confsync.model.errors import UnknownKey
from confsync.model.ids import Json, Path
from confsync.model.nodes import Branch, Leaf, Node, Origin

_INDEX: Final = re.compile(r"\[(\d{1,6})\]")
_WORD: Final = re.compile(r"[^.\[\]]+")


@dataclass(frozen=True, slots=True)
class Said:
    """What one layer says of a place.

    Shape: `at` is the place that it speaks of: the one that was asked for, or one around it where
    a single value or a list stands; `value` is as written, None = a null removes what was there.
    """

    origin: Origin
    at: Path
    value: Json


def said(trees: Sequence[Node], path: Path) -> tuple[Said, ...]:
    """Return every word about a place, weakest first: the last one holds."""
    return tuple(found for tree in trees if (found := _look(tree, path)))


def _look(node: Node, path: Path) -> Said | None:
    for depth, part in enumerate(path):
        if isinstance(node, Leaf):
            return _within(node, path, depth)
        if part not in node.children:
            return None
        node = node.children[str(part)]
    return Said(node.origin, path, node.value) if isinstance(node, Leaf) else None


def _within(leaf: Leaf, path: Path, depth: int) -> Said:
    """Return what a list holds at a place, or that the whole stands where the place would be."""
    inner, found = path[depth:], has(leaf.value, path[depth:])
    if found:
        return Said(leaf.origin.down(*inner), path, value_at(leaf.value, inner))
    return Said(leaf.origin, path[:depth], leaf.value)


def leaves(trees: Sequence[Node], path: Path) -> tuple[Path, ...]:
    """Return every place below a map that some layer says something of, in the layers' order."""
    found: dict[Path, None] = {}
    for tree in trees:
        node = below(tree, path)
        walked = nodes.walk(node, path) if isinstance(node, Branch) else ()
        found.update(dict.fromkeys(place for place, one in walked if isinstance(one, Leaf)))
    return tuple(found)


def below(node: Node, path: Path) -> Node | None:
    """Return the node at a place."""
    for part in path:
        if not isinstance(node, Branch) or part not in node.children:
            return None
        node = node.children[str(part)]
    return node


def plain(trees: Sequence[Node]) -> Json:
    """Return all places that any layer names, whatever holds there: what may be asked about."""
    known: dict[str, Json] = {}
    for tree in trees:
        known = join(known, _bare(tree))
    return known


def join(base: Json, over: Json) -> Json:
    """Return two trees' places as one tree; a map is kept where the other has none."""
    if isinstance(base, Mapping) and isinstance(over, Mapping):
        names = dict.fromkeys((*base, *over))
        return {
            name: join(base.get(name), over[name]) if name in over else base[name] for name in names
        }
    return base if isinstance(base, Mapping) or over is None else over


def _bare(node: Node) -> Json:
    if isinstance(node, Leaf):
        return node.value
    return {name: _bare(child) for name, child in node.children.items()}


def has(tree: Json, path: Path) -> bool:
    """Tell whether a tree has such a place."""
    for part in path:
        if isinstance(part, int):
            if not isinstance(tree, list | tuple) or part >= len(tree):
                return False
        elif not isinstance(tree, Mapping) or part not in tree:
            return False
        tree = tree[part]
    return True


def value_at(tree: Json, path: Path) -> Json:
    """Return what stands at a place, None if there is no such place."""
    if not has(tree, path):
        return None
    for part in path:
        tree = tree[part]
    return tree


def parse_key(key: str, known: Json) -> Path:
    """Return the place that an operator writes as ``bgp.peers.rr1.asn`` or ``...rules[0].action``.

    Why `known`: names may hold dots themselves, so that the longest name that is there is taken.
    Raises: UnknownKey for what cannot be read.
    """
    refusal = UnknownKey(f"{key!r} is no key: it is written like bgp.peers.rr1.asn")
    path: list[str | int] = []
    rest = f".{key}"
    while rest:
        if index := _INDEX.match(rest):
            path.append(int(index[1]))
            rest = rest[index.end() :]
        elif rest[0] == "." and (name := _name(rest[1:], known)):
            path.append(name)
            rest = rest[1 + len(name) :]
        else:
            raise refusal
        known = value_at(known, (path[-1],))
    return tuple(path)


def _name(rest: str, known: Json) -> str:
    names = list(_starts(rest, known)) if isinstance(known, Mapping) else []
    word = _WORD.match(rest)
    return max(names, key=len) if names else word[0] if word else ""


def _starts(rest: str, known: Mapping[str, Json]) -> Iterator[str]:
    for name in known:
        if rest == name or rest.startswith((f"{name}.", f"{name}[")):
            yield name
