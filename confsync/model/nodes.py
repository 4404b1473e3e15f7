"""A tree that knows where each of its parts comes from, and what lays one such tree over another.

Separate because merging is the same act within a layer and across layers, and has to be plain
enough to have laws: maps merge, everything else is replaced whole, null is a value until the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from confsync.model.ids import Json, KeyPath, LayerPath, Path, Tree


class Origin(NamedTuple):
    """Where a value comes from: the layer, the document's key, the place in the document."""

    layer: LayerPath
    key: KeyPath
    path: Path

    def down(self, *parts: str | int) -> Origin:
        """Return the origin of what lies further down in the same document."""
        return Origin(self.layer, self.key, (*self.path, *parts))


@dataclass(frozen=True, slots=True)
class Leaf:
    """A scalar, a list or a null."""

    value: Json
    origin: Origin


@dataclass(frozen=True, slots=True)
class Branch:
    """A mapping; without an origin it is only implied by the key of a document further down."""

    children: Mapping[str, Node]
    origin: Origin | None = None


Node = Leaf | Branch
EMPTY: Final = Branch({})


def grow(value: Json, origin: Origin) -> Node:
    """Return a document's value as a tree of nodes."""
    if not isinstance(value, dict):
        return Leaf(value, origin)
    children = {name: grow(inner, origin.down(name)) for name, inner in value.items()}
    return Branch(children, origin)


def mount(node: Node, at: tuple[str, ...]) -> Node:
    """Return a tree that holds the node at a path and nothing else."""
    for name in reversed(at):
        node = Branch({name: node})
    return node


def overlay(base: Node, over: Node) -> Node:
    """Return both as one tree; where they differ in kind or are no mappings, `over` wins."""
    if not (isinstance(base, Branch) and isinstance(over, Branch)):
        return over
    children = dict(base.children)
    for name, node in over.children.items():
        children[name] = overlay(children[name], node) if name in children else node
    return Branch(children, over.origin or base.origin)


def met(base: Node, over: Node, at: Path = ()) -> Iterator[tuple[Path, Node, Node]]:
    """Yield each place where `overlay` replaces something, with the old and the new."""
    if not (isinstance(base, Branch) and isinstance(over, Branch)):
        yield at, base, over
        return
    for name, node in over.children.items():
        if name in base.children:
            yield from met(base.children[name], node, (*at, name))


def walk(node: Node, at: Path = ()) -> Iterator[tuple[Path, Node]]:
    """Yield every node with its path."""
    yield at, node
    if isinstance(node, Branch):
        for name, child in node.children.items():
            yield from walk(child, (*at, name))


def bare(branch: Branch) -> Tree:
    """Return the values alone, without what a null removed."""
    return {
        name: bare(node) if isinstance(node, Branch) else node.value
        for name, node in branch.children.items()
        if isinstance(node, Branch) or node.value is not None
    }


def origin(node: Node) -> Origin:
    """Return where a node comes from; of an implied mapping, where its first part does."""
    while node.origin is None:
        node = next(iter(node.children.values()))
    return node.origin
