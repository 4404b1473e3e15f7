"""Which layers concern a node, and how their documents become one tree.

Separate because this is where "why is this value so?" is answered: each part of the merged tree
knows the layer and the document it came from, and what a later layer hid is said aloud.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from confsync.model import document, facts, nodes
from confsync.model.errors import (
    BadSettings,
    InvalidConfig,
    NeedsFact,
    SchemaViolated,
    Unparsable,
    Violation,
    Violations,
    nearest,
)
from confsync.model.ids import KEY, NAME, KeyPath, LayerPath, Path, Tree, dotted
from confsync.model.limits import KEY_BYTES
from confsync.model.nodes import Branch, Leaf, Node, Origin
from confsync.model.snapshot import Layer, Snapshot, document_key

_PLACEHOLDER: Final = re.compile(r"\{([^{}]*)\}")
_SPECIAL: Final = frozenset({"role", "variant", "platform", "node"})
_SHOWN: Final = 3


@dataclass(frozen=True, slots=True)
class Level:
    """One level of the hierarchy: the setting, and the layer that it is for one node."""

    pattern: str
    path: LayerPath


def layer_paths(hierarchy: Sequence[str], names: Mapping[str, str]) -> tuple[LayerPath, ...]:
    """Return the layers of a node, weakest first. Raises: BadSettings."""
    return tuple(level.path for level in levels(hierarchy, names))


def levels(hierarchy: Sequence[str], names: Mapping[str, str]) -> tuple[Level, ...]:
    """Return the levels that concern a node; one whose name the node lacks is left out.

    Raises: BadSettings for what cannot be a key, and for layers that lie within each other.
    """
    found = tuple(
        Level(pattern, LayerPath(_PLACEHOLDER.sub(lambda name: names[name[1]], pattern)))
        for pattern in hierarchy
        if all(_value(name, pattern, names) for name in _PLACEHOLDER.findall(pattern))
    )
    if not found:
        raise BadSettings("hierarchy: no level is left for this node")
    for level in found:
        if not KEY.fullmatch(level.path) or len(level.path) > KEY_BYTES:
            raise BadSettings(f"hierarchy: {level.path!r} cannot be a key")
    for outer in found:
        for inner in found:
            if inner is not outer and f"{inner.path}/".startswith(f"{outer.path}/"):
                raise BadSettings(
                    f"hierarchy: {inner.path} ({inner.pattern}) lies within {outer.path} "
                    f"({outer.pattern}); documents of one would be read as the other's"
                )
    return found


def _value(name: str, pattern: str, names: Mapping[str, str]) -> str:
    """Return the node's name for a placeholder; empty = it has none."""
    if name not in facts.NAMES:
        hint = nearest(name, facts.NAMES)
        raise BadSettings(f"hierarchy: {{{name}}} in {pattern} is unknown; {hint}")
    value = names.get(name, "")
    if value and not NAME.fullmatch(value):
        raise BadSettings(f"{name}: {value!r} cannot be part of a key")
    return value


@dataclass(frozen=True, slots=True)
class Text:
    """A document as it was read, and what messages call it."""

    raw: bytes
    place: str


@dataclass(frozen=True, slots=True)
class Merged:
    """The tree of all layers, and where each part of it comes from.

    Shape: `provenance` knows every leaf and mapping, and every path that a null removed.
    """

    tree: Tree
    provenance: Mapping[Path, Origin]
    texts: Mapping[KeyPath, Text]
    warnings: tuple[str, ...] = ()

    def origin(self, path: Path) -> Origin | None:
        """Return where a value, or the nearest part around it, comes from."""
        for end in range(len(path), -1, -1):
            if found := self.provenance.get(path[:end]):
                return found.down(*path[end:])
        return None

    def blame(self, violation: Violation) -> Violation:
        """Return the violation with the document, line and column that caused it."""
        origin = self.origin(violation.path)
        if violation.where or origin is None:
            return violation
        return _at(violation, self.texts[origin.key], origin.path)


@dataclass(frozen=True, slots=True)
class Stack:
    """What each layer says, weakest first, before one is laid over the other.

    Shape: `faults` are of the documents that are left out, since they cannot be read.
    """

    trees: tuple[tuple[LayerPath, Node], ...]
    texts: Mapping[KeyPath, Text]
    faults: Violations


def stack(snapshot: Snapshot) -> Stack:
    """Return the layers of a snapshot, each as one tree."""
    texts: dict[KeyPath, Text] = {}
    faults: list[Violation] = []
    trees = []
    for layer in snapshot.layers:
        texts.update(_texts(snapshot, layer))
        whole, found = _whole(layer, texts)
        faults.extend(found)
        trees.append((layer.path, whole))
    return Stack(tuple(trees), texts, tuple(faults))


def merge(snapshot: Snapshot, hierarchy: Sequence[str], known: Mapping[str, str]) -> Merged:
    """Return the one tree of all layers, weakest first, with the node's facts put in.

    Shape: `known` maps the node's names and facts to their values.
    Raises: Unparsable, SchemaViolated or NeedsFact, with all faults of all documents.
    """
    patterns = {level.path: level.pattern for level in levels(hierarchy, known)}
    said = stack(snapshot)
    replaced: list[tuple[Path, Node, Node]] = []
    pile: Node = nodes.EMPTY
    for _, whole in said.trees:
        replaced.extend(nodes.met(pile, whole))
        pile = nodes.overlay(pile, whole)
    assert isinstance(pile, Branch)
    warnings = (*_clashes(replaced), *_hidings(replaced, patterns))
    merged = Merged(nodes.bare(pile), _provenance(pile), said.texts, warnings)
    tree, lacking = facts.substitute(merged.tree, known)
    if violations := (*said.faults, *map(merged.blame, lacking)):
        raise _refusal(violations)
    return replace(merged, tree=tree)


def _texts(snapshot: Snapshot, layer: Layer) -> Iterator[tuple[KeyPath, Text]]:
    for name, raw in layer.documents.items():
        yield document_key(layer.path, name), Text(raw, snapshot.place(layer, name))


def _whole(layer: Layer, texts: Mapping[KeyPath, Text]) -> tuple[Node, Violations]:
    """Return all documents of one layer as one tree; none of them is stronger than another."""
    whole: Node = nodes.EMPTY
    faults: list[Violation] = []
    for name in sorted(layer.documents):
        key = document_key(layer.path, name)
        try:
            node = _document(layer.path, name, texts[key])
        except InvalidConfig as fault:
            faults.extend(fault.violations)
            continue
        faults.extend(_twice(path, old, new, texts) for path, old, new in nodes.met(whole, node))
        whole = nodes.overlay(whole, node)
    return whole, tuple(faults)


def _document(layer: LayerPath, name: str, text: Text) -> Node:
    key = document_key(layer, name)
    if not KEY.fullmatch(name) or len(key) > KEY_BYTES:
        hint = "a key is made of a-z, 0-9, dot, dash and underscore"
        where = ascii(text.place)[1:-1]
        raise SchemaViolated((Violation("CS-L01", (), "this cannot be a key", hint, where),))
    tree = document.parse(text.raw, text.place)
    return nodes.mount(nodes.grow(tree, Origin(layer, key, ())), tuple(name.split("/")))


def _twice(path: Path, old: Node, new: Node, texts: Mapping[KeyPath, Text]) -> Violation:
    first, second = nodes.origin(old), nodes.origin(new)
    message = f"{texts[first.key].place} sets it too, in the same layer"
    violation = Violation("CS-L02", path, message, "keep one of them")
    return _at(violation, texts[second.key], second.path)


def _at(violation: Violation, text: Text, path: Path) -> Violation:
    line, column = document.locate(text.raw, path)
    return replace(violation, where=text.place, line=line, column=column)


def _provenance(pile: Branch) -> dict[Path, Origin]:
    """Return the origin of each part; the tree itself is nobody's."""
    parts = ((path, node) for path, node in nodes.walk(pile) if path)
    return {path: nodes.origin(node) for path, node in parts}


def _refusal(violations: Violations) -> InvalidConfig:
    codes = {violation.code for violation in violations}
    if any(code.startswith(document.CODES) for code in codes):
        return Unparsable(violations)
    return NeedsFact(violations) if codes == {facts.LACKING} else SchemaViolated(violations)


def _clashes(replaced: Sequence[tuple[Path, Node, Node]]) -> Iterator[str]:
    for path, old, new in replaced:
        kinds = _kind(old), _kind(new)
        if kinds[0] != kinds[1] and "nothing" not in kinds:
            keys = nodes.origin(old).key, nodes.origin(new).key
            yield f"{dotted(path)}: {kinds[1]} in {keys[1]} replaces {kinds[0]} in {keys[0]}"


def _kind(node: Node) -> str:
    if isinstance(node, Branch):
        return "a mapping"
    if node.value is None:
        return "nothing"
    return "a list" if isinstance(node.value, list) else "a single value"


def _hidings(
    replaced: Sequence[tuple[Path, Node, Node]], patterns: Mapping[LayerPath, str]
) -> Iterator[str]:
    """Yield what a more general layer hides of a more special one.

    Why: place beats kind in the order of layers, so a value meant for a few hosts is lost to one
    meant for many, without a word (ten real hosts lacked a swap volume for years).
    """
    hidden: dict[tuple[KeyPath, KeyPath], list[str]] = {}
    for path, old, new in replaced:
        winner = nodes.origin(new)
        for below, leaf in nodes.walk(old, path):
            if not isinstance(leaf, Leaf) or leaf.value == getattr(new, "value", new):
                continue
            if _more_special(patterns.get(leaf.origin.layer, ""), patterns.get(winner.layer, "")):
                hidden.setdefault((winner.key, leaf.origin.key), []).append(dotted(below))
    for (winner_key, hidden_key), paths in hidden.items():
        more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
        shown = ", ".join(paths[:_SHOWN])
        yield f"{winner_key} hides {shown}{more} of {hidden_key}, which is more special"


def _more_special(hidden: str, winner: str) -> bool:
    """Tell whether a hidden layer names something that the winner does not; a node is special."""
    asks, asked = (set(_PLACEHOLDER.findall(pattern)) for pattern in (winner, hidden))
    return "node" not in asks and bool((asked & _SPECIAL) - asks)
